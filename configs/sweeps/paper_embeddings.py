"""Every claim of the paper on frozen features of images: tables, figures and verdicts.

    python -m lsjax.sweep --config=configs/sweeps/paper_embeddings.py \\
      --config.base.data.path=features.npz --config.label="CIFAR-10, features of ..."

The file is that of configs/embeddings_noisy.py, a two-layer network on the features. The candidates
are other learning rates and weight decays of the methods of table A, among which the noisy
validation set chooses. The sweep was made for 50,000 vectors of 128 numbers and 2 CPU cores.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells

ALPHAS = (0.1, 0.4, 0.8)
AROUND = (0.2, 0.6)  # at 20 % noise alone, for the claims that compare such strengths
TUNED = ("CE", "LS 0.1", "FC 0.1", "BC 0.1")
GRID = {"optim.learning_rate": (0.05, 0.01), "optim.weight_decay": (1e-4, 1e-3)}


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "Features of images"
  config.base = shipped.load("embeddings_noisy", "cross_entropy")
  config.base.checkpoint.every = config.base.train.num_steps  # a run takes a few seconds
  config.seeds = 5
  curves = cells.curves(ALPHAS, rates=(0.2, 0.0, 0.4, 0.6))
  tuned = [cell for cell in curves if cell["name"] in {f"{name}, noise 0.2" for name in TUNED}]
  students = cells.students(rates=(0.2, 0.0), temperatures=(1.0, 2.0, 4.0))
  for cell in students:
    cell["changes"]["teacher.targets"] = "cached"  # features are not augmented
  config.cells = cells.union(
    curves,
    cells.curves(AROUND, rates=(0.2,)),
    students,
    cells.candidates(tuned, GRID, config.base),
  )
  return config
