"""CE, LS and FC with an estimated matrix on CIFAR-10 with labels that people gave (CIFAR-10N).

    python -m lsjax.sweep --config=configs/sweeps/human_cifar10.py
    python -m lsjax.sweep --config=configs/sweeps/human_cifar10.py:16000   # a shorter schedule
    python -m lsjax.sweep --config=configs/sweeps/human_cifar10.py:16000,worse_label  # one set

The label sets are those of Wei et al., 2022: 9 % wrong labels by vote, 17 % of one person, 40 % of
the worst. The number behind the colon is that of the steps, at half and three quarters of which the
rate falls; the first run that estimates the matrix takes an eighth of it. Names of label sets
behind it, with commas, leave out the others. All other settings are those of
configs/cifar_noisy.py. The sweep is meant for a GPU or TPU.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells
from lsjax.validation import UserError

NOISES = {
  name: {"noise.kind": "given", "noise.rate": 0.0, "noise.labels": name}
  for name in ("aggre_label", "random_label1", "worse_label")
}


def get_config(argument: str = "64000") -> ml_collections.ConfigDict:
  num_steps, *labels = argument.split(",")
  if not (num_steps.isascii() and num_steps.isdecimal() and int(num_steps) > 0):
    raise UserError(
      f"human_cifar10:{argument}: must be a number of steps above 0 and label sets behind it"
    )
  if set(labels) - set(NOISES):
    raise UserError(f"human_cifar10:{argument}: label sets must be among {', '.join(NOISES)}")
  steps = int(num_steps)
  noises = {name: NOISES[name] for name in labels or NOISES}
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
  config.cells = tuple(cells.under(methods, noises))
  return config
