"""Accuracy against alpha for LS, FC and BC at four noise rates, CIFAR-10; tables D and E.

    python -m lsjax.sweep --config=configs/sweeps/alpha_cifar10.py
    python -m lsjax.sweep --config=configs/sweeps/alpha_cifar10.py --shard=0/8   # or a job array
    python -m lsjax.sweep --config=configs/sweeps/alpha_cifar10.py:0.1,0.4/0.2   # fewer cells

Behind the colon stand the strengths and, behind a slash, the noise rates. All runs have the
settings of configs/cifar_noisy.py. The sweep is meant for a GPU or TPU, where `--dry_run` estimates
its time; that time has not been measured yet.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells
from lsjax.validation import UserError

ALPHAS = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"
RATES = "0.0,0.2,0.4,0.6"


def get_config(points: str = ALPHAS) -> ml_collections.ConfigDict:
  strengths, _, rates = points.partition("/")
  try:
    alphas, of_noise = (
      tuple(float(x) for x in text.split(",")) for text in (strengths, rates or RATES)
    )
  except ValueError:
    why = "must be strengths and, behind a slash, noise rates, such as 0.1,0.4/0.2"
    raise UserError(f"alpha_cifar10:{points}: {why}") from None
  config = ml_collections.ConfigDict()
  config.label = "CIFAR-10"
  config.base = shipped.load("cifar_noisy", "cross_entropy")
  config.base.data.name = "cifar10"
  config.seeds = 5
  config.cells = cells.union(cells.curves(alphas, of_noise))
  return config
