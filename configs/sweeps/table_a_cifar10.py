"""Table A: CE, LS, FC and BC at alpha 0.1, 20 % noise, ResNet-32 and -56, CIFAR-10.

    python -m lsjax.sweep --config=configs/sweeps/table_a_cifar10.py
    python -m lsjax.sweep --config=configs/sweeps/table_a_cifar10.py --shard=0/8   # or a job array

The models stand behind a colon: `:small_cnn` trains that network alone. Of several models the first
is trained in all cells and the others in those of table A. All runs have the settings of
configs/cifar_noisy.py. The sweep is meant for a GPU or TPU, where `--dry_run` estimates its time.
With 14,400 steps instead of 64,000 it was run on one H100 (results/gpu/h100).
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells


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
  )
  return config
