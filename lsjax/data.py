"""Data sets by name, as whole arrays. A data set's package is imported when it is asked for."""

import contextlib
import dataclasses
import io
import os
import pathlib
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lsjax import config as config_lib
from lsjax import files

# Part of the cache's file name: raise it when what is cached changes.
_CACHE_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A data set in memory.

  Attributes:
    train_images: [N, H, W, C] or [N, D], uint8 or float32.
    train_labels: integers [N], the clean labels; None where nobody knows them.
    train_ids: [N], distinct integers or strings.
    test_images: [M, ...].
    test_labels: integers [M].
    num_classes: L.
    label_sets: other integer labels [N] of the training images, by name: a person's, a
      crawler's.
  """

  train_images: np.ndarray
  train_labels: np.ndarray | None
  train_ids: np.ndarray
  test_images: np.ndarray
  test_labels: np.ndarray
  num_classes: int
  label_sets: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def load(config: config_lib.Data, *, given_labels: str = "") -> Dataset:
  """Loads the data set that a data section names.

  Args:
    config: the data section.
    given_labels: name of the labels to train on where they are noisy already
      (noise.labels); "" otherwise. If these are the npz's own train_labels, nobody knows
      the clean ones.

  Returns:
    The data set, checked: shapes agree, no split is empty, labels are in range.

  Raises:
    config.ConfigError: one line, for a file or directory that is missing, unreadable or
      inconsistent, a name that is not there, or a download that failed.
  """
  loaders: dict[str, Callable[[], Dataset]] = {
    "digits": _digits,
    "gaussians": _gaussians,
    "npz": lambda: _npz(config.path, given_labels),
  }
  dataset = loaders.get(config.name, lambda: _tfds(config.name, config.data_dir))()
  if given_labels and given_labels not in dataset.label_sets:
    known = ", ".join(sorted(dataset.label_sets)) or "none"
    config_lib.fail("noise.labels", given_labels, f"not in {config.name}, which has: {known}")
  if dataset.train_labels is None and not given_labels:
    config_lib.fail(
      "data.path", config.path, "has no train_labels; name labels with noise.kind=given"
    )
  return dataset


def moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
  """Returns (mean, standard deviation) per last axis; a deviation of 0 is returned as 1."""
  axes = tuple(range(images.ndim - 1))
  total, squares, count = 0.0, 0.0, images.size // images.shape[-1]
  for start in range(0, len(images), 4096):  # float64 copies of a part at a time
    part = images[start : start + 4096].astype(np.float64)
    total, squares = total + part.sum(axes), squares + (part**2).sum(axes)
  mean = np.asarray(total) / count
  std = np.sqrt(np.maximum(np.asarray(squares) / count - mean**2, 0))
  # Rounding leaves a constant channel a tiny deviation instead of 0.
  std = np.where(std > 1e-6 * np.maximum(np.abs(mean), 1e-30), std, 1.0)
  return tuple(mean.tolist()), tuple(std.tolist())


def _digits() -> Dataset:
  """scikit-learn's 1,797 handwritten digits, 8 x 8: 1,437 to train on, 360 to test."""
  from sklearn import datasets

  digits = datasets.load_digits()
  images = digits.images.astype(np.uint8)[..., None]
  order = np.random.RandomState(0).permutation(len(images))  # its stream is frozen by NumPy
  train, test = order[360:], order[:360]
  return Dataset(images[train], digits.target[train], train, images[test], digits.target[test], 10)


def _gaussians() -> Dataset:
  """Two unit-variance Gaussians in 2-D around (1, 1) and (-1, -1): 2,000 and 10,000 points.

  The Bayes boundary is the line through the origin x + y = 0 (paper, claim C7).
  """
  random = np.random.RandomState(0)
  labels = random.randint(0, 2, 12_000)
  points = random.standard_normal((12_000, 2)) + np.where(labels, -1.0, 1.0)[:, None]
  points = points.astype(np.float32)
  return Dataset(points[:2000], labels[:2000], np.arange(2000), points[2000:], labels[2000:], 2)


def _npz(path: str, given_labels: str) -> Dataset:
  """The user's own arrays; see README for the keys."""

  def fail(why: str) -> Any:
    config_lib.fail("data.path", path, why)

  try:
    # Opened here: np.load leaves a file that it cannot read open.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as loaded:
      if not isinstance(loaded, np.lib.npyio.NpzFile):
        fail("is a single array, not an .npz file")
      arrays = {key: loaded[key] for key in loaded.files}
  except FileNotFoundError:
    fail("no such file")
  except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
    fail(f"cannot be read as an .npz file without pickling ({error})")
  images = {}
  for key in ("train_images", "test_images"):
    array = arrays.pop(key, None)
    if array is None:
      fail(f"has no {key}")
    if array.ndim not in (2, 4) or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
      fail(f"{key} is {array.dtype} {list(array.shape)}; [N, H, W, C] or [N, D], uint8 or float")
    if array.dtype != np.uint8:
      array = array.astype(np.float32)
      if not np.isfinite(array).all():
        fail(f"{key} has values that are not finite in float32")
    if not array.size:
      fail(f"{key} is empty")
    images[key] = array
  train, test = images["train_images"], images["test_images"]
  if train.shape[1:] != test.shape[1:]:
    fail(f"train_images {train.shape[1:]} and test_images {test.shape[1:]} differ in shape")
  ids = arrays.pop("train_ids", np.arange(len(train)))
  if ids.shape != (len(train),) or ids.dtype.kind not in "iuU" or len(np.unique(ids)) != len(ids):
    fail(f"train_ids must be {len(train)} distinct integers or strings")

  def labels(key: str, count: int) -> np.ndarray:
    array = arrays[key]
    if array.shape != (count,) or array.dtype.kind not in "iu" or array.min() < 0:
      fail(f"{key} is {array.dtype} {list(array.shape)}; {count} integers from 0 are needed")
    return array

  if "test_labels" not in arrays:
    fail("has no test_labels")
  test_labels = labels("test_labels", len(test))
  train_keys = {"train_labels", given_labels} & arrays.keys()
  used = {key: labels(key, len(train)) for key in sorted(train_keys)}
  sets = {k: v for k, v in arrays.items() if v.shape == (len(train),) and v.dtype.kind in "iu"}
  if not used:
    return Dataset(train, None, ids, test, test_labels, int(test_labels.max()) + 1, sets)
  num_classes = int(max(v.max() for v in used.values())) + 1
  if num_classes < 2:
    fail("the training labels hold one class; at least two are needed")
  if test_labels.max() >= num_classes:
    fail(f"test label {test_labels.max()} is not among the {num_classes} training classes")
  clean = None if given_labels == "train_labels" else used.get("train_labels")
  return Dataset(train, clean, ids, test, test_labels, num_classes, sets)


def _tfds(name: str, data_dir: str) -> Dataset:
  """A prepared (or now to be prepared) TFDS directory, read without TensorFlow."""
  with quiet_tensorflow_datasets():
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir)
    if not builder.is_prepared():
      _prepare(name, builder)
    num_classes = builder.info.features["label"].num_classes
    splits = [_decoded(tfds, builder, split) for split in ("train", "test")]
  train, test = splits
  sets = {k: v for k, v in train.items() if k not in ("id", "image", "label")}
  return Dataset(
    train["image"], train["label"], train["id"], test["image"], test["label"], num_classes, sets
  )


@contextlib.contextmanager
def quiet_tensorflow_datasets() -> Iterator[None]:
  """Silences TFDS's warnings that TensorFlow and OpenCV are absent: nothing here needs them."""
  from absl import logging

  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      yield
  finally:
    logging.set_verbosity(verbosity)


def _decoded(tfds: Any, builder: Any, split: str) -> dict[str, np.ndarray]:
  """Returns {feature: array} of a split, ordered by id, from the cache beside the data."""
  cache = pathlib.Path(builder.data_dir) / f"lsjax_{split}_v{_CACHE_VERSION}.npz"
  try:
    with cache.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
      return {key: arrays[key] for key in arrays.files}
  except FileNotFoundError:
    pass
  except (OSError, ValueError, EOFError, zipfile.BadZipFile):
    print(f"cache {cache} cannot be read; decoding again")
  from tqdm import tqdm

  features = builder.info.features
  labels = [k for k, f in features.items() if isinstance(f, tfds.features.ClassLabel)]
  try:
    source = builder.as_data_source(split=split)
  except (NotImplementedError, ValueError) as error:
    config_lib.fail(
      "data.data_dir",
      str(builder.data_dir),
      f"must hold random-access files (array_record): {config_lib.one_line(error)}",
    )
  columns: dict[str, list[Any]] = {key: [] for key in ("id", "image", *labels)}
  try:
    for example in tqdm(source, desc=f"decoding {builder.name} {split}", unit="image"):
      for key, column in columns.items():
        column.append(example[key])
  except Exception as error:  # array_record, PNG and TFDS raise many kinds for a damaged file
    config_lib.fail(
      "data.data_dir",
      str(builder.data_dir),
      f"holds a {split} split that cannot be read ({config_lib.one_line(error)})",
    )
  ids = np.array([i.decode() if isinstance(i, bytes) else i for i in columns.pop("id")])
  order = np.argsort(ids)  # storage order is a shuffle; ids are the original order
  arrays = {key: np.stack(column)[order] for key, column in columns.items()}
  arrays["id"] = ids[order]
  try:
    with files.replacing(cache) as f:
      np.savez(f, allow_pickle=False, **arrays)
  except OSError as error:
    print(f"decoded images not cached: {error}")
  return arrays


def _builder(name: str, data_dir: str) -> Any:
  """Returns the TFDS builder of a data set, one that can prepare CIFAR without TensorFlow."""
  import tensorflow_datasets as tfds
  from tensorflow_datasets.image_classification import cifar

  def prepares_itself(base: Any) -> Any:
    # TFDS's own builder reads archives, files and pixels through TensorFlow. This one does
    # so with the standard library and Pillow; layout, version and checksums stay TFDS's.
    class Builder(base, skip_registration=True):  # type: ignore[call-arg]
      VERSION = base.VERSION
      name = base.name
      url_infos = base.url_infos

      def _split_generators(self, dl_manager: Any) -> Any:
        info = self._cifar_info
        archive = dl_manager.download(info.url)
        for key, file in zip(info.label_keys, info.label_files):
          names = _member(archive, info.prefix + file).decode().split()
          self.info.features[key].names = names
        return {
          "train": self._generate_examples("train_", archive, info.train_files),
          "test": self._generate_examples("test_", archive, info.test_files),
        }

      def _generate_examples(self, split_prefix: str, archive: Any, members: Any) -> Any:
        info = self._cifar_info
        index = 0
        for member in members:
          raw = np.frombuffer(_member(archive, info.prefix + member), np.uint8)
          for record in raw.reshape(-1, len(info.label_keys) + 3072):
            labels, pixels = np.split(record, [len(info.label_keys)])
            image = pixels.reshape(3, 32, 32).transpose(1, 2, 0)
            values = dict(zip(info.label_keys, labels.tolist()))
            yield index, {"id": f"{split_prefix}{index:05d}", "image": _png(image), **values}
            index += 1

    return Builder(file_format="array_record", data_dir=data_dir or None)

  try:
    if name in ("cifar10", "cifar100"):
      return prepares_itself({"cifar10": cifar.Cifar10, "cifar100": cifar.Cifar100}[name])
    return tfds.builder(name, data_dir=data_dir or None)
  except Exception as error:  # TFDS raises many kinds for a directory it cannot read
    config_lib.fail(
      "data.data_dir", data_dir, f"cannot be opened by TFDS ({config_lib.one_line(error)})"
    )


def _prepare(name: str, builder: Any) -> None:
  """Downloads and writes a data set, with TFDS's progress bars; ConfigError if it cannot."""
  import tensorflow_datasets as tfds

  where = builder.data_dir
  if name.endswith("_n"):
    config_lib.fail(
      "data.name", name, f"is not in {where}; prepare it with tfds build {name} (manual download)"
    )
  try:
    _check_reachable(builder._cifar_info.url)
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(force_checksums_validation=True)
    )
  except Exception as error:  # network, checksum or disk: all end here, in one line
    config_lib.fail(
      "data.name", name, f"is not in {where} and cannot be prepared ({config_lib.one_line(error)})"
    )


def _check_reachable(url: str) -> None:
  """Raises at once without a network, where TFDS would create directories and retry for minutes."""
  import requests  # what TFDS downloads with, so proxies are honoured alike

  requests.head(url, timeout=20)


def _member(archive: str | os.PathLike[str], name: str) -> bytes:
  """Returns the bytes of one file of a tar archive."""
  with tarfile.open(os.fspath(archive)) as tar:
    file = tar.extractfile(name)
    if file is None:
      raise ValueError(f"{archive} has no file {name}")
    return file.read()


def _png(image: np.ndarray) -> Any:
  """Returns a PNG file of an image [H, W, 3] uint8, which TFDS stores as it is."""
  from PIL import Image

  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, "PNG")
  return buffer.getvalue()
