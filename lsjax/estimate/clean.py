"""How good predictions are on clean labels, told by noisy ones."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lsjax import transition as transition_lib
from lsjax.estimate import checks


@dataclasses.dataclass(frozen=True)
class Interval:
  """Holds an estimate of a number with an interval.

  Attributes:
    estimate: The estimate.
    low: Lower end of the interval.
    high: Upper end of it.
    level: Share of repetitions of the whole in which the interval is meant to hold the true value.
  """

  estimate: float
  low: float
  high: float
  level: float


def clean_accuracy(
  predictions: ArrayLike, labels: ArrayLike, transition: ArrayLike, *, level: float = 0.95
) -> Interval:
  r"""Estimates the accuracy on clean labels from noisy ones, through the inverse of T.

  An example with the prediction $\hat y$ and the noisy label $\tilde y$ counts
  $(T^{-1})_{\tilde y \hat y}$, whose mean over the noise is 1 if the prediction is the true class
  and 0 if not. The estimate is the mean of these numbers. It is unbiased if the noise depends on
  the true class alone, T is the matrix of the noise, and neither the network nor T was fitted to
  these labels.

  The interval is that of the mean, with the normal distribution, cut to [0, 1]. It does not contain
  the uncertainty of T: an error of T moves the estimate, the more the worse T's condition is.

  Args:
    predictions: Predicted classes, integers of shape [N] in [0, L).
    labels: Noisy labels, integers of shape [N] in [0, L).
    transition: Transition matrix T[true, noisy] of shape [L, L], invertible.
    level: Level of the interval, in (0, 1).

  Returns:
    The estimate, which may lie outside [0, 1] for few examples, and its interval.

  Raises:
    ValueError: If the labels or predictions are not N integers in [0, L), if T is not an invertible
      transition matrix, or if the level is out of range.

  References:
    Natarajan et al., Learning with noisy labels, NeurIPS 2013, lemma 1; Patrini et al., [Making
    deep neural networks robust to label noise](https://arxiv.org/abs/1609.03683), 2017, theorem 1.

  Examples:
    >>> found = clean_accuracy([0, 0, 1, 1], [0, 1, 1, 1], [[0.75, 0.25], [0.0, 1.0]])
    >>> round(found.estimate, 4)  # (4/3 + 0 + 1 + 1) / 4
    0.8333
  """
  inverse = _inverse(transition)
  given = labels_of(labels, len(inverse), "labels")
  predicted = checks.paired(predictions, len(given), len(inverse), "predictions", "labels")
  return mean_interval(inverse[given, predicted], level=level, bounds=(0, 1))


def clean_loss(
  losses: ArrayLike, labels: ArrayLike, transition: ArrayLike, *, level: float = 0.95
) -> Interval:
  r"""Estimates a mean loss on clean labels from noisy ones, through the inverse of T.

  With the losses $\ell_j$ of every possible label j, an example counts
  $\sum_j (T^{-1})_{\tilde y j}\, \ell_j$, as in backward correction, whose mean over the noise is
  the loss of the true class. With $\ell_j = -\log p_j$ the result is the negative log-likelihood.

  Args:
    losses: Loss of each class, of shape [N, L], finite.
    labels: Noisy labels, integers of shape [N] in [0, L).
    transition: Transition matrix T[true, noisy] of shape [L, L], invertible.
    level: Level of the interval, in (0, 1).

  Returns:
    The estimate and its interval; see `clean_accuracy` for what it assumes and does not contain.

  Raises:
    ValueError: As for `clean_accuracy`, and if the losses are not N rows of L finite numbers.

  Examples:
    >>> found = clean_loss([[0.2, 2.0]] * 2, [0, 1], [[0.75, 0.25], [0.0, 1.0]])
    >>> round(found.estimate, 4)  # (4/3 * 0.2 - 1/3 * 2 + 2) / 2
    0.8
  """
  inverse = _inverse(transition)
  of_classes = checks.rows(losses, "losses", "L")
  if of_classes.shape[1] != len(inverse):
    raise ValueError(f"losses have {of_classes.shape[1]} classes, but transition {len(inverse)}")
  given = checks.paired(labels, len(of_classes), len(inverse), "labels", "losses")
  return mean_interval((inverse[given] * of_classes).sum(axis=1), level=level)


def clean_calibration_error(
  probabilities: ArrayLike, labels: ArrayLike, transition: ArrayLike, *, num_bins: int = 15
) -> float:
  r"""Estimates the expected calibration error on clean labels from noisy ones.

  In each of `num_bins` bins of equal width of the confidence, the largest probability, the gap g
  between the mean confidence and the accuracy of `clean_accuracy` is estimated with a standard
  error s. The result is the mean over the examples of $\sqrt{\max(0, g^2 - s^2)}$: without taking
  $s^2$ away, the noise alone would look like a gap.

  Args:
    probabilities: Predicted probabilities of the true class, of shape [N, L].
    labels: Noisy labels, integers of shape [N] in [0, L).
    transition: Transition matrix T[true, noisy] of shape [L, L], invertible.
    num_bins: Number of bins.

  Returns:
    The estimate, at least 0. A bin of one example has no standard error and counts 0.

  Raises:
    ValueError: As for `clean_accuracy`, and if the rows are no distributions over L classes.

  Examples:
    >>> p, noisy = [[0.75, 0.25]] * 8, [0] * 4 + [1] * 4
    >>> round(clean_calibration_error(p, noisy, [[1.0, 0.0], [0.0, 1.0]]), 4)  # accuracy 1/2
    0.1637
  """
  inverse = _inverse(transition)
  p = checks.probabilities(probabilities)
  if p.shape[1] != len(inverse):
    raise ValueError(f"probabilities have {p.shape[1]} classes, but transition {len(inverse)}")
  given = checks.paired(labels, len(p), len(inverse), "labels", "probabilities")
  checks.at_least(num_bins, 1, "num_bins")
  predicted, confidence = p.argmax(axis=1), p.max(axis=1)
  gaps = confidence - inverse[given, predicted]
  bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
  total = 0.0
  for k in np.unique(bins):
    found = gaps[bins == k]
    if len(found) > 1:
      square = found.mean() ** 2 - found.var(ddof=1) / len(found)
      total += len(found) * np.sqrt(max(square, 0.0))
  return float(total / len(p))


def mean_interval(
  values: NDArray[np.float64],
  *,
  level: float = 0.95,
  bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
  """Computes the mean of values with its interval by the normal distribution.

  Args:
    values: Independent values, of shape [N].
    level: Level of the interval, in (0, 1).
    bounds: Least and largest possible mean, to which the interval is cut.

  Returns:
    The mean and its interval; that of a single value is the whole range.

  Raises:
    ValueError: If there is no value, or if the level is out of range.

  Examples:
    >>> found = mean_interval(np.array([0.0, 1.0, 2.0, 1.0]))
    >>> found.estimate, round(found.low, 3), round(found.high, 3)
    (1.0, 0.2, 1.8)
  """
  if not 0 < level < 1:
    raise ValueError(f"level must be in (0, 1), not {level:g}")
  if not len(values):
    raise ValueError("values must have at least one example")
  mean = float(values.mean())
  half = np.inf
  if len(values) > 1:
    half = float(special.ndtri((1 + level) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
  low, high = (float(np.clip(end, *bounds)) for end in (mean - half, mean + half))
  return Interval(mean, low, high, level)


def labels_of(labels: ArrayLike, num_classes: int, name: str) -> NDArray[np.int32]:
  """Checks labels in [0, L), at least one."""
  array = np.asarray(labels)
  return checks.paired(array, len(array) if array.ndim else 0, num_classes, name, name)


def _inverse(transition: ArrayLike) -> NDArray[np.float64]:
  return transition_lib.inverse(transition_lib.validate(transition))[0]
