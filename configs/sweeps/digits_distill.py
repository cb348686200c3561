"""Students of CE, LS, FC and BC teachers on digits, with and without noise: claims C8 and C9.

    python -m lsjax.sweep --config=configs/sweeps/digits_distill.py

Temperature 2 has all conventions of distillation; 4 has that of Müller et al., 2019, whose claim C9
is. The sweep takes about a minute on 2 CPU cores.
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
  config.cells = cells.union(
    cells.curves((0.1,), rates=(0.2, 0.0), bare=(0.1,)),
    cells.students(rates=(0.2, 0.0), temperatures=(1.0, 2.0), bare=(0.1,)),
    cells.students(rates=(0.2, 0.0), temperatures=(4.0,), conventions=("both",), bare=(0.1,)),
  )
  return config
