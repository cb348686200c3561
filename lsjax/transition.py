"""Transition matrices of label noise: T[true, noisy] = P(noisy label | true label).

Rows are true classes and sum to 1. Everything here is NumPy in float64: matrices
are made once, on the host.
"""

import os
import pathlib

import numpy as np

# How far a row may be from summing to 1: float32 files written by others pass, typos do not.
ROW_SUM_TOLERANCE = 1e-4


def symmetric(num_classes: int, rate: float, *, includes_own_class: bool = False) -> np.ndarray:
  r"""Makes the matrix of symmetric (uniform) label noise.

  By default `rate` is the chance that a label is wrong: the diagonal is `1 - rate`.
  With `includes_own_class` it is the chance of a redraw over all L classes, so a label
  is wrong with chance `rate * (L - 1) / L`: :math:`T = (1-a) I + (a/L) J` with a = rate.

  Args:
    num_classes: L, at least 2.
    rate: a probability.
    includes_own_class: which of the two conventions `rate` follows.

  Returns:
    float64 array [L, L].

  Raises:
    ValueError: if num_classes < 2 or rate is outside [0, 1].

  References:
    Lukasik et al., 2020, section 2; both conventions appear in the literature.

  >>> symmetric(4, 0.3)[0]
  array([0.7, 0.1, 0.1, 0.1])
  >>> symmetric(4, 0.4, includes_own_class=True)[0]
  array([0.7, 0.1, 0.1, 0.1])
  """
  _check(num_classes, rate)
  if includes_own_class:
    rate = rate * (num_classes - 1) / num_classes
  matrix = np.full((num_classes, num_classes), rate / (num_classes - 1))
  np.fill_diagonal(matrix, 1 - rate)
  return matrix


def pair(num_classes: int, rate: float) -> np.ndarray:
  """Makes the matrix of pair-flip noise: class i becomes i + 1 (modulo L) with chance `rate`.

  Returns:
    float64 array [L, L].

  Raises:
    ValueError: if num_classes < 2 or rate is outside [0, 1].

  References:
    Han et al., "Co-teaching", 2018, section 4 (pair flipping).

  >>> pair(3, 0.25)
  array([[0.75, 0.25, 0.  ],
         [0.  , 0.75, 0.25],
         [0.25, 0.  , 0.75]])
  """
  _check(num_classes, rate)
  eye = np.eye(num_classes)
  return (1 - rate) * eye + rate * np.roll(eye, 1, axis=1)


def one_sided(num_classes: int, rate: float) -> np.ndarray:
  """Makes one-sided noise: class 0 becomes class 1 with chance `rate`, the others stay.

  Returns:
    float64 array [L, L].

  Raises:
    ValueError: if num_classes < 2 or rate is outside [0, 1].

  References:
    Lukasik et al., 2020: the 2-D example with asymmetric noise (claim C7; secondary source).

  >>> one_sided(2, 0.25)
  array([[0.75, 0.25],
         [0.  , 1.  ]])
  """
  _check(num_classes, rate)
  matrix = np.eye(num_classes)
  matrix[0, :2] = 1 - rate, rate
  return matrix


def cifar10_asymmetric(rate: float) -> np.ndarray:
  """Makes CIFAR-10's look-alike noise: truck to automobile, bird to airplane, deer to horse,
  cat and dog to each other, each with chance `rate`; the other classes stay.

  Returns:
    float64 array [10, 10].

  Raises:
    ValueError: if rate is outside [0, 1].

  References:
    Patrini et al., "Making deep neural networks robust to label noise: a loss correction
    approach", 2017, section 5.

  >>> cifar10_asymmetric(0.4)[9].round(1)
  array([0. , 0.4, 0. , 0. , 0. , 0. , 0. , 0. , 0. , 0.6])
  """
  _check(10, rate)
  matrix = np.eye(10)
  for true, noisy in ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3)):
    matrix[true, true] -= rate
    matrix[true, noisy] += rate
  return matrix


def estimate(clean: np.ndarray, noisy: np.ndarray, num_classes: int) -> np.ndarray:
  """Counts a transition matrix from pairs of clean and noisy labels.

  Args:
    clean: integer labels [N].
    noisy: integer labels [N] of the same examples.
    num_classes: L.

  Returns:
    float64 array [L, L]; a class without examples keeps its own label.

  >>> estimate(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2)
  array([[0.5, 0.5],
         [0. , 1. ]])
  """
  counts = np.zeros((num_classes, num_classes))
  np.add.at(counts, (clean, noisy), 1)
  empty = counts.sum(axis=1) == 0
  counts[empty] = np.eye(num_classes)[empty]
  return counts / counts.sum(axis=1, keepdims=True)


def read_matrix(path: str | os.PathLike[str]) -> np.ndarray:
  """Reads a square matrix from .npy, .npz (its only array) or a text file (spaces or commas).

  Raises:
    ValueError: if the file cannot be read as one finite square matrix.
  """
  path = pathlib.Path(path)
  try:
    if path.suffix == ".npy":
      matrix = np.load(path, allow_pickle=False)
    elif path.suffix == ".npz":
      with np.load(path, allow_pickle=False) as arrays:
        if len(arrays.files) != 1:
          raise ValueError(f"it holds {len(arrays.files)} arrays, not one")
        matrix = arrays[arrays.files[0]]
    else:
      matrix = np.loadtxt(path.read_text().replace(",", " ").splitlines(), ndmin=2)
    matrix = np.asarray(matrix, np.float64)
  except (OSError, ValueError, EOFError) as error:
    raise ValueError(f"{path}: cannot be read as a matrix ({error})") from error
  if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
    raise ValueError(f"{path}: a square matrix is needed, not shape {matrix.shape}")
  if not np.isfinite(matrix).all():
    raise ValueError(f"{path}: the matrix has entries that are not finite")
  return matrix


def from_file(path: str | os.PathLike[str]) -> np.ndarray:
  """Reads and validates a transition matrix. See `read_matrix` for formats.

  Returns:
    float64 array [L, L].

  Raises:
    ValueError: if the file is unreadable or holds no transition matrix.
  """
  try:
    return validate(read_matrix(path))
  except ValueError as error:
    message = str(error)
    raise ValueError(message if str(path) in message else f"{path}: {message}") from error


def validate(transition: np.ndarray) -> np.ndarray:
  """Checks that a matrix is square and finite, its entries probabilities, its rows sums of 1.

  Returns:
    The matrix in float64, rows rescaled to sum to 1 exactly as far as float64 can.

  Raises:
    ValueError: naming the first row or shape that is wrong.

  >>> validate(np.array([[0.9, 0.1], [0.3, 0.6]]))
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


def inverse(transition: np.ndarray) -> tuple[np.ndarray, float]:
  """Inverts a transition matrix.

  Returns:
    (float64 array [L, L], condition number in the 2-norm). Backward correction multiplies
    the noise of the loss by up to that number.

  Raises:
    ValueError: if the matrix is no transition matrix, or is singular in float64.

  >>> inv, condition = inverse(symmetric(2, 0.25))
  >>> inv.round(6), round(condition, 6)
  (array([[ 1.5, -0.5],
         [-0.5,  1.5]]), 2.0)
  """
  matrix = validate(transition)
  condition = float(np.linalg.cond(matrix))
  if not condition < 1e12:
    raise ValueError(
      f"transition is singular (condition number {condition:.3g}): two true classes give the "
      "same noisy labels, so backward correction cannot tell them apart; use forward correction"
    )
  return np.linalg.inv(matrix), condition


def _check(num_classes: int, rate: float) -> None:
  if num_classes < 2:
    raise ValueError(f"num_classes must be at least 2, not {num_classes}")
  if not 0 <= rate <= 1:
    raise ValueError(f"rate must be in [0, 1], not {rate}")
