"""Accuracy against alpha for LS, FC and BC at four noise rates, CIFAR-100; tables D and E.

    python -m lsjax.sweep --config=configs/sweeps/alpha_cifar100.py

As alpha_cifar10.py, on CIFAR-100.
"""

import ml_collections

from configs.sweeps import alpha_cifar10


def get_config() -> ml_collections.ConfigDict:
  config = alpha_cifar10.get_config()
  config.label = "CIFAR-100"
  config.base.data.name = "cifar100"
  return config
