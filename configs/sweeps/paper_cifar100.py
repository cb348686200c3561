"""Every claim of the paper, C1 to C9, on CIFAR-100: all tables from one set of runs.

    python -m lsjax.sweep --config=configs/sweeps/paper_cifar100.py

It has the cells of paper_cifar10.py, trained on CIFAR-100.
"""

import ml_collections

from lsjax import shipped


def get_config(models: str = "resnet32,resnet56") -> ml_collections.ConfigDict:
  config = shipped.load("paper_cifar10", models)
  config.label = "CIFAR-100"
  config.base.data.name = "cifar100"
  return config
