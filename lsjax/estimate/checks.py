"""Checks of arguments that several estimators share."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lsjax import labels as labels_lib
from lsjax import transition as transition_lib


def rows(array: ArrayLike, name: str, columns: str) -> NDArray[np.float64]:
  """Checks that an array has two dimensions, at least one row and only finite numbers.

  Args:
    array: Numbers of shape [N, C].
    name: What the message calls the array.
    columns: What the message calls the second dimension.

  Returns:
    The numbers in float64, perhaps the array itself: it must not be written to.

  Raises:
    ValueError: If the array has another shape, or a number that is not finite.

  Examples:
    >>> rows([[0.0, float("inf")]], "logits", "L")
    Traceback (most recent call last):
    ...
    ValueError: logits[0, 1] = inf is not finite
  """
  found = np.asarray(array, np.float64)
  if found.ndim != 2 or 0 in found.shape:
    raise ValueError(
      f"{name} must have shape [N, {columns}] with N and {columns} at least 1, not "
      f"{list(found.shape)}"
    )
  broken = ~np.isfinite(found)
  if broken.any():
    i, j = np.argwhere(broken)[0]
    raise ValueError(f"{name}[{i}, {j}] = {found[i, j]} is not finite")
  return found


def probabilities(array: ArrayLike, name: str = "probabilities") -> NDArray[np.float64]:
  """Checks that the rows of an array are distributions over classes, and normalises them.

  Args:
    array: Probabilities of shape [N, L], at least one row and two classes. The sum of a row may
      differ from 1 by `transition.ROW_SUM_TOLERANCE`.
    name: What the message calls the array.

  Returns:
    A new float64 array of shape [N, L], each row divided by its sum.

  Raises:
    ValueError: If the array has another shape, an entry that is negative or not finite, or a row
      with another sum.

  Examples:
    >>> probabilities([[0.5, 0.5], [0.5, 0.4]])
    Traceback (most recent call last):
    ...
    ValueError: probabilities[1] sums to 0.9, not 1
  """
  found = rows(array, name, "L")
  if found.shape[1] < 2:
    raise ValueError(f"{name} must have at least 2 classes, not 1")
  negative = found < 0
  if negative.any():
    i, j = np.argwhere(negative)[0]
    raise ValueError(f"{name}[{i}, {j}] = {found[i, j]:g} is negative")
  sums = found.sum(axis=1)
  wrong = np.flatnonzero(np.abs(sums - 1) > transition_lib.ROW_SUM_TOLERANCE)
  if wrong.size:
    raise ValueError(f"{name}[{wrong[0]}] sums to {sums[wrong[0]]:g}, not 1")
  return found / sums[:, None]


def paired(
  labels: ArrayLike, num_examples: int, num_classes: int | None, name: str, other: str
) -> NDArray[np.int32]:
  """Checks that there is one label in [0, L) for each row of another array.

  Args:
    labels: Labels, integers of shape [N].
    num_examples: Number of rows N of the other array.
    num_classes: Number of classes L, or None for any.
    name: What the message calls the labels.
    other: What the message calls the other array.

  Returns:
    The labels as int32 of shape [N].

  Raises:
    ValueError: If the labels are not integers in [0, L), or not N of them.

  Examples:
    >>> paired([0, 1], 3, 2, "labels", "probabilities")
    Traceback (most recent call last):
    ...
    ValueError: labels has 2 examples, but probabilities has 3
  """
  found = labels_lib.check(labels, num_classes, name=name)
  if len(found) != num_examples:
    raise ValueError(f"{name} has {len(found)} examples, but {other} has {num_examples}")
  return found


def shares(values: ArrayLike, size: int, name: str) -> NDArray[np.float64]:
  """Checks numbers of at least 0, and divides them by their sum.

  Args:
    values: Numbers of shape [n], at least 0, with a positive sum.
    size: Number n of them.
    name: What the message calls them.

  Returns:
    A new float64 array of shape [n] with sum 1.

  Raises:
    ValueError: If the numbers have another shape, or if one is negative or not finite, or if all
      are 0.

  Examples:
    >>> shares([3, -1], 2, "prior")
    Traceback (most recent call last):
    ...
    ValueError: prior[1] = -1.0 is not a number of at least 0
  """
  found = np.asarray(values, np.float64)
  if found.shape != (size,):
    raise ValueError(f"{name} must have shape [{size}], not {list(found.shape)}")
  wrong = ~np.isfinite(found) | (found < 0)
  if wrong.any():
    index = int(wrong.argmax())
    raise ValueError(f"{name}[{index}] = {found[index]} is not a number of at least 0")
  if not found.any():
    raise ValueError(f"{name} must have a positive sum, not 0")
  return found / found.sum()


def at_least(value: int, least: int, name: str) -> None:
  """Checks that a number is not too small.

  Args:
    value: The number.
    least: Least number that is allowed.
    name: What the message calls the number.

  Raises:
    ValueError: If the number is smaller.

  Examples:
    >>> at_least(1, 2, "num_classes")
    Traceback (most recent call last):
    ...
    ValueError: num_classes must be at least 2, not 1
  """
  if value < least:
    raise ValueError(f"{name} must be at least {least}, not {value}")
