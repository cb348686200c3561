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

  known = sums["clean"] + sums["mislabelled"]
  return {
    "label_accuracy": _share(sums["correct"], sums["examples"]),
    "true_accuracy": _share(sums["clean_correct"] + sums["mislabelled_correct"], known),
    "clean_accuracy": _share(sums["clean_correct"], sums["clean"]),
    "mislabelled_accuracy": _share(sums["mislabelled_correct"], sums["mislabelled"]),
    "memorisation": _share(sums["memorised"], sums["mislabelled"]),
  }


def imitation_sums(
  logits: Array, teacher_logits: Array, labels: Array, true_labels: Array, where: Array
) -> dict[str, Array]:
  """Returns the sums of one batch that compare a student with its teacher.

  Args:
    logits: the student's, float [N, L].
    teacher_logits: float [N, L].
    labels, true_labels, where: as for `batch_sums`.

  Returns:
    Float32 sums by name: agree (same prediction) and teacher_kl (nats, of the student from
    the teacher, both at temperature 1) over all examples; over the mislabelled ones
    teacher_right (the teacher predicts the true label), teacher_memorised (the wrong label it
    may have been trained on), and of the student when the teacher is right and when it is
    not: correct_when_right, correct_when_wrong, agree_when_right, agree_when_wrong.
  """
  log_p, log_q = jax.nn.log_softmax(teacher_logits), jax.nn.log_softmax(logits)
  kl = (jnp.exp(log_p) * (log_p - log_q)).sum(-1)
  teacher, student = teacher_logits.argmax(-1), logits.argmax(-1)
  agree, correct = teacher == student, student == true_labels
  mislabelled = (labels != true_labels) & (true_labels >= 0) & where
  right = mislabelled & (teacher == true_labels)
  wrong = mislabelled & (teacher != true_labels)
  counts = {
    "agree": agree & where,
    "teacher_right": right,
    "teacher_memorised": mislabelled & (teacher == labels),
    "correct_when_right": correct & right,
    "correct_when_wrong": correct & wrong,
    "agree_when_right": agree & right,
    "agree_when_wrong": agree & wrong,
  }
  sums = {name: chosen.astype(jnp.float32).sum() for name, chosen in counts.items()}
  return sums | {"teacher_kl": jnp.where(where, kl, 0).sum()}


def imitation(sums: Mapping[str, np.ndarray]) -> dict[str, float | None]:
  """Returns teacher_agreement (share) and teacher_kl (nats), and of the mislabelled part the
  shares mislabelled_teacher_accuracy, mislabelled_teacher_memorisation, and the student's
  accuracy and agreement where the teacher is right and where it is wrong; None where nothing
  can be counted, nothing at all for a run without a teacher.
  """
  if "agree" not in sums:
    return {}
  right = sums["teacher_right"]
  wrong = sums["mislabelled"] - right
  return {
    "teacher_agreement": _share(sums["agree"], sums["examples"]),
    "teacher_kl": _share(sums["teacher_kl"], sums["examples"]),
    "mislabelled_teacher_accuracy": _share(right, sums["mislabelled"]),
    "mislabelled_teacher_memorisation": _share(sums["teacher_memorised"], sums["mislabelled"]),
    "mislabelled_accuracy_teacher_right": _share(sums["correct_when_right"], right),
    "mislabelled_accuracy_teacher_wrong": _share(sums["correct_when_wrong"], wrong),
    "mislabelled_agreement_teacher_right": _share(sums["agree_when_right"], right),
    "mislabelled_agreement_teacher_wrong": _share(sums["agree_when_wrong"], wrong),
  }


def _share(part: np.ndarray, whole: np.ndarray) -> float | None:
  return float(part) / float(whole) if whole else None
