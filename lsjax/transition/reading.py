"""Matrices from files."""

import os
import pathlib

import numpy as np
from numpy.typing import NDArray

from lsjax import archives
from lsjax.transition.checks import validate


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
    if path.suffix in (".npy", ".npz"):
      matrix = _only(archives.load(path))
    else:
      archives.check_regular(path)
      lines = path.read_text().replace(",", " ").splitlines()
      if not any(line.partition("#")[0].strip() for line in lines):  # NumPy would warn
        raise ValueError("it holds no numbers")
      matrix = np.loadtxt(lines, ndmin=2)
    matrix = np.asarray(matrix, np.float64)
  except (OSError, ValueError, TypeError) as error:
    raise ValueError(f"{path}: cannot be read as a matrix ({error})") from error
  if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
    raise ValueError(f"{path}: a square matrix is needed, not shape {matrix.shape}")
  if not np.isfinite(matrix).all():
    raise ValueError(f"{path}: the matrix has entries that are not finite")
  return matrix


def _only(loaded: np.ndarray | dict[str, np.ndarray]) -> np.ndarray:
  """Returns the array of a file that holds one."""
  if isinstance(loaded, np.ndarray):
    return loaded
  if len(loaded) != 1:
    raise ValueError(f"it holds {len(loaded)} arrays, not one")
  return next(iter(loaded.values()))


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
