"""A sweep of as many cells as its variant says, each a run of two steps: many_cells.py:1000"""

import ml_collections

from lsjax import shipped

STEPS = 2


def get_config(cells: str = "100") -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "Digits (scikit-learn, 8 x 8)"
  config.base = shipped.load("digits_noisy", "label_smoothing")
  config.base.train.num_steps = STEPS
  config.base.train.log_every = STEPS
  config.base.train.eval_every = STEPS
  config.base.checkpoint.every = STEPS
  config.seeds = 1
  config.cells = tuple(
    {"name": f"LS {i}", "changes": {"loss.alpha": i / int(cells)}} for i in range(int(cells))
  )
  return config
