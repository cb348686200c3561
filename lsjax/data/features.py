"""Columns of a table as features: numbers, dates and categories, encoded by scikit-learn.

What a column is follows from the whole table. What is counted from it (medians, categories, which
columns are constant) follows from the training rows alone.
"""

import dataclasses
import datetime
import decimal
import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np

from lsjax.data.classes import listed
from lsjax.data.dataset import moments
from lsjax.data.images import check_memory

MOST_CATEGORIES = 32
_BLOCK = 65_536  # rows that are encoded at once
_DATE = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?"
_MOSTLY = 0.9  # a column with so many numbers among its values is meant to be numeric


@dataclasses.dataclass(frozen=True)
class Encoder:
  """An encoding that was fitted on the training rows of a table.

  Attributes:
    kinds: "number", "date" or "category" of each column that is a feature.
    names: the names of the D features.
    is_number: whether each feature is a number to be standardised, bool [D]; the others are 0 or 1.
    notes: what is odd in the columns, a sentence each.
    transformer: the fitted ColumnTransformer.
  """

  kinds: dict[str, str]
  names: tuple[str, ...]
  is_number: np.ndarray
  notes: tuple[str, ...]
  transformer: Any

  def encode(self, frame: Any) -> np.ndarray:
    """Encodes the rows of a table, which may hold other columns too.

    Returns:
      float32 [N, D].

    Raises:
      ValueError: one line that names the column, the row and the value, for a missing column and
        for a value that is not of its column's kind or not finite.
    """
    if lacking := [name for name in self.kinds if name not in frame.columns]:
      raise ValueError(f"has no column {lacking[0]!r}, which is a feature of the training data")
    check_memory(4 * len(frame) * len(self.names), "leave out columns or rows")
    out = np.empty((len(frame), len(self.names)), np.float32)
    for start in range(0, len(frame), _BLOCK):
      block = frame.iloc[start : start + _BLOCK]
      out[start : start + _BLOCK] = self.transformer.transform(_typed(block, self.kinds))
    return out

  def normalization(self, encoded: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the moments of encoded rows by which a network normalises, of numbers alone.

    A rare category, divided by its small deviation, would be louder than every number.
    """
    mean, std = map(np.array, moments(encoded))
    mean, std = np.where(self.is_number, mean, 0), np.where(self.is_number, std, 1)
    return tuple(mean.tolist()), tuple(std.tolist())


def fit(frame: Any, rows: np.ndarray) -> Encoder:
  """Fits an encoding.

  Missing numbers become the median, and a further feature says that they were missing. A category
  becomes a feature of 0 or 1; from the 32nd most frequent on, categories are one, as is any that
  the training rows lack. A missing category is a category. Dates are days since 1970.

  Args:
    frame: all columns that may be features, a pandas DataFrame.
    rows: the positions of the training rows.

  Raises:
    ValueError: one line, for values that are no features and if no feature is left.
  """
  from sklearn.compose import ColumnTransformer
  from sklearn.impute import SimpleImputer
  from sklearn.preprocessing import OneHotEncoder

  notes: list[str] = []
  kinds = {name: _kind(frame[name], name, notes) for name in frame.columns}
  typed = _typed(frame.iloc[rows], kinds)
  counts = typed.nunique(dropna=False)
  if constant := [name for name in kinds if counts[name] < 2]:
    notes.append(f"columns with one value alone are left out: {listed(constant)}")
  texts = [
    name
    for name in kinds
    if kinds[name] == "category" and counts[name] > max(MOST_CATEGORIES, typed[name].count() / 2)
  ]
  if texts:
    notes.append(f"columns of text or names, different in most rows, are left out: {listed(texts)}")
  kinds = {name: kind for name, kind in kinds.items() if name not in {*constant, *texts}}
  if not kinds:
    raise ValueError("has no column left that could be a feature")
  measured = [name for name, kind in kinds.items() if kind != "category"]
  categories = [name for name, kind in kinds.items() if kind == "category"]
  notes += _blurred(typed[measured])
  encode = OneHotEncoder(
    max_categories=MOST_CATEGORIES,
    handle_unknown="infrequent_if_exist",
    sparse_output=False,
    dtype=np.float32,
  )
  fill = SimpleImputer(strategy="median", add_indicator=True)
  transformer = ColumnTransformer(
    [("numbers", fill, measured), ("categories", encode, categories)],
    verbose_feature_names_out=False,
  )
  transformer.fit(typed[list(kinds)])
  names = tuple(map(str, transformer.get_feature_names_out()))
  is_number = np.arange(len(names)) < len(measured)
  return Encoder(kinds, names, is_number, tuple(notes), transformer)


def storable(frame: Any) -> Any:
  """Returns columns that are encoded alike and hold one type each, as a .parquet file needs them.

  Raises:
    ValueError: one line, for values that are no features.
  """
  import pandas as pd

  found = {}
  for name in frame.columns:
    column, kind = frame[name], _kind(frame[name], name, [])
    if isinstance(column.dtype, pd.CategoricalDtype):
      column = _strings(column, name).astype("category")
    elif column.dtype == object:
      column = (_numbers if kind == "number" else _strings)(column, name)
    found[name] = column
  return pd.DataFrame(found, index=frame.index)


def _blurred(frame: Any) -> Iterator[str]:
  """Yields a sentence on each column whose differences float32 hardly holds."""
  for name in frame.columns:
    if frame[name].std() < 1e-5 * abs(frame[name].mean()):
      yield f"column {name!r} differs too little for its size to be seen: subtract its mean"


def _kind(column: Any, name: str, notes: list[str]) -> str:
  """Returns what a column is, and adds what is odd in it to the notes."""
  import pandas as pd

  types = pd.api.types
  if isinstance(column.dtype, pd.CategoricalDtype):
    return "category"
  if types.is_bool_dtype(column) or types.is_numeric_dtype(column):
    return "number"
  if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
    return "date"
  present = column[column.notna()]
  for row, value in present.items():
    if not isinstance(value, (str, numbers.Real, decimal.Decimal, datetime.date)):
      raise ValueError(f"column {name!r}, row {row}: a {type(value).__name__} is no feature")
  if not len(present) or all(isinstance(v, (numbers.Real, decimal.Decimal)) for v in present):
    return "number"
  if all(isinstance(value, datetime.date) for value in present):
    return "date"
  texts = present.map(str)
  if texts.str.fullmatch(_DATE).all():
    return "date"
  is_number = pd.to_numeric(texts, errors="coerce").notna()
  if is_number.mean() >= _MOSTLY:
    row = is_number.idxmin()
    notes.append(
      f"column {name!r} is read as categories because of {texts[row]!r} in row {row}, though "
      f"{is_number.sum()} of {len(texts)} values are numbers"
    )
  return "category"


def _typed(frame: Any, kinds: dict[str, str]) -> Any:
  """Returns columns as float64, or as strings where they are categories; checks the values."""
  import pandas as pd

  convert = {"number": _numbers, "date": _days, "category": _strings}
  columns = {name: convert[kind](frame[name], name) for name, kind in kinds.items()}
  return pd.DataFrame(columns, index=frame.index)


def _strings(column: Any, name: str) -> Any:
  del name
  found = column.astype(object)
  return found.where(column.isna(), found.map(str)).where(column.notna(), np.nan)


def _numbers(column: Any, name: str) -> Any:
  import pandas as pd

  if column.dtype.kind == "c":
    raise ValueError(f"column {name!r} holds complex numbers, which are no features")
  found = pd.to_numeric(column.astype(object).where(column.notna(), np.nan), errors="coerce")
  found = found.astype(np.float64)
  _refuse(column, found.isna() & column.notna(), name, "is no number")
  too_large = found.abs() > np.finfo(np.float32).max
  _refuse(column, too_large, name, "is not finite in single precision")
  return found


def _days(column: Any, name: str) -> Any:
  import pandas as pd

  if pd.api.types.is_timedelta64_dtype(column):
    return column / pd.Timedelta(days=1)
  times = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
  _refuse(column, times.isna() & column.notna(), name, "is no date")
  return (times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)


def _refuse(column: Any, is_wrong: Any, name: str, why: str) -> None:
  if is_wrong.any():
    row = is_wrong.idxmax()
    raise ValueError(f"column {name!r}, row {row}: {column[row]} {why}")
