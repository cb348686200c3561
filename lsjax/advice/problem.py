"""What a person brings: examples whose labels may be wrong, and what else is known of them."""

import dataclasses
from typing import Any

import numpy as np

from lsjax.data.classes import Name
from lsjax.estimate import Sample

UNKNOWN = -1  # a label, or a vote, that nobody gave


@dataclasses.dataclass(frozen=True)
class Problem:
  """Examples with labels that may be wrong.

  Attributes:
    name: what the report calls the data, such as the name of the file.
    inputs: what a network takes: images uint8 [N, H, W, C], or vectors float32 [N, D].
    labels: the labels as they were given, int32 [N] in [0, L); with votes, the most probable class.
    ids: distinct integers or strings [N] that name the examples.
    classes: the names of the L classes.
    votes: the labels of the A annotators, int32 [N, A], `UNKNOWN` where one gave none; None if
      there is one label for each example.
    annotators: the names of the annotators.
    true_labels: the labels that somebody checked, int32 [N], `UNKNOWN` where nobody did.
    chances: the chance with which each checked example was chosen, float64 [N]; NaN for the others.
    test_inputs: examples with true labels to test on, as `inputs`; None if there are none.
    test_labels: their true labels, int32 [M].
    normalization: (mean, standard deviation) of each feature or channel by which networks
      normalise; None for the moments of the inputs.
    feature_names: the names of the D features; empty for images and for nameless vectors.
    columns: the columns of a table before they were encoded, a pandas DataFrame of N rows, from
      which the encoding of new rows is found again; None for other data.
    notes: what is odd in the data, a sentence each.
  """

  name: str
  inputs: np.ndarray
  labels: np.ndarray
  ids: np.ndarray
  classes: tuple[Name, ...]
  true_labels: np.ndarray
  chances: np.ndarray
  votes: np.ndarray | None = None
  annotators: tuple[str, ...] = ()
  test_inputs: np.ndarray | None = None
  test_labels: np.ndarray | None = None
  normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None
  feature_names: tuple[str, ...] = ()
  columns: Any = None
  notes: tuple[str, ...] = ()

  def __len__(self) -> int:
    return len(self.labels)

  @property
  def is_image(self) -> bool:
    """Whether the inputs are images rather than vectors."""
    return self.inputs.ndim == 4

  @property
  def checked(self) -> np.ndarray:
    """The positions of the examples whose true labels are known, increasing."""
    return np.flatnonzero(self.true_labels != UNKNOWN)

  @property
  def sample(self) -> Sample:
    """The checked examples with the chances by which they were chosen.

    Those whose chance nobody wrote down count as chosen evenly from all examples.
    """
    rows = self.checked
    even = len(rows) / len(self)
    return Sample(rows, np.where(np.isnan(self.chances[rows]), even, self.chances[rows]))
