"""A student of a teacher trained on noisy labels: CIFAR-10, both ResNet-32, 20 % noise.

    python -m lsjax.main --config=configs/cifar_distill.py              # teacher: smoothing 0.1
    python -m lsjax.main --config=configs/cifar_distill.py:forward      # the teacher's loss
    python -m lsjax.main --config=configs/cifar_distill.py --config.teacher.workdir=runs/a,runs/b

This is the setting of Lukasik et al., 2020, section 6 (claims C8 and C9). The student learns from
the teacher alone (beta 1) at temperature 1, where all conventions are the same; the temperature
and beta of the paper are not known. The second stage evaluates the teacher on each augmented batch
within the compiled step. `:clean` trains both without noise. The config is meant for one GPU or
TPU core; its time there has not been measured yet.
"""

import ml_collections

from lsjax import config as config_lib
from lsjax import shipped, variants


def get_config(names: str = "label_smoothing") -> ml_collections.ConfigDict:
  student = shipped.load("cifar_noisy", f"cross_entropy,{variants.without_loss(names)}")
  config = config_lib.with_teacher(student, shipped.load("cifar_noisy", names))
  config.seed.init = 1  # not the teacher's initial parameters
  return config
