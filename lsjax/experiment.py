"""From a config to everything a run needs, before anything is compiled or written."""

import dataclasses
import functools
import importlib.metadata
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

import lsjax
from lsjax import checkpoint, data, models, noise, parallel, sampling, step, stream
from lsjax import config as config_lib
from lsjax import teacher as teacher_lib
from lsjax import transition as transition_lib


@dataclasses.dataclass(frozen=True)
class Split:
  """One part of the data.

  Attributes:
    source: images [M, ...] that hold the split's, shared with other splits and runs.
    examples: int32 [N], which of them.
    labels: int32 [N] as trained on or tested against.
    true_labels: int32 [N], -1 where unknown.
  """

  source: np.ndarray
  examples: np.ndarray
  labels: np.ndarray
  true_labels: np.ndarray

  @property
  def images(self) -> np.ndarray:
    """[N, ...], a copy."""
    return self.source[self.examples]

  @property
  def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a run has of its own: examples, labels, true_labels."""
    return self.examples, self.labels, self.true_labels


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A checked run.

  Attributes:
    config: of the run.
    splits: "train", "test" and, where examples are held out, "validation" (noisy labels).
    noise_config: the noise that the labels have; for a student it may not be config.noise.
    noise: labels of the whole training set, the held-out part included.
    inputs: what else than the config rebuilds the model: num_classes, mean, std, shape, dtype.
    model: on one device; `clone(axis_name=...)` for several.
    hparams: arrays of the step.
    devices: that train.
    teachers: that the run imitates; none for an ordinary run.
    sources: "train" and "test" where the images are streamed; there are no splits then, and the
      noise is that of the part of the training set which this process reads.
    reader: of the sources.
  """

  config: config_lib.Config
  splits: dict[str, Split]
  noise_config: config_lib.Noise
  noise: noise.NoisyLabels
  inputs: dict[str, Any]
  model: nn.Module
  hparams: step.Hparams
  devices: list[jax.Device]
  teachers: Sequence[teacher_lib.Teacher] = ()
  sources: Mapping[str, stream.Source] = dataclasses.field(default_factory=dict)
  reader: stream.Reader = dataclasses.field(default_factory=stream.Reader)

  @property
  def sizes(self) -> dict[str, int]:
    """The number of examples of each split."""
    if self.sources:
      return {name: len(source) for name, source in self.sources.items()}
    return {name: len(split.labels) for name, split in self.splits.items()}


def load(config: config_lib.Config) -> data.Dataset:
  """Loads the data set of a run."""
  given = config.noise.labels if config.noise.kind == "given" else ""
  return data.load(config.data, given_labels=given)


def prepare(
  config: config_lib.Config,
  teachers: Sequence[teacher_lib.Teacher] = (),
  dataset: data.Dataset | None = None,
) -> Experiment:
  """Loads the data, draws the noise and checks that all of it fits together.

  Args:
    config: of the run.
    teachers: of a student. Without them a student is checked as far as it can be.
    dataset: what `load(config)` returns, where several runs share it.

  Raises:
    config.ConfigError: one line.
  """
  devices = parallel.devices(config.train.num_devices)
  for name in ("batch_size", "eval_batch_size"):
    value = getattr(config.train, name)
    if value % len(devices):
      config_lib.fail(f"train.{name}", value, f"must be divisible by {len(devices)} devices")
  if config.data.name in config_lib.STREAMED:
    return _prepare_streamed(config, devices)
  noise_config, noise_seed = _noise_of(config, teachers)
  dataset = load(config) if dataset is None else dataset
  _check_images(config, dataset)
  noisy = _noisy_labels(noise_config, noise_seed, dataset)
  splits = _splits(config, dataset, noisy)
  mean, std = data.moments(dataset.train_images) if config.data.normalize else ((0.0,), (1.0,))
  inputs = {
    "num_classes": dataset.num_classes,
    "mean": list(mean),
    "std": list(std),
    "shape": list(dataset.train_images.shape[1:]),
    "dtype": str(dataset.train_images.dtype),
  }
  hparams = step.make_hparams(config, noisy.transition, dataset.num_classes)
  model = checkpoint.build_model(config, inputs)
  run = Experiment(config, splits, noise_config, noisy, inputs, model, hparams, devices, teachers)
  for teacher in teachers:
    _check_teacher(run, teacher)
  return run


# Of ImageNet's pixels, as torchvision and most recipes have them (times 255).
_IMAGENET_MEAN, _IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def _prepare_streamed(config: config_lib.Config, devices: list[jax.Device]) -> Experiment:
  """Opens the splits of streamed data and draws the noise of this process's part."""
  index, count = parallel.process()
  reader = stream.Reader(index, count, config.data.workers)
  # The labelled images to test on are ImageNet's validation split.
  sources = {
    name: stream.open_split(config.data, split)
    for name, split in (("train", "train"), ("test", "validation"))
  }
  train, test = sources["train"], sources["test"]
  size = config.train.batch_size
  if len(train) < size:
    config_lib.fail("train.batch_size", size, f"must be at most the {len(train)} training images")
  if not len(test):
    config_lib.fail("data.name", config.data.name, "has an empty validation split")
  ids, labels = train.labels(range(index, len(train), count))
  matrix = _transition(config.noise, train.num_classes)
  try:
    noisy = noise.corrupt(labels, matrix, seed=config.seed.noise, ids=ids)
  except ValueError as error:
    config_lib.fail("data.data_dir", config.data.data_dir, str(error))
  normalize = config.data.normalize
  inputs = {
    "num_classes": train.num_classes,
    "mean": list(_IMAGENET_MEAN if normalize else (0.0,)),
    "std": list(_IMAGENET_STD if normalize else (1.0,)),
    "shape": [config.data.image_size, config.data.image_size, 3],
    "dtype": "uint8",
  }
  hparams = step.make_hparams(config, matrix, train.num_classes)
  model = checkpoint.build_model(config, inputs)
  return Experiment(
    config=config,
    splits={},
    noise_config=config.noise,
    noise=noisy,
    inputs=inputs,
    model=model,
    hparams=hparams,
    devices=devices,
    sources=sources,
    reader=reader,
  )


def _noise_of(
  config: config_lib.Config, teachers: Sequence[teacher_lib.Teacher]
) -> tuple[config_lib.Noise, int]:
  """Returns the noise of the run's own labels and its seed."""
  if config.student is None:
    return config.noise, config.seed.noise
  match config.student.noise:
    case "none":
      return config_lib.Noise(), config.seed.noise
    case "fresh":
      return config.noise, config.seed.noise
    case "teacher":
      teacher = teachers[0].config if teachers else config_lib.teacher_run(config)
      return config.noise, teacher.seed.noise


def _check_teacher(run: Experiment, teacher: teacher_lib.Teacher) -> None:
  """Raises `ConfigError` unless the teacher saw the images (and labels) that it should have."""

  def fail(why: str) -> Any:
    config_lib.fail("teacher.workdir", teacher.workdir, why)

  for key, what in (("num_classes", "classes"), ("shape", "image shape")):
    if teacher.inputs[key] != run.inputs[key]:
      fail(f"was trained with {what} {teacher.inputs[key]}; the student has {run.inputs[key]}")
  if not np.array_equal(teacher.ids, run.noise.ids):
    fail("was trained on other images: their ids differ from the student's")
  config_lib.check_against_teacher(run.config, teacher.config)
  assert run.config.student is not None
  if run.config.student.noise == "teacher" and teacher.noise_sha256 != run.noise.sha256():
    fail("was trained on other labels than its noise and seed give on this data")


def _check_images(config: config_lib.Config, dataset: data.Dataset) -> None:
  """Raises `ConfigError` where model or augmentation do not fit the images."""
  shape = dataset.train_images.shape[1:]
  is_image = len(shape) == 3
  if config.model.name in models.CONVOLUTIONAL and not is_image:
    config_lib.fail("model.name", config.model.name, f"needs images [H, W, C], not {list(shape)}")
  if config.data.flip and not is_image:
    config_lib.fail("data.flip", True, f"needs images [H, W, C], not {list(shape)}")
  padding = config.data.crop_padding
  if padding and (not is_image or padding > min(shape[:2])):
    config_lib.fail(
      "data.crop_padding", padding, f"must be 0 or fit images [H, W, C]; they are {list(shape)}"
    )


def _noisy_labels(config: config_lib.Noise, seed: int, dataset: data.Dataset) -> noise.NoisyLabels:
  """Draws (or takes) the labels to train on."""
  num_classes = dataset.num_classes
  try:
    if config.kind == "given":
      return noise.given(
        dataset.label_sets[config.labels],
        dataset.train_labels,
        num_classes,
        ids=dataset.train_ids,
      )
  except ValueError as error:
    config_lib.fail("noise.labels", config.labels, str(error))
  assert dataset.train_labels is not None  # data.load has seen to it
  matrix = _transition(config, num_classes)
  return noise.corrupt(dataset.train_labels, matrix, seed=seed, ids=dataset.train_ids)


def _transition(config: config_lib.Noise, num_classes: int) -> np.ndarray:
  """Returns the matrix that a noise section asks for."""
  match config.kind:
    case "none":
      matrix = np.eye(num_classes)
    case "symmetric":
      matrix = transition_lib.symmetric(
        num_classes, config.rate, includes_own_class=config.includes_own_class
      )
    case "pair":
      matrix = transition_lib.pair(num_classes, config.rate)
    case "one_sided":
      matrix = transition_lib.one_sided(num_classes, config.rate)
    case "cifar10_asymmetric":
      matrix = transition_lib.cifar10_asymmetric(config.rate)
    case "file":
      try:
        matrix = transition_lib.from_file(config.path)
      except ValueError as error:
        config_lib.fail("noise.path", config.path, str(error))
  if len(matrix) != num_classes:
    config_lib.fail(
      "noise.kind", config.kind, f"is for {len(matrix)} classes; the data has {num_classes}"
    )
  return matrix


def _splits(
  config: config_lib.Config, dataset: data.Dataset, noisy: noise.NoisyLabels
) -> dict[str, Split]:
  """Returns train, test and, if asked for, validation."""
  count, held_out = len(noisy.labels), config.data.validation_examples
  if count - held_out < config.train.batch_size:
    config_lib.fail(
      "train.batch_size",
      config.train.batch_size,
      f"must be at most the {max(count - held_out, 0)} training examples "
      f"({count} less {held_out} for validation)",
    )
  if len(dataset.test_labels) == 0:
    config_lib.fail("data.name", config.data.name, "has an empty test split")
  true = np.full(count, -1, np.int32) if noisy.clean is None else noisy.clean
  test_labels = noise.check_labels(dataset.test_labels, dataset.num_classes)
  chosen = np.zeros(count, bool)
  if held_out:
    chosen = np.asarray(sampling.held_out(config.seed.data, count, held_out))
  parts = {"train": ~chosen, "validation": chosen} if held_out else {"train": ~chosen}
  splits = {}
  for name, where in parts.items():
    examples = np.flatnonzero(where).astype(np.int32)
    splits[name] = Split(dataset.train_images, examples, noisy.labels[where], true[where])
  examples = np.arange(len(test_labels), dtype=np.int32)
  splits["test"] = Split(dataset.test_images, examples, test_labels, test_labels)
  return splits


def description(experiment: Experiment) -> dict[str, Any]:
  """Returns the content of config.json: config, its hash, inputs and environment."""
  packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
  return {
    "config": config_lib.to_dict(experiment.config),
    "config_hash": config_lib.config_hash(experiment.config),
    "inputs": experiment.inputs,
    "environment": {
      "lsjax": lsjax.__version__,
      "python": sys.version.split()[0],
      **{name: importlib.metadata.version(name) for name in packages},
      "device": experiment.devices[0].device_kind,
      "backend": jax.default_backend(),
      "num_devices": len(experiment.devices),
      "commit": commit(),
    },
    **teachers_entry(experiment.teachers),
  }


def teachers_entry(teachers: Sequence[teacher_lib.Teacher]) -> dict[str, Any]:
  """Returns {"teachers": descriptions} for the files of a student, {} for an ordinary run."""
  return {"teachers": [t.description() for t in teachers]} if teachers else {}


@functools.lru_cache(maxsize=1)
def commit() -> str | None:
  """Returns the git commit of this source tree, with "-dirty" after local changes, or None."""
  try:
    return (
      subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        cwd=pathlib.Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
      ).stdout.strip()
      or None
    )
  except (OSError, subprocess.SubprocessError):
    return None
