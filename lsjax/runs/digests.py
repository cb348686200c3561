"""Digests of a run's small files and of the user's files that it was made from.

Nothing here imports JAX or knows a config, so that reports can read a run's result too.
"""

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from lsjax import archives

# The fields of result.json beside its digest. A file without a digest, from before there was one,
# is accepted; one with another field has had its digest's name damaged.
_RESULT = (
  *("status", "diverged", "config_hash", "final", "best", "noise", "num_train", "num_test"),
  *("teachers", "contents"),
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
  status = os.stat(path)
  stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
  return _file_sha256(os.path.abspath(path), stamp)


@functools.lru_cache(maxsize=256)
def _file_sha256(path: str, stamp: tuple[int, ...]) -> str:
  del stamp  # what the digest is kept for
  with open(path, "rb") as f:
    return hashlib.file_digest(f, "sha256").hexdigest()
