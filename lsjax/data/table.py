"""A table in a .csv, .tsv or .parquet file, or in memory, as labelled examples."""

import csv
import difflib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lsjax import config as config_lib
from lsjax.data import classes as classes_lib
from lsjax.data import examples as examples_lib
from lsjax.data import images
from lsjax.data.classes import Coded, Name, listed
from lsjax.data.dataset import Dataset
from lsjax.data.examples import Examples
from lsjax.validation import one_line

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
# What a field of a feature says where its value is missing. In labels and ids nothing is missing
# but what is empty or not a number: NA and None are names of classes.
_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A", "<NA>")
_EMPTY = ("", "NaN", "nan")
_NAMELESS = "Unnamed: "  # as pandas calls them


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
      test = _examples(_file(path, section), section, path.parent, train.classes)
      column = section.true_label if test.true_labels is not None else section.label
      examples_lib.check_test(test, train.classes, f"the label ({column!r})")
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
  _check_columns(list(frame.columns), [column])
  names = sorted(set(frame[column].dropna().map(str)))
  return [(name, pathlib.Path(path).parent / name) for name in names]


def _same_columns(train: Any, test: Any) -> None:
  if lacking := [name for name in train.columns if name not in test.columns]:
    raise ValueError(f"has no column {lacking[0]!r}, which the training table has")


def _file(path: pathlib.Path, section: config_lib.Data) -> Any:
  """Reads a file as a pandas DataFrame."""
  import pandas as pd

  suffix = path.suffix.lower()
  if suffix not in (*_SEPARATORS, ".parquet"):
    raise ValueError("is no table: a .csv, .tsv or .parquet file is needed")
  try:
    images.check_memory(path.stat().st_size, "data.name=npz reads larger data")
    if suffix == ".parquet":
      from pyarrow import parquet

      facts = parquet.read_metadata(path)  # a small file may hold many equal values
      images.check_memory(8 * facts.num_rows * facts.num_columns, "leave out columns or rows")
      return pd.read_parquet(path, engine="pyarrow")
    separator = _SEPARATORS[suffix]
    header = _check_lines(path, separator)
    literal = {section.label, section.true_label, section.id, section.image}
    return pd.read_csv(
      path,
      sep=separator,
      encoding="utf-8-sig",
      header=0,
      names=header,
      index_col=False,
      low_memory=False,
      keep_default_na=False,
      na_values={name: list(_EMPTY if name in literal else _MISSING) for name in header},
      dtype={name: str for name in (section.id, section.image) if name in header},
    )
  except FileNotFoundError:
    raise ValueError("no such file") from None
  except (ValueError, ModuleNotFoundError):
    raise
  except Exception as error:  # pandas and pyarrow raise many kinds for damaged files
    raise ValueError(f"cannot be read as a table ({one_line(error)})") from error


def _check_lines(path: pathlib.Path, separator: str) -> list[str]:
  """Checks that every row has the fields of the header; returns their names."""
  with path.open(encoding="utf-8-sig", newline="") as file:
    rows = csv.reader(_plain(file), delimiter=separator)
    try:
      header = [name.strip() or f"{_NAMELESS}{i}" for i, name in enumerate(next(rows, []))]
      if not header:
        raise ValueError("is empty: a header with the names of columns is needed")
      first, count = 1, 0
      for row in rows:
        if row and len(row) != len(header):
          quote = " (or is a quotation mark not closed?)" if rows.line_num > first + 1 else ""
          raise ValueError(
            f"line {first + 1} has {len(row)} fields, and the header {len(header)}{quote}"
          )
        first, count = rows.line_num, count + bool(row)
    except csv.Error as error:
      raise ValueError(f"line {rows.line_num} cannot be read ({error})") from None
    except UnicodeDecodeError:
      raise ValueError(f"line {_undecoded(path)} is not UTF-8; save the file as UTF-8") from None
  _check_columns(header, [])
  if not count:
    raise ValueError("holds a header and no rows")
  other = next((s for s in ";\t," if s in header[0]), None) if len(header) == 1 else None
  if other is not None:
    raise ValueError(
      f"has one column, {header[0]!r}: separate the fields by {separator!r} instead of {other!r}"
    )
  return header


def _plain(lines: Any) -> Iterator[str]:
  for line in lines:
    if "\0" in line:
      raise csv.Error("it holds a zero byte")
    yield line


def _undecoded(path: pathlib.Path) -> int:
  """Returns the number of the first line that is not UTF-8, counted from 1."""
  with path.open("rb") as file:
    for number, line in enumerate(file, 1):
      try:
        line.decode()
      except UnicodeDecodeError:
        return number
  return 1


def _check_columns(names: Sequence[str], wanted: Sequence[str]) -> None:
  if twice := [name for i, name in enumerate(names) if name and name in names[:i]]:
    raise ValueError(f"has two columns {twice[0]!r}")
  for name in wanted:
    if name not in names:
      near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
      known = f"did you mean {listed(near)}?" if near else f"it has {listed(names)}"
      raise ValueError(f"has no column {name!r}; {known}")


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
  if section.id in frame.index.names:
    frame = frame.reset_index(section.id)
  frame = frame.reset_index(drop=True)
  frame.columns = [str(name).strip() for name in frame.columns]
  true_label = section.true_label
  if is_test and true_label not in frame.columns:
    true_label = ""  # clean labels may be the only ones
  elif is_test and true_label and section.label not in frame.columns:
    frame[section.label] = frame[true_label]
  special = [name for name in (section.label, true_label, section.id, section.image) if name]
  _check_columns(list(frame.columns), special)
  coded = classes_lib.coded(frame[section.label], section.label)
  true = classes_lib.coded(frame[true_label], true_label) if true_label else None
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
    notes += _names_of_nothing(coded, section.label)
  ids = _ids(frame[section.id], section.id) if section.id else rows
  pictures = _images(frame[section.image], section, directory) if section.image else None
  others = [name for name in frame.columns if name not in special and name != section.true_label]
  if nameless := [name for name in others if not name or name.startswith(_NAMELESS)]:
    others = [name for name in others if name not in nameless]
    notes.append("columns without a name, such as row numbers, are left out")
  if pictures is None and not others:
    raise ValueError("has no column of features beside the labels")
  return Examples(ids, labels, classes, true_labels, pictures, frame[others], tuple(notes))


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


def _names_of_nothing(coded: Coded, column: str) -> list[str]:
  """Says which classes have a name that elsewhere stands for a missing value."""
  found = [value for value in coded.values if value in _MISSING]
  if not found:
    return []
  return [f"column {column!r}: {listed(found)} is taken as a class; a missing label is empty"]


def _ids(column: Any, name: str) -> np.ndarray:
  """Returns distinct ids: integers if all of them are, or strings."""
  if column.isna().any():
    raise ValueError(f"column {name!r}, row {column.isna().idxmax()}: the id is missing")
  texts = column.map(lambda v: str(int(v)) if isinstance(v, float) and v.is_integer() else str(v))
  if texts.duplicated().any():
    row = texts.duplicated().idxmax()
    first = (texts == texts[row]).idxmax()
    raise ValueError(f"column {name!r}: rows {first} and {row} have the same id {texts[row]!r}")
  if texts.str.fullmatch(r"0|-?[1-9][0-9]{0,17}").all():
    return texts.astype(np.int64).to_numpy()
  return np.array(texts.tolist(), np.str_)


def _images(column: Any, section: config_lib.Data, directory: pathlib.Path) -> np.ndarray:
  paths = []
  for row, name in column.items():
    try:
      if not isinstance(name, str):
        raise ValueError("the path of the image is missing")
      paths.append(images.inside(directory, name))
    except ValueError as error:
      raise ValueError(f"column {section.image!r}, row {row}: {error}") from None
  return images.read(paths, section.image_size)
