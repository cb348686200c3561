"""How sure an estimate is, and probabilities that mean what they say."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from lsjax.estimate import checks
from lsjax.estimate.rates import Estimate

# Temperatures that are tried.
_COLDEST, _HOTTEST = 0.01, 100.0


@dataclasses.dataclass(frozen=True)
class Intervals:
  """Holds an estimate with intervals for its rate and for each entry of its matrix.

  Attributes:
    estimate: The estimate from all examples.
    level: Share of repetitions of the whole in which an interval is meant to hold the true value.
    rate_low: Lower end of the interval for the chance of a wrong label.
    rate_high: Upper end of it.
    transition_low: Lower ends of the intervals for T[true, noisy], float64 of shape [L, L].
    transition_high: Upper ends of them, float64 of shape [L, L].
  """

  estimate: Estimate
  level: float
  rate_low: float
  rate_high: float
  transition_low: NDArray[np.float64]
  transition_high: NDArray[np.float64]


def bootstrap(
  estimator: Callable[..., Estimate],
  arrays: Sequence[ArrayLike],
  *,
  num: int,
  seed: int,
  level: float = 0.95,
) -> Intervals:
  r"""Computes percentile intervals for an estimate by drawing the examples anew.

  Each of `num` resamples draws N of the N examples with replacement, the same ones from every
  array, and is estimated alike. An interval goes from the $(1 - \mathrm{level}) / 2$ quantile of
  the resamples' values to the $(1 + \mathrm{level}) / 2$ quantile. Its ends are possible values,
  such as chances in [0, 1].

  An interval says how much another draw of as many examples would change the estimate. It does not
  correct the estimator's bias, and does not see what stays the same in all resamples: the network
  that made the probabilities, or the neighbours. Each interval is for one entry; some of many
  entries lie outside theirs.

  For an estimator that returns a matrix alone, `from_labels` adds the shares of the true classes.
  For `hoc`, draw triples (`fit_triples` of `triples`), not examples, whose copies would be their
  own neighbours.

  Args:
    estimator: Function of the arrays that returns an `Estimate`.
    arrays: Arrays that have the same number N of examples as their first dimension.
    num: Number of resamples, at least 2; 1,000 for a level of 0.95, 200 for a first look.
    seed: Seed of the resamples.
    level: Level of each interval, in (0, 1).

  Returns:
    The estimate from all examples and the intervals. It takes the time of num + 1 estimates, and
    memory O(num L^2).

  Raises:
    ValueError: If the arrays have no example or not as many, if a number is out of range, or if the
      estimator refuses a resample, such as one without an example of some class.

  References:
    Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13.

  Examples:
    >>> from lsjax import transition
    >>> from lsjax.estimate import from_labels
    >>> def counted(clean, noisy):
    ...   return from_labels(transition.estimate(clean, noisy, 2), noisy)
    >>> clean, noisy = np.arange(400) % 2, np.arange(400) // 2 % 2 * (np.arange(400) % 2)
    >>> found = bootstrap(counted, (clean, noisy), num=200, seed=0)
    >>> round(found.estimate.rate, 6), found.rate_low < 0.25 < found.rate_high
    (0.25, True)
  """
  checks.at_least(num, 2, "num")
  if not 0 < level < 1:
    raise ValueError(f"level must be in (0, 1), not {level:g}")
  found = [np.asarray(array) for array in arrays]
  sizes = [array.shape[0] if array.ndim else 0 for array in found]
  if not sizes or not sizes[0] or len(set(sizes)) > 1:
    raise ValueError(f"arrays must have as many examples each, at least 1, not {sizes}")
  estimate = estimator(*found)
  rng = np.random.default_rng(seed)
  rates, matrices = [], []
  for i in range(num):
    rows = rng.integers(sizes[0], size=sizes[0])
    try:
      resampled = estimator(*(array[rows] for array in found))
    except ValueError as error:
      raise ValueError(f"arrays, resample {i} of {num}: {error}") from error
    rates.append(resampled.rate)
    matrices.append(resampled.transition)
  ends = ((1 - level) / 2, (1 + level) / 2)
  rate_low, rate_high = np.quantile(rates, ends)
  transition_low, transition_high = np.quantile(matrices, ends, axis=0)
  return Intervals(
    estimate, level, float(rate_low), float(rate_high), transition_low, transition_high
  )


def temperature(logits: ArrayLike, labels: ArrayLike) -> float:
  r"""Finds the temperature t at which $\mathrm{softmax}(z / t)$ fits labels best.

  It minimises the mean negative log-likelihood of the labels. On noisy labels that the network was
  not trained on, the probabilities of the noisy label become calibrated, which estimators such as
  `anchor` and `glc` rely on. In 1 / t the mean is convex, so that its slope has one root: the mean
  logit of the label then equals the mean logit that the probabilities expect.

  Args:
    logits: Unnormalised log-probabilities z of the noisy label, of shape [N, L].
    labels: Noisy labels of the same examples, integers of shape [N] in [0, L).

  Returns:
    The temperature, in [0.01, 100]. It is 100 where the labels do not follow the logits and 0.01
    where every label is the most probable class, since then no finite temperature fits best; 1 if
    no temperature changes anything. It takes time O(N L) for each of some ten steps, and memory
    O(N L).

  Raises:
    ValueError: If a logit is not finite, or if the labels are not N integers in [0, L).

  References:
    Guo et al., [On calibration of modern neural networks](https://arxiv.org/abs/1706.04599), 2017,
    section 4.2.

  Examples:
    >>> round(temperature([[4.0, 0.0]] * 4, [0, 0, 0, 1]), 4)  # 3 of 4 at log 3 = 4 / t
    3.641
  """
  z = checks.rows(logits, "logits", "L")
  given = checks.paired(labels, len(z), z.shape[1], "labels", "logits")
  z = z - z.max(axis=1, keepdims=True)
  of_labels = z[np.arange(len(z)), given].mean()

  def slope(log_t: float) -> float:
    """Returns the slope of the mean by 1 / t."""
    weights = np.exp(z / np.exp(log_t))
    expected = (weights * z).sum(axis=1) / weights.sum(axis=1)
    return float(expected.mean() - of_labels)

  if not z.any():
    return 1.0
  if slope(np.log(_COLDEST)) <= 0:
    return _COLDEST
  if slope(np.log(_HOTTEST)) >= 0:
    return _HOTTEST
  return float(np.exp(optimize.brentq(slope, np.log(_COLDEST), np.log(_HOTTEST), xtol=1e-12)))
