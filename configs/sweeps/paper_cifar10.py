"""Every claim of the paper, C1 to C9, on CIFAR-10: all tables from one set of runs.

    python -m lsjax.sweep --config=configs/sweeps/paper_cifar10.py
    python -m lsjax.sweep --config=configs/sweeps/paper_cifar10.py --shard=0/8   # or a job array

The models stand behind a colon: `:small_cnn` trains that network alone. Of several models the first
is trained in all cells and the others in those of table A. All runs have the settings of
configs/cifar_noisy.py. The sweep is meant for a GPU or TPU, where `--dry_run` estimates its time;
that time has not been measured yet.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells

ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def get_config(models: str = "resnet32,resnet56") -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "CIFAR-10"
  config.base = shipped.load("cifar_noisy", "cross_entropy")
  config.base.model.name, *more_models = models.split(",")
  config.base.data.name = "cifar10"
  config.seeds = 5
  config.cells = cells.union(
    cells.curves((0.1,), rates=(0.2,)),
    *(cells.curves((0.1,), rates=(0.2,), model=name) for name in more_models),
    cells.curves(ALPHAS, rates=(0.0, 0.2, 0.4, 0.6), seeds=3),
    cells.students(rates=(0.2, 0.0), temperatures=(1.0, 2.0)),
    cells.students(rates=(0.2, 0.0), temperatures=(4.0,), conventions=("both",)),
    cells.boundaries((0.1, 0.2, 0.4, 0.6, 0.8, 0.9), rate=0.05, cluster_std=0.1),
    cells.boundaries((0.1, 0.2, 0.4, 0.6, 0.8, 0.9), rate=0.4, cluster_std=1.0),
  )
  return config
