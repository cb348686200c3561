r"""Intervals from a few labels that somebody has checked, with the help of many predictions.

What a network predicts for every example is biased by an unknown amount; what a person finds in a
random part is not, and is noisy. Prediction-powered inference adds both: the mean of the
predictions over all examples, and the mean of what the person found less what was predicted over
the part. Its interval is valid whatever the predictions are, and it is short where they are good.
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lsjax.estimate.clean import Interval


@dataclasses.dataclass(frozen=True)
class Sample:
  """Holds which examples to check.

  Attributes:
    indices: Indices of the examples, increasing, of shape [m].
    chances: Chance that the plan takes each of them, float64 of shape [m].
  """

  indices: NDArray[np.intp]
  chances: NDArray[np.float64]


def to_check(wrong: ArrayLike, count: int, *, seed: int, random_share: float = 0.5) -> Sample:
  r"""Chooses examples whose labels a person should check.

  A share of them is spread evenly and the rest by suspicion: example n is taken with the chance
  $\pi_n = \min(1, c\, (s / N + (1 - s)\, w_n / \sum_k w_k))$, where w is the chance that a label is
  wrong and c makes the chances sum to `count`. The sample is drawn systematically in a random
  order, so that it has `count` examples exactly.

  Args:
    wrong: Chance that each label is wrong, of shape [N], in [0, 1], as `suspects` gives it.
    count: Number of examples to check, in [1, N].
    seed: Seed of the draw.
    random_share: The share s, in (0, 1]; 1 is an ordinary random sample.

  Returns:
    The examples and their chances, which `checked_mean` needs.

  Raises:
    ValueError: If an argument is out of range.

  References:
    Särndal et al., Model assisted survey sampling, 1992, section 3.6: systematic sampling with
    unequal chances; Zrnic and Candès, [Active statistical
    inference](https://arxiv.org/abs/2403.03208), 2024, for choosing what to label by a model.

  Examples:
    >>> found = to_check([0.9, 0.1, 0.1, 0.1], 2, seed=0)
    >>> len(found.indices), bool((found.chances <= 1).all())
    (2, True)
  """
  suspicion = np.asarray(wrong, np.float64)
  if suspicion.ndim != 1 or not suspicion.size:
    raise ValueError(f"wrong must have shape [N] with N at least 1, not {list(suspicion.shape)}")
  outside = ~((suspicion >= 0) & (suspicion <= 1))
  if outside.any():
    index = int(outside.argmax())
    raise ValueError(f"wrong[{index}] = {suspicion[index]} is outside [0, 1]")
  total = len(suspicion)
  if not 1 <= count <= total:
    raise ValueError(f"count must be in [1, {total}], not {count}")
  if not 0 < random_share <= 1:
    raise ValueError(f"random_share must be in (0, 1], not {random_share:g}")
  even = np.full(total, 1 / total)
  by_suspicion = suspicion / suspicion.sum() if suspicion.any() else even
  chances = _capped(random_share * even + (1 - random_share) * by_suspicion, count)
  rng = np.random.default_rng(seed)
  order = rng.permutation(total)
  # Steps of length 1 along the line of all chances, from a random beginning.
  ends = np.cumsum(chances[order])
  ends *= count / ends[-1]
  taken = np.searchsorted(ends, np.arange(count) + rng.uniform(), side="right")
  indices = np.sort(order[np.minimum(taken, total - 1)])
  return Sample(indices, chances[indices])


def checked_mean(
  predicted: ArrayLike,
  sample: Sample,
  found: ArrayLike,
  *,
  level: float = 0.95,
  bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
  r"""Estimates a mean over all examples from predictions and from the checked ones.

  With the predictions f, the values v that a person found and the chances $\pi$ of the sample, it
  is $\bar f + \frac{1}{N} \sum_{n} (v_n - f_n) / \pi_n$, with the sum over the checked examples. It
  is unbiased whatever f is. For the rate of wrong labels f is `Suspects.wrong`, and v says whether
  the label is wrong. For entry (i, j) of the joint distribution of true and noisy labels f is the
  posterior of i where the label is j, and v says whether the true class is i there.

  Args:
    predicted: Predictions f of all examples, of shape [N], finite.
    sample: The checked examples; see `to_check`.
    found: Values v of the checked examples in the order of the sample, of shape [m], finite.
    level: Level of the interval, in (0, 1).
    bounds: Least and largest possible mean, to which the interval is cut.

  Returns:
    The estimate, which may be outside the bounds, and its interval. Its width is that of the sum,
    by Student's t distribution, as if the examples were drawn one by one; it is on the safe side
    where many of all examples are checked.

  Raises:
    ValueError: If shapes do not agree, if a number is not finite, if fewer than two examples were
      checked, or if the level is out of range.

  References:
    Angelopoulos et al., [Prediction-powered inference](https://arxiv.org/abs/2301.09633), 2023,
    section 2; Hansen and Hurwitz, On the theory of sampling from finite populations, 1943.

  Examples:
    >>> f, truth = np.full(1000, 0.3), np.arange(1000) % 5 == 0
    >>> sample = to_check(f, 200, seed=0)
    >>> mean = checked_mean(f, sample, truth[sample.indices])
    >>> mean.low < 0.2 < mean.high
    True
  """
  f, v = np.asarray(predicted, np.float64), np.asarray(found, np.float64)
  count = len(sample.indices)
  if f.ndim != 1 or v.shape != (count,):
    raise ValueError(
      f"predicted must have shape [N] and found [{count}], not {list(f.shape)} and {list(v.shape)}"
    )
  if count < 2:
    raise ValueError(f"sample must have at least 2 examples, not {count}")
  for name, values in (("predicted", f), ("found", v)):
    if not np.isfinite(values).all():
      index = int((~np.isfinite(values)).argmax())
      raise ValueError(f"{name}[{index}] = {values[index]} is not finite")
  if sample.indices.min() < 0 or sample.indices.max() >= len(f):
    raise ValueError(f"sample has indices outside [0, {len(f)})")
  if not 0 < level < 1:
    raise ValueError(f"level must be in (0, 1), not {level:g}")
  # m times each term has the sum's mean: the variance of their mean is that of the estimate.
  terms = count * (v - f[sample.indices]) / sample.chances / len(f)
  estimate = float(f.mean() + terms.mean())
  half = float(special.stdtrit(count - 1, (1 + level) / 2) * terms.std(ddof=1) / np.sqrt(count))
  low, high = (float(np.clip(end, *bounds)) for end in (estimate - half, estimate + half))
  return Interval(estimate, low, high, level)


def _capped(weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
  """Returns chances in proportion to weights, at most 1, that sum to a count."""
  chances = np.zeros(len(weights))
  free = np.ones(len(weights), bool)
  while True:
    left = count - (~free).sum()
    chances[free] = weights[free] / weights[free].sum() * left
    over = free & (chances >= 1)
    if not over.any() or left <= 0:
      return np.minimum(chances, 1)
    chances[over] = 1
    free &= ~over
    if not free.any():
      return chances
