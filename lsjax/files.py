"""Whole files or none: every small file of a work directory is written through here."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import IO, Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
  """Opens a temporary file that takes the place of `path` when the block ends well.

  A kill or a full disk at any moment leaves either the old file or the new one.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
  try:
    with os.fdopen(handle, "wb") as f:
      yield f
      f.flush()
      os.fsync(f.fileno())
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o666 & ~umask)  # mkstemp's 0600 would hide results from a group
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.unlink(temporary)
    raise


@contextlib.contextmanager
def locked(directory: str | os.PathLike[str]) -> Iterator[bool]:
  """Makes a directory and tries to lock it; yields whether it is this process's now.

  The lock (flock) needs no file, binds only those who ask for it, and ends with the process
  however that ends. On a file system without locks every process gets it.

  Raises:
    OSError: if the directory cannot be made.
  """
  path = pathlib.Path(directory)
  path.mkdir(parents=True, exist_ok=True)
  descriptor = os.open(path, os.O_RDONLY)
  try:
    mine = _lock(descriptor) and _same_directory(descriptor, path)
    try:
      yield mine
    finally:
      if mine:
        with contextlib.suppress(OSError):
          path.rmdir()  # if nothing came of it
  finally:
    os.close(descriptor)


def _lock(descriptor: int) -> bool:
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError as error:
    if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
      raise
  return True


def _same_directory(descriptor: int, path: pathlib.Path) -> bool:
  """Whether the path still is what was opened: the holder before may have removed it."""
  try:
    return os.path.samestat(os.fstat(descriptor), path.stat())
  except FileNotFoundError:
    return False


def write_json(path: str | os.PathLike[str], value: Any) -> None:
  """Writes value as indented JSON. Raises ValueError for NaN or infinity (not JSON)."""
  with replacing(path) as f:
    f.write((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: str | os.PathLike[str]) -> Any:
  """Returns the value in a JSON file."""
  return json.loads(pathlib.Path(path).read_text())


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """Returns the objects of a file with one JSON object a line, such as metrics.jsonl.

  A last line cut off by a kill is left out.
  """
  rows = []
  for line in pathlib.Path(path).read_text().splitlines():
    with contextlib.suppress(json.JSONDecodeError):
      rows.append(json.loads(line))
  return rows
