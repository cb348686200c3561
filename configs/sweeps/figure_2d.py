"""Linear boundaries between two Gaussians under one-sided label noise: claim C7.

    python -m lsjax.sweep --config=configs/sweeps/figure_2d.py

One-sided noise moves the boundary from the origin towards the class that loses labels. Between
tight clusters (standard deviation 0.1, 5 % noise) label smoothing brings it back; between wide
ones (1, 40 %) it does not. Whether the paper used these numbers is not known. The sweep takes under
a minute on 2 CPU cores.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells

ALPHAS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9)


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "Two Gaussians in 2-D"
  config.base = shipped.load("digits_noisy", "cross_entropy")
  config.base.checkpoint.every = config.base.train.num_steps
  config.seeds = 5
  config.cells = cells.union(
    cells.boundaries(ALPHAS, rate=0.05, cluster_std=0.1),
    cells.boundaries(ALPHAS, rate=0.4, cluster_std=1.0),
  )
  return config
