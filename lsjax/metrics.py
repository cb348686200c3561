"""Metrics of classification, denoising and imitation, as sums that can be added over batches.

`batch_sums` and `imitation_sums` reduce one batch to sums, under `jit` if desired. Sums of several
batches, devices or processes are added by name, and `classification`, `denoising` and `imitation`
divide them. The results are exact for any batch size and any number of masked examples.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "ECE_BINS",
  "Sums",
  "batch_sums",
  "classification",
  "denoising",
  "imitation_sums",
  "imitation",
]

ECE_BINS = 15
"""Number of bins of equal width over the confidence, for the expected calibration error."""

Sums = Mapping[str, Array | np.ndarray]
"""Sums by name, of one batch or added over batches."""


def batch_sums(logits: Array, labels: Array, true_labels: Array, where: Array) -> dict[str, Array]:
  """Computes the sums of one batch for `classification` and `denoising`.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [N, L].
    labels: Labels in use, noisy or not, integers of shape [N] in [0, L).
    true_labels: True labels, integers of shape [N] in [0, L), or -1 for those that nobody knows.
    where: Mask of the examples that count, bool of shape [N]. Whatever stands in the other rows,
      NaN included, changes nothing.

  Returns:
    Float32 sums by name. A logit of minus infinity is a probability of 0: `nll` is infinite if it
    is the label's. A label outside [0, L) makes `nll` and `brier` NaN, since it is no class.
    Against the labels in use: `examples`, `correct`, `nll` (nats), `brier`,
    and the sums of shape [15] over the examples of each confidence bin, `bin_examples`,
    `bin_confidence` and `bin_correct`. Over the examples whose label is the true one: `clean` and
    `clean_correct`. Over those whose label is wrong: `mislabelled`, `mislabelled_correct` (the
    prediction is the true label) and `memorised` (the prediction is the wrong label).

  Examples:
    >>> logits, labels = jnp.array([[3.0, 0.0], [0.0, 3.0]]), jnp.array([0, 0])
    >>> sums = batch_sums(logits, labels, jnp.array([0, 1]), jnp.array([True, True]))
    >>> float(sums["examples"]), float(sums["correct"]), float(sums["mislabelled_correct"])
    (2.0, 1.0, 1.0)
  """
  logits = jnp.where(where[:, None], logits, 0)  # 0 times NaN is NaN
  log_p = jax.nn.log_softmax(logits)
  p = jnp.exp(log_p)
  weight = where.astype(jnp.float32)
  predicted = logits.argmax(-1)
  fits = (predicted == labels) * weight
  is_true = (predicted == true_labels) * weight

  def of_label(values: Array) -> Array:
    chosen = jnp.take_along_axis(values, labels[:, None], axis=-1)[:, 0]
    return jnp.where(labels >= 0, chosen, jnp.nan)  # a negative index would count from the end

  label_p, label_log_p = of_label(p), of_label(log_p)
  confidence = p.max(-1)
  # Bins are (0, 1/15], (1/15, 2/15], ...
  bins = jnp.clip(jnp.ceil(confidence * ECE_BINS).astype(jnp.int32) - 1, 0, ECE_BINS - 1)
  in_bin = jax.nn.one_hot(bins, ECE_BINS) * weight[:, None]
  known = (true_labels >= 0) * weight
  mislabelled = (labels != true_labels) * known
  return {
    "examples": weight.sum(),
    "correct": fits.sum(),
    "nll": -jnp.where(where, label_log_p, 0).sum(),
    "brier": jnp.where(where, (p**2).sum(-1) - 2 * label_p + 1, 0).sum(),
    "bin_examples": in_bin.sum(0),
    "bin_confidence": (in_bin * confidence[:, None]).sum(0),
    "bin_correct": (in_bin * fits[:, None]).sum(0),
    "clean": (known - mislabelled).sum(),
    "clean_correct": (is_true * (known - mislabelled)).sum(),
    "mislabelled": mislabelled.sum(),
    "mislabelled_correct": (is_true * mislabelled).sum(),
    "memorised": (fits * mislabelled).sum(),
  }


def classification(sums: Sums) -> dict[str, float]:
  """Computes metrics against the labels in use.

  Args:
    sums: Sums of `batch_sums`, added over all batches (in float64 if there are many), over at
      least one example.

  Returns:
    Metrics by name: `accuracy` (0 to 1), `nll`, the mean negative log-likelihood in nats, `brier`,
    the mean squared distance of the probabilities from the label (0 to 2), and `ece`, the expected
    calibration error with 15 bins of equal width (0 to 1).

  References:
    Guo et al., [On calibration of modern neural networks](https://arxiv.org/abs/1706.04599), 2017,
    section 2, for the expected calibration error.

  Examples:
    >>> logits, labels = jnp.zeros((4, 2)), jnp.array([0, 0, 0, 1])
    >>> sums = batch_sums(logits, labels, labels, jnp.ones(4, bool))
    >>> {name: round(value, 4) for name, value in classification(sums).items()}
    {'accuracy': 0.75, 'nll': 0.6931, 'brier': 0.5, 'ece': 0.25}
  """
  n = float(sums["examples"])
  gaps = np.abs(np.asarray(sums["bin_confidence"]) - np.asarray(sums["bin_correct"]))
  return {
    "accuracy": float(sums["correct"]) / n,
    "nll": float(sums["nll"]) / n,
    "brier": float(sums["brier"]) / n,
    "ece": float(gaps.sum()) / n,
  }


def denoising(sums: Sums) -> dict[str, float | None]:
  """Computes how a training set with noisy labels was learned.

  Args:
    sums: Sums of `batch_sums`, added over all batches (in float64 if there are many).

  Returns:
    Shares by name, each in [0, 1], or None if there is no example to count: `label_accuracy`
    against the labels in use; `true_accuracy`, `clean_accuracy` and `mislabelled_accuracy` against
    the true labels, over all examples, those labelled right and those labelled wrong; and
    `memorisation`, the share of the mislabelled examples that are predicted as their wrong label.

  References:
    Lukasik et al., [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819),
    2020: the table of training accuracy on the clean and on the noisy part, known from a secondary
    source.

  Examples:
    >>> logits, labels = jnp.array([[3.0, 0.0], [0.0, 3.0]]), jnp.array([0, 0])
    >>> sums = batch_sums(logits, labels, jnp.array([0, 1]), jnp.ones(2, bool))
    >>> denoising(sums)["mislabelled_accuracy"], denoising(sums)["memorisation"]
    (1.0, 0.0)
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
  """Computes the sums of one batch that compare a student with its teacher, for `imitation`.

  Args:
    logits: Student's unnormalised log-probabilities, floating point of shape [N, L].
    teacher_logits: Teacher's unnormalised log-probabilities, floating point of shape [N, L].
    labels: Labels in use, noisy or not, integers of shape [N] in [0, L).
    true_labels: True labels, integers of shape [N] in [0, L), or -1 for those that nobody knows.
    where: Mask of the examples that count, bool of shape [N].

  Returns:
    Float32 sums by name. Over all examples: `agree` (student and teacher predict the same class)
    and `teacher_kl`, the Kullback-Leibler divergence of the student's probabilities from the
    teacher's in nats. Over the mislabelled examples: `teacher_right` and `teacher_memorised` (the
    teacher predicts the true label, or the wrong label in use), and counts of the student's
    predictions if the teacher is right or wrong: `correct_when_right`, `correct_when_wrong`,
    `agree_when_right` and `agree_when_wrong`.

  Examples:
    >>> student, teacher = jnp.array([[3.0, 0.0], [0.0, 3.0]]), jnp.array([[3.0, 0.0], [3.0, 0.0]])
    >>> labels, true_labels = jnp.array([0, 0]), jnp.array([0, 1])
    >>> sums = imitation_sums(student, teacher, labels, true_labels, jnp.ones(2, bool))
    >>> float(sums["agree"]), float(sums["correct_when_wrong"])
    (1.0, 1.0)
  """
  log_p, log_q = jax.nn.log_softmax(teacher_logits), jax.nn.log_softmax(logits)
  p = jnp.exp(log_p)
  kl = jnp.where(p > 0, p * (log_p - log_q), 0).sum(-1)  # a class of probability 0 adds nothing
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


def imitation(sums: Sums) -> dict[str, float | None]:
  """Computes how a student follows its teacher.

  Args:
    sums: Sums of `batch_sums` and `imitation_sums`, added over all batches (in float64 if there
      are many).

  Returns:
    Values by name, or None if there is no example to count. Over all examples:
    `teacher_agreement`, the share of equal predictions, and `teacher_kl`, the mean divergence of
    the student from the teacher in nats. Over the mislabelled examples, as shares:
    `mislabelled_teacher_accuracy` and `mislabelled_teacher_memorisation`, and the student's
    accuracy and agreement if the teacher is right or wrong, `mislabelled_accuracy_teacher_right`,
    `mislabelled_accuracy_teacher_wrong`, `mislabelled_agreement_teacher_right` and
    `mislabelled_agreement_teacher_wrong`. The dictionary is empty if the sums do not include
    those of `imitation_sums`.

  Examples:
    >>> student, teacher = jnp.array([[3.0, 0.0], [0.0, 3.0]]), jnp.array([[3.0, 0.0], [3.0, 0.0]])
    >>> labels, true_labels, where = jnp.array([0, 0]), jnp.array([0, 1]), jnp.ones(2, bool)
    >>> sums = batch_sums(student, labels, true_labels, where)
    >>> sums |= imitation_sums(student, teacher, labels, true_labels, where)
    >>> imitation(sums)["teacher_agreement"], imitation(sums)["mislabelled_teacher_memorisation"]
    (0.5, 1.0)
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


def _share(part: Array | np.ndarray, whole: Array | np.ndarray) -> float | None:
  return float(part) / float(whole) if whole else None
