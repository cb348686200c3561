"""Whole files or none: every small file of a work directory is written through here.

Paths are local (or on a shared disk), or in a bucket (gs://, s3://) as etils.epath understands
them. A bucket has no locks, and a file in it appears when it is whole.
"""

import contextlib
import errno
import fcntl
import io
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from etils import epath

PathLike = str | os.PathLike[str]


def path(where: PathLike) -> pathlib.Path:
  """Returns a path with the methods of pathlib, in a bucket too."""
  return pathlib.Path(where) if is_local(where) else epath.Path(where)


def is_local(where: PathLike) -> bool:
  """Whether a path is on a disk of this machine, or one that it shares."""
  return "://" not in os.fspath(where)


@contextlib.contextmanager
def replacing(where: PathLike) -> Iterator[IO[bytes]]:
  """Opens a temporary file that takes the place of a file when the block ends well.

  A kill or a full disk at any moment leaves either the old file or the new one.
  """
  target = path(where)
  if not is_local(where):
    buffer = io.BytesIO()
    yield buffer
    target.write_bytes(buffer.getvalue())
    return
  target.parent.mkdir(parents=True, exist_ok=True)
  handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
  try:
    with os.fdopen(handle, "wb") as f:
      yield f
      f.flush()
      os.fsync(f.fileno())
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o666 & ~umask)  # mkstemp's 0600 would hide results from a group
    os.replace(temporary, target)
  except BaseException:
    with contextlib.suppress(OSError):
      os.unlink(temporary)
    raise


@contextlib.contextmanager
def locked(directory: PathLike) -> Iterator[bool]:
  """Makes a directory and tries to lock it; yields whether it is this process's now.

  The lock (flock) needs no file, binds only those who ask for it, and ends with the process
  however that ends. On a file system without locks, and in a bucket, every process gets it.

  Raises:
    OSError: if the directory cannot be made.
  """
  if not is_local(directory):
    yield True
    return
  place = path(directory)
  place.mkdir(parents=True, exist_ok=True)
  descriptor = os.open(place, os.O_RDONLY)
  try:
    mine = _lock(descriptor) and _same_directory(descriptor, place)
    try:
      yield mine
    finally:
      if mine:
        with contextlib.suppress(OSError):
          place.rmdir()  # if nothing came of it
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


def _same_directory(descriptor: int, place: pathlib.Path) -> bool:
  """Whether the path still is what was opened: the holder before may have removed it."""
  try:
    return os.path.samestat(os.fstat(descriptor), os.stat(place))
  except FileNotFoundError:
    return False


def write_json(where: PathLike, value: Any) -> None:
  """Writes value as indented JSON. Raises ValueError for NaN or infinity (not JSON)."""
  with replacing(where) as f:
    f.write((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(where: PathLike) -> Any:
  """Returns the value in a JSON file."""
  return json.loads(path(where).read_text())


def read_rows(where: PathLike) -> list[dict[str, Any]]:
  """Returns the objects of a file with one JSON object a line, such as metrics.jsonl.

  A last line cut off by a kill is left out.
  """
  rows = []
  for line in path(where).read_text().splitlines():
    with contextlib.suppress(json.JSONDecodeError):
      rows.append(json.loads(line))
  return rows


class Rows:
  """A file with one JSON object a line, that grows; in a bucket it is written anew by each row."""

  def __init__(self, where: PathLike, rows: list[dict[str, Any]]):
    """Begins the file with rows."""
    self._path, self._lines = path(where), [_line(row) for row in rows]
    self._file: IO[str] | None = None
    self._write_all()
    if is_local(where):
      self._file = open(where, "a")  # noqa: SIM115 (closed by `close`)

  def add(self, row: dict[str, Any]) -> None:
    """Adds a row, at once to be read by others. Raises OSError if it cannot be written."""
    if self._file is None:
      self._lines.append(_line(row))
      self._write_all()
    else:
      self._file.write(_line(row))
      self._file.flush()

  def close(self) -> None:
    if self._file is not None:
      self._file.close()

  def _write_all(self) -> None:
    with replacing(self._path) as f:
      f.write("".join(self._lines).encode())


def _line(row: dict[str, Any]) -> str:
  return json.dumps(row, allow_nan=False) + "\n"
