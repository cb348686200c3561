"""Tables as pandas DataFrames: read from files, and their columns of ids, images and features."""

import pathlib
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from lsjax import regular
from lsjax.data import images, separated
from lsjax.data.classes import listed
from lsjax.validation import one_line

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*_SEPARATORS, ".parquet")
# What a field of a feature says where its value is missing. In labels and ids nothing is missing
# but what is empty or not a number: NA and None are names of classes.
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A", "<NA>")
_EMPTY = ("", "NaN", "nan")


def read(
  path: pathlib.Path,
  *,
  labels: Collection[str] = (),
  texts: Collection[str] = (),
  categories: Collection[str] = (),
) -> Any:
  """Reads a file as a pandas DataFrame.

  Args:
    path: a .csv, .tsv or .parquet file.
    labels: the columns of labels, in which nothing is missing but what is empty.
    texts: the columns of ids and of names of files, which stay as they are written.
    categories: columns of strings, even if all of them look like numbers.

  Raises:
    ValueError: one line that does not name the file.
  """
  import pandas as pd

  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise ValueError("is no table: a .csv, .tsv or .parquet file is needed")
  try:
    images.check_memory(regular.check(path), "data.name=npz reads larger data")
    if suffix == ".parquet":
      from pyarrow import parquet

      facts = parquet.read_metadata(path)  # a small file may hold many equal values
      images.check_memory(8 * facts.num_rows * facts.num_columns, "leave out columns or rows")
      return pd.read_parquet(path, engine="pyarrow")
    separator = _SEPARATORS[suffix]
    header = separated.header(path, separator)
    literal = {*labels, *texts}
    return pd.read_csv(
      path,
      sep=separator,
      encoding="utf-8-sig",
      header=0,
      names=header,
      index_col=False,
      low_memory=False,
      keep_default_na=False,
      na_values={name: list(_EMPTY if name in literal else MISSING) for name in header},
      dtype={name: str for name in (*texts, *categories) if name in header},
    )
  except FileNotFoundError:
    raise ValueError("no such file") from None
  except (ValueError, ModuleNotFoundError):
    raise
  except Exception as error:  # pandas and pyarrow raise many kinds for damaged files
    raise ValueError(f"cannot be read as a table ({one_line(error)})") from error


def cleaned(frame: Any, id: str) -> Any:
  """Returns a table with rows counted from 0, and with names of columns that are plain strings.

  Args:
    frame: the table, which is left as it is.
    id: the column of ids, which may be the index of the table; "" if there is none.
  """
  if id in frame.index.names:
    frame = frame.reset_index(id)
  frame = frame.reset_index(drop=True)
  frame.columns = [str(name).strip() for name in frame.columns]
  return frame


def features(frame: Any, special: Collection[str], notes: list[str]) -> Any:
  """Returns the columns that are not special, and adds to the notes what else is left out."""
  others = [name for name in frame.columns if name not in special]
  named = [name for name in others if name and not name.startswith(separated.NAMELESS)]
  if len(named) < len(others):
    notes.append("columns without a name, such as row numbers, are left out")
  return frame[named]


def names_of_nothing(values: Iterable[object], what: str) -> list[str]:
  """Says which classes have a name that elsewhere stands for a missing value."""
  found = [value for value in values if value in MISSING]
  return [f"{what}: {listed(found)} is taken as a class; a missing label is empty"] if found else []


def ids(column: Any, name: str) -> np.ndarray:
  """Returns distinct ids: integers if all of them are, or strings.

  Raises:
    ValueError: one line that names the column and the row, for an id that is missing or not the
      only one.
  """
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


def pictures(column: Any, name: str, directory: pathlib.Path, size: int) -> np.ndarray:
  """Reads the images that a column names.

  Args:
    column: paths of images, relative to the directory.
    name: the name of the column.
    directory: the directory that holds the images.
    size: the side of the images in pixels; see `lsjax.data.images.read`.

  Returns:
    uint8 [N, size, size, 3].

  Raises:
    ValueError: one line that names the column and the row.
  """
  paths = []
  for row, path in column.items():
    try:
      if not isinstance(path, str):
        raise ValueError("the path of the image is missing")
      paths.append(images.inside(directory, path))
    except ValueError as error:
      raise ValueError(f"column {name!r}, row {row}: {error}") from None
  return images.read(paths, size)
