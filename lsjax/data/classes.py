"""Classes from what people write into a column of labels: strings, numbers, true and false."""

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Name = str | int | float | bool
"""The name of a class as JSON can hold it."""

LEAST_EXAMPLES = 10
MOST_CLASSES = 2000
_MOST_FRACTIONS = 20  # different numbers with a fraction, from which they are a quantity
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Coded:
  """A column of labels by its different values.

  Attributes:
    codes: the index of each row's value in `values`, [N]; -1 where the value is missing.
    values: the different values.
  """

  codes: np.ndarray
  values: tuple[Name, ...]

  def labels(self, classes: Sequence[Name]) -> np.ndarray:
    """Returns the class of each row, int32 [N]: -1 for a missing value, -2 for one of no class."""
    index = {str(name): i for i, name in enumerate(classes)}
    of_values = [index.get(str(value), -2) for value in self.values]
    return np.array([*of_values, -1], np.int32)[self.codes]


def coded(column: Any, what: str) -> Coded:
  """Finds the different values of a pandas column of labels.

  Integers that pandas holds as floating point, as it does beside missing values, are integers.

  Args:
    column: the column.
    what: what messages call it, such as "column 'species'".

  Raises:
    ValueError: one line, for a value that is neither a string nor a finite number.
  """
  import pandas as pd

  codes, uniques = pd.factorize(column.astype(object), use_na_sentinel=True)
  return Coded(codes, _plain(codes, uniques, what))


def coded_array(array: np.ndarray, what: str, *, unknown: int | None = None) -> Coded:
  """Finds the different values of an array of labels.

  NaN, None and empty strings are missing values.

  Args:
    array: labels [N].
    what: what messages call the array, such as "labels".
    unknown: a negative integer that stands for a missing value too; None if there is no such
      integer. Other negative integers are errors, since they may be meant so.

  Raises:
    ValueError: one line, for another shape, for a negative integer, and for a value that is neither
      a string nor a finite number.
  """
  if array.ndim != 1:
    raise ValueError(f"{what} must have shape [N], not {list(array.shape)}")
  index: dict[Any, int] = {}
  if array.dtype.kind == "O":
    absent = np.array([_is_absent(v) for v in array.tolist()], bool)
    found = [index.setdefault(str(v), len(index)) for v in array[~absent].tolist()]
    _, firsts = np.unique(np.array(found, np.intp), return_index=True)
    uniques, inverse = array[~absent][firsts], np.array(found, np.intp)
  else:
    absent = array == "" if array.dtype.kind == "U" else array != array
    if unknown is not None and array.dtype.kind in "if":
      absent |= array == unknown
    uniques, inverse = np.unique(array[~absent], return_inverse=True)
  codes = np.full(len(array), -1, np.intp)
  codes[~absent] = inverse
  values = _plain(codes, uniques, what)
  for i, value in enumerate(values):
    if isinstance(value, int) and value < 0:
      row = int((codes == i).argmax())
      hint = "" if unknown is None else f", and {unknown} is a missing label"
      raise ValueError(f"{what}, row {row}: {value} is no class; classes count from 0{hint}")
  return Coded(codes, values)


def _is_absent(value: Any) -> bool:
  try:
    return value is None or bool(value == "") or not bool(value == value)
  except TypeError:  # the missing value of pandas equals nothing, not even falsely
    return True


def _plain(codes: np.ndarray, uniques: Iterable[Any], what: str) -> tuple[Name, ...]:
  """Returns different values as names of classes, or raises ValueError."""
  values: list[Name] = []
  for i, value in enumerate(uniques):
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and plain.is_integer():
      plain = int(plain)
    if not isinstance(plain, Name) or (isinstance(plain, float) and not np.isfinite(plain)):
      row = int((codes == i).argmax())
      raise ValueError(f"{what}, row {row}: {value!r} is no class; classes are strings or numbers")
    values.append(plain)
  return tuple(values)


def ordered(values: Iterable[Name]) -> tuple[Name, ...]:
  """Returns the classes of a data set in their order: numbers by size, strings by the alphabet.

  Strings and numbers together are all strings.
  """
  found = {str(value): value for value in values}  # "1" beside 1 is one class
  if len({isinstance(value, str) for value in found.values()}) > 1:
    return tuple(sorted(found))
  return tuple(sorted(found.values()))


def listed(names: Sequence[object]) -> str:
  """Returns the first few names for a message."""
  return ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")


def check(
  labels: np.ndarray, classes: Sequence[Name], what: str, rows: np.ndarray | None = None
) -> list[str]:
  """Checks that labels are enough to learn from, and says what is odd.

  Args:
    labels: the labels of all rows that have one, integers [N].
    classes: the names of the classes.
    what: where the labels are, such as "column 'species'".
    rows: the row of each label, [N]; None where labels are no column, so that they are no quantity.

  Returns:
    Remarks, a sentence each.

  Raises:
    ValueError: one line: for fewer than ten examples, for one class alone, and for values that
      look like a quantity or an id.
  """
  if len(labels) < LEAST_EXAMPLES:
    raise ValueError(
      f"{what} has {len(labels)} examples with a label; at least {LEAST_EXAMPLES} are needed"
    )
  counts = np.bincount(labels, minlength=len(classes))
  present = [name for name, count in zip(classes, counts) if count]
  if len(present) < 2:
    raise ValueError(f"{what} holds one class, {present[0]!r}; at least two are needed")
  remarks = []
  if rows is not None and (odd := odd_value(labels, classes)):
    at, why = odd
    raise ValueError(
      f"{what} holds {len(present)} different values in {len(labels)} examples, such as "
      f"{classes[labels[at]]!r} in row {rows[at]}: {why}"
    )
  if alone := [name for name, count in zip(classes, counts) if count == 1]:
    remarks.append(f"{what}: {len(alone)} classes have a single example ({listed(alone)})")
  alike = collections.defaultdict(list)
  for name in present:
    alike[" ".join(str(name).split()).casefold()].append(name)
  if twins := [names for names in alike.values() if len(names) > 1]:
    remarks.append(f"{what}: {listed(twins[0])} differ in case or spaces alone, and are classes")
  return remarks


def odd_value(labels: np.ndarray, classes: Sequence[Name]) -> tuple[int, str] | None:
  """Finds a value by which labels look like a quantity or an id.

  Args:
    labels: the labels of all rows that have one, integers [N].
    classes: the names of the classes.

  Returns:
    Where the value is, and why it is odd; None if the labels look like labels.
  """
  count = len(np.unique(labels))
  fractions = np.array([isinstance(name, float) for name in classes])[labels]
  if fractions.any() and count > _MOST_FRACTIONS:
    return int(fractions.argmax()), "a quantity is no class"
  if count > min(MOST_CLASSES, len(labels) / 2):
    return 0, "is it a number or an id?"
  return None
