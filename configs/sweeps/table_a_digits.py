"""Table A's methods at two noise rates on scikit-learn's digits: 8 cells, 5 seeds.

    python -m lsjax.sweep --config=configs/sweeps/table_a_digits.py

The sweep takes half a minute on 2 CPU cores; benchmarks/table_time.py measures it.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "Digits (scikit-learn, 8 x 8)"
  config.base = shipped.load("digits_noisy", "cross_entropy")
  config.base.checkpoint.every = config.base.train.num_steps  # a run takes a fraction of a second
  config.seeds = 5
  config.cells = cells.union(cells.curves((0.1,), rates=(0.2, 0.4), bare=(0.1,)))
  return config
