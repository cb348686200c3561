"""A student of a teacher trained on noisy labels: digits, both two-layer networks.

    python -m lsjax.main --config=configs/digits_distill.py             # teacher: smoothing 0.1
    python -m lsjax.main --config=configs/digits_distill.py:forward     # the teacher's loss
    python -m lsjax.main --config=configs/digits_distill.py --config.student.temperature=2.0

This follows Lukasik et al., 2020, section 6 (claims C8 and C9), on other data. The student learns
from the teacher alone (beta 1) at temperature 1, where all conventions are the same; the
temperature and beta of the paper are not known. Both stages together take under a minute on 2 CPU
cores. `:clean` trains both without noise.
"""

import ml_collections

from lsjax import config as config_lib
from lsjax import shipped, variants


def get_config(names: str = "label_smoothing") -> ml_collections.ConfigDict:
  student = shipped.load("digits_noisy", f"cross_entropy,{variants.without_loss(names)}")
  config = config_lib.with_teacher(student, shipped.load("digits_noisy", names))
  config.seed.init = 1  # not the teacher's initial parameters
  return config
