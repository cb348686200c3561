"""The paper's ImageNet setting: ResNet-v2-50 with LARS, batch 4096, 90 epochs, noisy labels.

    python -m lsjax.main --config=configs/imagenet_noisy.py --config.data.data_dir=/data/tfds \\
      --workdir=/shared/imagenet                                         # label smoothing 0.1
    python -m lsjax.main --config=configs/imagenet_noisy.py:forward ...  # see lsjax/variants.py

Lukasik et al., 2020, section 5, compare CE, LS and FC on ImageNet (L = 1000) with 20 % symmetric
noise; --config.loss.alpha sets alpha to 0.1, 0.2 or 0.4. The network and LARS are the paper's. The
paper does not state batch size, learning rate and epochs; they are those of the usual 90-epoch
recipe of LARS (You et al., 2017). Images are streamed from TFDS's imagenet2012 in array_record
files. The config is meant for a TPU slice or a node of GPUs whose devices share each batch;
docs/scaling.md has the arithmetic. It has not been run on ImageNet yet.
"""

import ml_collections

from lsjax import config as config_lib
from lsjax import variants

EXAMPLES, BATCH_SIZE, EPOCHS, WARMUP_EPOCHS = 1_281_167, 4096, 90, 5


def get_config(names: str = "label_smoothing") -> ml_collections.ConfigDict:
  config = config_lib.default_config()
  config.data.name = "imagenet2012"
  config.data.flip = True
  config.data.image_size = 224
  config.data.workers = 16
  config.noise.kind = "symmetric"
  config.noise.rate = 0.2
  config.model.name = "resnet_v2_50"
  config.model.dtype = "bfloat16"
  config.optim.name = "lars"
  config.optim.learning_rate = 10.0
  config.optim.momentum = 0.9
  config.optim.weight_decay = 1e-4
  config.train.num_steps = EPOCHS * EXAMPLES // BATCH_SIZE
  config.optim.warmup_steps = WARMUP_EPOCHS * EXAMPLES // BATCH_SIZE
  config.optim.polynomial_steps = config.train.num_steps
  config.train.batch_size = BATCH_SIZE
  config.train.num_devices = 0
  config.train.log_every = 100
  config.train.eval_every = 1251
  config.train.eval_batch_size = 4096
  config.checkpoint.every = 500
  return variants.apply(config, names)
