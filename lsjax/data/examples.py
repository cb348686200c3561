"""Labelled examples from a table or a folder of images, and the data set made of them."""

import dataclasses
from typing import Any

import numpy as np

from lsjax.data import classes as classes_lib
from lsjax.data import features
from lsjax.data.classes import Name
from lsjax.data.dataset import Dataset


@dataclasses.dataclass(frozen=True)
class Examples:
  """Labelled examples, each with a label.

  Attributes:
    ids: distinct integers or strings [N]: of a column, row numbers from 0, or paths of images.
    labels: labels as they are, int32 [N] in [0, L).
    classes: the name of each of the L classes, sorted.
    true_labels: clean labels, int32 [N], or None if nobody knows them.
    images: uint8 [N, H, W, 3], or None for a table without images.
    columns: the other columns, a pandas DataFrame of N rows; without images they are the features.
      None for a folder.
    notes: what is odd, a sentence each.
  """

  ids: np.ndarray
  labels: np.ndarray
  classes: tuple[Name, ...]
  true_labels: np.ndarray | None = None
  images: np.ndarray | None = None
  columns: Any = None
  notes: tuple[str, ...] = ()

  def __len__(self) -> int:
    return len(self.labels)

  def inputs(self, fit_on: np.ndarray | None = None) -> np.ndarray:
    """Returns what a network takes: the images, or the columns encoded as float32 [N, D].

    Args:
      fit_on: the positions of the training rows, from which medians and categories are found (see
        `lsjax.data.features.fit`); None for all rows.

    Raises:
      ValueError: one line, for columns that are no features.
    """
    if self.images is not None:
      return self.images
    rows = np.arange(len(self)) if fit_on is None else fit_on
    return features.fit(self.columns, rows).encode(self.columns)


def to_dataset(
  examples: Examples, test: Examples | None, *, name: str, given: bool, share: float, seed: int
) -> Dataset:
  """Makes a data set with a training and a test part.

  Args:
    examples: the examples to train on, and to test on if there are no others.
    test: examples with clean labels to test on, or None.
    name: the name of the labels.
    given: whether the labels are noisy and given; otherwise they count as clean if nothing else
      does.
    share: the share of the examples that is held out as test part without `test`.
    seed: the seed by which it is chosen.

  Raises:
    ValueError: one line, for columns that are no features.
  """
  notes, true = list(examples.notes), examples.true_labels
  train_rows = np.arange(len(examples))
  test_is_noisy = False
  if test is None:
    order = np.random.RandomState(seed).permutation(
      len(examples)
    )  # NumPy never changes its numbers
    held_out = min(max(1, round(share * len(order))), len(order) - 1)
    train_rows, test_rows = np.sort(order[held_out:]), np.sort(order[:held_out])
    test_labels = (examples.labels if true is None else true)[test_rows]
    if true is None:
      test_is_noisy = True
      notes.append(
        f"nobody checked the labels of the test set, {held_out} of {len(order)} examples chosen by "
        "seed.data: test accuracy is agreement with noisy labels"
      )
  else:
    test_labels = test.labels if test.true_labels is None else test.true_labels
    notes += [f"test data: {note}" for note in test.notes]
  names: tuple[str, ...] = ()
  normalization = None
  if examples.images is not None:
    train_inputs = examples.images[train_rows]
    test_inputs = examples.images[test_rows] if test is None else test.images
  else:
    encoder = features.fit(examples.columns, train_rows)
    names, notes = encoder.names, [*notes, *encoder.notes]
    train_inputs = encoder.encode(examples.columns.iloc[train_rows])
    other = examples.columns.iloc[test_rows] if test is None else test.columns
    test_inputs = encoder.encode(other)
    normalization = encoder.normalization(train_inputs)
  labels = examples.labels[train_rows]
  clean = None if given else labels
  if true is not None:
    clean = true[train_rows]
    if not given:
      notes.append(f"{name} is for noise.kind=given alone: this run begins with the true labels")
  assert test_inputs is not None
  return Dataset(
    train_images=train_inputs,
    train_labels=clean,
    train_ids=examples.ids[train_rows],
    test_images=test_inputs,
    test_labels=test_labels,
    num_classes=len(examples.classes),
    label_sets={name: labels},
    normalization=normalization,
    class_names=examples.classes,
    feature_names=names,
    test_is_noisy=test_is_noisy,
    notes=tuple(notes),
  )


def check_test(test: Examples, classes: tuple[Name, ...], what: str) -> None:
  """Raises ValueError, in one line, for a label of the test part that is no training class."""
  labels = test.labels if test.true_labels is None else test.true_labels
  if not len(labels):
    raise ValueError("holds no example with a label to test on")
  if (labels == -2).any():
    at = int((labels == -2).argmax())
    known = classes_lib.listed(classes)
    raise ValueError(f"{what} of example {test.ids[at]} is none of the training classes ({known})")
