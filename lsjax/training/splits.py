"""The splits of a data set in memory: the training set, what is held out of it, the test set."""

import dataclasses
import functools

import numpy as np

from lsjax import config as config_lib
from lsjax import data, noise
from lsjax import labels as labels_lib
from lsjax.config import ConfigError, naming
from lsjax.data import sampling


@dataclasses.dataclass(frozen=True)
class Split:
  """One part of the data.

  Attributes:
    source: images [M, ...] that contain the split's images; splits and runs share them.
    examples: the indices of the split's images, int32 [N].
    labels: labels to train on or to test against, int32 [N].
    true_labels: clean labels, int32 [N]; -1 where they are unknown.
  """

  source: np.ndarray
  examples: np.ndarray
  labels: np.ndarray
  true_labels: np.ndarray

  @property
  def images(self) -> np.ndarray:
    """A copy of the split's images, [N, ...]."""
    return self.source[self.examples]

  @property
  def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arrays that each run has for itself: examples, labels, true_labels."""
    return self.examples, self.labels, self.true_labels


def make(
  config: config_lib.Config, dataset: data.Dataset, noisy: noise.NoisyLabels
) -> dict[str, Split]:
  """Returns the splits of a run by name: train, test and, if asked for, validation.

  Raises:
    ConfigError: if the training set is smaller than a batch, or if there is nothing to test on.
  """
  count = len(noisy.labels)
  held_out = config.data.num_held_out(count)
  if count - held_out < config.train.batch_size:
    left = f"{max(count - held_out, 0)} training examples ({count} less {held_out} for validation)"
    raise ConfigError("train.batch_size", config.train.batch_size, f"must be at most the {left}")
  if len(dataset.test_labels) == 0:
    raise ConfigError("data.name", config.data.name, "has an empty test split")
  true = np.full(count, -1, np.int32) if noisy.clean is None else noisy.clean
  with naming("data.name", config.data.name):
    test_labels = labels_lib.check(dataset.test_labels, dataset.num_classes, name="test_labels")
  chosen = np.zeros(count, bool)
  if config.data.folds:
    mask = sampling.in_fold(config.seed.data, count, config.data.folds, config.data.fold)
    chosen = np.asarray(mask)
  elif held_out:
    chosen = _held_out(config.seed.data, count, held_out)
  parts = {"train": ~chosen, "validation": chosen} if held_out else {"train": ~chosen}
  splits = {}
  for name, where in parts.items():
    examples = np.flatnonzero(where).astype(np.int32)
    splits[name] = Split(dataset.train_images, examples, noisy.labels[where], true[where])
  examples = np.arange(len(test_labels), dtype=np.int32)
  splits["test"] = Split(dataset.test_images, examples, test_labels, test_labels)
  return splits


@functools.lru_cache(maxsize=8)
def _held_out(seed: int, num_examples: int, num_held_out: int) -> np.ndarray:
  """Returns the mask of `sampling.held_out`, which the runs of a sweep share."""
  mask = np.asarray(sampling.held_out(seed, num_examples, num_held_out))
  mask.flags.writeable = False
  return mask
