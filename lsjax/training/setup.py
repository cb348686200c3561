"""From a config to everything that a run needs, before anything is compiled or written.

This is where the config meets the data: what does not fit is a `ConfigError` that names a field.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import flax.linen as nn
import jax
import numpy as np

from lsjax import config as config_lib
from lsjax import data, models, noise
from lsjax.config import ConfigError, naming
from lsjax.data import streams
from lsjax.training import devices as devices_lib
from lsjax.training import distributed, matrices, sizes, step
from lsjax.training import splits as splits_lib
from lsjax.training.datasets import load_dataset
from lsjax.training.teachers import FrozenTeacher


class PreparedRun(Protocol):
  """A checked run, ready to train.

  Attributes:
    config: the run's config.
    noise_config: the noise of the run's labels; a student's may differ from `config.noise`.
    noisy_labels: the labels of this process's part of the training set, the held-out part
      included.
    spec: the inputs that the model takes.
    model: the network on one device; `clone(axis_name=...)` makes it one for several.
    hparams: the arrays that a step reads.
    devices: the devices that train.
    teachers: the teachers that the run imitates; empty for an ordinary run.
    sizes: the number of examples of each split, {name: count}.
    part: (index, count) of this process's part of the training labels.
    about_data: names of classes and features, for config.json.
    test_is_noisy: whether the test labels are as noisy as the training labels.
    data_sha256: returns the digest of the data that all processes of a job have in common.
  """

  @property
  def config(self) -> config_lib.Config: ...
  @property
  def noise_config(self) -> config_lib.Noise: ...
  @property
  def noisy_labels(self) -> noise.NoisyLabels: ...
  @property
  def spec(self) -> models.InputSpec: ...
  @property
  def model(self) -> nn.Module: ...
  @property
  def hparams(self) -> step.Hparams: ...
  @property
  def devices(self) -> Sequence[jax.Device]: ...
  @property
  def teachers(self) -> Sequence[FrozenTeacher]: ...
  @property
  def sizes(self) -> Mapping[str, int]: ...
  @property
  def part(self) -> tuple[int, int]: ...
  @property
  def about_data(self) -> Mapping[str, Any]: ...
  @property
  def test_is_noisy(self) -> bool: ...
  def data_sha256(self) -> str: ...


@dataclasses.dataclass(frozen=True)
class _Common:
  """The fields that both kinds of prepared run have; see `PreparedRun`."""

  config: config_lib.Config
  noise_config: config_lib.Noise
  noisy_labels: noise.NoisyLabels
  spec: models.InputSpec
  model: nn.Module
  hparams: step.Hparams
  devices: Sequence[jax.Device]
  teachers: Sequence[FrozenTeacher]
  about_data: Mapping[str, Any]
  test_is_noisy: bool


@dataclasses.dataclass(frozen=True)
class InMemoryRun(_Common):
  """A `PreparedRun` whose images fit into memory.

  Attributes:
    splits: "train", "test" and, where examples are held out, "validation" (noisy labels).
  """

  splits: Mapping[str, splits_lib.Split]

  @property
  def sizes(self) -> Mapping[str, int]:
    return {name: len(split.labels) for name, split in self.splits.items()}

  @property
  def part(self) -> tuple[int, int]:
    return 0, 1  # every process holds all labels

  def data_sha256(self) -> str:
    """Returns the digest of images, examples and labels, the same in every process."""
    digest = hashlib.sha256(self.noisy_labels.sha256().encode())
    for split in self.splits.values():
      for array in (split.source, *split.arrays):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class StreamedRun(_Common):
  """A `PreparedRun` whose images are read while it trains.

  Attributes:
    sources: "train" and "test" on disk.
    reader: how this process reads them.
  """

  sources: Mapping[str, streams.Source]
  reader: streams.Reader

  @property
  def sizes(self) -> Mapping[str, int]:
    return {name: len(source) for name, source in self.sources.items()}

  @property
  def part(self) -> tuple[int, int]:
    return self.reader.process, self.reader.processes

  def data_sha256(self) -> str:
    """Returns the digest of the number of examples; each process reads other labels."""
    return hashlib.sha256(repr(self.sizes).encode()).hexdigest()


def prepare(
  config: config_lib.Config,
  teachers: Sequence[FrozenTeacher] = (),
  dataset: data.Dataset | None = None,
) -> InMemoryRun | StreamedRun:
  """Loads the data, draws the noise and checks that everything fits together.

  Args:
    config: the run's config.
    teachers: the teachers of a student; without them a student is checked as far as possible.
    dataset: the result of `load_dataset(config)`, where several runs share it.

  Raises:
    ConfigError: one line.
  """
  with naming("train.num_devices", config.train.num_devices):
    devices = devices_lib.choose(config.train.num_devices)
  for name in ("batch_size", "eval_batch_size"):
    value = getattr(config.train, name)
    if value % len(devices):
      raise ConfigError(f"train.{name}", value, f"must be divisible by {len(devices)} devices")
  if config.data.name in config_lib.STREAMED:
    return _prepare_streamed(config, devices)
  dataset = load_dataset(config) if dataset is None else dataset
  _check_images(config, dataset)
  sizes.check_classes(config, dataset.num_classes)
  noise_config, seed = _noise_of(config, teachers)
  images = dataset.train_images
  moments = dataset.normalization or data.moments(images)
  noisy_labels = _noisy_labels(noise_config, config.given_labels, seed, dataset, moments)
  splits = splits_lib.make(config, dataset, noisy_labels)
  mean, std = moments if config.data.normalize else ((0.0,), (1.0,))
  spec = models.InputSpec(dataset.num_classes, mean, std, images.shape[1:], str(images.dtype))
  sizes.check_model(config, spec, len(splits["train"].labels), devices[0])
  arrays = matrices.method_arrays(
    config.loss,
    noisy_labels.transition,
    dataset.num_classes,
    _estimated_transition(config.loss, teachers, splits["train"]),
  )
  run = InMemoryRun(
    config=config,
    noise_config=noise_config,
    noisy_labels=noisy_labels,
    spec=spec,
    model=models.create(config.model, spec),
    hparams=step.make_hparams(config, arrays),
    devices=devices,
    teachers=teachers,
    about_data=dataset.description(),
    test_is_noisy=dataset.test_is_noisy,
    splits=splits,
  )
  for teacher in teachers:
    _check_teacher(run, teacher)
  return run


def _estimated_transition(
  config: config_lib.Loss, teachers: Sequence[FrozenTeacher], train: splits_lib.Split
) -> np.ndarray | None:
  """Returns the matrix that a first run's predictions tell; None where none is asked for.

  The predictions are those of the training images, mean over the teachers.
  """
  if config.transition != "estimated" or not teachers:
    return None
  from lsjax import estimate  # takes a while, which other runs should not wait for

  q = np.mean([teacher.probabilities(train.images) for teacher in teachers], axis=0)
  match config.estimator:
    case "anchor":
      return estimate.anchor(q)
    case "dual_t":
      return estimate.dual_t(q, train.labels)


# Of ImageNet's pixels, as torchvision and most recipes use them (times 255).
_IMAGENET_MEAN, _IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def _prepare_streamed(config: config_lib.Config, devices: Sequence[jax.Device]) -> StreamedRun:
  """Opens the splits of streamed data and draws the noise of this process's part."""
  index, count = distributed.process()
  section, train_section = config.data, config.train
  with naming("data.data_dir", section.data_dir):
    # The labelled images to test on are ImageNet's validation split.
    sources = {
      name: streams.open_split(section, split)
      for name, split in (("train", "train"), ("test", "validation"))
    }
    train = sources["train"]
    if len(train) < train_section.batch_size:
      why = f"must be at most the {len(train)} training images"
      raise ConfigError("train.batch_size", train_section.batch_size, why)
    if not len(sources["test"]):
      raise ConfigError("data.name", section.name, "has an empty validation split")
    ids, labels = train.labels(range(index, len(train), count))
    matrix = matrices.noise_transition(config.noise, train.num_classes)
    noisy_labels = noise.corrupt(labels, matrix, seed=config.seed.noise, ids=ids)
  spec = models.InputSpec(
    num_classes=train.num_classes,
    mean=_IMAGENET_MEAN if section.normalize else (0.0,),
    std=_IMAGENET_STD if section.normalize else (1.0,),
    shape=(section.image_size, section.image_size, 3),
    dtype="uint8",
  )
  sizes.check_model(config, spec, len(train), devices[0])
  arrays = matrices.method_arrays(config.loss, matrix, train.num_classes)
  return StreamedRun(
    config=config,
    noise_config=config.noise,
    noisy_labels=noisy_labels,
    spec=spec,
    model=models.create(config.model, spec),
    hparams=step.make_hparams(config, arrays),
    devices=devices,
    teachers=(),
    about_data={},
    test_is_noisy=False,
    sources=sources,
    reader=streams.Reader(index, count, section.workers),
  )


def _noise_of(
  config: config_lib.Config, teachers: Sequence[FrozenTeacher]
) -> tuple[config_lib.Noise, int]:
  """Returns the noise of the run's own labels and its seed."""
  kind = config.student.noise if config.student is not None else "fresh"
  if kind == "none":
    return config_lib.Noise(), config.seed.noise
  if kind == "fresh":
    return config.noise, config.seed.noise
  teacher = teachers[0].config if teachers else config_lib.teacher_run(config)
  return config.noise, teacher.seed.noise


def _check_teacher(run: InMemoryRun, teacher: FrozenTeacher) -> None:
  """Raises `ConfigError` unless the teacher saw the images (and labels) that it should have."""
  student = run.config.student
  assert student is not None
  with naming("teacher.workdir", teacher.workdir):
    for key, what in (("num_classes", "classes"), ("shape", "image shape")):
      of_teacher, of_student = getattr(teacher.spec, key), getattr(run.spec, key)
      if of_teacher != of_student:
        raise ValueError(f"was trained with {what} {of_teacher}; the student has {of_student}")
    if not np.array_equal(teacher.ids, run.noisy_labels.ids):
      raise ValueError("was trained on other images: their ids differ from the student's")
    if run.config.teacher is not None and run.config.teacher.workdir:
      config_lib.check_against_teacher(run.config, teacher.config)
    if student.noise == "teacher" and teacher.noise_sha256 != run.noisy_labels.sha256():
      raise ValueError("was trained on other labels than its noise and seed give on this data")


def _check_images(config: config_lib.Config, dataset: data.Dataset) -> None:
  """Raises `ConfigError` where model or augmentation do not fit the images."""
  shape = dataset.train_images.shape[1:]
  is_image, padding = len(shape) == 3, config.data.crop_padding
  needs = f"needs images [H, W, C], not {list(shape)}"
  if config.model.name in models.CONVOLUTIONAL and not is_image:
    raise ConfigError("model.name", config.model.name, needs)
  if config.data.flip and not is_image:
    raise ConfigError("data.flip", True, needs)
  if padding and (not is_image or padding > min(shape[:2])):
    why = f"must be 0 or fit images [H, W, C]; they are {list(shape)}"
    raise ConfigError("data.crop_padding", padding, why)


def _noisy_labels(
  config: config_lib.Noise,
  given: str,
  seed: int,
  dataset: data.Dataset,
  moments: Sequence[Sequence[float]],
) -> noise.NoisyLabels:
  """Draws (or takes) the labels to train on; noise by image standardises by the moments."""
  ids, clean, num_classes = dataset.train_ids, dataset.train_labels, dataset.num_classes
  if config.kind == "given":
    with naming("noise.labels", given):
      return noise.given(dataset.label_sets[given], clean, num_classes, ids=ids)
  if clean is None:  # load_dataset has checked that the run's own noise does not need them
    raise ConfigError("student.noise", "none", "needs clean labels, which the data lack")
  if config.kind == "instance":
    mean, std = moments
    with naming("noise.kind", config.kind):
      return noise.corrupt_by_instance(
        dataset.train_images,
        clean,
        num_classes,
        rate=config.rate,
        seed=seed,
        ids=ids,
        mean=mean,
        std=std,
      )
  matrix = matrices.noise_transition(config, num_classes)
  return noise.corrupt(clean, matrix, seed=seed, ids=ids)
