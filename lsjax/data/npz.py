"""A user's own arrays in an .npz file."""

import os

import numpy as np

from lsjax import archives, files
from lsjax import labels as labels_lib
from lsjax.data.classes import Name
from lsjax.data.dataset import Dataset

# The number of classes is one more than the largest label, and matrices grow with its square. A
# label of the first number or above is an error unless there are more examples than that, and one
# of the second number or above always is.
_MANY, _MOST = 1000, 2**20


def load(path: str, given_labels: str = "") -> Dataset:
  """Loads a data set from an .npz file.

  The file holds train_images, test_images and test_labels, usually train_labels, and possibly
  train_ids, class_names [L], normalization_mean and normalization_std (see
  `Dataset.normalization`), and test_is_noisy, which is true or false. Every other integer array
  with one entry per training image is a label set.

  Args:
    path: the path of the file.
    given_labels: the name of the noisy labels to train on, or "". If it is "train_labels", the
      clean labels are unknown.

  Returns:
    The data set. Its number of classes is that of class_names; without them it is one more than the
    largest of the labels that are used: train_labels and the given ones, or the test labels if
    there are neither.

  Raises:
    ValueError: one line, if the file cannot be read or its arrays do not fit together. For labels
      that are no integers in [0, L) it names the key, the first wrong value and its index, and so
      it does for labels that are too large for the number of examples.
  """
  arrays = read(path)
  train, test = pop_images(arrays, "train_images"), pop_images(arrays, "test_images")
  if train.shape[1:] != test.shape[1:]:
    raise ValueError(
      f"train_images {train.shape[1:]} and test_images {test.shape[1:]} differ in shape"
    )
  ids = arrays.pop("train_ids", np.arange(len(train)))
  check_ids(ids, len(train), "train_ids")
  class_names = pop_class_names(arrays)
  normalization = _pop_normalization(arrays, train.shape[-1])
  is_noisy = _pop_flag(arrays, "test_is_noisy")
  if "test_labels" not in arrays:
    raise ValueError("has no test_labels")
  # Label sets that this run does not use may hold anything, -1 for "unlabelled" for instance.
  names = sorted({"train_labels", given_labels} & arrays.keys())
  used = {name: _labels(arrays, name, len(train)) for name in names}
  sets = {k: v for k, v in arrays.items() if v.shape == (len(train),) and v.dtype.kind in "iu"}
  sets |= {name: labels for name, labels in used.items() if name in sets}
  test_labels = _labels(arrays, "test_labels", len(test))
  counted = used or {"test_labels": test_labels}
  if class_names:
    num_classes, found = len(class_names), "the number of class_names"
  else:
    for name, labels in counted.items():
      _check_number(labels, max(len(train), len(test)), name)
    num_classes = 1 + int(max(labels.max() for labels in counted.values()))
    found = f"one more than the largest of {' and '.join(counted)}"
  if used and num_classes < 2:
    raise ValueError("the training labels hold one class; at least two are needed")
  for name, labels in {**counted, "test_labels": test_labels}.items():
    try:
      labels_lib.check(labels, num_classes, name=name)
    except ValueError as error:
      raise ValueError(f"{error} ({num_classes} is {found})") from error
  clean = None if given_labels == "train_labels" else used.get("train_labels")
  notes = ("test_is_noisy: test accuracy is agreement with noisy labels",) if is_noisy else ()
  return Dataset(
    train_images=train,
    train_labels=clean,
    train_ids=ids,
    test_images=test,
    test_labels=test_labels,
    num_classes=num_classes,
    label_sets=sets,
    normalization=normalization,
    class_names=class_names,
    test_is_noisy=is_noisy,
    notes=notes,
  )


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Returns all arrays of a file by name; pickled objects are refused, because they run code.

  Raises:
    ValueError: one line that does not name the file.
  """
  try:
    loaded = archives.load(files.path(path))
  except FileNotFoundError:
    raise ValueError("no such file") from None
  except ValueError as error:
    raise ValueError(f"cannot be read as an .npz file without pickling ({error})") from error
  if isinstance(loaded, np.ndarray):
    raise ValueError("is a single array, not an .npz file")
  return loaded


def pop_images(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
  """Removes and returns an array of images or vectors; see `check_images`."""
  array = arrays.pop(name, None)
  if array is None:
    raise ValueError(f"has no {name}")
  return check_images(array, name)


def check_images(array: np.ndarray, name: str) -> np.ndarray:
  """Returns images [N, H, W, C] or vectors [N, D] as uint8 or float32.

  Raises:
    ValueError: one line, for another shape or type, and for a number that is not finite.
  """
  if array.ndim not in (2, 4) or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
    raise ValueError(
      f"{name} is {array.dtype} {list(array.shape)}; [N, H, W, C] or [N, D], uint8 or float"
    )
  if array.dtype != np.uint8:
    with np.errstate(over="ignore"):
      found = array.astype(np.float32)
    if not np.isfinite(found).all():
      at = np.argwhere(~np.isfinite(found))[0]
      where = f"{name}[{', '.join(map(str, at))}] = {array[tuple(at)]}"
      raise ValueError(f"{where} is not finite in float32")
    array = found
  if not array.size:
    raise ValueError(f"{name} is empty")
  return array


def check_ids(ids: np.ndarray, count: int, name: str) -> None:
  """Raises ValueError, in one line, unless ids are so many distinct integers or strings."""
  allowed = f"{count} distinct integers or strings"
  if ids.shape != (count,) or ids.dtype.kind not in "iuU":
    raise ValueError(f"{name} must be {allowed}, not {ids.dtype} {list(ids.shape)}")
  order = np.argsort(ids, kind="stable")
  twice = np.flatnonzero(ids[order[1:]] == ids[order[:-1]])
  if twice.size:
    first, second = order[twice[0]], order[twice[0] + 1]
    raise ValueError(
      f"{name} must be {allowed}; rows {first} and {second} have the same id {ids[first].item()!r}"
    )


def pop_class_names(arrays: dict[str, np.ndarray]) -> tuple[Name, ...]:
  """Removes and returns the names of the classes; none if the file does not name them.

  Raises:
    ValueError: one line, for names that are no distinct strings or numbers.
  """
  names = arrays.pop("class_names", None)
  if names is None:
    return ()
  if names.ndim != 1 or names.dtype.kind not in "iufbU" or len(set(names.tolist())) != len(names):
    raise ValueError(
      f"class_names must be distinct strings or numbers [L], not {names.dtype} {list(names.shape)}"
    )
  return names_of(names)


def names_of(names: np.ndarray) -> tuple[Name, ...]:
  """Returns the names in an array, in which whole numbers may stand beside fractions."""
  return tuple(int(n) if isinstance(n, float) and n.is_integer() else n for n in names.tolist())


def _pop_normalization(
  arrays: dict[str, np.ndarray], size: int
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
  names = ("normalization_mean", "normalization_std")
  found = {name: arrays.pop(name) for name in names if name in arrays}
  if not found:
    return None
  if len(found) < 2:
    raise ValueError(f"has {' and '.join(found)} alone; {' and '.join(names)} belong together")
  for name, array in found.items():
    if array.shape != (size,) or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
      raise ValueError(f"{name} must be {size} finite numbers, not {array.dtype} {array.tolist()}")
  mean, std = found.values()
  if (std <= 0).any():
    at = int((std <= 0).argmax())
    raise ValueError(f"normalization_std[{at}] = {std[at]} must be positive")
  return tuple(map(float, mean)), tuple(map(float, std))


def _pop_flag(arrays: dict[str, np.ndarray], name: str) -> bool:
  flag = arrays.pop(name, np.array(False))
  if flag.shape or flag.dtype != bool:
    raise ValueError(f"{name} must be true or false, not {flag.dtype} {list(flag.shape)}")
  return bool(flag)


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
