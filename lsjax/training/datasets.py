"""The data set of a run in memory, with what is odd in it said on stderr."""

import functools
import sys

from lsjax import config as config_lib
from lsjax import data
from lsjax import labels as labels_lib
from lsjax.config import ConfigError, naming
from lsjax.training import distributed


def load_dataset(config: config_lib.Config) -> data.Dataset:
  """Loads the data set of a run into memory.

  What is odd in it is printed to stderr, once in a process.

  Raises:
    ConfigError: one line, for data that cannot be read or lacks the labels that are asked for, and
      for labels that are no classes.
  """
  section, given = config.data, config.given_labels
  field = "path" if section.name in ("npz", *config_lib.OWN) else "data_dir"
  source = f"data.{field}", getattr(section, field)
  with naming(*source):
    dataset = data.load(section, given_labels=given, seed=config.seed.data)
  if given and given not in dataset.label_sets:
    known = ", ".join(sorted(dataset.label_sets)) or "none"
    raise ConfigError("noise.labels", given, f"not in {section.name}, which has: {known}")
  if dataset.train_labels is None and not given:
    why = "has no train_labels; name labels with noise.kind=given"
    raise ConfigError("data.path", section.path, why)
  if given:
    with naming(*source):
      labels_lib.check(dataset.label_sets[given], dataset.num_classes, name=given)
  for remark in data.remarks(dataset, given):
    _say_once(str(ConfigError(*source, remark)))
  return dataset


@functools.cache
def _say_once(remark: str) -> None:
  if distributed.is_first_process():
    print(f"lsjax: warning: {remark}", file=sys.stderr)
