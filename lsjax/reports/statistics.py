"""Statistics over seeds: mean, standard deviation and t interval, tests, differences in pairs."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

CONFIDENCE = 0.95
# Fewer values give no verdict: with two, the t quantile is 12.7.
LEAST_SEEDS = 3
_MOST_SEEDS = 1000


@dataclasses.dataclass(frozen=True)
class Summary:
  """Statistics of n values. A statistic that is not defined for n values is NaN.

  Attributes:
    n: number of values.
    mean: their mean.
    sd: their standard deviation, with n - 1 in the denominator.
    low: lower end of the t interval of the mean, at the confidence `CONFIDENCE`.
    high: upper end of that interval.
  """

  n: int
  mean: float
  sd: float
  low: float
  high: float

  def scaled(self, scale: float) -> "Summary":
    """Returns the statistics of the values multiplied by a positive scale."""
    numbers = (scale * x for x in (self.mean, self.sd, self.low, self.high))
    return Summary(self.n, *numbers)


def summarise(values: Sequence[float], scale: float = 1) -> Summary:
  """Returns statistics of values, each multiplied by a scale.

  One value has a mean but no deviation and no interval; without values nothing is defined.

  >>> s = summarise([1.0, 2.0, 3.0])
  >>> s.n, s.mean, s.sd, round(s.low, 3), round(s.high, 3)
  (3, 2.0, 1.0, -0.484, 4.484)
  """
  values = [scale * value for value in values]
  n = len(values)
  if n < 2:
    return Summary(n, values[0] if n else math.nan, math.nan, math.nan, math.nan)
  mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
  half = _quantile(n) * sd / math.sqrt(n)
  return Summary(n, mean, sd, mean - half, mean + half)


def p_above(summary: Summary, bound: float) -> float:
  """Returns the one-sided p value of "the mean is above a bound", by the t distribution.

  Without two values it is NaN.
  """
  if summary.n < 2:
    return math.nan
  if summary.sd == 0:
    return 0.5 if summary.mean == bound else float(summary.mean < bound)
  from scipy import special  # scipy.stats gives the same numbers and takes ten times as long

  t = (summary.mean - bound) * math.sqrt(summary.n) / summary.sd
  return float(special.stdtr(summary.n - 1, -t))


def two_sided(gap: Summary) -> float:
  """Returns the two-sided p value of "the mean differs from 0"; NaN for too few values."""
  p = p_above(gap, 0) if gap.n >= LEAST_SEEDS else math.nan
  return 2 * min(p, 1 - p)


def holm(p_values: Sequence[float]) -> list[float]:
  """Corrects p values for their number by Holm's method; NaN stays NaN and does not count.

  >>> holm([0.01, 0.04, 0.03])
  [0.03, 0.06, 0.06]
  """
  order = sorted(
    (i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i]
  )
  corrected, most = list(p_values), 0.0
  for rank, i in enumerate(order):
    most = max(most, min(1.0, (len(order) - rank) * p_values[i]))
    corrected[i] = most
  return corrected


def seeds_to_resolve(summary: Summary, bound: float) -> int | None:
  """Returns how many values would put a bound outside the interval, if mean and sd stayed.

  Returns:
    The number of values; None if it is above 1,000 or cannot be told.
  """
  if summary.n < 2 or summary.mean == bound:
    return None
  margin = abs(summary.mean - bound)
  for n in range(2, _MOST_SEEDS + 1):
    # The normal quantile is a lower bound, and much faster than that of t.
    if 1.96 * summary.sd / math.sqrt(n) < margin and (
      _quantile(n) * summary.sd / math.sqrt(n) < margin
    ):
      return n
  return None


def subtract(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
  """Returns a - b by seed, for the seeds that both have, in increasing order."""
  return {seed: a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())}


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Summary:
  """Returns statistics of a - b over the seeds that both have.

  Two runs with the same seed share data order, initial parameters and label noise, so that
  their difference varies less than either does.
  """
  return summarise(list(subtract(a, b).values()))


@functools.cache
def _quantile(n: int) -> float:
  """Returns the quantile of the t distribution that makes the interval of n values."""
  from scipy import special

  return float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2))
