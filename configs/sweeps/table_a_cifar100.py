"""Table A: CE, LS, FC and BC at alpha 0.1, 20 % noise, ResNet-32 and -56, CIFAR-100.

    python -m lsjax.sweep --config=configs/sweeps/table_a_cifar100.py

It has the cells of table_a_cifar10.py, trained on CIFAR-100.
"""

import ml_collections

from lsjax import shipped


def get_config(models: str = "resnet32,resnet56") -> ml_collections.ConfigDict:
  config = shipped.load("table_a_cifar10", models)
  config.label = "CIFAR-100"
  config.base.data.name = "cifar100"
  return config
