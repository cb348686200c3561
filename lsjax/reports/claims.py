"""The claims of the paper, each with what a sweep measured of it and a verdict."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from lsjax.reports import paper
from lsjax.reports.results import CellResults, SweepResults
from lsjax.reports.statistics import Summary, paired, subtract

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
UNTESTED = "no verdict"
MARKS = {REPRODUCED: "✓", NOT_REPRODUCED: "✗", INCONCLUSIVE: "≈", UNTESTED: "?"}


@dataclasses.dataclass(frozen=True)
class Comparison:
  """One statement of a claim: a paired difference that should be above (or below) a bound.

  Attributes:
    what: the difference in words.
    summary: statistics of the difference over seeds.
    bound: number that the whole interval should be above.
    sign: 1, or -1 for a difference that should be below the bound.
    scale: factor for display; 100 shows shares in percentage points.
    unit: unit after scaling.
  """

  what: str
  summary: Summary
  bound: float = 0.0
  sign: int = 1
  scale: float = 100
  unit: str = "pp"

  @property
  def verdict(self) -> str:
    """The verdict of the interval: it lies on the claimed side, on the other side or on both."""
    if self.summary.n < 2:
      return UNTESTED
    low, high = sorted((self.sign * self.summary.low, self.sign * self.summary.high))
    bound = self.sign * self.bound
    return REPRODUCED if low > bound else NOT_REPRODUCED if high < bound else INCONCLUSIVE

  @property
  def measured(self) -> str:
    """The mean difference with its interval and n, for display."""
    s = self.summary
    if s.n == 0:
      return "not measured"
    mean = f"{self.scale * s.mean:+.2f} {self.unit}"
    if s.n == 1:
      return f"{mean}, n = 1, no interval"
    return f"{mean} [{self.scale * s.low:+.2f}, {self.scale * s.high:+.2f}], n = {s.n}"

  def __str__(self) -> str:
    text = f"{self.what}: {self.measured}"
    if self.summary.n < 2:
      return text
    return f"{text} (claimed {'>' if self.sign > 0 else '<'} {self.scale * self.bound:g})"


@dataclasses.dataclass(frozen=True)
class Claim:
  """A claim of the paper with what was measured of it.

  Attributes:
    id: C1 to C9.
    text: the claim in words.
    tests: statements that all have to hold; empty if nothing was measured.
    note: anything else that a reader should know.
    holds: whether a claim that is mathematics, and needs no seeds, was confirmed numerically;
      None for every other claim.
  """

  id: str
  text: str
  tests: Sequence[Comparison]
  note: str = ""
  holds: bool | None = None

  @property
  def verdict(self) -> str:
    """The verdict: reproduced if every test is, not reproduced if any test is contradicted."""
    if self.holds is not None:
      return REPRODUCED if self.holds else NOT_REPRODUCED
    verdicts = {test.verdict for test in self.tests} or {UNTESTED}
    ranking = (UNTESTED, NOT_REPRODUCED, INCONCLUSIVE, REPRODUCED)
    return next(verdict for verdict in ranking if verdict in verdicts)


@dataclasses.dataclass(frozen=True)
class Expectation:
  """The order of two cells that a claim of the paper predicts.

  A cell is named by its method and alpha ("LS 0.1"; "CE" has no alpha), or as the "student of"
  a method, at temperature 1.

  Attributes:
    first: name of the cell that should have the larger value.
    second: name of the cell that `first` is compared with.
    metric: the value that is compared, as in `CellResults.values`, or the difference "a - b" of
      two such metrics.
    sign: 1, or -1 if `first` should have the smaller value.
    bound: number that the difference first - second should be above (below if sign is -1).
    rate: rate of the symmetric noise.
    what: the difference in words; empty for words made from the other attributes.
  """

  first: str
  second: str = "CE"
  metric: str = "test.accuracy"
  sign: int = 1
  bound: float = 0.0
  rate: float = paper.RATE
  what: str = ""

  def measure(self, sweep: SweepResults) -> Comparison:
    """Returns the comparison of the two cells in a sweep."""
    noise = f"{100 * self.rate:g} % noise" if self.rate else "no noise"
    what = self.what or f"{self.first} - {self.second}{_IN_WORDS[self.metric]}, {noise}"
    first, second = (_cell(sweep, name, self.rate) for name in (self.first, self.second))
    return Comparison(what, difference(first, second, self.metric), self.bound, self.sign)


def difference(
  first: CellResults | None, second: CellResults | None, metric: str = "test.accuracy"
) -> Summary:
  """Returns statistics of a metric's paired difference first - second of two cells.

  Args:
    first: a cell; nothing is measured if it is None.
    second: another cell, or None.
    metric: as in `Expectation`.
  """
  return paired(*(_values(cell, metric) if cell else {} for cell in (first, second)))


def _values(cell: CellResults, metric: str) -> dict[int, float]:
  minuend, *subtrahend = metric.split(" - ")
  values = cell.values(minuend)
  return subtract(values, cell.values(subtrahend[0])) if subtrahend else values


def _cell(sweep: SweepResults, name: str, rate: float) -> CellResults | None:
  if name.startswith("student of "):
    teacher = name.removeprefix("student of ")
    return sweep.find(teacher=teacher, temperature=1.0, rate=rate)
  method, _, alpha = name.partition(" ")
  return sweep.trained(method, float(alpha or 0), rate)


_IN_WORDS = {
  "test.accuracy": ", test accuracy",
  "test.ece": ", ECE",
  "train.mislabelled_accuracy": " on the mislabelled part",
}


def claims(sweep: SweepResults) -> list[Claim]:
  """Returns every claim of the paper with what a sweep measured of it, C1 to C9."""
  functions = {"C6": _shrinkage, "C7": _boundary}
  return [functions.get(claim["id"], _orders)(sweep, **claim) for claim in paper.CLAIMS]


def _orders(
  sweep: SweepResults, id: str, text: str, expectations: Sequence[dict[str, Any]], note: str = ""
) -> Claim:
  """Returns a claim about the order of cells."""
  return Claim(id, text, [Expectation(**each).measure(sweep) for each in expectations], note)


def _shrinkage(sweep: SweepResults, id: str, text: str) -> Claim:
  """Returns C6, which theory.json decides."""
  theory = sweep.theory
  if theory is None:
    return Claim(id, text, [], "Not measured: no theory.json.")
  double = max(row["error_float64"] for row in theory["shrinkage"])
  single = theory["shrinkage_error_float32"]
  gradient, eigenvalue, excess = (
    theory["omega"][name] for name in ("largest_gradient", "least_eigenvalue", "least_excess")
  )
  note = (
    f"Largest error of W_LS = (1 - alpha) W*: {double:.1e} in float64, {single:.1e} in float32. "
    f"At W = 0 the gradient of Omega is at most {gradient:.1e}, its Hessian's least eigenvalue "
    f"{eigenvalue:.1e}; Omega at random W is larger by {excess:.2f} or more ({theory['seeds']} "
    "random data sets)."
  )
  shrinks = double < 1e-10 and single < 1e-5
  return Claim(
    id, text, [], note, shrinks and gradient < 1e-10 and eigenvalue > -1e-10 and excess > 0
  )


def _boundary(sweep: SweepResults, id: str, text: str) -> Claim:
  """Returns C7, which the linear models on 2-D data decide."""
  clean, noisy = sweep.plane
  if not clean or len(noisy) < 2:
    return Claim(id, text, [])
  plain, smoothed = noisy[0], noisy[-1]
  name = f"LS {smoothed.alpha:g}"
  pairs = (
    ("CE with noise - CE without, angle to the Bayes line", plain, clean[0], 1),
    (f"{name} - CE, both with noise, angle", smoothed, plain, -1),
  )
  tests = [
    Comparison(what, difference(a, b, "boundary.angle"), sign=sign, scale=1, unit="degrees")
    for what, a, b, sign in pairs
  ]
  of_ce, of_ls = (cell.summary("boundary.distance").mean for cell in (plain, smoothed))
  note = (
    "The angle leaves out the shift: the boundary's distance from the origin is "
    f"{of_ce:.2f} for CE and {of_ls:.2f} for {name}. The 2,000 points are the same for every seed."
  )
  return Claim(id, text, tests, note)
