"""Linear boundaries between two Gaussians under one-sided label noise: claim C7.

    python -m lsjax.sweep --config=configs/sweeps/figure_2d.py

The sweep takes under a minute on 2 CPU cores.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "Two Gaussians in 2-D"
  config.base = shipped.load("digits_noisy", "cross_entropy")
  config.base.checkpoint.every = config.base.train.num_steps
  config.seeds = 5
  config.cells = cells.union(cells.boundaries((0.1, 0.2, 0.4, 0.6, 0.8, 0.9), rate=0.4))
  return config
