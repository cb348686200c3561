"""Entries that several tables share: accuracies, metrics and differences of cells."""

from collections.abc import Mapping, Sequence

from lsjax.reports import leaderboard
from lsjax.reports.cell import CellResults, Moment
from lsjax.reports.claims import difference
from lsjax.reports.statistics import paired
from lsjax.reports.table import Entry, Number

Content = tuple[Sequence[str], list[list[Entry]]]  # header and rows
MOMENTS: Mapping[Moment, str] = {"final": "final step", "best": "best noisy-validation step"}


def standing(found: leaderboard.Standing) -> Number:
  """Returns the accuracy of a place in a ranking, bold for the best and what equals it."""
  is_top = found.is_best or found.is_tied
  return Number(found.accuracy.scaled(100), note=found.cell.problems, bold=is_top)


def number(
  cell: CellResults, metric: str, moment: Moment = "final", scale: float = 100, digits: int = 2
) -> Entry:
  """Returns a metric of a cell, and which runs diverged or are missing."""
  summary = cell.summary(metric, moment, scale)
  return Number(summary, digits, note=cell.problems) if summary.n else cell.problems or "-"


def less(cell: CellResults, other: CellResults | None, moment: Moment) -> Entry:
  """Returns the paired difference of two cells in test accuracy."""
  summary = difference(cell, other, moment=moment) if other else paired({}, {})
  return Number(summary.scaled(100), signed=True) if summary.n else "not measured"
