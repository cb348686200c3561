"""Named changes to a config, for the argument of a config file: `config.py:forward,resnet56`."""

from typing import Any

import ml_collections

from lsjax import methods
from lsjax.validation import UserError

# The corrections assume symmetric noise of strength `loss.alpha`, 0.1 by default, which is how
# the paper compares them with label smoothing.
VARIANTS: dict[str, dict[str, Any]] = {
  **{name: row.changes for name, row in methods.VARIANTS.items()},
  "known_transition": {"loss.transition": "noise"},  # correct by the noise's own matrix
  "resnet56": {"model.name": "resnet56"},
  "small_cnn": {"model.name": "small_cnn"},
  "bfloat16": {"model.dtype": "bfloat16"},
  "clean": {"noise.kind": "none", "noise.rate": 0.0},
  "validation": {"data.validation_examples": 5000},
}


def apply(config: ml_collections.ConfigDict, names: str) -> ml_collections.ConfigDict:
  """Changes a config by comma-separated names of `VARIANTS`, in their order, and returns it.

  Raises:
    UserError: for an unknown name.
  """
  for name in filter(None, names.split(",")):
    if name not in VARIANTS:
      raise UserError(f"config variant {name!r}: must be one of {', '.join(VARIANTS)}")
    config.update_from_flattened_dict(VARIANTS[name])
  return config


def without_loss(names: str) -> str:
  """Returns the names that do not change the loss: what a student shares with its teacher."""
  about_loss = {
    name for name, change in VARIANTS.items() if any(key.startswith("loss.") for key in change)
  }
  return ",".join(name for name in names.split(",") if name not in about_loss)
