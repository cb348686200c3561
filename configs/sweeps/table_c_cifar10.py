"""Table C: students of CE, LS, FC and BC teachers, with and without noise, CIFAR-10.

    python -m lsjax.sweep --config=configs/sweeps/table_c_cifar10.py
    python -m lsjax.sweep --config=configs/sweeps/table_c_cifar10.py --shard=0/8   # or a job array

All runs have the settings of configs/cifar_noisy.py. The sweep is meant for a GPU or TPU, where
`--dry_run` estimates its time; that time has not been measured yet.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "CIFAR-10"
  config.base = shipped.load("cifar_noisy", "cross_entropy")
  config.base.data.name = "cifar10"
  config.seeds = 5
  config.cells = cells.union(
    cells.curves((0.1,), rates=(0.2, 0.0)),
    cells.students(rates=(0.2, 0.0), temperatures=(1.0, 2.0)),
    cells.students(rates=(0.2, 0.0), temperatures=(4.0,), conventions=("both",)),
  )
  return config
