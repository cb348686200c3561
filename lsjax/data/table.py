"""A table in a .csv, .tsv or .parquet file, or in memory, as labelled examples."""

import os
import pathlib
from typing import Any

import numpy as np

from lsjax import config as config_lib
from lsjax.data import classes as classes_lib
from lsjax.data import examples as examples_lib
from lsjax.data import frames, separated
from lsjax.data.classes import Coded, Name
from lsjax.data.dataset import Dataset
from lsjax.data.examples import Examples


def read_table(
  source: str | os.PathLike[str] | Any,
  *,
  label: str,
  true_label: str = "",
  id: str = "",
  image: str = "",
  image_size: int = 224,
  directory: str | os.PathLike[str] | None = None,
) -> Examples:
  """Reads labelled examples from a table.

  Rows without a label are left out and counted in the notes. Rows are counted from 0, the header
  of a file left out.

  Args:
    source: the path of a .csv, .tsv or .parquet file, or a pandas DataFrame.
    label: the column of the labels.
    true_label: the column of clean labels, or "".
    id: the column of ids, or "" for row numbers.
    image: the column with the paths of images, or "" if the other columns are the features.
    image_size: the side of the images in pixels; see `lsjax.data.images.read`.
    directory: the directory that the paths of images are relative to and that holds the images;
      None for that of the file, or the current one for a DataFrame.

  Raises:
    ValueError: one line that names the file and what is wrong with which column, row and value.

  ```
  examples = data.read_table("plants.csv", label="species", id="specimen")
  examples.inputs()  # float32 [N, D]
  examples.classes  # ("setosa", "versicolor", "virginica")
  ```
  """
  section = config_lib.Data(
    name="table", label=label, true_label=true_label, id=id, image=image, image_size=image_size
  )
  is_file = isinstance(source, (str, os.PathLike))
  name = os.fspath(source) if is_file else "the table"
  try:
    frame = _file(pathlib.Path(source), section) if is_file else source
    where = directory or (pathlib.Path(source).parent if is_file else ".")
    return _examples(frame, section, pathlib.Path(where))
  except ValueError as error:
    raise ValueError(f"{name}: {error}") from error


def load(section: config_lib.Data, *, given: bool, seed: int) -> Dataset:
  """Loads the table, or the two tables, that a data section names.

  Raises:
    ValueError: one line about section.path; a `ConfigError` if it is about section.test_path.
  """
  path, test = pathlib.Path(section.path), None
  train = _examples(_file(path, section), section, path.parent)
  if section.test_path:
    path = pathlib.Path(section.test_path)
    with config_lib.naming("data.test_path", section.test_path):
      test = read_test(_file(path, section), section, path.parent, train.classes)
      if test.columns is not None and train.images is None:
        _same_columns(train.columns, test.columns)
  return examples_lib.to_dataset(
    train, test, name=section.label, given=given, share=section.test_share, seed=seed
  )


def image_files(path: str, column: str) -> list[tuple[str, pathlib.Path]]:
  """Returns the name and the path of each image that a table names, for the run's digests.

  Raises:
    ValueError: one line, if the table cannot be read.
  """
  frame = _file(pathlib.Path(path), config_lib.Data(image=column))
  separated.check_columns(list(frame.columns), [column])
  names = sorted(set(frame[column].dropna().map(str)))
  return [(name, pathlib.Path(path).parent / name) for name in names]


def read_test(
  frame: Any, section: config_lib.Data, directory: pathlib.Path, classes: tuple[Name, ...]
) -> Examples:
  """Makes examples to test on of a DataFrame.

  Args:
    frame: the table.
    section: the columns; that of true labels or that of labels may be absent.
    directory: where images are.
    classes: the classes of the training table.

  Raises:
    ValueError: one line that does not name the table.
  """
  test = _examples(frame, section, directory, classes)
  column = section.true_label if test.true_labels is not None else section.label
  examples_lib.check_test(test, classes, f"the label ({column!r})")
  return test


def _same_columns(train: Any, test: Any) -> None:
  if lacking := [name for name in train.columns if name not in test.columns]:
    raise ValueError(f"has no column {lacking[0]!r}, which the training table has")


def _file(path: pathlib.Path, section: config_lib.Data) -> Any:
  labels, texts = (section.label, section.true_label), (section.id, section.image)
  return frames.read(path, labels=labels, texts=texts)


def _examples(
  frame: Any,
  section: config_lib.Data,
  directory: pathlib.Path,
  classes: tuple[Name, ...] | None = None,
) -> Examples:
  """Makes labelled examples of a DataFrame.

  Args:
    frame: the table.
    section: the columns.
    directory: where images are.
    classes: the classes of the training table, for a table to test on.
  """
  is_test, notes = classes is not None, []
  frame = frames.cleaned(frame, section.id)
  true_label = section.true_label
  if is_test and true_label not in frame.columns:
    true_label = ""  # clean labels may be the only ones
  elif is_test and true_label and section.label not in frame.columns:
    frame[section.label] = frame[true_label]
  special = [name for name in (section.label, true_label, section.id, section.image) if name]
  separated.check_columns(list(frame.columns), special)
  coded = classes_lib.coded(frame[section.label], f"column {section.label!r}")
  true = classes_lib.coded(frame[true_label], f"column {true_label!r}") if true_label else None
  used = true if is_test and true is not None else coded
  has_label = used.codes >= 0
  frame, rows = frame[has_label], np.flatnonzero(has_label)
  if not len(rows):
    raise ValueError(f"column {section.label!r} holds no label")
  if absent := int((~has_label).sum()):
    notes.append(f"{absent} rows without a label in {section.label!r} are left out")
  if classes is None:
    classes = classes_lib.ordered([*coded.values, *(true.values if true else ())])
  labels = coded.labels(classes)[has_label]
  true_labels = None if true is None else _true_labels(true, true_label, classes, rows)
  if not is_test:
    what = f"column {section.label!r}"
    notes += classes_lib.check(labels, classes, what, rows)
    notes += frames.names_of_nothing(coded.values, what)
  ids = frames.ids(frame[section.id], section.id) if section.id else rows
  pictures = None
  if section.image:
    pictures = frames.pictures(frame[section.image], section.image, directory, section.image_size)
  others = frames.features(frame, {*special, section.true_label}, notes)
  if pictures is None and others.empty:
    raise ValueError("has no column of features beside the labels")
  return Examples(ids, labels, classes, true_labels, pictures, others, tuple(notes))


def _true_labels(
  true: Coded, column: str, classes: tuple[Name, ...], rows: np.ndarray
) -> np.ndarray:
  labels = true.labels(classes)[rows]
  if absent := int((labels == -1).sum()):
    raise ValueError(
      f"column {column!r} is empty in {absent} of {len(rows)} rows with a label, such as row "
      f"{rows[(labels == -1).argmax()]}; leave data.true_label out and give rows with known labels "
      "as data.test_path"
    )
  return labels
