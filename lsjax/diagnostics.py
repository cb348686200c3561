"""What a trained network did, as small arrays: diagnostics.npz of a run, drawn by the report.

Everything here is NumPy on the host, once, after the last step.
"""

import os
from collections.abc import Mapping

import numpy as np

from lsjax import files, metrics

MARGIN_EDGES = np.linspace(-30, 30, 121)  # of the logit margin; the outer bins hold the rest
PROJECTED_CLASSES = 3  # Mueller et al. show three
PROJECTED_EXAMPLES = 100  # of each, at most


def margins(logits: np.ndarray, true_labels: np.ndarray) -> np.ndarray:
  """Returns how far the true class leads: its logit less the largest other, [N].

  Args:
    logits: [N, L].
    true_labels: int [N], each in [0, L).
  """
  rows = np.arange(len(logits))
  others = logits.copy()
  others[rows, true_labels] = -np.inf
  return logits[rows, true_labels] - others.max(axis=1)


def histogram(values: np.ndarray) -> np.ndarray:
  """Counts values in `MARGIN_EDGES`, [120]; what lies outside goes to the outer bins."""
  inside = np.clip(values, MARGIN_EDGES[0], np.nextafter(MARGIN_EDGES[-1], 0))
  return np.histogram(inside, MARGIN_EDGES)[0]


def reliability(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns by confidence bin, as for the ECE: examples, sum of confidence, correct; [3, bins].

  Args:
    logits: [N, L].
    labels: int [N].
  """
  p = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
  confidence = (p / p.sum(axis=1, keepdims=True)).max(axis=1)
  bins = np.clip(np.ceil(confidence * metrics.ECE_BINS).astype(int) - 1, 0, metrics.ECE_BINS - 1)
  correct = logits.argmax(axis=1) == labels
  weights = (np.ones_like(confidence), confidence, correct)
  return np.stack([np.bincount(bins, w, metrics.ECE_BINS) for w in weights])


def template_plane(features: np.ndarray, templates: np.ndarray) -> np.ndarray:
  """Projects features on the plane through three class templates.

  Args:
    features: penultimate activations [N, F].
    templates: columns of the last layer's kernel for three classes, [3, F].

  Returns:
    [N, 2] coordinates in an orthonormal basis of that plane, whose origin is the mean of the
    templates.

  References:
    Mueller et al., "When does label smoothing help?", 2019, section 2.
  """
  centre = templates.mean(axis=0)
  # The plane's directions are the row space of the centred templates, of rank 2.
  _, _, directions = np.linalg.svd(templates - centre, full_matrices=False)
  return (features - centre) @ directions[:2].T


def collect(
  train: Mapping[str, np.ndarray],
  test: Mapping[str, np.ndarray],
  kernel: np.ndarray,
  bias: np.ndarray,
) -> dict[str, np.ndarray]:
  """Returns the arrays of diagnostics.npz.

  Args:
    train: logits [N, L], features [N, F], labels and true_labels [N] (-1 where unknown).
    test: likewise.
    kernel: of the last layer, [F, L].
    bias: of the last layer, [L].

  Returns:
    reliability; margins_clean and margins_mislabelled (counts in `MARGIN_EDGES`, by
    whether the training label is right), margins_test; for three classes or more, of the first
    three: projection_{train,test} [n, 2] with projection_{train,test}_labels (the true ones)
    and projection_{train,test}_given (those in use); for 2-D features kernel and bias.
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


def _shown(true_labels: np.ndarray) -> np.ndarray:
  """Returns which examples the projection shows: the first ones of each class."""
  of_class = [np.flatnonzero(true_labels == k) for k in range(PROJECTED_CLASSES)]
  return np.concatenate([found[:PROJECTED_EXAMPLES] for found in of_class])


def save(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
  """Writes the arrays as one .npz file, floats in single precision."""
  small = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}
  with files.replacing(path) as f:
    np.savez_compressed(f, allow_pickle=False, **small)
