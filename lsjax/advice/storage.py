"""A problem in the work directory of an advice: data.npz, which training reads too."""

import dataclasses
import hashlib
import os
import pathlib

import numpy as np

from lsjax import files
from lsjax.advice.assembly import about
from lsjax.advice.problem import UNKNOWN, Problem
from lsjax.data import features, frames, npz
from lsjax.data.features import Encoder
from lsjax.validation import one_line

DATA = "data.npz"
COLUMNS = "columns.parquet"  # of a table, from which the encoding of new rows is found again
_MOST_TEST = 500  # training examples that stand in for a test set where there is none
_REMARKS = ("name", "notes")  # what data.npz holds and what does not make other data of it


def save(problem: Problem, directory: str | os.PathLike[str], name: str = DATA) -> None:
  """Writes data.npz, or a file of another name, and, for a table, columns.parquet.

  A run that trains on data.npz finds the given labels as `given`, and as `final` those in which
  checked labels replace wrong ones. Without data to test on, at most 500 of the training examples
  with their given labels are the test set, and `test_is_noisy` says so. The same problem gives the
  same bytes.

  Raises:
    ValueError: one line, for columns that a .parquet file cannot hold.
  """
  where = files.path(directory)
  if problem.columns is not None:
    try:
      with files.replacing(where / COLUMNS) as f:
        problem.columns.to_parquet(f, engine="pyarrow", index=False)
    except ModuleNotFoundError:
      raise
    except Exception as error:  # pyarrow raises many kinds
      raise ValueError(f"the columns of the table cannot be stored ({one_line(error)})") from error
  else:
    (where / COLUMNS).unlink(missing_ok=True)
  with files.replacing(where / name) as f:
    np.savez(f, allow_pickle=False, **_arrays(problem))


def load(directory: str | os.PathLike[str]) -> Problem:
  """Reads what `save` wrote.

  Raises:
    ValueError: one line that names the file.
  """
  where = files.path(directory)
  with about(where / DATA):
    found = npz.read(where / DATA)
    try:
      problem = _problem(found)
    except (KeyError, TypeError) as error:
      raise ValueError(f"was not written by an advice ({one_line(error)})") from error
  if not problem.feature_names:
    return problem
  with about(where / COLUMNS):
    return _with_columns(problem, where / COLUMNS)


def encoder(problem: Problem) -> Encoder:
  """Returns the encoding of the rows of a table, fitted again on all of them.

  Raises:
    ValueError: one line, if the problem is no table.
  """
  if problem.columns is None:
    raise ValueError(f"{problem.name} is no table of features")
  return features.fit(problem.columns, np.arange(len(problem)))


def content_digest(problem: Problem) -> str:
  """Returns the SHA-256 of all that is measured on: inputs, labels of any kind, ids and test data.

  Checked labels count too: data without them are
  `dataclasses.replace(problem, true_labels=..., chances=...)`.
  """
  total = hashlib.sha256()
  for name, array in sorted(_arrays(problem).items()):
    if name not in _REMARKS:
      total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
      total.update(np.ascontiguousarray(array).tobytes())
  return total.hexdigest()


def final_labels(problem: Problem) -> np.ndarray:
  """Returns the given labels with true ones in place of those that are known, int32 [N]."""
  return np.where(problem.true_labels != UNKNOWN, problem.true_labels, problem.labels)


def _arrays(problem: Problem) -> dict[str, np.ndarray]:
  test, test_labels = problem.test_inputs, problem.test_labels
  if test is None or test_labels is None:
    chosen = np.random.RandomState(0).permutation(len(problem))[:_MOST_TEST]
    test, test_labels = problem.inputs[chosen], problem.labels[chosen]
  found = {
    "train_images": problem.inputs,
    "train_ids": problem.ids,
    "given": problem.labels,
    "final": final_labels(problem),
    "class_names": np.array(problem.classes),
    "true_labels": problem.true_labels,
    "chances": problem.chances,
    "test_images": test,
    "test_labels": test_labels,
    "test_is_noisy": np.array(problem.test_inputs is None),
    "feature_names": np.array(problem.feature_names, np.str_),
    "name": np.array(problem.name),
    "notes": np.array(problem.notes, np.str_),
  }
  if problem.votes is not None:
    found |= {"votes": problem.votes, "annotators": np.array(problem.annotators, np.str_)}
  if problem.normalization is not None:
    mean, std = problem.normalization
    found |= {"normalization_mean": np.array(mean), "normalization_std": np.array(std)}
  return found


def _problem(found: dict[str, np.ndarray]) -> Problem:
  is_noisy = bool(found["test_is_noisy"])
  normalization = None
  if "normalization_mean" in found:
    mean, std = (found[f"normalization_{key}"].tolist() for key in ("mean", "std"))
    normalization = tuple(mean), tuple(std)
  return Problem(
    name=str(found["name"]),
    inputs=found["train_images"],
    labels=found["given"],
    ids=found["train_ids"],
    classes=npz.names_of(found["class_names"]),
    true_labels=found["true_labels"],
    chances=found["chances"],
    votes=found.get("votes"),
    annotators=tuple(found.get("annotators", np.array([], np.str_)).tolist()),
    test_inputs=None if is_noisy else found["test_images"],
    test_labels=None if is_noisy else found["test_labels"],
    normalization=normalization,
    feature_names=tuple(found["feature_names"].tolist()),
    notes=tuple(found["notes"].tolist()),
  )


def _with_columns(problem: Problem, path: pathlib.Path) -> Problem:
  """Returns a problem of a table with its columns."""
  columns = frames.read(path)
  if len(columns) != len(problem):
    raise ValueError(f"has {len(columns)} rows, and {DATA} beside it {len(problem)}")
  return dataclasses.replace(problem, columns=columns)
