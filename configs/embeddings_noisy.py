"""A two-layer network on frozen features of images, with 20 % symmetric label noise.

    python -m lsjax.main --config=configs/embeddings_noisy.py --config.data.path=features.npz

The .npz file holds train_images [N, D], train_labels, test_images and test_labels, and further
labels under their own names, such as those of annotators: --config.noise.kind=given
--config.noise.labels=<key> trains on them. The width and the schedule are for 50,000 vectors of 128
numbers, on which the network memorises wrong labels. A run takes under half a minute on 2 CPU
cores.
"""

import ml_collections

from lsjax import config as config_lib
from lsjax import variants


def get_config(names: str = "label_smoothing") -> ml_collections.ConfigDict:
  config = config_lib.default_config()
  config.data.name = "npz"
  config.data.path = "features.npz"
  config.data.validation_examples = 5000
  config.noise.kind = "symmetric"
  config.noise.rate = 0.2
  config.model.name = "mlp"
  config.model.hidden = 512
  config.optim.learning_rate = 0.05
  config.optim.boundaries = (3000, 4500)
  config.train.num_steps = 6000
  config.train.batch_size = 128
  config.train.eval_every = 500
  config.train.eval_batch_size = 5000
  config.checkpoint.every = 3000
  return variants.apply(config, names)
