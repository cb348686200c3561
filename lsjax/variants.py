"""Named changes to a config, for the argument of a config file: `config.py:forward,resnet56`."""

from typing import Any

import ml_collections

from lsjax import config as config_lib

# Smoothing keeps its alpha of 0.1; corrections assume symmetric noise of that alpha, which
# is how the paper compares them. The loss of backward correction is unbounded below and its
# logits run away at a high learning rate, so it comes with clipping and a warm-up.
VARIANTS: dict[str, dict[str, Any]] = {
  "cross_entropy": {"loss.name": "cross_entropy"},
  "label_smoothing": {"loss.name": "label_smoothing"},
  "forward": {"loss.name": "forward_correction"},
  "backward": {
    "loss.name": "backward_correction",
    "loss.cross_entropy_steps": 100,
    "optim.clip_norm": 1.0,
  },
  "known_transition": {"loss.transition": "noise"},  # correct by the noise's own matrix
  "resnet56": {"model.name": "resnet56"},
  "small_cnn": {"model.name": "small_cnn"},
  "bfloat16": {"model.dtype": "bfloat16"},
  "clean": {"noise.kind": "none", "noise.rate": 0.0},
  "validation": {"data.validation_examples": 5000},
}


def apply(config: ml_collections.ConfigDict, names: str) -> ml_collections.ConfigDict:
  """Changes a config by comma-separated names of `VARIANTS`, in their order; returns it.

  Raises:
    config.ConfigError: for an unknown name.
  """
  for name in filter(None, names.split(",")):
    if name not in VARIANTS:
      raise config_lib.ConfigError(f"config variant {name!r}: must be one of {', '.join(VARIANTS)}")
    config.update_from_flattened_dict(VARIANTS[name])
  return config


def without_loss(names: str) -> str:
  """Returns the names that say nothing of the loss: what a student shares with its teacher."""
  about_loss = {
    name for name, change in VARIANTS.items() if any(key.startswith("loss.") for key in change)
  }
  return ",".join(name for name in names.split(",") if name not in about_loss)
