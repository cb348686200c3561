"""Arrays as a problem: in memory, in an .npz file, or of a published data set."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsjax.advice import assembly, checklist
from lsjax.advice import given as given_lib
from lsjax.advice.given import Column
from lsjax.advice.problem import UNKNOWN, Problem
from lsjax.data import classes as classes_lib
from lsjax.data import examples as examples_lib
from lsjax.data import npz, tfds
from lsjax.data.classes import Name, listed
from lsjax.data.examples import Examples

_TRUTH = "train_labels"  # what an .npz file and TFDS call the clean labels


@dataclasses.dataclass(frozen=True)
class Keyed:
  """Inputs beside arrays of labels, each of which has a key.

  Attributes:
    inputs: images or vectors of all N rows.
    ids: their ids.
    labels: the arrays of labels by key, [N] each; or [N, A] for the votes of A annotators.
    test: inputs and true labels to test on, or None.
    class_names: the names of the classes whose numbers the labels are; empty if the labels are the
      names.
  """

  inputs: np.ndarray
  ids: np.ndarray
  labels: Mapping[str, np.ndarray]
  test: tuple[Any, Any] | None = None
  class_names: tuple[Name, ...] = ()

  def problem(self, name: str, label: str, votes: Sequence[str], trusted: str) -> Problem:
    """Makes a problem of the labels with the given keys; see `inputs.read`.

    Raises:
      ValueError: one line that names the key, the row and the value.
    """
    values = tuple(range(len(self.class_names)))
    given = given_lib.find(
      self._column(label, None) if label else None,
      [column for key in votes for column in self._annotators(key)],
      self._column(trusted, UNKNOWN) if trusted else None,
      values,
    )
    if _TRUTH in self.labels and _TRUTH not in (label, *votes, trusted):
      ignored = f"{_TRUTH} is not looked at: an answer must not depend on true labels"
      given = dataclasses.replace(given, notes=(*given.notes, ignored))
    rows = given.rows
    whole = len(rows) == len(self.inputs)
    inputs, ids = (self.inputs, self.ids) if whole else (self.inputs[rows], self.ids[rows])
    test = None if self.test is None else test_part(self.test, inputs, given.classes)
    made = assembly.assemble(name, inputs, ids, given, test)
    return dataclasses.replace(made, classes=self.class_names or made.classes)

  def known(self) -> str:
    """Returns the keys of labels, but for that of the true ones, for a message."""
    rows = len(self.inputs)
    keys = sorted(k for k, v in self.labels.items() if v.shape[:1] == (rows,) and k != _TRUTH)
    return listed(keys) or "none"

  def _column(self, key: str, unknown: int | None) -> Column:
    array = self._array(key)
    return Column(key, key, classes_lib.coded_array(array, key, unknown=unknown))

  def _annotators(self, key: str) -> list[Column]:
    """Returns the votes of one annotator or, from an array [N, A], of several."""
    array = self._array(key)
    if array.ndim != 2:
      return [self._column(key, UNKNOWN)]
    names = [f"{key}[:, {a}]" for a in range(array.shape[1])]
    coded = [classes_lib.coded_array(v, n, unknown=UNKNOWN) for v, n in zip(array.T, names)]
    return [Column(str(a), *pair) for a, pair in enumerate(zip(names, coded))]

  def _array(self, key: str) -> np.ndarray:
    array = self.labels.get(key)
    if array is None:
      raise ValueError(f"has no labels {key!r}; it has {self.known()}")
    if array.shape[:1] != (len(self.inputs),):
      raise ValueError(f"{key} has shape {list(array.shape)}; {len(self.inputs)} labels are needed")
    return array


def from_arrays(
  inputs: Any,
  labels: Any = None,
  *,
  votes: Any = None,
  trusted: Any = None,
  ids: Any = None,
  test: tuple[Any, Any] | None = None,
  checked: str | os.PathLike[str] | None = None,
  name: str = "arrays",
) -> Problem:
  """Makes a problem of arrays.

  Args:
    inputs: images [N, H, W, C] or [N, H, W], or vectors [N, D].
    labels: the given labels, integers from 0 or strings [N], missing where NaN, None or empty;
      None if there are votes.
    votes: the labels of A annotators, [N, A], missing also where -1; None if there are labels.
    trusted: true labels [N] where somebody knows them, missing elsewhere, also where -1.
    ids: distinct integers or strings [N]; None for the positions.
    test: inputs and true labels to test on.
    checked: the path of a list of checked labels; see `checklist.apply`.
    name: what the report calls the data.

  Raises:
    ValueError: one line that names the argument, the row and the value.
  """
  if (labels is None) == (votes is None):
    raise ValueError("either labels or votes are needed, and not both")
  features = assembly.as_inputs(inputs, "inputs")
  places = np.arange(len(features)) if ids is None else np.asarray(ids)
  npz.check_ids(places, len(features), "ids")
  arguments = {"labels": labels, "votes": votes, "trusted": trusted}
  found = {key: np.asarray(value) for key, value in arguments.items() if value is not None}
  problem = Keyed(features, places, found, test).problem(
    name,
    "labels" if labels is not None else "",
    ("votes",) if votes is not None else (),
    "trusted" if trusted is not None else "",
  )
  return problem if checked is None else checklist.apply(problem, checked)


def from_npz(path: str | os.PathLike[str], id: str) -> Keyed:
  """Reads an .npz file; see `inputs.read`.

  Raises:
    ValueError: one line that does not name the file.
  """
  found = npz.read(path)
  if id and id not in found:
    raise ValueError(f"has no ids {id!r}; it has {listed(sorted(found))}")
  features = assembly.as_inputs(npz.pop_images(found, "train_images"), "train_images")
  ids = found.pop(id or "train_ids", np.arange(len(features)))
  npz.check_ids(ids, len(features), id or "train_ids")
  names = npz.pop_class_names(found)
  pair = [found.pop(key) for key in ("test_images", "test_labels") if key in found]
  if len(pair) == 1:
    raise ValueError("test_images and test_labels belong together, and one is absent")
  return Keyed(features, ids, found, (pair[0], pair[1]) if pair else None, names)


def from_tfds(name: str) -> Keyed:
  """Loads a data set of TFDS that has labels by people; see `lsjax.data.tfds.load`.

  Raises:
    ValueError: one line.
  """
  found = tfds.load(name)
  test = found.test_images, found.test_labels
  classes = tuple(range(found.num_classes))
  return Keyed(found.train_images, found.train_ids, found.label_sets, test, classes)


def test_part(
  test: tuple[Any, Any], inputs: np.ndarray, classes: tuple[Name, ...]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the inputs to test on and the numbers of their classes, int32 [M].

  Args:
    test: the inputs and their true labels.
    inputs: those to train on.
    classes: the values of the labels to train on.

  Raises:
    ValueError: one line, if they do not fit the inputs or the classes.
  """
  found = assembly.as_inputs(test[0], "test inputs")
  if (found.shape[1:], found.dtype) != (inputs.shape[1:], inputs.dtype):
    raise ValueError(
      f"test inputs are {found.dtype} {list(found.shape[1:])} each, and training inputs "
      f"{inputs.dtype} {list(inputs.shape[1:])}"
    )
  true = np.asarray(test[1])
  if true.shape != (len(found),):
    raise ValueError(f"test labels have shape {list(true.shape)}; {len(found)} are needed")
  coded = classes_lib.coded_array(true, "test labels")
  if (coded.codes < 0).any():
    raise ValueError(f"test labels, row {int((coded.codes < 0).argmax())}: the label is missing")
  labels = coded.labels(classes)
  examples_lib.check_test(Examples(np.arange(len(found)), labels, classes), classes, "test label")
  return found, labels
