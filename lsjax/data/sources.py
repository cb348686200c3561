"""Data sets by name: `load`, and the two that need no file."""

import numpy as np

from lsjax import config as config_lib
from lsjax.data import npz, tfds
from lsjax.data.dataset import Dataset


def load(section: config_lib.Data, *, given_labels: str = "") -> Dataset:
  """Loads the in-memory data set that a data section names.

  Args:
    section: the data section of a config. Data sets in `config.STREAMED` are not loaded but
      opened by `streams.open_split`.
    given_labels: the name of the noisy labels to train on, if the data set has them; "" if noise
      is to be drawn. If it names the train_labels of an npz file, the clean labels are unknown.

  Returns:
    The data set. The arrays of an npz file are checked: shapes agree, no split is empty, and
    labels are in range.

  Raises:
    ValueError: if the file or directory is missing, unreadable or inconsistent, or if a download
      fails. The message is one line about section.path (npz) or section.data_dir (TFDS).
  """
  match section.name:
    case "digits":
      return digits()
    case "gaussians":
      return gaussians()
    case "npz":
      return npz.load(section.path, given_labels)
    case name:
      return tfds.load(name, section.data_dir)


def digits() -> Dataset:
  """Loads scikit-learn's 1,797 handwritten digits, 8 x 8 pixels: 1,437 to train, 360 to test."""
  from sklearn import datasets

  bunch = datasets.load_digits()
  images, labels = bunch.images.astype(np.uint8)[..., None], bunch.target
  order = np.random.RandomState(0).permutation(len(images))  # NumPy never changes its numbers
  train, test = order[360:], order[:360]
  return Dataset(images[train], labels[train], train, images[test], labels[test], 10)


def gaussians() -> Dataset:
  """Draws 2,000 training and 10,000 test points from two unit-variance Gaussians in the plane.

  Class 0 is centred at (1, 1) and class 1 at (-1, -1), so that the line x + y = 0 is the Bayes
  boundary (claim C7 of the paper). The points are the same in every call.
  """
  random = np.random.RandomState(0)
  labels = random.randint(0, 2, 12_000)
  points = random.standard_normal((12_000, 2)) + np.where(labels, -1.0, 1.0)[:, None]
  points = points.astype(np.float32)
  return Dataset(points[:2000], labels[:2000], np.arange(2000), points[2000:], labels[2000:], 2)
