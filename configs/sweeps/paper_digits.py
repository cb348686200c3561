"""Every claim of the paper, C1 to C9, on scikit-learn's digits: tables, figures and verdicts.

    python -m lsjax.sweep --config=configs/sweeps/paper_digits.py
    python -m lsjax.sweep --config=configs/sweeps/paper_digits.py --dry_run

The sweep takes under five minutes on 2 CPU cores. A cell that two tables need is trained once. The
report is runs/paper_digits/report.html; results/digits/ holds a report that was made this way.

Each seed has its own split into training and test images. The candidates are other learning rates
and weight decays of the same methods, among which the noisy validation set chooses.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells

ALPHAS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
# Where BC needs no clipping and no first steps of cross-entropy: at larger alphas every run of it
# diverges without them. {noise rate: alphas}.
BARE = {0.0: (0.1,), 0.2: (0.1, 0.2), 0.4: (0.1, 0.2, 0.4), 0.6: (0.1, 0.2, 0.4)}
TUNED = ("CE", *(f"{name} {alpha:g}" for name in ("LS", "FC", "BC") for alpha in (0.1, 0.2, 0.6)))
GRID = {"optim.learning_rate": (0.05, 0.01), "optim.weight_decay": (1e-4, 1e-3, 1e-2)}


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "Digits (scikit-learn, 8 x 8)"
  config.base = shipped.load("digits_noisy", "cross_entropy")
  config.base.checkpoint.every = config.base.train.num_steps  # a run takes a fraction of a second
  config.seeds = 5
  curves = [
    cell for rate, bare in BARE.items() for cell in cells.curves(ALPHAS, rates=(rate,), bare=bare)
  ]
  tuned = [cell for cell in curves if cell["name"] in {f"{name}, noise 0.2" for name in TUNED}]
  config.cells = cells.union(
    curves,
    cells.students(rates=(0.2, 0.0), temperatures=(1.0, 2.0), bare=(0.1,)),
    cells.students(rates=(0.2, 0.0), temperatures=(4.0,), conventions=("both",), bare=(0.1,)),
    cells.boundaries(ALPHAS, rate=0.05, cluster_std=0.1),
    cells.boundaries(ALPHAS, rate=0.4, cluster_std=1.0),
    cells.candidates(tuned, GRID, config.base),
  )
  return config
