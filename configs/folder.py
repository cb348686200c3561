"""Your own images: a small convolutional network on a folder with a directory for each class.

    python -m lsjax.main --config=configs/folder.py --config.data.path=photos
    python -m lsjax.main --config=configs/folder.py:label_smoothing ...  # see lsjax/variants.py

The names of the directories are the labels, taken as they are (noise.kind=given). Noise on top of
them is --config.noise.kind=symmetric --config.noise.rate=0.2. A fifth of the images is held out to
test on, unless the folder is divided into train/ and test/ or data.test_path names another one.
Images become 32 x 32 pixels, which a CPU trains on in minutes; photographs are worth
--config.data.image_size=64 or more, at four times the cost. For fewer than 40 images choose a
smaller train.batch_size.
"""

import ml_collections

from lsjax import config as config_lib
from lsjax import variants


def get_config(names: str = "") -> ml_collections.ConfigDict:
  config = config_lib.default_config()
  config.data.name = "folder"
  config.data.path = "images"
  config.data.image_size = 32
  config.data.flip = True
  config.noise.kind = "given"
  config.model.name = "small_cnn"
  config.optim.learning_rate = 0.05
  config.optim.boundaries = (1500,)
  config.train.num_steps = 2000
  config.train.batch_size = 32
  config.train.eval_every = 200
  config.checkpoint.every = 1000
  return variants.apply(config, names)
