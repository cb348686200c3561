"""The data set in memory that every source returns, what is odd in it, and its moments."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A data set in memory.

  Attributes:
    train_images: training images [N, H, W, C] or vectors [N, D], uint8 or float32.
    train_labels: clean integer labels [N] of the training images; None if they are unknown.
    train_ids: distinct integers or strings [N] that name the training images.
    test_images: test images [M, H, W, C] or vectors [M, D].
    test_labels: integer labels [M] of the test images.
    num_classes: number of classes L.
    label_sets: further integer labels [N] of the training images by name, for instance those of
      an annotator or a crawler.
    normalization: (mean, standard deviation) as `moments` returns them, by which networks
      normalise; None for those of the training images.
    class_names: the names of the classes, in their order; empty if they are numbers alone.
    feature_names: the names of the features of vectors; empty if they have none.
    test_is_noisy: whether the test labels are as noisy as the training labels.
    notes: what its reader found odd, a sentence each.
  """

  train_images: np.ndarray
  train_labels: np.ndarray | None
  train_ids: np.ndarray
  test_images: np.ndarray
  test_labels: np.ndarray
  num_classes: int
  label_sets: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None
  class_names: tuple[str | int | float | bool, ...] = ()
  feature_names: tuple[str, ...] = ()
  test_is_noisy: bool = False
  notes: tuple[str, ...] = ()

  def description(self) -> dict[str, Any]:
    """Returns what a run's config.json says of the data, as JSON values."""
    named = {"classes": list(self.class_names), "features": list(self.feature_names)}
    return {key: names for key, names in named.items() if names}


def remarks(dataset: Dataset, given_labels: str = "") -> list[str]:
  """Says what is odd in a data set whose labels are all in range, as a sentence each.

  Classes without an example are odd, above all a class 0 that is missing where labels may count
  from 1. So are given labels that are wrong more often than labels drawn at random would be, as
  after a shift or a permutation of the classes.

  Args:
    dataset: the data set.
    given_labels: the name of the label set to train on, or "" for the clean labels.
  """
  count, clean = dataset.num_classes, dataset.train_labels
  given = dataset.label_sets[given_labels] if given_labels else None
  columns = {"train_labels": clean, "test_labels": dataset.test_labels}
  if given is not None:
    columns[given_labels] = given
  found = list(dataset.notes)
  for name, labels in columns.items():
    present = np.zeros(count, bool) if labels is None else np.bincount(labels, minlength=count) > 0
    absent = np.flatnonzero(~present).tolist()
    if labels is None or not absent:
      continue
    if absent == [0] and not dataset.class_names:
      found.append(
        f"{name} holds 1 to {count - 1} and no 0; classes are 0 to {count - 1}: subtract 1 if "
        "these labels count from 1"
      )
    else:
      names = [repr(dataset.class_names[i]) if dataset.class_names else str(i) for i in absent[:3]]
      listed = ", ".join(names) + (", ..." if len(absent) > 3 else "")
      found.append(f"{name} has no example of {len(absent)} of the {count} classes ({listed})")
  if given is not None and clean is not None:
    wrong, chance = float(np.mean(given != clean)), 1 - 1 / count
    if wrong > chance:
      found.append(
        f"{given_labels} differs from train_labels in {100 * wrong:.1f} % of the examples, more "
        f"than the {100 * chance:.1f} % of random labels: are its classes shifted or permuted?"
      )
  return found


def moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
  """Computes the mean and the standard deviation of images along their last axis.

  Args:
    images: [N, H, W, C] or [N, D], any numeric type.

  Returns:
    (mean, standard deviation), each with one number per channel or feature. The deviation of a
    constant channel is given as 1, so that dividing by it is safe.
  """
  axes = tuple(range(images.ndim - 1))
  total, squares, count = 0.0, 0.0, images.size // images.shape[-1]
  for start in range(0, len(images), 4096):  # a float64 copy of all images may not fit in memory
    block = images[start : start + 4096].astype(np.float64)
    total, squares = total + block.sum(axes), squares + (block**2).sum(axes)
  mean = np.asarray(total) / count
  std = np.sqrt(np.maximum(np.asarray(squares) / count - mean**2, 0))
  # Rounding leaves a constant channel a tiny deviation instead of 0.
  std = np.where(std > 1e-6 * np.maximum(np.abs(mean), 1e-30), std, 1.0)
  return tuple(mean.tolist()), tuple(std.tolist())
