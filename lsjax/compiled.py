"""The cache of compiled programs, whose damaged entries are dropped.

JAX never replaces an entry that is there: one that cannot be read is compiled anew, with a warning,
by every process, and one that holds another program ends the process. A list of digests beside the
entries tells both, before JAX reads them.
"""

import contextlib
import hashlib
import importlib
import os
import pathlib
import sys
import time
import zlib
from collections.abc import Iterator
from typing import Any

from lsjax import files

INDEX = "lsjax-digests.json"
_ENTRIES = "*-cache"
# An entry that cannot be read and is younger, in seconds, may still be being written.
_YOUNG = 60
_ZLIB, _ZSTD = b"\x78", b"\x28\xb5\x2f\xfd"


@contextlib.contextmanager
def healed(directory: str | os.PathLike[str]) -> Iterator[None]:
  """Drops what is damaged in a cache, then notes what the block adds to it.

  An entry is damaged if it is not what was noted of it, or if nothing was noted (its process was
  killed) and it cannot be unpacked. One line on stderr says how many there were. A cache in a
  bucket, or one that cannot be written, stays as it is.

  Args:
    directory: the directory of the cache, which need not exist.
  """
  if not files.is_local(directory):
    yield
    return
  place = files.path(directory)
  if dropped := check(place):
    programs = "program was" if dropped == 1 else "programs were"
    print(
      f"lsjax: warning: {dropped} damaged {programs} dropped from the compilation cache {place} "
      "and will be compiled anew",
      file=sys.stderr,
    )
  try:
    yield
  finally:
    check(place)


def check(place: pathlib.Path) -> int:
  """Removes the damaged entries of a cache and notes the others; returns how many it removed."""
  noted, found, dropped = _read_index(place), dict[str, list[Any]](), 0
  for path in sorted(place.glob(_ENTRIES)):
    with contextlib.suppress(OSError):  # another process removes entries too
      stamp, known = _stamp(path), noted.get(path.name)
      if known is not None and known[1:] == stamp:
        found[path.name] = known
        continue
      content = files.read_bytes(path)
      digest = hashlib.sha256(content).hexdigest()
      if known[0] == digest if known is not None else _is_whole(content):
        found[path.name] = [digest, *stamp]
      elif known is not None or time.time() - path.stat().st_mtime > _YOUNG:
        path.unlink()
        dropped += 1
  if found != noted:
    with contextlib.suppress(OSError):
      files.write_json(place / INDEX, found)
  return dropped


def _read_index(place: pathlib.Path) -> dict[str, list[Any]]:
  """Returns the digest and the stamp of each noted entry; nothing if the list cannot be read."""
  try:
    index = files.read_json(place / INDEX)
  except (OSError, ValueError, RecursionError):
    return {}
  if not isinstance(index, dict):
    return {}
  return {name: note for name, note in index.items() if isinstance(note, list) and len(note) == 4}


def _stamp(path: pathlib.Path) -> list[int]:
  """Returns what changes with the content of a file, whoever changes it."""
  status = path.stat()
  return [status.st_size, status.st_ctime_ns, status.st_ino]


def _is_whole(content: bytes) -> bool:
  """Returns whether an entry can be unpacked; True if nothing here can tell."""
  try:
    if content.startswith(_ZLIB):
      zlib.decompress(content)
    elif content.startswith(_ZSTD):
      _unpack_zstd(content)
  except Exception:  # each package has its own
    return False
  return bool(content)


def _unpack_zstd(content: bytes) -> None:
  """Unpacks what JAX packs where it finds a package for it, which is found here then too."""
  if sys.version_info >= (3, 14):
    from compression import zstd

    zstd.decompress(content)
    return
  with contextlib.suppress(ModuleNotFoundError):
    importlib.import_module("zstandard").ZstdDecompressor().decompress(content)
