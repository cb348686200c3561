"""Table C: students of CE, LS, FC and BC teachers, with and without noise, CIFAR-100.

    python -m lsjax.sweep --config=configs/sweeps/table_c_cifar100.py

It has the cells of table_c_cifar10.py, trained on CIFAR-100.
"""

import ml_collections

from lsjax import shipped


def get_config() -> ml_collections.ConfigDict:
  config = shipped.load("table_c_cifar10")
  config.label = "CIFAR-100"
  config.base.data.name = "cifar100"
  return config
