"""Digests of a run's small files and of the user's files that it was made from.

Nothing here imports JAX or knows a config, so that reports can read a run's result too.
"""

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from lsjax import archives

# The fields of result.json beside its digest. A file without a digest, from before there was one,
# is accepted; one with another field has had its digest's name damaged.
_RESULT = (
  *("status", "diverged", "config_hash", "final", "best", "noise", "num_train", "num_test"),
  *("teachers", "contents", "test_labels"),
)
_SEAL = "sha256"


def json_sha256(value: Any) -> str:
  """Computes the SHA-256, in hexadecimal, of a value that JSON can hold."""
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sealed(result: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the content of result.json with the digest of its other fields as the last one."""
  return {**result, _SEAL: json_sha256(result)}


def is_sealed(result: Mapping[str, Any]) -> bool:
  """Returns whether the content of result.json has a digest, which is right.

  Raises:
    ValueError: if the digest is that of another content, or if its name is damaged.
  """
  content = dict(result)
  if _SEAL not in content:
    if unknown := sorted(content.keys() - {*_RESULT}):
      raise ValueError(f"it has an unknown field {unknown[0]!r}")
    return False
  if content.pop(_SEAL) != json_sha256(content):
    raise ValueError("its fields do not have its sha256")
  return True


def file_sha256(path: str | os.PathLike[str]) -> str:
  """Computes the SHA-256 of a file's bytes, in hexadecimal.

  A file is read once in a process unless its size, its times or its inode change.

  Raises:
    OSError: if it cannot be read, or is no regular file.
  """
  archives.check_regular(path)
  return _file_sha256(os.path.abspath(path), _stamp(path))


def files_sha256(files: Iterable[tuple[str, str | os.PathLike[str]]]) -> str:
  """Computes the SHA-256 of the names, sizes and contents of several files, in hexadecimal.

  Args:
    files: the name of each file, which counts, and its path, which does not.

  Raises:
    OSError: if one of them cannot be read.
  """
  listed = sorted((name, os.path.abspath(path)) for name, path in files)
  return _files_sha256(tuple((name, path, _stamp(path)) for name, path in listed))


@functools.lru_cache(maxsize=8)
def _files_sha256(files: tuple[tuple[str, str, tuple[int, ...]], ...]) -> str:
  digest = hashlib.sha256()
  for name, path, _ in files:
    with open(path, "rb") as f:
      content = hashlib.file_digest(f, "sha256").hexdigest()
    digest.update(f"{json.dumps([name, os.path.getsize(path), content])}\n".encode())
  return digest.hexdigest()


def _stamp(path: str | os.PathLike[str]) -> tuple[int, ...]:
  """Returns what changes with a file's content."""
  status = os.stat(path)
  return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


@functools.lru_cache(maxsize=256)
def _file_sha256(path: str, stamp: tuple[int, ...]) -> str:
  del stamp  # what the digest is kept for
  with open(path, "rb") as f:
    return hashlib.file_digest(f, "sha256").hexdigest()
