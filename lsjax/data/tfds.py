"""TFDS data sets as whole arrays: prepared if need be, and read without TensorFlow."""

import contextlib
import io
import os
import pathlib
import tarfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lsjax import config as config_lib
from lsjax import files, regular
from lsjax import labels as labels_lib
from lsjax.data import decoding
from lsjax.data.dataset import Dataset

# A part of the cache's file name, to be raised when the content of the cache changes.
_CACHE_VERSION = 1


def load(name: str, data_dir: str = "") -> Dataset:
  """Loads the train and test splits of a TFDS data set of labelled images.

  CIFAR-10 and CIFAR-100 are downloaded and prepared first if the directory lacks them. Decoded
  images are cached beside the data.

  Args:
    name: the TFDS name of the data set.
    data_dir: the TFDS directory; "" stands for TFDS's own default.

  Raises:
    ValueError: one line, if the directory cannot be read, if it lacks the data set and that
      cannot be prepared, or if a label is not among the classes that the data set declares.
  """
  with quiet_tensorflow_datasets():
    with explaining_errors("cannot be opened by TFDS"):
      builder = _builder(name, data_dir)
    if not builder.is_prepared():
      _prepare(name, builder)
    train, test = (_decoded(builder, split) for split in ("train", "test"))
  num_classes = builder.info.features["label"].num_classes
  for split, columns in (("train", train), ("test", test)):
    labels_lib.check(columns["label"], num_classes, name=f"{builder.data_dir}: {split} label")
  images, labels, ids = (train.pop(key) for key in ("image", "label", "id"))
  return Dataset(images, labels, ids, test["image"], test["label"], num_classes, train)


@contextlib.contextmanager
def quiet_tensorflow_datasets() -> Iterator[None]:
  """Silences TFDS's warnings that TensorFlow and OpenCV are absent, which lsjax does not need."""
  from absl import logging

  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      yield
  finally:
    logging.set_verbosity(verbosity)


@contextlib.contextmanager
def explaining_errors(problem: str, kind: type[ValueError] = ValueError) -> Iterator[None]:
  """Turns an error of another library into a one-line ValueError: "<problem> (<error>)".

  Every kind of error is caught, because TFDS, array_record and Pillow raise many for a damaged
  file, a directory that they do not know, a full disk or a missing network.

  Args:
    problem: what is wrong in the user's terms.
    kind: the class of the error to raise.
  """
  try:
    yield
  except ModuleNotFoundError:
    raise  # the command names the extra that installs it
  except Exception as error:
    raise kind(f"{problem} ({config_lib.one_line(error)})") from error


def check_files(name: str, data_dir: str) -> None:
  """Checks that all files of a data set are regular ones; TFDS would wait for a pipe for ever.

  Args:
    name: the TFDS name of the data set.
    data_dir: the TFDS directory; "" stands for TFDS's own default.

  Raises:
    OSError: with the name of a file that is a device or a pipe.
  """
  directory = data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
  if not files.is_local(directory):
    return
  for path in sorted((files.path(directory) / name).rglob("*")):
    if path.exists() and not path.is_dir():
      try:
        regular.check(path)
      except OSError as error:
        raise OSError(f"{path}: {error}") from error


def _builder(name: str, data_dir: str) -> Any:
  """Returns the TFDS builder of a data set; that of CIFAR prepares it without TensorFlow."""
  import tensorflow_datasets

  check_files(name, data_dir)
  if name in ("cifar10", "cifar100"):
    return _cifar_class(name)(data_dir=data_dir or None, file_format="array_record")
  return tensorflow_datasets.builder(name, data_dir=data_dir or None)


def _cifar_class(name: str) -> Any:
  """Returns a subclass of TFDS's CIFAR builder with the methods of `_WithoutTensorFlow`."""
  from tensorflow_datasets.image_classification import cifar

  base: Any = {"cifar10": cifar.Cifar10, "cifar100": cifar.Cifar100}[name]

  class Builder(_WithoutTensorFlow, base, skip_registration=True):  # type: ignore[call-arg]
    # TFDS would derive the last two from the name and the module of this class.
    VERSION = base.VERSION
    name = base.name
    url_infos = base.url_infos

  return Builder


class _WithoutTensorFlow:
  """Replaces the methods of TFDS's CIFAR builders that read files and pixels by TensorFlow.

  The standard library and Pillow do the work; features, version, checksums and the layout of the
  directory stay those of TFDS.
  """

  _cifar_info: Any
  info: Any

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
    cifar = self._cifar_info
    archive = dl_manager.download(cifar.url)
    for key, file in zip(cifar.label_keys, cifar.label_files):
      self.info.features[key].names = _member(archive, cifar.prefix + file).decode().split()
    return {
      "train": self._generate_examples("train_", archive, cifar.train_files),
      "test": self._generate_examples("test_", archive, cifar.test_files),
    }

  def _generate_examples(
    self, id_prefix: str, archive: str | os.PathLike[str], members: Sequence[str]
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    keys, index = self._cifar_info.label_keys, 0
    for member in members:
      content = np.frombuffer(_member(archive, self._cifar_info.prefix + member), np.uint8)
      for record in content.reshape(-1, len(keys) + 3072):
        labels, pixels = np.split(record, [len(keys)])
        image = _png(pixels.reshape(3, 32, 32).transpose(1, 2, 0))
        yield (
          index,
          {"id": f"{id_prefix}{index:05d}", "image": image, **dict(zip(keys, labels.tolist()))},
        )
        index += 1


def _member(archive: str | os.PathLike[str], name: str) -> bytes:
  """Returns the content of a file in a tar archive."""
  with tarfile.open(os.fspath(archive)) as tar:
    file = tar.extractfile(name)
    if file is None:
      raise ValueError(f"{archive} has no file {name}")
    return file.read()


def _png(image: np.ndarray) -> bytes:
  """Encodes an image, uint8 [H, W, 3], as a PNG file, which TFDS stores unchanged."""
  from PIL import Image

  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, "PNG")
  return buffer.getvalue()


def _prepare(name: str, builder: Any) -> None:
  """Downloads and writes CIFAR with TFDS's progress bars, or raises ValueError."""
  import tensorflow_datasets

  absent = f"has no {name} in {builder.data_dir}"
  if name.endswith("_n"):
    raise ValueError(f"{absent}; prepare it with tfds build {name} (manual download)")
  with explaining_errors(f"{absent}, and it cannot be prepared"):
    _check_reachable(builder._cifar_info.url)
    builder.download_and_prepare(
      download_config=tensorflow_datasets.download.DownloadConfig(force_checksums_validation=True)
    )


def _check_reachable(url: str) -> None:
  """Raises an error if there is no network; TFDS would make directories and retry for minutes."""
  import requests  # TFDS downloads with it too, so both use the same proxies

  requests.head(url, timeout=20)


def _decoded(builder: Any, split: str) -> dict[str, np.ndarray]:
  """Returns {feature: array} of a split in the order of its ids, from the cache if there is one.

  The features are "id", "image" and every class label.
  """
  cache = pathlib.Path(builder.data_dir) / f"lsjax_{split}_v{_CACHE_VERSION}.npz"
  try:
    with cache.open("rb") as file, np.load(file, allow_pickle=False) as cached:
      return {key: cached[key] for key in cached.files}
  except FileNotFoundError:
    pass
  except (OSError, ValueError, EOFError, zipfile.BadZipFile):
    print(f"cache {cache} cannot be read; decoding again")
  arrays = _decode(builder, split)
  try:
    with files.replacing(cache) as f:
      np.savez(f, allow_pickle=False, **arrays)
  except OSError as error:
    print(f"decoded images not cached: {error}")
  return arrays


def _decode(builder: Any, split: str) -> dict[str, np.ndarray]:
  """Reads and decodes a split, or raises ValueError."""
  import tensorflow_datasets
  from tqdm import tqdm

  is_label = tensorflow_datasets.features.ClassLabel
  labels = [key for key, f in builder.info.features.items() if isinstance(f, is_label)]
  columns: dict[str, list[Any]] = {key: [] for key in ("id", "image", *labels)}
  with explaining_errors("must hold array_record files, which allow random access"):
    # TFDS would open an image of any format.
    encoded = {"image": tensorflow_datasets.decode.SkipDecoding()}
    source = builder.as_data_source(split=split, decoders=encoded)
  with explaining_errors(f"holds a {split} split that cannot be read: {builder.data_dir}"):
    for example in tqdm(source, desc=f"decoding {builder.name} {split}", unit="image"):
      for key, column in columns.items():
        column.append(decoding.decoded(example[key]) if key == "image" else example[key])
  ids = np.array([i.decode() if isinstance(i, bytes) else i for i in columns.pop("id")])
  order = np.argsort(ids)  # TFDS shuffles what it stores; the ids follow the original order
  return {"id": ids[order]} | {key: np.stack(values)[order] for key, values in columns.items()}
