"""Accuracy against alpha for LS, FC and BC at four noise rates, CIFAR-100; tables D and E.

    python -m lsjax.sweep --config=configs/sweeps/alpha_cifar100.py

It has the cells of alpha_cifar10.py, trained on CIFAR-100.
"""

import ml_collections

from lsjax import shipped


def get_config() -> ml_collections.ConfigDict:
  config = shipped.load("alpha_cifar10")
  config.label = "CIFAR-100"
  config.base.data.name = "cifar100"
  return config
