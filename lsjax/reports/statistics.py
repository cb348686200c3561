"""Statistics over seeds: mean, standard deviation and t interval, and differences in pairs."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

CONFIDENCE = 0.95


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
  if sd == 0:  # SciPy returns NaN for it
    return Summary(n, mean, 0.0, mean, mean)
  from scipy import stats  # takes half a second, which a command that trains should not wait for

  low, high = stats.t.interval(CONFIDENCE, n - 1, mean, sd / math.sqrt(n))
  return Summary(n, mean, sd, float(low), float(high))


def subtract(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
  """Returns a - b by seed, for the seeds that both have, in increasing order."""
  return {seed: a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())}


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Summary:
  """Returns statistics of a - b over the seeds that both have.

  Two runs with the same seed share data order, initial parameters and label noise, so that
  their difference varies less than either does.
  """
  return summarise(list(subtract(a, b).values()))
