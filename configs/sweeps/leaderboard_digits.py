"""Every method on scikit-learn's digits under five label noises: leaderboards.

    python -m lsjax.sweep --config=configs/sweeps/leaderboard_digits.py

The methods have the parameters of their authors and, for the first four noises, a small grid of
others, among which the noisy validation set chooses. The grid of CR is the smearing path, from
strong smoothing through cross-entropy and backward correction to CORES. The sweep takes under five
minutes on 2 CPU cores; results/leaderboard_digits/ holds a report that was made this way.
"""

import ml_collections

from lsjax import methods, shipped
from lsjax.sweeps import cells

NOISES = {
  "symmetric 20 %": {"noise.kind": "symmetric", "noise.rate": 0.2},
  "symmetric 40 %": {"noise.kind": "symmetric", "noise.rate": 0.4},
  "symmetric 60 %": {"noise.kind": "symmetric", "noise.rate": 0.6},
  "pair 40 %": {"noise.kind": "pair", "noise.rate": 0.4},
  "instance 40 %": {"noise.kind": "instance", "noise.rate": 0.4},
}
WITHOUT_GRID = "instance 40 %"
# FC and BC assume symmetric noise of strength alpha; two rows of FC have a matrix instead.
METHODS = {
  **{row.short: cells.method(row.short) for row in methods.METHODS.values() if row.short},
  "FC, estimated T": cells.estimated_transition("FC", "dual_t", first_steps=200),
  "FC, T of the noise": cells.method("FC") | {"loss.transition": "noise"},
}
# {short name: {parameter: other values}}
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
  "LS": {"loss.alpha": (0.4, 0.8)},
  "FC": {"loss.alpha": (0.4, 0.8)},
  "BC": {"loss.alpha": (0.2, 0.4)},
  "NLS": {"loss.negative_smoothing.r": (-0.3, -3.0)},
  "CR": {
    "loss.confidence_regularization.beta": (-9.0, -1.0, -0.25, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5)
  },
  "CORES": {"loss.cores.beta": (0.5, 1.0)},
  "GCE": {"loss.generalized_cross_entropy.q": (0.4, 0.9)},
  "SCE": {"loss.symmetric_cross_entropy.beta": (0.3, 3.0)},
  "NCE+RCE": {"loss.active_passive.passive": (0.1, 0.3)},
  "Boot": {"loss.bootstrap.beta": (0.6, 0.8)},
  "Boot-hard": {"loss.hard_bootstrap.beta": (0.4, 0.6)},
  "JS": {"loss.jensen_shannon.weight": (0.5, 0.9)},
  "ELR": {"loss.early_learning_regularization.weight": (1.0, 7.0)},
  "VolMinNet": {"loss.volume_minimization.volume": (1e-3, 1e-2)},
  "Small loss": {"loss.small_loss.forget": (0.4, 0.6)},
  "MAE": {"optim.learning_rate": (0.02, 0.2)},
  "NCE": {"optim.learning_rate": (0.02, 0.2)},
}


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "Digits (scikit-learn, 8 x 8)"
  config.base = shipped.load("digits_noisy", "cross_entropy")
  config.base.checkpoint.every = config.base.train.num_steps  # a run takes a fraction of a second
  config.seeds = 5
  compared = cells.under(METHODS, NOISES)
  by_name = {cell["name"]: cell for cell in compared}
  grids = [
    cells.candidates([by_name[f"{name}, {noise}"]], axes, config.base)
    for noise in NOISES
    for name, axes in GRIDS.items()
    if noise != WITHOUT_GRID
  ]
  config.cells = cells.union(compared, *grids)
  return config
