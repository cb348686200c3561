"""A small TFDS directory with the features of imagenet2012, for the tests of streams."""

import io
import pathlib

import numpy as np
from PIL import Image

from lsjax import config as config_lib
from lsjax.data import tfds

NUM_TRAIN, NUM_TEST = 24, 10


def jpeg(rng: np.random.Generator) -> io.BytesIO:
  """Encodes a smooth image of random size, in grey or colour, as a JPEG file."""
  small = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
  size = (int(rng.integers(20, 90)), int(rng.integers(20, 90)))
  image = Image.fromarray(small).resize(size)
  if rng.random() < 0.3:
    image = image.convert("L")
  buffer = io.BytesIO()
  image.save(buffer, "JPEG")
  buffer.seek(0)
  return buffer


def build(path: pathlib.Path) -> None:
  """Writes NUM_TRAIN training and NUM_TEST validation images of four classes in TFDS's format.

  Ids are n00000000_<i>.JPEG in the training split and n00000001_<i>.JPEG in the other.
  """
  with tfds.quiet_tensorflow_datasets():
    from tensorflow_datasets.datasets.imagenet2012 import imagenet2012_dataset_builder as real

    class Builder(real.Builder, skip_registration=True):
      VERSION, name = real.Builder.VERSION, "imagenet2012"
      pkg_dir_path = real.Builder._get_pkg_dir_path()

      def _split_generators(self, dl_manager):
        return {"train": self._examples(0, NUM_TRAIN), "validation": self._examples(1, NUM_TEST)}

      def _examples(self, seed, count):
        rng = np.random.default_rng(seed)
        for i in range(count):
          name = f"n{seed:08d}_{i}.JPEG"
          yield name, {"image": jpeg(rng), "label": int(rng.integers(0, 4)), "file_name": name}

    Builder(data_dir=str(path), file_format="array_record").download_and_prepare()


def section(directory: pathlib.Path) -> config_lib.Data:
  """Returns a data section that reads the directory as 16 x 16 images with flips."""
  return config_lib.Data(name="imagenet2012", data_dir=str(directory), image_size=16, flip=True)
