"""Arrays from files of NumPy's formats, none of which is believed before it is checked.

Nothing is unpickled, because a pickle runs code. A file has to be a regular one, since a device or
a pipe may never end, and what its headers declare has to fit its content and the memory.
"""

import math
import os
import zipfile
from collections.abc import Container
from typing import IO, Any

import numpy as np

from lsjax import memory, regular

_ZIP, _NPY = b"PK", b"\x93NUMPY"
_READERS: dict[tuple[int, int], Any] = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}


def check_regular(path: str | os.PathLike[str]) -> int:
  """Returns the size in bytes of a file whose content may be read to its end.

  Raises:
    FileNotFoundError: if there is no such file.
    OSError: if it is a directory, a device or a pipe, or cannot be reached.
    ValueError: if its content alone would not fit into the memory.
  """
  return _fitting(regular.check(path), "it has")


def load(
  path: str | os.PathLike[str], names: Container[str] | None = None
) -> np.ndarray | dict[str, np.ndarray]:
  """Reads a file of arrays.

  Args:
    path: an .npy or an .npz file, which is told by its content.
    names: the arrays of an .npz file to read; None for all.

  Returns:
    The array of an .npy file, or those of an .npz file by name.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: one line, if the file cannot be read, or if it is not what it declares to be: its
      members are no arrays, their sizes are not those in their headers, a checksum is wrong, or
      all of them together do not fit into the memory.
  """
  try:
    size = check_regular(path)
    # Opened by `open`, since NumPy does not close a file that it fails to read.
    with open(path, "rb") as file:
      start = file.read(len(_NPY))
      file.seek(0)
      if start == _NPY:
        return _array(file, size, "it")
      if not start.startswith(_ZIP):
        raise ValueError("it is no file of NumPy arrays")
      return _members(file, names)
  except FileNotFoundError:
    raise
  except Exception as error:  # zipfile, zlib and NumPy raise many kinds for a damaged file
    known = type(error) in (ValueError, OSError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    raise ValueError(" ".join(text.split())[:300]) from error


def _members(file: IO[bytes], names: Container[str] | None) -> dict[str, np.ndarray]:
  """Returns the arrays of an .npz file by name, those with the given names or all."""
  arrays = {}
  with zipfile.ZipFile(file) as archive:
    entries = archive.infolist()
    _fitting(sum(entry.file_size for entry in entries), "its arrays declare")
    for entry in entries:
      name = entry.filename.removesuffix(".npy")
      if names is not None and name not in names:
        continue
      with archive.open(entry) as member:
        if name in arrays:
          raise ValueError(f"it holds {name} twice")
        arrays[name] = _array(member, entry.file_size, f"its member {entry.filename}")
  return arrays


def _array(file: IO[bytes], size: int, what: str) -> np.ndarray:
  """Reads an array of so many bytes, the header included; a checksum is compared at its end."""
  if file.read(len(_NPY)) != _NPY:
    raise ValueError(f"{what} is no array")
  file.seek(0)
  version = np.lib.format.read_magic(file)
  if version not in _READERS:
    raise ValueError(f"{what} has version {version} of NumPy's format")
  shape, _, dtype = _READERS[version](file)
  if dtype.hasobject:
    raise ValueError(f"{what} holds pickled objects, which are not read")
  declared = file.tell() + math.prod(shape) * dtype.itemsize
  if min(shape, default=0) < 0 or declared != size:
    raise ValueError(f"{what} has {size} bytes and declares {declared}")
  file.seek(0)
  array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
  if file.read(1):  # compares the checksum of a compressed member
    raise ValueError(f"{what} has bytes behind its array")
  return array


def _fitting(count: int, what: str) -> int:
  """Returns a number of bytes that fits into the memory, or raises ValueError."""
  limit = memory.available()
  if count > limit:
    raise ValueError(f"{what} {memory.size(count)}; {memory.size(limit)} of memory are free")
  return count
