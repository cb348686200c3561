"""The paper's claims on labels that people gave, with frozen features of images.

    python -m lsjax.sweep --config=configs/sweeps/paper_people.py \\
      --config.base.data.path=features.npz --config.label="CIFAR-10, features of ..."

The file is that of configs/embeddings_noisy.py; beside the clean train_labels it holds worse_label
of CIFAR-10N, in which 40 % of the labels are wrong; `:aggre_label`, or the name of other labels in
the file, takes those instead. The cells are those that the claims compare, under these labels; C7
is about 2-D data and C9 about no noise, and both are left out.
"""

import ml_collections

from lsjax import shipped
from lsjax.sweeps import cells

ALPHAS = (0.1, 0.2, 0.6)


def get_config(labels: str = "worse_label") -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.label = "Features of images, labels of people"
  config.base = shipped.load("embeddings_noisy", "cross_entropy")
  config.base.checkpoint.every = config.base.train.num_steps  # a run takes a few seconds
  config.seeds = 5
  given = {"noise.kind": "given", "noise.rate": 0.0, "noise.labels": labels}
  students = cells.students(rates=(0.2,), temperatures=(1.0,))
  for cell in students:
    cell["changes"]["teacher.targets"] = "cached"  # features are not augmented
  config.cells = tuple(
    {"name": cell["name"].replace("noise 0.2", labels), "changes": cell["changes"] | given}
    for cell in cells.union(cells.curves(ALPHAS, rates=(0.2,)), students)
  )
  return config
