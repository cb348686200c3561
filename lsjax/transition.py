"""Transition matrices of label noise, made once on the host in float64 NumPy.

A transition matrix T says how labels are corrupted: T[i, j] is the probability that an example of
true class i carries the noisy label j. Rows are true classes and sum to 1.
"""

import os
import pathlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lsjax import labels

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "ROW_SUM_TOLERANCE",
  "symmetric",
  "pair",
  "one_sided",
  "cifar10_asymmetric",
  "estimate",
  "validate",
  "inverse",
  "read_matrix",
  "from_file",
]

ROW_SUM_TOLERANCE = 1e-4
"""How far the sum of a row may be from 1, so that matrices rounded to float32 pass."""

# Above this condition number float64 keeps too few digits of an inverse to be of use.
_LARGEST_CONDITION = 1e12


def symmetric(
  num_classes: int, rate: float, *, includes_own_class: bool = False
) -> NDArray[np.float64]:
  r"""Makes the matrix of symmetric noise, which treats all wrong classes alike.

  With L classes and the chance $\rho$ that a label is wrong, $T_{ii} = 1 - \rho$ and
  $T_{ij} = \rho / (L - 1)$ for $i \ne j$. Two conventions for the rate are in use. By default
  the rate is $\rho$ itself. With `includes_own_class` the rate is the chance a that a label is
  drawn anew from all L classes, its own among them: $T = (1 - a) I + (a / L) J$, where J is
  the matrix of ones, so that $\rho = a (L - 1) / L$.

  Args:
    num_classes: Number of classes L, at least 2.
    rate: Probability in [0, 1] that a label is wrong, or that it is drawn anew.
    includes_own_class: Whether the rate is the probability that a label is drawn anew.

  Returns:
    Float64 array of shape [L, L].

  Raises:
    ValueError: If `num_classes` is less than 2 or `rate` is outside [0, 1].

  References:
    Lukasik et al., [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819),
    2020, section 2.

  Examples:
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


def pair(num_classes: int, rate: float) -> NDArray[np.float64]:
  """Makes the matrix of pair-flip noise, which turns class i into class i + 1 modulo L.

  Args:
    num_classes: Number of classes L, at least 2.
    rate: Probability in [0, 1] that a label is wrong.

  Returns:
    Float64 array of shape [L, L].

  Raises:
    ValueError: If `num_classes` is less than 2 or `rate` is outside [0, 1].

  References:
    Han et al., [Co-teaching](https://arxiv.org/abs/1804.06872), 2018, section 4.

  Examples:
    >>> pair(3, 0.25)
    array([[0.75, 0.25, 0.  ],
           [0.  , 0.75, 0.25],
           [0.25, 0.  , 0.75]])
  """
  _check(num_classes, rate)
  eye = np.eye(num_classes)
  return (1 - rate) * eye + rate * np.roll(eye, 1, axis=1)


def one_sided(num_classes: int, rate: float) -> NDArray[np.float64]:
  """Makes the matrix of noise that turns class 0 into class 1 and leaves the other classes alone.

  Args:
    num_classes: Number of classes L, at least 2.
    rate: Probability in [0, 1] that a label of class 0 is wrong.

  Returns:
    Float64 array of shape [L, L].

  Raises:
    ValueError: If `num_classes` is less than 2 or `rate` is outside [0, 1].

  References:
    Lukasik et al., [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819),
    2020: the example in two dimensions with asymmetric noise, known from a secondary source.

  Examples:
    >>> one_sided(2, 0.25)
    array([[0.75, 0.25],
           [0.  , 1.  ]])
  """
  _check(num_classes, rate)
  matrix = np.eye(num_classes)
  matrix[0, :2] = 1 - rate, rate
  return matrix


def cifar10_asymmetric(rate: float) -> NDArray[np.float64]:
  """Makes the matrix of asymmetric noise between classes of CIFAR-10 that look alike.

  Trucks become automobiles, birds become airplanes, deer become horses, and cats and dogs become
  each other. The other five classes keep their labels.

  Args:
    rate: Probability in [0, 1] that a label of one of the five classes is wrong.

  Returns:
    Float64 array of shape [10, 10].

  Raises:
    ValueError: If `rate` is outside [0, 1].

  References:
    Patrini et al., [Making deep neural networks robust to label noise: a loss correction
    approach](https://arxiv.org/abs/1609.03683), 2017, section 5.

  Examples:
    >>> cifar10_asymmetric(0.4)[9].round(1)
    array([0. , 0.4, 0. , 0. , 0. , 0. , 0. , 0. , 0. , 0.6])
  """
  _check(10, rate)
  matrix = np.eye(10)
  for true, noisy in ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3)):
    matrix[true, true] -= rate
    matrix[true, noisy] += rate
  return matrix


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
    >>> inverted, condition = inverse(symmetric(2, 0.25))
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


def read_matrix(path: str | os.PathLike[str]) -> NDArray[np.float64]:
  """Reads a square matrix from a file.

  Args:
    path: A `.npy` file, an `.npz` file with a single array, or else a text file with one row of
      numbers a line, separated by spaces or commas.

  Returns:
    Float64 array of shape [L, L].

  Raises:
    ValueError: If the file cannot be read as one finite square matrix.

  Examples:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...   path = pathlib.Path(directory) / "matrix.csv"
    ...   _ = path.write_text("1, -0.5\\n0, 1\\n")
    ...   read_matrix(path)
    array([[ 1. , -0.5],
           [ 0. ,  1. ]])
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


def from_file(path: str | os.PathLike[str]) -> NDArray[np.float64]:
  """Reads a transition matrix from a file, and checks and normalises it as `validate` does.

  Args:
    path: A file in one of the formats of `read_matrix`.

  Returns:
    Float64 array of shape [L, L].

  Raises:
    ValueError: If the file cannot be read or does not hold a transition matrix.

  Examples:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...   path = pathlib.Path(directory) / "transition.txt"
    ...   _ = path.write_text("0.75 0.25\\n0 1\\n")
    ...   from_file(path)
    array([[0.75, 0.25],
           [0.  , 1.  ]])
  """
  try:
    return validate(read_matrix(path))
  except ValueError as error:
    message = str(error)
    raise ValueError(message if str(path) in message else f"{path}: {message}") from error


def _check(num_classes: int, rate: float) -> None:
  if num_classes < 2:
    raise ValueError(f"num_classes must be at least 2, not {num_classes}")
  if not 0 <= rate <= 1:
    raise ValueError(f"rate must be in [0, 1], not {rate}")
