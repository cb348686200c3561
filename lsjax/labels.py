"""The check that every function and every data set makes of integer labels."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TOO_MANY = 2**31  # labels are int32


def check(labels: ArrayLike, num_classes: int | None, *, name: str = "labels") -> NDArray[np.int32]:
  """Checks that labels are integers in [0, L).

  Args:
    labels: Concrete labels of shape [N].
    num_classes: Number of classes L, or None if it is to be found from the labels.
    name: What the message calls the labels.

  Returns:
    The labels as int32 of shape [N].

  Raises:
    ValueError: If the labels have another shape or type, or if one of them is negative, NaN, no
      integer or not below L. The message names the first such label and its index, and says so if
      the labels seem to count from 1.

  Examples:
    >>> check([0, 2, 3], 3, name="train_labels")
    Traceback (most recent call last):
    ...
    ValueError: train_labels[2] = 3 is outside [0, 3)
  """
  array = np.asarray(labels)
  if array.ndim == 1 and not array.size:  # without labels their type says nothing
    return array.astype(np.int32)
  problem = f"{name} must be integers [N], not {array.dtype} {list(array.shape)}"
  if array.ndim != 1 or array.dtype.kind not in "iuf":
    raise ValueError(problem)
  limit = _TOO_MANY if num_classes is None else num_classes
  allowed = "[0, 2^31)" if num_classes is None else f"[0, {num_classes})"
  if array.dtype.kind == "f":
    broken = ~np.isfinite(array) | (array != np.floor(array))
    if not broken.any():
      raise ValueError(f"{problem}: store them as integers")
    index = int(broken.argmax())
    raise ValueError(f"{name}[{index}] = {array[index]} is not an integer in {allowed}")
  outside = (array < 0) | (array >= limit)
  if outside.any():
    index = int(outside.argmax())
    hint = "; the labels count from 1, not from 0: subtract 1" if _from_one(array, limit) else ""
    raise ValueError(f"{name}[{index}] = {array[index]} is outside {allowed}{hint}")
  return array.astype(np.int32)


def _from_one(array: np.ndarray, num_classes: int) -> bool:
  """Returns whether labels, at least one, are 1 to L without a 0."""
  return int(array.min()) == 1 and int(array.max()) == num_classes
