"""Files that are written whole or not at all: every small file of a run is written here.

Paths are local (or on a shared disk), or in a bucket (gs://, s3://) as etils.epath understands
them. In a bucket a file appears only once it is whole.
"""

import contextlib
import io
import json
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import IO, Any

from lsjax import regular

PathLike = str | os.PathLike[str]


def path(where: PathLike) -> pathlib.Path:
  """Returns an object with the methods of pathlib.Path, for a path in a bucket too.

  A local path that begins with ~ or ~user is one in a home directory, as in a shell.

  Raises:
    ValueError: for the address of anything but a bucket, such as http://.
  """
  if is_local(where):
    return pathlib.Path(os.path.expanduser(where))
  from etils import epath

  try:
    return epath.Path(where)
  except KeyError:
    kind = os.fspath(where).partition("://")[0]
    why = f"{kind}:// is no kind of bucket; a path on a disk, gs:// or s3:// is"
    raise ValueError(why) from None


def is_local(where: PathLike) -> bool:
  """Returns whether a path is on a disk of this machine or a disk that it mounts."""
  return "://" not in os.fspath(where)


@contextlib.contextmanager
def replacing(where: PathLike) -> Iterator[IO[bytes]]:
  """Opens a temporary file that replaces the file at `where` if the block ends without an error.

  A kill or a full disk at any moment leaves either the old file or the new one.

  Raises:
    OSError: if it cannot be written, with the name of the file.
  """
  target = path(where)
  if not is_local(where):
    buffer = io.BytesIO()
    yield buffer
    target.write_bytes(buffer.getvalue())
    return
  target.parent.mkdir(parents=True, exist_ok=True)
  temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
  try:
    # Created by `open`, so that the process's umask decides who may read it.
    with open(temporary, "xb") as f:
      yield f
      f.flush()
      os.fsync(f.fileno())
    os.replace(temporary, target)
  except BaseException as error:
    with contextlib.suppress(OSError):
      os.unlink(temporary)
    if isinstance(error, OSError) and error.filename in (None, os.fspath(temporary)):
      error.filename = os.fspath(target)  # a full disk shows when bytes are written, without a name
    raise
  _sync_directory(target.parent)


def _sync_directory(directory: pathlib.Path) -> None:
  """Makes the names of new files in a directory outlast a power failure, where that is possible."""
  descriptor = os.open(directory, os.O_RDONLY)
  try:
    with contextlib.suppress(OSError):  # some network file systems refuse it
      os.fsync(descriptor)
  finally:
    os.close(descriptor)


def opened(where: PathLike) -> IO[bytes]:
  """Opens a file to read it.

  Raises:
    OSError: if there is no such file, or no regular one.
  """
  if is_local(where):
    regular.check(path(where))
  return path(where).open("rb")


def read_bytes(where: PathLike) -> bytes:
  """Returns the content of a file; see `opened`."""
  with opened(where) as f:
    return f.read()


def write_json(where: PathLike, value: Any) -> None:
  """Writes a value as indented JSON.

  Raises:
    ValueError: for NaN or infinity, which are not JSON.
  """
  with replacing(where) as f:
    f.write((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(where: PathLike) -> Any:
  """Returns the value in a JSON file."""
  return json.loads(read_bytes(where).decode())


def read_rows(where: PathLike) -> list[dict[str, Any]]:
  """Returns the objects of a file that holds one JSON object per line, such as metrics.jsonl.

  A kill may cut off the last line; such a line is left out.

  Raises:
    ValueError: if another line cannot be read, naming the file and the line.
  """
  rows = []
  lines = read_bytes(where).decode().splitlines()
  for number, line in enumerate(lines, 1):
    try:
      row = json.loads(line)
      if not isinstance(row, dict):
        raise ValueError("not an object")
    except ValueError as error:
      if number == len(lines):
        break
      raise ValueError(f"{where}, line {number}: is not a JSON object ({error})") from error
    rows.append(row)
  return rows


class Rows:
  """A growing file with one JSON object per line; in a bucket each row rewrites the file."""

  def __init__(self, where: PathLike, rows: list[dict[str, Any]]):
    """Starts the file with the given rows."""
    self._path, self._lines = path(where), [line(row) for row in rows]
    self._file: IO[str] | None = None
    self._write_all()
    if is_local(where):
      self._file = open(where, "a")  # noqa: SIM115 (closed by `close`)

  def add(self, text: str) -> None:
    """Adds the `line` of a row, which other processes can read at once.

    Raises:
      OSError: if the row cannot be written.
    """
    if self._file is None:
      self._lines.append(text)
      self._write_all()
    else:
      self._file.write(text)
      self._file.flush()

  def sync(self) -> None:
    """Makes every row outlast a power failure.

    Raises:
      OSError: if the disk does not take them.
    """
    if self._file is not None:
      os.fsync(self._file.fileno())

  def close(self) -> None:
    """Closes the file."""
    if self._file is not None:
      self._file.close()

  def _write_all(self) -> None:
    with replacing(self._path) as f:
      f.write("".join(self._lines).encode())


def line(row: dict[str, Any]) -> str:
  """Returns the line of a row; a row that was read from its line gives the same line again."""
  return json.dumps(row, allow_nan=False) + "\n"
