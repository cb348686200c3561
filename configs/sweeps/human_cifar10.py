"""CE, LS and FC with an estimated matrix on CIFAR-10 with labels that people gave (CIFAR-10N).

    python -m lsjax.sweep --config=configs/sweeps/human_cifar10.py
    python -m lsjax.sweep --config=configs/sweeps/human_cifar10.py:16000   # a shorter schedule

The label sets are those of Wei et al., 2022: 9 % wrong labels by vote, 17 % of one person, 40 % of
the worst. The number behind the colon is that of the steps, at half and three quarters of which the
rate falls; the first run that estimates the matrix takes an eighth of it. All other settings are
those of configs/cifar_noisy.py. The sweep is meant for a GPU or TPU.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells
from lsjax.validation import UserError

NOISES = {
  name: {"noise.kind": "given", "noise.rate": 0.0, "noise.labels": name}
  for name in ("aggre_label", "random_label1", "worse_label")
}


def get_config(num_steps: str = "64000") -> ml_collections.ConfigDict:
  if not (num_steps.isascii() and num_steps.isdecimal() and int(num_steps) > 0):
    raise UserError(f"human_cifar10:{num_steps}: must be a number of steps above 0")
  steps = int(num_steps)
  methods = {
    "CE": cells.method("CE"),
    "LS 0.1": cells.method("LS", 0.1),
    "LS 0.4": cells.method("LS", 0.4),
    "FC, estimated T": cells.estimated_transition("FC", "dual_t", first_steps=max(steps // 8, 1)),
  }
  config = ml_collections.ConfigDict()
  config.label = "CIFAR-10N"
  config.base = shipped.load("cifar_noisy", "cross_entropy")
  config.base.data.name = "cifar10_n"
  config.base.train.num_steps = steps
  config.base.optim.boundaries = (steps // 2, steps * 3 // 4)
  config.seeds = 5
  config.cells = tuple(cells.under(methods, NOISES))
  return config
