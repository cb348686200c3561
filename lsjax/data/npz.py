"""A user's own arrays in an .npz file."""

import numpy as np

from lsjax import archives, files
from lsjax import labels as labels_lib
from lsjax.data.dataset import Dataset

# The number of classes is one more than the largest label, and matrices grow with its square. A
# label of the first number or above is an error unless there are more examples than that, and one
# of the second number or above always is.
_MANY, _MOST = 1000, 2**20


def load(path: str, given_labels: str = "") -> Dataset:
  """Loads a data set from an .npz file.

  The file holds train_images, test_images and test_labels, usually train_labels, and possibly
  train_ids. Every other integer array with one entry per training image is a label set.

  Args:
    path: the path of the file.
    given_labels: the name of the noisy labels to train on, or "". If it is "train_labels", the
      clean labels are unknown.

  Returns:
    The data set. Its number of classes is one more than the largest of the labels that are used:
    train_labels and the given ones, or the test labels if there are neither.

  Raises:
    ValueError: one line, if the file cannot be read or its arrays do not fit together. For labels
      that are no integers in [0, L) it names the key, the first wrong value and its index, and so
      it does for labels that are too large for the number of examples.
  """
  arrays = _read(path)
  train, test = _pop_images(arrays, "train_images"), _pop_images(arrays, "test_images")
  if train.shape[1:] != test.shape[1:]:
    raise ValueError(
      f"train_images {train.shape[1:]} and test_images {test.shape[1:]} differ in shape"
    )
  ids = arrays.pop("train_ids", np.arange(len(train)))
  if ids.shape != (len(train),) or ids.dtype.kind not in "iuU" or len(np.unique(ids)) != len(ids):
    raise ValueError(f"train_ids must be {len(train)} distinct integers or strings")
  if "test_labels" not in arrays:
    raise ValueError("has no test_labels")
  # Label sets that this run does not use may hold anything, -1 for "unlabelled" for instance.
  names = sorted({"train_labels", given_labels} & arrays.keys())
  used = {name: _labels(arrays, name, len(train)) for name in names}
  sets = {k: v for k, v in arrays.items() if v.shape == (len(train),) and v.dtype.kind in "iu"}
  sets |= {name: labels for name, labels in used.items() if name in sets}
  test_labels = _labels(arrays, "test_labels", len(test))
  counted = used or {"test_labels": test_labels}
  for name, labels in counted.items():
    _check_number(labels, max(len(train), len(test)), name)
  num_classes = 1 + int(max(labels.max() for labels in counted.values()))
  if used and num_classes < 2:
    raise ValueError("the training labels hold one class; at least two are needed")
  try:
    labels_lib.check(test_labels, num_classes, name="test_labels")
  except ValueError as error:
    found = f"{num_classes} is one more than the largest of {' and '.join(counted)}"
    raise ValueError(f"{error} ({found})") from error
  clean = None if given_labels == "train_labels" else used.get("train_labels")
  return Dataset(train, clean, ids, test, test_labels, num_classes, sets)


def _read(path: str) -> dict[str, np.ndarray]:
  """Returns all arrays of a file by name; pickled objects are refused, because they run code."""
  try:
    loaded = archives.load(files.path(path))
  except FileNotFoundError:
    raise ValueError("no such file") from None
  except ValueError as error:
    raise ValueError(f"cannot be read as an .npz file without pickling ({error})") from error
  if isinstance(loaded, np.ndarray):
    raise ValueError("is a single array, not an .npz file")
  return loaded


def _pop_images(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
  """Removes and returns images as uint8 or float32, or raises ValueError."""
  array = arrays.pop(name, None)
  if array is None:
    raise ValueError(f"has no {name}")
  if array.ndim not in (2, 4) or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
    raise ValueError(
      f"{name} is {array.dtype} {list(array.shape)}; [N, H, W, C] or [N, D], uint8 or float"
    )
  if array.dtype != np.uint8:
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
      raise ValueError(f"{name} has values that are not finite in float32")
  if not array.size:
    raise ValueError(f"{name} is empty")
  return array


def _labels(arrays: dict[str, np.ndarray], name: str, count: int) -> np.ndarray:
  """Returns `count` integers from 0, or raises ValueError."""
  array = arrays[name]
  if array.ndim == 1 and len(array) != count:
    raise ValueError(f"{name} holds {len(array)} labels; {count} integers from 0 are needed")
  return labels_lib.check(array, None, name=name)


def _check_number(labels: np.ndarray, examples: int, name: str) -> None:
  """Raises ValueError for a label that is too large to be that of a class."""
  limit = min(max(examples, _MANY), _MOST)
  if (labels >= limit).any():
    index = int((labels >= limit).argmax())
    why = f"{examples} examples cannot have so many classes"
    raise ValueError(f"{name}[{index}] = {labels[index]} is outside [0, {limit}): {why}")
