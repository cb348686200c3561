"""The paper's main claims with a convolutional network on a few thousand images of CIFAR-10.

    python -m lsjax.sweep --config=configs/sweeps/cifar10_cnn.py --config.base.data.data_dir=TFDS
    python -m lsjax.sweep --config=configs/sweeps/cifar10_cnn.py:resnet32 \\
      --config.base.data.name=npz --config.base.data.path=cifar10_first_9000.npz

CE, LS, FC and BC at 20 % symmetric noise, and students of CE, LS and FC teachers. A network can
learn wrong labels by heart only if it sees them often enough, and few images are soon seen often.

`small_cnn`, the default, is for CPUs: 24,000 parameters, 2,000 steps, images as they are, without
crop and flip. The schedule was made for the first 6,000 training images, of which 1,000 are held
out to validate on. A run takes one to three minutes on 2 CPU cores.

`resnet32` is for a GPU: the recipe of configs/cifar_noisy.py with 11,200 steps in bfloat16, which
are 179 epochs of 8,000 images (the paper's 64,000 steps are 182 epochs of 45,000). It was made for
the first 9,000 training images, of which 1,000 are held out. With fewer images than the data set
has, the data must hold only those; set --config.label to say so in reports.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells

# By network: what differs from configs/cifar_noisy.py.
RECIPES = {
  "small_cnn": {
    "data.crop_padding": 0,
    "data.flip": False,
    "optim.boundaries": (1000, 1500),
    "train.num_steps": 2000,
    "train.eval_every": 250,
    "checkpoint.every": 1000,
  },
  "resnet32": {
    "model.dtype": "bfloat16",
    "optim.boundaries": (5600, 8400),
    "train.num_steps": 11_200,
    "train.eval_every": 1400,
    "checkpoint.every": 2800,
    "checkpoint.keep": 1,
  },
}
# Logits of teachers can be kept where every epoch shows the same images.
STUDENTS = {"small_cnn": {"teacher.targets": "cached"}, "resnet32": {}}


def get_config(network: str = "small_cnn") -> ml_collections.ConfigDict:
  if network not in RECIPES:
    raise ValueError(f"{network!r}: must be {' or '.join(RECIPES)}")
  config = ml_collections.ConfigDict()
  config.label = "CIFAR-10, some training images"
  base = shipped.load("cifar_noisy", "cross_entropy")
  base.data.validation_examples = 1000
  base.model.name = network
  base.update_from_flattened_dict(RECIPES[network])
  config.base = base
  config.seeds = {"small_cnn": 3, "resnet32": 4}[network]
  noise = cells.symmetric_noise(0.2)
  more = {
    "LS 0.4": cells.method("LS", 0.4),
    "FC, T of the noise": cells.method("FC") | {"loss.transition": "noise"},
  }
  students = cells.students(rates=(0.2,), temperatures=(1.0,))
  for cell in students:
    cell["changes"].update(STUDENTS[network])
  config.cells = cells.union(
    cells.curves((0.1,), rates=(0.2,)),
    cells.under(more, {"noise 0.2": noise}),
    [cell for cell in students if "of BC" not in cell["name"]],
  )
  return config
