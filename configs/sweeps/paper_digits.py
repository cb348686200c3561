"""Every claim of the paper, C1 to C9, on scikit-learn's digits: tables, figures and verdicts.

    python -m lsjax.sweep --config=configs/sweeps/paper_digits.py
    python -m lsjax.sweep --config=configs/sweeps/paper_digits.py --dry_run

The sweep takes under five minutes on 2 CPU cores. A cell that two tables need is trained once. The
report is runs/paper_digits/report.html; results/digits/ holds a report that was made this way.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells

ALPHAS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9)


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "Digits (scikit-learn, 8 x 8)"
  config.base = shipped.load("digits_noisy", "cross_entropy")
  config.base.checkpoint.every = config.base.train.num_steps  # a run takes a fraction of a second
  config.seeds = 5
  config.cells = cells.union(
    cells.curves(ALPHAS, rates=(0.0, 0.2, 0.4, 0.6)),
    cells.students(rates=(0.2, 0.0), temperatures=(1.0, 2.0)),
    cells.students(rates=(0.2, 0.0), temperatures=(4.0,), conventions=("both",)),
    cells.boundaries(ALPHAS, rate=0.05, cluster_std=0.1),
    cells.boundaries(ALPHAS, rate=0.4, cluster_std=1.0),
  )
  return config
