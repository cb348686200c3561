"""Forward correction by a matrix that a first run estimates: digits, 20 % symmetric label noise.

    python -m lsjax.main --config=configs/digits_estimated.py
    python -m lsjax.main --config=configs/digits_estimated.py --config.loss.estimator=anchor

The first run is trained by cross-entropy and stopped early, before it memorises wrong labels; its
predictions on the training images give T (Yao et al., 2020, or anchor points: Patrini et al.,
2017). The second run starts anew and corrects its loss by that T, which its diagnostics.npz holds.
Both stages together take under a minute on 2 CPU cores.
"""

import ml_collections

from lsjax import config as config_lib
from lsjax import shipped, variants


def get_config(names: str = "forward") -> ml_collections.ConfigDict:
  run = shipped.load("digits_noisy", names)
  first = shipped.load("digits_noisy", f"cross_entropy,{variants.without_loss(names)}")
  first.train.num_steps = 200
  config = config_lib.with_teacher(run, first)
  config.loss.transition = "estimated"
  config.student.beta = 0.0  # the first run tells the matrix, and nothing else
  config.seed.init = 1  # not the first run's initial parameters
  return config
