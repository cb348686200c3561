"""Metrics as sums with their denominators: exact for any batch size, mask or device count."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

ECE_BINS = 15  # of equal width over the confidence (Guo et al., 2017, section 2)


def batch_sums(logits: Array, labels: Array, true_labels: Array, where: Array) -> dict[str, Array]:
  """Returns the sums of one batch.

  Args:
    logits: float [N, L].
    labels: int [N], the labels in use, noisy or not.
    true_labels: int [N], the clean ones; -1 where unknown.
    where: bool [N]; other examples count nowhere.

  Returns:
    Float32 sums by name: examples; correct, nll and brier against `labels`; for the ECE,
    per bin [15], bin_examples, bin_confidence and bin_correct; and over clean examples
    (label = true label) and mislabelled ones: clean, clean_correct, mislabelled,
    mislabelled_correct (against the true label), memorised (prediction = wrong label).
  """
  log_p = jax.nn.log_softmax(logits)
  p = jnp.exp(log_p)
  weight = where.astype(jnp.float32)
  predicted = logits.argmax(-1)
  fits = (predicted == labels) * weight
  is_true = (predicted == true_labels) * weight
  label_p = jnp.take_along_axis(p, labels[:, None], axis=-1)[:, 0]
  label_log_p = jnp.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
  confidence = p.max(-1)
  # Bins are (0, 1/15], (1/15, 2/15], ...
  bins = jnp.clip(jnp.ceil(confidence * ECE_BINS).astype(jnp.int32) - 1, 0, ECE_BINS - 1)
  one_bin = jax.nn.one_hot(bins, ECE_BINS) * weight[:, None]
  known = (true_labels >= 0) * weight
  mislabelled = (labels != true_labels) * known
  return {
    "examples": weight.sum(),
    "correct": fits.sum(),
    "nll": -jnp.where(where, label_log_p, 0).sum(),
    "brier": jnp.where(where, (p**2).sum(-1) - 2 * label_p + 1, 0).sum(),
    "bin_examples": one_bin.sum(0),
    "bin_confidence": (one_bin * confidence[:, None]).sum(0),
    "bin_correct": (one_bin * fits[:, None]).sum(0),
    "clean": (known - mislabelled).sum(),
    "clean_correct": (is_true * (known - mislabelled)).sum(),
    "mislabelled": mislabelled.sum(),
    "mislabelled_correct": (is_true * mislabelled).sum(),
    "memorised": (fits * mislabelled).sum(),
  }


def classification(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Returns accuracy, nll (nats), brier (0 to 2) and ece (0 to 1) against the labels in use.

  Args:
    sums: added up over all batches, in float64.
  """
  n = float(sums["examples"])
  gaps = np.abs(sums["bin_confidence"] - sums["bin_correct"])
  return {
    "accuracy": float(sums["correct"]) / n,
    "nll": float(sums["nll"]) / n,
    "brier": float(sums["brier"]) / n,
    "ece": float(gaps.sum()) / n,
  }


def denoising(sums: Mapping[str, np.ndarray]) -> dict[str, float | None]:
  """Returns how the training set was learned, as shares; None where nothing can be counted.

  true_accuracy, clean_accuracy, mislabelled_accuracy: against the true labels, on all
  examples, those labelled right and those labelled wrong (paper, table E); memorisation:
  the share of mislabelled examples predicted as their wrong label; label_accuracy: against
  the labels trained on.
  """

  def share(part: np.ndarray, whole: np.ndarray) -> float | None:
    return float(part) / float(whole) if whole else None

  known = sums["clean"] + sums["mislabelled"]
  return {
    "label_accuracy": share(sums["correct"], sums["examples"]),
    "true_accuracy": share(sums["clean_correct"] + sums["mislabelled_correct"], known),
    "clean_accuracy": share(sums["clean_correct"], sums["clean"]),
    "mislabelled_accuracy": share(sums["mislabelled_correct"], sums["mislabelled"]),
    "memorisation": share(sums["memorised"], sums["mislabelled"]),
  }
