"""Methods ranked without clean labels, by what the held-out noisy labels say of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from lsjax import estimate
from lsjax import transition as transition_lib
from lsjax.estimate import Interval, Sample
from lsjax.estimate.clean import mean_interval

# An interval for the clean accuracy that is wider says nothing that a person could use.
WIDEST = 0.4
# An error of T counts so many times in the accuracy, if it lies in the worst direction.
_WORST_CONDITION = 100
# From so many checked labels on, the accuracy is counted from them rather than through T.
LEAST_CHECKED = 30
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Entry:
  """A way to train: a method that is trained to the end, or stopped early.

  Attributes:
    name: the method's name in tables.
    changes: the config fields that choose it, without the number of steps.
    moment: "end" or "stopped early".
    step: the number of steps.
    noisy_accuracy: the accuracy on held-out noisy labels, mean over seeds and folds.
    diverged: the number of its runs whose loss was not finite at some step.
    logits: the logits of every example by networks that did not see it, [seeds, N, L]; None where
      they were not computed.
    why_not: why there are none, a sentence; empty if there are.
  """

  name: str
  changes: Mapping[str, Any]
  moment: str
  step: int
  noisy_accuracy: float
  diverged: int = 0
  logits: np.ndarray | None = None
  why_not: str = ""

  @property
  def predictions(self) -> np.ndarray | None:
    """The predicted classes, [seeds, N]; None without logits."""
    return None if self.logits is None else self.logits.argmax(axis=2)


@dataclasses.dataclass(frozen=True)
class Noise:
  """What a ranking needs to know of the noise.

  Attributes:
    labels: the labels as given, int32 [N].
    transition: T[true, noisy], [L, L].
    resamples: matrices that are plausible too, [B, L, L].
    posterior: the probabilities of the true class of each example from before any checked label was
      seen, [N, L].
    sample: the checked examples and the chances with which they were chosen; None if there are
      none.
    true_labels: the true labels of the sample.
  """

  labels: np.ndarray
  transition: np.ndarray
  resamples: np.ndarray
  posterior: np.ndarray
  sample: Sample | None = None
  true_labels: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Judged:
  """An entry with what it is worth on clean labels.

  Attributes:
    entry: the entry.
    accuracy: the accuracy on clean labels; None where it is refused.
    nll: the negative log-likelihood of the clean labels; None where it is refused, and where its
      estimate is not positive.
    ece: the expected calibration error on clean labels; None where it is refused.
    refused: why there is no accuracy, a sentence; empty if there is one.
    behind: how far the accuracy on noisy labels lies below that of the best entry, paired by
      example; None without logits.
  """

  entry: Entry
  accuracy: Interval | None
  nll: float | None
  ece: float | None
  refused: str
  behind: Interval | None

  @property
  def is_tied(self) -> bool:
    """Whether the entry cannot be told apart from the best one, or is it."""
    return self.behind is not None and self.behind.low <= 0


def judge(entries: Sequence[Entry], noise: Noise, *, seed: int) -> list[Judged]:
  """Ranks entries by their accuracy on held-out noisy labels.

  Args:
    entries: the entries; at least one has logits and no run that diverged.
    noise: what is known of the noise.
    seed: the seed of the draws that intervals are made of.

  Returns:
    The entries with what they are worth, the best first. Those with diverged runs are last.
  """
  ordered = sorted(entries, key=lambda e: (e.diverged > 0, -e.noisy_accuracy))
  best = next(e for e in ordered if e.logits is not None and not e.diverged)
  ordered.remove(best)
  return [_judged(entry, best, noise, seed) for entry in (best, *ordered)]


def _judged(entry: Entry, best: Entry, noise: Noise, seed: int) -> Judged:
  if entry.diverged:
    why = f"the loss of {entry.diverged} of its runs was not finite"
    return Judged(entry, None, None, None, why, None)
  if entry.logits is None:
    return Judged(entry, None, None, None, entry.why_not, None)
  behind = _behind(entry, best, noise.labels)
  number = np.linalg.cond(noise.transition)
  if not number < _WORST_CONDITION:
    why = (
      "the noise mixes classes so strongly that a small error of T becomes a large one of the "
      f"accuracy (condition number {number:.3g})"
    )
    return Judged(entry, None, None, None, why, behind)
  accuracy = _accuracy(entry, noise, seed)
  if accuracy.high - accuracy.low > WIDEST:
    ends = f"{100 * accuracy.low:.0f} to {100 * accuracy.high:.0f} %"
    why = f"its interval, {ends}, is too wide to use"
    return Judged(entry, None, None, None, why, behind)
  log_p = special.log_softmax(entry.logits.astype(np.float64), axis=2)
  losses = [estimate.clean_loss(-rows, noise.labels, noise.transition).estimate for rows in log_p]
  errors = [
    estimate.clean_calibration_error(np.exp(rows), noise.labels, noise.transition) for rows in log_p
  ]
  nll = float(np.mean(losses))
  # The estimate has no bounds: one below 0, which no likelihood of classes has, says nothing.
  return Judged(entry, accuracy, nll if nll > 0 else None, float(np.mean(errors)), "", behind)


def _behind(entry: Entry, best: Entry, labels: np.ndarray) -> Interval:
  """Returns how much more often the best entry's prediction is the noisy label."""
  own, of_best = entry.predictions, best.predictions
  assert own is not None
  assert of_best is not None
  difference = (of_best == labels).mean(axis=0) - (own == labels).mean(axis=0)
  return mean_interval(difference, level=_LEVEL)


def _accuracy(entry: Entry, noise: Noise, seed: int) -> Interval:
  """Estimates the accuracy on clean labels, with the uncertainty of T in its interval."""
  predictions = entry.predictions
  assert predictions is not None
  if noise.sample is not None and noise.true_labels is not None:
    rows = np.arange(len(noise.labels))
    predicted = np.mean([noise.posterior[rows, p] for p in predictions], axis=0)
    found = (predictions[:, noise.sample.indices] == noise.true_labels).mean(axis=0)
    return estimate.checked_mean(predicted, noise.sample, found, level=_LEVEL)
  inverse = _inverse(noise.transition)
  values = np.mean([inverse[noise.labels, p] for p in predictions], axis=0)
  mean = mean_interval(values, level=_LEVEL)
  # How often each pair of label and prediction occurs decides the mean under any other matrix.
  size = len(inverse)
  pairs = (noise.labels[None].astype(np.int64) * size + predictions).ravel()
  shares = np.bincount(pairs, minlength=size**2).reshape(size, size) / pairs.size
  usable = [m for m in noise.resamples if np.linalg.cond(m) < _WORST_CONDITION]
  means = np.array([(_inverse(m) * shares).sum() for m in (noise.transition, *usable)])
  error = values.std(ddof=1) / np.sqrt(len(values))
  draws = np.random.default_rng(seed).normal(means, error)
  tail = (1 - _LEVEL) / 2
  low, high = np.quantile(draws, (tail, 1 - tail))
  low, high = min(low, mean.estimate), max(high, mean.estimate)
  middle, low, high = (float(np.clip(x, 0, 1)) for x in (mean.estimate, low, high))
  return Interval(middle, low, high, _LEVEL)


def _inverse(matrix: np.ndarray) -> np.ndarray:
  return transition_lib.inverse(matrix)[0]
