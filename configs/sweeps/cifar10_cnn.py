"""The paper's main claims with a small convolutional network, sized for CPUs.

    python -m lsjax.sweep --config=configs/sweeps/cifar10_cnn.py --config.base.data.data_dir=TFDS

CE, LS, FC and BC at 20 % symmetric noise, and students of CE, LS and FC teachers. The schedule was
made for 5,000 training images of CIFAR-10 and 1,000 more to validate on: the first 6,000 ones, in a
TFDS directory that has no others. The network has 24,000 parameters and sees the images as they
are, without crop and flip, so that it can learn wrong labels by heart. A run takes one to three
minutes on 2 CPU cores.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "CIFAR-10, 5,000 training images"
  base = shipped.load("cifar_noisy", "cross_entropy")
  base.data.crop_padding, base.data.flip, base.data.validation_examples = 0, False, 1000
  base.model.name = "small_cnn"
  base.optim.boundaries = (1000, 1500)
  base.train.num_steps, base.train.eval_every = 2000, 250
  base.checkpoint.every = 1000
  config.base = base
  config.seeds = 3
  noise = cells.symmetric_noise(0.2)
  more = {
    "LS 0.4": cells.method("LS", 0.4),
    "FC, T of the noise": cells.method("FC") | {"loss.transition": "noise"},
  }
  students = cells.students(rates=(0.2,), temperatures=(1.0,))
  for cell in students:
    cell["changes"]["teacher.targets"] = "cached"  # nothing is augmented
  config.cells = cells.union(
    cells.curves((0.1,), rates=(0.2,)),
    cells.under(more, {"noise 0.2": noise}),
    [cell for cell in students if "of BC" not in cell["name"]],
  )
  return config
