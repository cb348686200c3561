"""Whether a file can be read to its end: a device may never end, and a pipe may wait for ever."""

import os
import stat


def check(path: str | os.PathLike[str]) -> int:
  """Returns the size in bytes of a regular file.

  Raises:
    FileNotFoundError: if there is no such file.
    OSError: if it is a directory, a device or a pipe, or cannot be reached.
  """
  try:
    status = os.stat(path)
  except ValueError as error:  # a null character in the path
    raise OSError(str(error)) from error
  if not stat.S_ISREG(status.st_mode):
    kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
    raise OSError(f"it is {kind}, not a regular file")
  return status.st_size
