"""Whether a matrix is a transition matrix, its inverse, and its estimate from pairs of labels."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lsjax import labels

ROW_SUM_TOLERANCE = 1e-4
"""How far the sum of a row may be from 1, so that matrices rounded to float32 pass."""

# Above this condition number float64 keeps too few digits of an inverse to be of use.
_LARGEST_CONDITION = 1e12


def estimate(clean: ArrayLike, noisy: ArrayLike, num_classes: int) -> NDArray[np.float64]:
  """Estimates a transition matrix by counting pairs of clean and noisy labels.

  Args:
    clean: True labels, integers of shape [N] in [0, L).
    noisy: Noisy labels of the same examples, integers of shape [N] in [0, L).
    num_classes: Number of classes L.

  Returns:
    Float64 array of shape [L, L]. Each row holds the shares of the noisy labels among the examples
    of one true class; a class without examples keeps its own label.

  Raises:
    ValueError: If labels are not integers in [0, L), or if there are not as many of both kinds.

  Examples:
    >>> estimate([0, 0, 1, 1], [0, 1, 1, 1], 2)
    array([[0.5, 0.5],
           [0. , 1. ]])
  """
  counts = np.zeros((num_classes, num_classes))
  of_clean = labels.check(clean, num_classes, name="clean")
  of_noisy = labels.check(noisy, num_classes, name="noisy")
  if of_clean.shape != of_noisy.shape:
    raise ValueError(f"there are {len(of_clean)} clean and {len(of_noisy)} noisy labels")
  np.add.at(counts, (of_clean, of_noisy), 1)
  empty = counts.sum(axis=1) == 0
  counts[empty] = np.eye(num_classes)[empty]
  return counts / counts.sum(axis=1, keepdims=True)


def validate(transition: ArrayLike) -> NDArray[np.float64]:
  """Checks that a matrix is a transition matrix, and normalises it.

  The matrix has to be square and finite, without negative entries, and each of its rows has to
  sum to 1 within `ROW_SUM_TOLERANCE`.

  Args:
    transition: Matrix of shape [L, L].

  Returns:
    Float64 array of shape [L, L], the matrix with each row divided by its sum.

  Raises:
    ValueError: If the matrix is not a transition matrix; the message names the shape or the first
      row that is wrong.

  Examples:
    >>> validate([[0.9, 0.1], [0.3, 0.6]])
    Traceback (most recent call last):
    ...
    ValueError: transition row 1 sums to 0.9, not 1 (rows are true classes)
  """
  matrix = np.asarray(transition, np.float64)
  if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
    raise ValueError(f"transition must be a square matrix, not shape {matrix.shape}")
  if not np.isfinite(matrix).all() or (matrix < 0).any():
    row = int(np.argwhere(~np.isfinite(matrix) | (matrix < 0))[0, 0])
    raise ValueError(f"transition row {row} has entries that are negative or not finite")
  sums = matrix.sum(axis=1)
  wrong = np.flatnonzero(np.abs(sums - 1) > ROW_SUM_TOLERANCE)
  if wrong.size:
    row = int(wrong[0])
    raise ValueError(f"transition row {row} sums to {sums[row]:g}, not 1 (rows are true classes)")
  return matrix / sums[:, None]


def inverse(transition: ArrayLike) -> tuple[NDArray[np.float64], float]:
  """Inverts a transition matrix in float64 and tells how far that can be trusted.

  Args:
    transition: Transition matrix T[true, noisy] of shape [L, L].

  Returns:
    The inverse, a float64 array of shape [L, L], and the condition number of T in the 2-norm.
    Backward correction multiplies the noise of a loss by up to that number.

  Raises:
    ValueError: If the matrix is not a transition matrix (see `validate`), or if its condition
      number is 1e12 or more, so that it is singular in float64.

  Examples:
    >>> from lsjax import transition
    >>> inverted, condition = transition.inverse(transition.symmetric(2, 0.25))
    >>> inverted.round(6), round(condition, 6)
    (array([[ 1.5, -0.5],
           [-0.5,  1.5]]), 2.0)
  """
  matrix = validate(transition)
  condition = float(np.linalg.cond(matrix))
  if not condition < _LARGEST_CONDITION:
    raise ValueError(
      f"transition is singular (condition number {condition:.3g}): two true classes give the "
      "same noisy labels, so backward correction cannot tell them apart; use forward correction"
    )
  return np.linalg.inv(matrix).astype(np.float64, copy=False), condition
