"""Small arrays that show what a trained network did: calibration, margins and projections.

All functions take NumPy arrays of a whole split on the host, once, after training.
"""

from collections.abc import Mapping

import numpy as np

from lsjax import metrics

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "MARGIN_EDGES",
  "PROJECTED_CLASSES",
  "PROJECTED_EXAMPLES",
  "collect",
  "reliability",
  "margins",
  "histogram",
  "template_plane",
]

MARGIN_EDGES = np.linspace(-30, 30, 121)
"""Edges of the 120 bins of a histogram of margins; the outer bins also hold what lies beyond."""

PROJECTED_CLASSES = 3
"""Number of classes that a projection shows, since three templates span a plane."""

PROJECTED_EXAMPLES = 100
"""Largest number of examples of each class that a projection shows."""


def collect(
  train: Mapping[str, np.ndarray],
  test: Mapping[str, np.ndarray],
  kernel: np.ndarray,
  bias: np.ndarray,
) -> dict[str, np.ndarray]:
  """Collects everything that the other functions of this module compute for a trained network.

  Args:
    train: Arrays of the training split: `logits` of shape [N, L], `features` (activations before
      the last layer) of shape [N, F], `labels` (those trained on) and `true_labels`, integers of
      shape [N], with a true label of -1 if nobody knows it.
    test: The same arrays of the test split, where all true labels are known.
    kernel: Kernel of the last layer, of shape [F, L].
    bias: Bias of the last layer, of shape [L].

  Returns:
    Arrays by name. Always: `reliability` of the test split, of shape [3, 15]; `margin_edges`;
    histograms of margins of shape [120] over the training examples that are labelled right and
    wrong and over the test split, `margins_clean`, `margins_mislabelled` and `margins_test`. For
    features in two dimensions: `kernel` and `bias`. For features in three dimensions or more and at
    least three classes, for the split S in `train` and `test`: `projection_S`, coordinates of shape
    [n, 2] of examples of the first three classes, with their true labels `projection_S_labels` and
    their labels in use `projection_S_given`, both of shape [n].

  Examples:
    >>> split = {
    ...   "logits": np.array([[2.0, 0.0], [0.0, 1.0]]),
    ...   "features": np.array([[2.0, 0.0], [0.0, 1.0]]),
    ...   "labels": np.array([0, 0]),
    ...   "true_labels": np.array([0, 1]),
    ... }
    >>> arrays = collect(split, split, np.eye(2), np.zeros(2))
    >>> int(arrays["margins_clean"].sum()), int(arrays["margins_mislabelled"].sum())
    (1, 1)
  """
  arrays = {
    "reliability": reliability(test["logits"], test["labels"]),
    "margin_edges": MARGIN_EDGES,
  }
  known = train["true_labels"] >= 0
  wrong = known & (train["labels"] != train["true_labels"])
  for name, chosen in (("clean", known & ~wrong), ("mislabelled", wrong)):
    values = margins(train["logits"][chosen], train["true_labels"][chosen])
    arrays[f"margins_{name}"] = histogram(values)
  arrays["margins_test"] = histogram(margins(test["logits"], test["true_labels"]))
  if kernel.shape[0] == 2:
    arrays |= {"kernel": kernel, "bias": bias}
  if kernel.shape[1] >= PROJECTED_CLASSES and kernel.shape[0] > 2:
    templates = kernel.T[:PROJECTED_CLASSES]
    for name, split in (("train", train), ("test", test)):
      shown = _shown(split["true_labels"])
      arrays[f"projection_{name}"] = template_plane(split["features"][shown], templates)
      arrays[f"projection_{name}_labels"] = split["true_labels"][shown]
      arrays[f"projection_{name}_given"] = split["labels"][shown]
  return arrays


def reliability(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Sums up the examples of each confidence bin, for a reliability diagram.

  The bins are those of the expected calibration error in `metrics.classification`.

  Args:
    logits: Unnormalised log-probabilities of shape [N, L].
    labels: Labels, integers of shape [N].

  Returns:
    Array of shape [3, 15] with the number of examples, the sum of their confidences and the number
    of correct predictions in each bin.

  Examples:
    >>> examples, confidence, correct = reliability(np.array([[9.0, 0.0]]), np.array([1]))
    >>> examples[-1].item(), confidence[-1].round(3).item(), correct[-1].item()
    (1.0, 1.0, 0.0)
  """
  p = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
  confidence = (p / p.sum(axis=1, keepdims=True)).max(axis=1)
  bins = np.clip(np.ceil(confidence * metrics.ECE_BINS).astype(int) - 1, 0, metrics.ECE_BINS - 1)
  correct = logits.argmax(axis=1) == labels
  weights = (np.ones_like(confidence), confidence, correct)
  return np.stack([np.bincount(bins, w, metrics.ECE_BINS) for w in weights])


def margins(logits: np.ndarray, true_labels: np.ndarray) -> np.ndarray:
  """Computes how far the true class leads: its logit less the largest of the other logits.

  Args:
    logits: Unnormalised log-probabilities of shape [N, L].
    true_labels: True labels, integers of shape [N] in [0, L).

  Returns:
    Margins of shape [N], in the unit of the logits; negative for a wrong prediction.

  Examples:
    >>> margins(np.array([[1.0, 5.0, 2.0]]), np.array([2]))
    array([-3.])
  """
  rows = np.arange(len(logits))
  others = logits.copy()
  others[rows, true_labels] = -np.inf
  return logits[rows, true_labels] - others.max(axis=1)


def histogram(values: np.ndarray) -> np.ndarray:
  """Counts values between `MARGIN_EDGES`.

  Args:
    values: Values of shape [N]. Those beyond the outer edges are counted in the outer bins.

  Returns:
    Integers of shape [120].

  Examples:
    >>> histogram(np.array([-1000.0, -30.0, 0.1]))[[0, 60, 119]]
    array([2, 1, 0])
  """
  inside = np.clip(values, MARGIN_EDGES[0], np.nextafter(MARGIN_EDGES[-1], 0))
  return np.histogram(inside, MARGIN_EDGES)[0]


def template_plane(features: np.ndarray, templates: np.ndarray) -> np.ndarray:
  """Projects features on the plane through the templates of three classes.

  Args:
    features: Activations before the last layer, of shape [N, F].
    templates: Columns of the last layer's kernel for three classes, of shape [3, F].

  Returns:
    Coordinates of shape [N, 2] in an orthonormal basis of the plane. The mean of the templates is
    the origin.

  References:
    Müller et al., [When does label smoothing help?](https://arxiv.org/abs/1906.02629), 2019,
    section 2.

  Examples:
    >>> flat = template_plane(np.eye(3, 5), np.eye(3, 5))
    >>> np.linalg.norm(flat, axis=1).round(4)  # a regular triangle around the origin
    array([0.8165, 0.8165, 0.8165])
  """
  centre = templates.mean(axis=0)
  # The plane's directions are the row space of the centred templates, which has rank 2.
  _, _, directions = np.linalg.svd(templates - centre, full_matrices=False)
  return (features - centre) @ directions[:2].T


def _shown(true_labels: np.ndarray) -> np.ndarray:
  """Returns the indices of the examples that a projection shows, the first ones of each class."""
  of_class = [np.flatnonzero(true_labels == k) for k in range(PROJECTED_CLASSES)]
  return np.concatenate([found[:PROJECTED_EXAMPLES] for found in of_class])
