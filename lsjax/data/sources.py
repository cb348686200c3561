"""Data sets by name: `load`, and the two that need no file."""

import dataclasses
import functools
import importlib.util
import math
import os
import pathlib

import numpy as np

from lsjax import config as config_lib
from lsjax.data import folder, npz, table, tfds
from lsjax.data.dataset import Dataset, moments


def load(section: config_lib.Data, *, given_labels: str = "", seed: int = 0) -> Dataset:
  """Loads the in-memory data set that a data section names.

  Args:
    section: the data section of a config. Data sets in `config.STREAMED` are not loaded but
      opened by `streams.open_split`.
    given_labels: the name of the noisy labels to train on, if the data set has them; "" if noise
      is to be drawn. If it names the train_labels of an npz file, the clean labels are unknown.
    seed: the seed of the split, or of the points, for data sets in `config.REDRAWN`.

  Returns:
    The data set. The arrays of an npz file are checked: shapes agree, no split is empty, and
    labels are in range.

  Raises:
    ValueError: if the file or directory is missing, unreadable or inconsistent, or if a download
      fails. The message is one line about section.path (a user's own data) or section.data_dir
      (TFDS).
  """
  paths = {name: os.path.expanduser(getattr(section, name)) for name in ("path", "test_path")}
  section = dataclasses.replace(section, **paths)
  match section.name:
    case "digits":
      return digits(seed)
    case "gaussians":
      return gaussians(seed, std=section.cluster_std, count=section.points)
    case "npz":
      return npz.load(section.path, given_labels)
    case "table":
      return table.load(section, given=bool(given_labels), seed=seed)
    case "folder":
      return folder.load(section, given=bool(given_labels), seed=seed)
    case name:
      return tfds.load(name, section.data_dir)


def digits(seed: int = 0) -> Dataset:
  """Loads scikit-learn's 1,797 handwritten digits, 8 x 8 pixels: 1,437 to train, 360 to test.

  The data set has no test split of its own, so that the seed draws one; the ids are the positions
  of the images in scikit-learn's order. Networks normalise by the moments of all 1,797 images,
  which are the same for every split: runs of all seeds share one compiled program.

  Args:
    seed: the seed of the split.
  """
  images, labels = _digits()
  order = np.random.RandomState(seed).permutation(len(images))  # NumPy never changes its numbers
  train, test = order[360:], order[:360]
  return Dataset(
    train_images=images[train],
    train_labels=labels[train],
    train_ids=train,
    test_images=images[test],
    test_labels=labels[test],
    num_classes=10,
    normalization=moments(images),
  )


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
  """Returns scikit-learn's digits [1797, 8, 8, 1] and their labels."""
  # The file is read as scikit-learn reads it, but without scikit-learn, whose import takes longer
  # than a short run trains.
  found = importlib.util.find_spec("sklearn")
  if found is not None and found.origin is not None:
    path = pathlib.Path(found.origin).parent / "datasets/data/digits.csv.gz"
    if path.exists():
      rows = np.loadtxt(path, np.uint8, delimiter=",")
      return rows[:, :-1].reshape(-1, 8, 8, 1), rows[:, -1].astype(np.int64)
  from sklearn import datasets

  bunch = datasets.load_digits()
  return bunch.images.astype(np.uint8)[..., None], bunch.target


def gaussians(seed: int = 0, *, std: float = 1.0, count: int = 2000) -> Dataset:
  """Draws training points and 10,000 test points from two Gaussians in the plane.

  Class 0 is centred at (1, 1) and class 1 at (-1, -1), so that the line x + y = 0 is the Bayes
  boundary (claim C7 of the paper). Networks normalise by the moments of this distribution, mean 0
  and variance 1 + std^2, which are the same for every draw.

  Args:
    seed: the seed of the points.
    std: the standard deviation of either class in every direction.
    count: the number of training points N. Their ids are seed * N to seed * N + N - 1.
  """
  random = np.random.RandomState(seed)
  labels = random.randint(0, 2, count + 10_000)
  centres = np.where(labels, -1.0, 1.0)[:, None]
  points = (std * random.standard_normal((len(labels), 2)) + centres).astype(np.float32)
  return Dataset(
    train_images=points[:count],
    train_labels=labels[:count],
    train_ids=seed * count + np.arange(count),
    test_images=points[count:],
    test_labels=labels[count:],
    num_classes=2,
    normalization=((0.0, 0.0), (math.sqrt(1 + std**2),) * 2),
  )
