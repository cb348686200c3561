"""Every method on frozen features of images with the labels that people gave: leaderboards.

    python -m lsjax.sweep --config=configs/sweeps/leaderboard_embeddings.py \\
      --config.base.data.path=features.npz --config.label="CIFAR-10, features of ..."

The file is that of configs/embeddings_noisy.py; beside the clean train_labels it holds label sets
under the names of CIFAR-10N: aggre_label, random_label1 and worse_label. The methods have the
parameters of their authors; smoothing and corrections have a larger strength too. FC also corrects
by a matrix that a first run estimates and by the one that is counted from clean and given labels.
The sweep was made for 50,000 vectors of 128 numbers and 2 CPU cores.
"""

import ml_collections

from lsjax import methods, shipped
from lsjax.sweeps import cells

NOISES = {
  name: {"noise.kind": "given", "noise.rate": 0.0, "noise.labels": name}
  for name in ("aggre_label", "random_label1", "worse_label")
}
METHODS = {
  **{row.short: cells.method(row.short) for row in methods.METHODS.values() if row.short},
  **{f"{name} 0.4": cells.method(name, 0.4) for name in ("LS", "FC", "BC")},
  "FC, estimated T": cells.estimated_transition("FC", "dual_t", first_steps=1000),
  "FC, T of the noise": cells.method("FC") | {"loss.transition": "noise"},
}


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "Features of images, labels of people"
  config.base = shipped.load("embeddings_noisy", "cross_entropy")
  config.base.checkpoint.every = config.base.train.num_steps  # a run takes a few seconds
  config.seeds = 5
  config.cells = tuple(cells.under(METHODS, NOISES))
  return config
