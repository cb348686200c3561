"""The claims of the paper, each with what a sweep measured of it and a verdict."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lsjax.reports import paper
from lsjax.reports.cell import CellResults, Moment
from lsjax.reports.results import AmbiguousError, SweepResults
from lsjax.reports.statistics import (
  CONFIDENCE,
  LEAST_SEEDS,
  Summary,
  holm,
  p_above,
  paired,
  seeds_to_resolve,
  subtract,
)

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
UNTESTED = "no verdict"
MARKS = {REPRODUCED: "✓", NOT_REPRODUCED: "✗", INCONCLUSIVE: "≈", UNTESTED: "?"}
FINAL, BEST, TUNED = "final step", "best noisy-validation step", "rate and decay per method"
_ALPHA = (1 - CONFIDENCE) / 2


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
    note: diverged runs, or why nothing was measured; empty if there is nothing to say.
  """

  what: str
  summary: Summary
  bound: float = 0.0
  sign: int = 1
  scale: float = 100
  unit: str = "pp"
  note: str = ""

  @property
  def measured(self) -> str:
    """The mean difference with its interval and n, for display."""
    s, digits = self.summary.scaled(self.scale), 2 if self.scale > 1 else 3
    if s.n == 0:
      return f"not measured{f' ({self.note})' if self.note else ''}"
    text = f"{s.mean:+.{digits}f} {self.unit}"
    interval = f" [{s.low:+.{digits}f}, {s.high:+.{digits}f}], n = {s.n}"
    text += interval if s.n > 1 else ", n = 1, no interval"
    return f"{text} ({self.note})" if self.note else text

  @property
  def claimed(self) -> str:
    """The side of the bound that is claimed, such as "> -1 pp"."""
    return f"{'>' if self.sign > 0 else '<'} {self.scale * self.bound:g} {self.unit}"

  @property
  def seeds(self) -> str:
    """The seeds that would tell the difference from the bound, in words."""
    needed = seeds_to_resolve(self.summary, self.bound)
    return f"about {needed} seeds would decide it" if needed else "over 1,000 seeds would decide it"


@dataclasses.dataclass(frozen=True)
class Claim:
  """A claim of the paper with what was measured of it.

  Attributes:
    id: C1 to C9.
    text: the claim in words.
    tests: by setting (`FINAL`, `BEST`, `TUNED`), the statements of the claim; the paper's setting
      is `FINAL`.
    note: anything else that a reader should know.
    any_of: whether one statement that holds is enough, because the claim says that something may
      happen; otherwise all have to hold.
    holds: whether a claim that is mathematics, and needs no seeds, was confirmed numerically;
      None for every other claim.
  """

  id: str
  text: str
  tests: Mapping[str, Sequence[Comparison]]
  note: str = ""
  any_of: bool = False
  holds: bool | None = None

  @property
  def is_mathematics(self) -> bool:
    """Whether the claim is checked numerically instead of measured in training."""
    return self.id == "C6"

  @property
  def verdict(self) -> str:
    """The verdict of the claim in the paper's setting."""
    return self.verdict_in(FINAL)

  def verdict_in(self, setting: str) -> str:
    """Returns the verdict of all statements in a setting.

    A claim is contradicted by one statement that is, whatever else is missing; if one statement is
    enough, by all of them. It is reproduced if all statements (or one) are.
    """
    if self.is_mathematics:
      return {True: REPRODUCED, False: NOT_REPRODUCED, None: UNTESTED}[self.holds]
    verdicts = self.verdicts(setting) or [UNTESTED]
    ranking = (NOT_REPRODUCED, UNTESTED, INCONCLUSIVE, REPRODUCED)
    if self.any_of:
      ranking = (REPRODUCED, UNTESTED, INCONCLUSIVE, NOT_REPRODUCED)
    return next(verdict for verdict in ranking if verdict in verdicts)

  def verdicts(self, setting: str) -> list[str]:
    """Returns the verdict of every statement in a setting.

    The one-sided p values of the side on which one statement decides the claim are corrected for
    the number of statements by Holm's method.
    """
    tests = self.tests.get(setting, ())
    wrong, right = (_p_values(tests, side) for side in (-1, 1))
    right, wrong = (holm(right), wrong) if self.any_of else (right, holm(wrong))
    return [
      _judge(p_right, p_wrong, test.summary.n)
      for test, p_right, p_wrong in zip(tests, right, wrong, strict=True)
    ]


def _p_values(tests: Sequence[Comparison], side: int) -> list[float]:
  """Returns the p values of "the difference is on the claimed side" (1) or the other one (-1)."""
  return [
    p if test.sign * side > 0 else 1 - p
    for test in tests
    for p in [p_above(test.summary, test.bound)]
  ]


def _judge(right: float, wrong: float, n: int) -> str:
  if n < LEAST_SEEDS:
    return UNTESTED
  return REPRODUCED if right < _ALPHA else NOT_REPRODUCED if wrong < _ALPHA else INCONCLUSIVE


@dataclasses.dataclass(frozen=True)
class Expectation:
  """The order of two cells that a claim of the paper predicts.

  A cell is named by its loss ("LS 0.1", "CE"), or as the "student of" a loss.

  Attributes:
    first: name of the cell that should have the larger value.
    second: name of the cell that `first` is compared with.
    metric: the value that is compared, as in `CellResults.values`, or the difference "a - 2 * b"
      of two such metrics.
    sign: 1, or -1 if `first` should have the smaller value.
    bound: number that the difference first - second should be above (below if sign is -1).
    rate: rate of the symmetric noise.
    temperature: temperature of distillation.
    what: the difference in words; empty for words made from the other attributes.
  """

  first: str
  second: str = "CE"
  metric: str = "test.accuracy"
  sign: int = 1
  bound: float = 0.0
  rate: float = paper.RATE
  temperature: float = 1.0
  what: str = ""

  def measure(self, sweep: SweepResults, setting: str) -> Comparison:
    """Returns the comparison of the two cells in a setting of a sweep."""
    noise = f"{100 * self.rate:g} % noise" if self.rate else "no noise"
    if self.rate == paper.RATE and sweep.other_noise:
      noise = sweep.other_noise
    what = self.what or f"{self.first} - {self.second}{_IN_WORDS[self.metric]}, {noise}"
    if self.first.startswith("student"):
      what += f", T {self.temperature:g}"
    moment: Moment = "best" if setting == BEST else "final"
    note = ""
    try:
      first, second = (self._cell(sweep, name, setting) for name in (self.first, self.second))
      summary = difference(first, second, self.metric, moment)
      note = _about_diverged([first, second])
    except AmbiguousError as error:
      summary, note = paired({}, {}), str(error)
    return Comparison(what, summary, self.bound, self.sign, note=note)

  def _cell(self, sweep: SweepResults, name: str, setting: str) -> CellResults | None:
    if name.startswith("student of "):
      if setting == TUNED:  # the students of chosen settings are other runs
        return None
      # The convention of Mueller et al. (2019), whose observation C9 repeats.
      convention = "any" if self.temperature == 1 else "both"
      teacher = name.removeprefix("student of ")
      return sweep.student(teacher, self.rate, self.temperature, convention)
    cell = sweep.trained(name, self.rate)
    return sweep.tuned(cell) if cell and setting == TUNED else cell


def difference(
  first: CellResults | None,
  second: CellResults | None,
  metric: str = "test.accuracy",
  moment: Moment = "final",
) -> Summary:
  """Returns statistics of a metric's paired difference first - second of two cells.

  Args:
    first: a cell; nothing is measured if it is None.
    second: another cell, or None.
    metric: as in `Expectation`. In test accuracy a diverged run counts as guessing; it has no
      other metrics.
    moment: the step whose metrics count.
  """
  return paired(*(_values(cell, metric, moment) if cell else {} for cell in (first, second)))


def _values(cell: CellResults, metric: str, moment: Moment) -> Mapping[int, float]:
  if metric == "test.accuracy":
    return cell.scored(moment)
  minuend, _, subtrahend = metric.partition(" - ")
  values = cell.values(minuend, moment)
  if not subtrahend:
    return values
  factor, _, name = subtrahend.rpartition(" * ")
  scaled = {s: float(factor or 1) * x for s, x in cell.values(name, moment).items()}
  return subtract(values, scaled)


def _about_diverged(cells: Sequence[CellResults | None]) -> str:
  texts = [
    f"{len(cell.diverged)} of {len(cell.results)} runs of {cell.name} diverged, counted as guessing"
    for cell in cells
    if cell and cell.diverged
  ]
  return "; ".join(texts)


_IN_WORDS = {
  "test.accuracy": ", test accuracy",
  "test.ece": ", ECE",
  "train.mislabelled_accuracy": " on the mislabelled part",
}


def claims(sweep: SweepResults) -> list[Claim]:
  """Returns every claim of the paper with what a sweep measured of it, C1 to C9.

  A sweep in which no statement of an empirical claim was measured, or most of whose methods are
  not the paper's, has no claims: it is not a reproduction of the paper.
  """
  if not sweep.is_of_paper:
    return []
  functions: Mapping[str, Callable[..., Claim]] = {"C6": _shrinkage, "C7": _boundary}
  found = [functions.get(claim["id"], _orders)(sweep, **claim) for claim in paper.CLAIMS]
  is_paper = any(test.summary.n for claim in found for test in claim.tests.get(FINAL, ()))
  return found if is_paper else []


def _orders(
  sweep: SweepResults,
  id: str,
  text: str,
  expectations: Sequence[dict[str, Any]],
  note: str = "",
  any_of: bool = False,
) -> Claim:
  """Returns a claim about the order of cells."""
  expected = [Expectation(**each) for each in expectations]
  tests = {
    setting: [each.measure(sweep, setting) for each in expected] for setting in (FINAL, BEST, TUNED)
  }
  # Without a grid or without validation there is nothing to say about these settings.
  measured = {
    setting: found
    for setting, found in tests.items()
    if setting == FINAL or any(test.summary.n for test in found)
  }
  return Claim(id, text, measured, note, any_of)


def _shrinkage(sweep: SweepResults, id: str, text: str) -> Claim:
  """Returns C6, which theory.json decides."""
  theory = sweep.theory
  if theory is None:
    return Claim(id, text, {}, "Not measured: no theory.json.")
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
  holds = shrinks and gradient < 1e-10 and eigenvalue > -1e-10 and excess > 0
  return Claim(id, text, {}, note, holds=holds)


def _boundary(sweep: SweepResults, id: str, text: str, spread: str, note: str = "") -> Claim:
  """Returns C7, which the linear models on tight 2-D clusters decide."""
  clean, noisy = sweep.planes.get(spread, (None, []))
  if clean is None or len(noisy) < 2:
    return Claim(id, text, {FINAL: []})
  pairs = [("CE with noise - CE without", noisy[0], clean, 1)]
  pairs += [
    (f"{after.label} - {before.label}, both with noise", after, before, -1)
    for before, after in itertools.pairwise(noisy)
  ]
  tests = [
    Comparison(
      f"distance of the boundary from the origin, {what}",
      difference(a, b, "boundary.distance"),
      sign=sign,
      scale=1,
      unit="units",
    )
    for what, a, b, sign in pairs
  ]
  return Claim(id, text, {FINAL: tests}, note)
