"""Your own table: a two-layer network on the columns of a .csv, .tsv or .parquet file.

    python -m lsjax.main --config=configs/table.py --config.data.path=mine.csv \\
      --config.data.label=species                            # plain cross-entropy
    python -m lsjax.main --config=configs/table.py:label_smoothing ...   # see lsjax/variants.py

The labels are taken as they are (noise.kind=given). Noise on top of them is
--config.noise.kind=symmetric --config.noise.rate=0.2. A fifth of the rows is held out to test on,
unless data.test_path names rows with clean labels. For fewer than 40 rows choose a smaller
train.batch_size.
"""

import ml_collections

from lsjax import config as config_lib
from lsjax import variants


def get_config(names: str = "") -> ml_collections.ConfigDict:
  config = config_lib.default_config()
  config.data.name = "table"
  config.data.path = "mine.csv"
  config.data.label = "label"
  config.noise.kind = "given"
  config.model.name = "mlp"
  config.model.hidden = 64
  config.optim.learning_rate = 0.02
  config.optim.boundaries = (1500,)
  config.train.num_steps = 2000
  config.train.batch_size = 32
  config.train.eval_every = 200
  config.checkpoint.every = 1000
  return variants.apply(config, names)
