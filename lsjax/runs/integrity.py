"""Digests that show whether a checkpoint gives back what was saved in it.

A checkpoint carries a seal: facts about its run, the digest of its arrays, and the digest of both.
Orbax writes the seal together with the arrays, so that a checkpoint has both or does not exist.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lsjax.runs.digests import json_sha256

# What a checkpoint says about its run: strings and integers by name.
Facts = Mapping[str, str | int]

_ARRAYS, _SEAL = "arrays_sha256", "seal_sha256"


def arrays_sha256(tree: Any) -> str:
  """Computes the SHA-256 of the names, shapes, types and bytes of a tree's arrays.

  Args:
    tree: nested containers of arrays that this process holds as a whole.

  Returns:
    The digest in hexadecimal. It does not depend on the order of the leaves or on how their bytes
    are stored.
  """
  named = [
    (jax.tree_util.keystr(path, simple=True, separator="/"), np.asarray(leaf))
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  ]
  digest = hashlib.sha256()
  for name, array in sorted(named, key=lambda pair: pair[0]):
    digest.update(json.dumps([name, array.shape, array.dtype.name]).encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
  return digest.hexdigest()


def seal(state: Any, facts: Facts) -> dict[str, str | int]:
  """Returns the seal of a state and of facts about its run."""
  content = {**facts, _ARRAYS: arrays_sha256(state)}
  return {**content, _SEAL: json_sha256(content)}


def open_seal(content: Mapping[str, Any]) -> tuple[dict[str, str | int], str]:
  """Returns the facts of a seal and the digest of the arrays that it was made for.

  Raises:
    ValueError: if the seal is not as `seal` made it.
  """
  facts = dict(content)
  own, arrays = facts.pop(_SEAL, None), facts.get(_ARRAYS)
  if own != json_sha256(facts) or not isinstance(arrays, str):
    raise ValueError("its digests are damaged")
  del facts[_ARRAYS]
  return facts, arrays
