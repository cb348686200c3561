"""A two-layer network on scikit-learn's handwritten digits with 20 % symmetric label noise.

    python -m lsjax.main --config=configs/digits_noisy.py                # label smoothing 0.1
    python -m lsjax.main --config=configs/digits_noisy.py:forward        # see lsjax/variants.py

A run takes under 20 seconds on 2 CPU cores. The network and its learning rate were chosen so that
plain cross-entropy has the capacity to memorise wrong labels.
"""

import ml_collections

from lsjax import config as config_lib
from lsjax import variants


def get_config(names: str = "label_smoothing") -> ml_collections.ConfigDict:
  config = config_lib.default_config()
  config.data.name = "digits"
  config.data.validation_examples = 137
  config.noise.kind = "symmetric"
  config.noise.rate = 0.2
  config.model.name = "mlp"
  config.model.hidden = 32
  config.optim.learning_rate = 0.05
  config.train.num_steps = 1500
  config.train.batch_size = 128
  config.train.eval_every = 100
  config.checkpoint.every = 500
  return variants.apply(config, names)
