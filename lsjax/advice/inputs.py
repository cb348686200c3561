"""What a person brings as a problem: a table, a folder of images, arrays or a published data set.

`read` takes all of them. `arrays` and `tables` read their kinds, `given` finds the labels, and
`assembly` checks what all have in common. `checklist` writes and reads the list of labels to check,
`storage` keeps a problem in the work directory, and `encoding` makes inputs of new examples.
Nothing of the person's files is changed, and nothing in them is executed.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from lsjax.advice import arrays, assembly, checklist, tables
from lsjax.advice.arrays import from_arrays
from lsjax.advice.given import Given
from lsjax.advice.problem import UNKNOWN, Problem
from lsjax.data import folder, frames

__all__ = ["from_arrays", "read"]

_PUBLISHED = ("cifar10_n", "cifar100_n")
_IMAGE_SIZE = 32


def read(
  source: Any,
  *,
  label: str = "",
  id: str = "",
  image: str = "",
  votes: Any = (),
  trusted: Any = "",
  test: Any = None,
  checked: str | os.PathLike[str] | None = None,
  image_size: int | None = None,
) -> Problem:
  """Reads examples whose labels may be wrong.

  Args:
    source: the path of a .csv, .tsv or .parquet table, of a folder with a directory of images for
      each class, or of an .npz file with train_images and labels; the TFDS name cifar10_n or
      cifar100_n; a pandas DataFrame; or a pair (inputs, labels) of arrays, see `from_arrays`.
    label: the column or key of the given labels.
    id: the column or key of distinct ids; "" for train_ids of an .npz file, or for row numbers.
    image: the column with the paths of images, relative to the table; "" if the other columns are
      the features.
    votes: several columns or keys instead of `label`, one for each annotator; a key may also hold
      [N, A] votes. For a pair of arrays, whose labels are None then, the votes [N, A] themselves.
    trusted: a column or key with true labels where somebody knows them; with votes, only the table
      `test` needs it. For a pair of arrays, these labels themselves.
    test: data of the same kind with true labels, to test on: a table or a folder, or a pair of
      arrays. The test_images and test_labels of an .npz file, the test/ beside the train/ of a
      folder and the test split of TFDS are taken without it.
    checked: the path of a list of checked labels; see `checklist.apply`.
    image_size: the side in pixels to which image files are resized; None for 32.

  Raises:
    ValueError: one line that names the file, the column, the row (counted from 0) and the value.
  """
  if isinstance(source, (tuple, list)):
    if len(source) != 2:
      raise ValueError(f"arrays are a pair (inputs, labels), not {len(source)} things")
    _refuse("a pair of arrays", label=label, id=id, image=image, image_size=image_size)
    several = None if isinstance(votes, tuple) and not votes else votes
    known = None if isinstance(trusted, str) and not trusted else trusted
    return from_arrays(*source, votes=several, trusted=known, test=test, checked=checked)
  if not isinstance(source, (str, os.PathLike)) and not hasattr(source, "columns"):
    kind = type(source).__name__
    raise ValueError(f"a path, a DataFrame or a pair (inputs, labels) is needed, not a {kind}")
  several = (votes,) if isinstance(votes, str) else tuple(votes)
  if label and several:
    raise ValueError(
      f"label is {label!r} and there are votes: leave label empty, since the labels are then the "
      "most probable classes of the votes"
    )
  if not all(isinstance(name, str) for name in (*several, trusted)):
    raise ValueError(
      "votes and trusted are names of columns or keys; arrays of them go with a pair of arrays"
    )
  names = tables.Names(label, id, image, several, trusted)
  if twice := [name for i, name in enumerate(names.all) if name in names.all[:i]]:
    raise ValueError(
      f"{twice[0]!r} is named twice among label, votes, trusted, id and image: each needs its own"
    )
  with assembly.about(source if isinstance(source, (str, os.PathLike)) else "the table"):
    problem = _read(source, names, test, image_size)
  return problem if checked is None else checklist.apply(problem, checked)


def _read(source: Any, names: tables.Names, test: Any, image_size: int | None) -> Problem:
  """Reads anything but a pair of arrays."""
  if not isinstance(source, (str, os.PathLike)):
    return _table(source, names, test, image_size)
  path = pathlib.Path(os.path.expanduser(source))
  name, suffix = os.fspath(source), path.suffix.lower()
  if path.is_dir():
    _refuse("a folder of images", **dataclasses.asdict(names))
    return _folder(path, test, image_size or _IMAGE_SIZE)
  if suffix in frames.SUFFIXES:
    return _table(path, names, test, image_size)
  if suffix != ".npz" and name not in _PUBLISHED:
    if not path.exists():
      raise ValueError("no such file or folder")
    known = ", ".join((*frames.SUFFIXES, ".npz"))
    raise ValueError(f"is neither a folder nor one of {known}")
  _refuse(f"{suffix or 'a TFDS name'}", image=names.image, image_size=image_size)
  if suffix == ".npz":
    found = arrays.from_npz(path, names.id)
  else:
    _refuse("a TFDS name", id=names.id)
    found = arrays.from_tfds(name)
  if test is not None:
    if found.test is not None:
      raise ValueError("has data to test on of its own: leave test out")
    if not isinstance(test, (tuple, list)) or len(test) != 2:
      raise ValueError(f"test must be a pair (inputs, labels) of arrays here, not {test!r:.100}")
    found = dataclasses.replace(found, test=tuple(test))
  if not names.label and not names.votes:
    raise ValueError(f"say which key holds the given labels by `label`; it has {found.known()}")
  return found.problem(path.name, names.label, names.votes, names.trusted)


def _table(source: Any, names: tables.Names, test: Any, image_size: int | None) -> Problem:
  if not names.label and not names.votes:
    raise ValueError("say which column holds the given labels by `label`, or several by `votes`")
  if not names.image:
    _refuse("a table without a column of images", image_size=image_size)
  return tables.read(source, names, test, image_size or _IMAGE_SIZE)


def _folder(path: pathlib.Path, test: Any, image_size: int) -> Problem:
  """Reads a folder of images, in which the name of a directory is the given label."""
  train, part = folder.read_parts(path, image_size)
  if test is not None:
    if part is not None:
      raise ValueError("has a test/ of its own: leave test out, or name its train/")
    if not isinstance(test, (str, os.PathLike)):
      raise ValueError(f"test must be a folder here too, not a {type(test).__name__}")
    with assembly.about(test):
      part = folder.read_test(pathlib.Path(os.path.expanduser(test)), image_size, train)
  count, notes = len(train), train.notes
  if part is not None:
    notes = (*notes, *(f"test data: {note}" for note in part.notes))
  unknown = np.full(count, UNKNOWN, np.int32)
  given = Given(np.arange(count), train.labels, train.classes, unknown, notes=notes)
  assert train.images is not None
  pair = None if part is None or part.images is None else (part.images, part.labels)
  return assembly.assemble(path.resolve().name, train.images, train.ids, given, pair)


def _refuse(kind: str, **arguments: Any) -> None:
  """Raises ValueError for arguments that a kind of data has no use for."""
  for name, value in arguments.items():
    if value:
      raise ValueError(f"{name} is {value!r}, which {kind} has no use for: leave it out")
