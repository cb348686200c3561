"""Statistics over seeds, and a verdict for each claim of the paper."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from lsjax import pool as pool_lib
from lsjax.pool import Cell, Pool

CONFIDENCE = 0.95
# How far LS may lie below FC, and a small alpha may raise the ECE, to count as no worse.
MARGIN = 0.01

# Table A to E of the paper (all from one careful secondary source), in per cent but for ECE.


@dataclasses.dataclass(frozen=True)
class Summary:
  """Mean, standard deviation (n - 1) and t interval of n values; NaN where not defined."""

  n: int
  mean: float
  sd: float
  low: float
  high: float


def summarise(values: Sequence[float]) -> Summary:
  """Summarises values; one value has no deviation and no interval, none has no mean.

  >>> s = summarise([1.0, 2.0, 3.0])
  >>> s.n, s.mean, s.sd, round(s.low, 3), round(s.high, 3)
  (3, 2.0, 1.0, -0.484, 4.484)
  """
  n = len(values)
  if n < 2:
    return Summary(n, values[0] if n else math.nan, math.nan, math.nan, math.nan)
  mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
  if sd == 0:  # SciPy returns NaN for it
    return Summary(n, mean, 0.0, mean, mean)
  low, high = stats.t.interval(CONFIDENCE, n - 1, mean, sd / math.sqrt(n))
  return Summary(n, mean, sd, float(low), float(high))


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Summary:
  """Summarises a - b over the seeds that both have: data order, init and noise are paired."""
  return summarise([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])


REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
UNTESTED = "no verdict"


@dataclasses.dataclass(frozen=True)
class Comparison:
  """One statement of a claim: a paired difference that should be above (or below) a bound.

  Attributes:
    what: the difference in words.
    summary: of the difference, by seed.
    bound: that the whole interval should be above.
    scale: 100 for shares shown in percentage points.
    unit: after scaling.
    sign: -1 for a difference that should be below the bound.
  """

  what: str
  summary: Summary
  bound: float = 0.0
  scale: float = 100
  unit: str = "pp"
  sign: int = 1

  @property
  def verdict(self) -> str:
    """By the interval alone: all on the claimed side, all on the other, or neither."""
    if self.summary.n < 2:
      return UNTESTED
    low, high = sorted((self.sign * self.summary.low, self.sign * self.summary.high))
    bound = self.sign * self.bound
    return REPRODUCED if low > bound else NOT_REPRODUCED if high < bound else INCONCLUSIVE

  def __str__(self) -> str:
    s = self.summary
    if s.n == 0:
      return f"{self.what}: not measured"
    mean = f"{self.scale * s.mean:+.2f} {self.unit}"
    if s.n == 1:
      return f"{self.what}: {mean}, n = 1, no interval"
    interval = f"[{self.scale * s.low:+.2f}, {self.scale * s.high:+.2f}]"
    side = ">" if self.sign > 0 else "<"
    return f"{self.what}: {mean} {interval}, n = {s.n} (claimed {side} {self.scale * self.bound:g})"


@dataclasses.dataclass(frozen=True)
class Claim:
  """A claim of the paper with what was measured.

  Attributes:
    id: C1 to C9.
    text: the claim.
    tests: that it comes down to; all must hold.
    note: anything else that a reader should know.
  """

  id: str
  text: str
  tests: Sequence[Comparison]
  note: str = ""

  @property
  def verdict(self) -> str:
    """Reproduced if every test is, not reproduced if any is contradicted."""
    verdicts = {test.verdict for test in self.tests}
    for verdict in (UNTESTED, NOT_REPRODUCED, INCONCLUSIVE):
      if verdict in verdicts or not verdicts:
        return verdict
    return REPRODUCED


def difference(
  what: str, a: Cell | None, b: Cell | None, metric: str = "test.accuracy", **kwargs: Any
) -> Comparison:
  """Returns the test of a metric's paired difference a - b; absent cells measure nothing."""
  values = [cell.values(metric) if cell is not None else {} for cell in (a, b)]
  return Comparison(what, paired(*values), **kwargs)


def claims(pool: Pool, rate: float = 0.2, alpha: float = 0.1) -> list[Claim]:
  """Returns every claim with its tests, at the noise rate and alpha of the paper's table A."""

  def cell(name: str, a: float = alpha, noise: float = rate) -> Cell | None:
    return pool.one(method=name, alpha=0.0 if name == "CE" else a, rate=noise)

  def student(name: str, noise: float = rate) -> Cell | None:
    return pool.one(teacher=name, temperature=1.0, rate=noise)

  # "Well above the true rate": three times it, where the table has it.
  high, at_rate = 3 * rate, rate
  ls, fc, bc, ce = (cell(name) for name in ("LS", "FC", "BC", "CE"))
  higher = {name: cell(name, round(high, 9)) for name in ("LS", "FC", "BC")}
  gains = {
    part: paired(*(c.values(f"train.{part}_accuracy") if c else {} for c in (ls, ce)))
    for part in ("mislabelled", "clean")
  }
  parts = [
    {
      seed: c.values("train.mislabelled_accuracy")[seed] - value
      for seed, value in c.values("train.clean_accuracy").items()
      if seed in c.values("train.mislabelled_accuracy")
    }
    if c
    else {}
    for c in (ls, ce)
  ]
  percent = f"{100 * rate:g} % noise"
  return [
    Claim(
      "C1",
      "Under symmetric label noise, label smoothing beats cross-entropy in clean test accuracy.",
      [difference(f"LS {alpha:g} - CE, test accuracy, {percent}", ls, ce)],
    ),
    Claim(
      "C2",
      "Label smoothing is competitive with loss correction: close to FC, above BC.",
      [
        difference(f"LS {alpha:g} - BC {alpha:g}, test accuracy, {percent}", ls, bc),
        difference(f"LS {alpha:g} - FC {alpha:g}, test accuracy, {percent}", ls, fc, bound=-MARGIN),
      ],
      note=f"'Close' means: not more than {100 * MARGIN:g} pp below.",
    ),
    Claim(
      "C3",
      "An alpha well above the true noise rate helps all methods further.",
      [
        difference(
          f"{name} {high:g} - {name} {at_rate:g}, test accuracy, {percent}",
          higher[name],
          cell(name, at_rate),
        )
        for name in ("LS", "FC", "BC")
      ],
    ),
    Claim(
      "C4",
      "Label smoothing denoises: accuracy against the true labels rises on the mislabelled part "
      "of the training set, far more than on the clean part.",
      [
        Comparison(f"LS {alpha:g} - CE on the mislabelled part, {percent}", gains["mislabelled"]),
        Comparison("that gain less the gain on the clean part", paired(*parts)),
      ],
    ),
    Claim(
      "C5",
      "A small alpha keeps or improves calibration for LS; FC, BC and a large alpha worsen it.",
      [
        difference(f"LS {alpha:g} - CE, ECE, {percent}", ls, ce, "test.ece", bound=MARGIN, sign=-1),
        difference(f"FC {alpha:g} - CE, ECE, {percent}", fc, ce, "test.ece"),
        difference(f"BC {alpha:g} - CE, ECE, {percent}", bc, ce, "test.ece"),
        difference(f"LS {high:g} - CE, ECE, {percent}", higher["LS"], ce, "test.ece"),
      ],
      note=f"'Keeps' means: not more than {100 * MARGIN:g} pp above.",
    ),
    _shrinkage(pool),
    _boundary(pool),
    Claim(
      "C8",
      "Distilling from noisy data, a teacher trained with LS or FC gives a better student than a "
      "plain teacher.",
      [
        difference(
          f"student of {name} - student of CE, test accuracy, {percent}",
          student(name),
          student("CE"),
        )
        for name in ("LS", "FC")
      ],
      note="Temperature 1, beta 1; the paper's own are not known.",
    ),
    Claim(
      "C9",
      "Without noise the opposite may hold: smoothing the teacher hurts the student.",
      [
        difference(
          "student of LS - student of CE, test accuracy, no noise",
          student("LS", 0.0),
          student("CE", 0.0),
          sign=-1,
        )
      ],
      note="Temperature 1, beta 1.",
    ),
  ]


@dataclasses.dataclass(frozen=True)
class _Numerical(Claim):
  """A claim that is checked as mathematics: its verdict needs no seeds."""

  holds: bool | None = None

  @property
  def verdict(self) -> str:
    if self.holds is None:
      return UNTESTED
    return REPRODUCED if self.holds else NOT_REPRODUCED


def _shrinkage(pool: Pool) -> Claim:
  """C6, from theory.json."""
  text = (
    "Label smoothing is shrinkage: W_LS = (1 - alpha) W* for squared loss on centred data; "
    "W = 0 minimises Omega (Theorem 1)."
  )
  theory = pool.theory
  if theory is None:
    return _Numerical("C6", text, [], "Not measured: no theory.json.")
  double = max(row["error_float64"] for row in theory["shrinkage"])
  omega = theory["omega"]
  holds = (
    double < 1e-10
    and theory["shrinkage_error_float32"] < 1e-5
    and omega["largest_gradient"] < 1e-10
    and omega["least_eigenvalue"] > -1e-10
    and omega["least_excess"] > 0
  )
  note = (
    f"Largest error of W_LS = (1 - alpha) W*: {double:.1e} in float64, "
    f"{theory['shrinkage_error_float32']:.1e} in float32. At W = 0 the gradient of Omega is at "
    f"most {omega['largest_gradient']:.1e}, its Hessian's least eigenvalue "
    f"{omega['least_eigenvalue']:.1e}; Omega at random W is larger by {omega['least_excess']:.2f} "
    f"or more ({theory['seeds']} random data sets)."
  )
  return _Numerical("C6", text, [], note, holds)


def _boundary(pool: Pool) -> Claim:
  """C7, from the 2-D runs."""
  text = (
    "In 2-D, one-sided noise pulls the linear boundary off the Bayes line through the origin, and "
    "LS with growing alpha brings it back."
  )
  clean = pool.one(data="gaussians", model="linear", noise_kind="none")
  noisy = pool_lib.plane_cells(pool)
  if clean is None or len(noisy) < 2:
    return Claim("C7", text, [])
  plain, smoothed = noisy[0], noisy[-1]
  without, with_noise, with_ls = map(pool_lib.boundary, (clean, plain, smoothed))
  name = f"LS {smoothed.alpha:g}"
  offsets = [summarise(list(line["offset"].values())).mean for line in (with_noise, with_ls)]
  degrees: dict[str, Any] = {"scale": 1, "unit": "degrees"}
  return Claim(
    "C7",
    text,
    [
      Comparison(
        "CE with noise - CE without, angle to the Bayes line",
        paired(with_noise["angle"], without["angle"]),
        **degrees,
      ),
      Comparison(
        f"{name} - CE, both with noise, angle",
        paired(with_ls["angle"], with_noise["angle"]),
        sign=-1,
        **degrees,
      ),
    ],
    note="The angle leaves out the shift: the boundary's distance from the origin is "
    f"{offsets[0]:.2f} for CE and {offsets[1]:.2f} for {name}. The 2,000 points are the same for "
    "every seed.",
  )
