"""Which of several cells is the best, and which cannot be told from it."""

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from lsjax.reports.cell import CellResults, Moment
from lsjax.reports.results import SweepResults
from lsjax.reports.statistics import (
  CONFIDENCE,
  LEAST_SEEDS,
  Summary,
  holm,
  p_above,
  paired,
  summarise,
)

# Fields that the name of the loss and the noise of a group already say.
_SAID = ("seed", "noise", "teacher", "student", "checkpoint")
_SAID_BY_LABEL = ("name", "alpha", "r", "matrix", "transition", "transition_path")


@dataclasses.dataclass(frozen=True)
class Standing:
  """The place of a cell among others.

  Attributes:
    cell: the cell.
    accuracy: its test accuracy, in which a diverged run counts as guessing.
    less_best: the paired difference to the best cell; of no values for the best cell itself.
    is_best: whether its mean is the largest.
    is_tied: whether it cannot be told from the best cell: the paired t test at 5 %, corrected by
      Holm's method for the number of cells, does not separate them.
  """

  cell: CellResults
  accuracy: Summary
  less_best: Summary
  is_best: bool
  is_tied: bool


def standings(cells: Sequence[CellResults], moment: Moment = "final") -> list[Standing]:
  """Ranks cells by test accuracy, the best first; cells without results are left out."""
  scores = {i: cell.scored(moment) for i, cell in enumerate(cells)}
  found = [i for i in scores if scores[i]]
  if not found:
    return []
  accuracy = {i: summarise(list(scores[i].values())) for i in found}
  found.sort(key=lambda i: -accuracy[i].mean)
  best, *others = found
  gaps = [paired(scores[i], scores[best]) for i in others]
  p_values = holm([_two_sided(gap) for gap in gaps])
  rows = [Standing(cells[best], accuracy[best], paired({}, {}), True, False)]
  for i, gap, p in zip(others, gaps, p_values, strict=True):
    is_apart = p < 1 - CONFIDENCE  # never for NaN
    rows.append(Standing(cells[i], accuracy[i], gap, False, not is_apart))
  return rows


def _two_sided(gap: Summary) -> float:
  """Returns the two-sided p value of a difference; NaN for too few seeds."""
  p = p_above(gap, 0) if gap.n >= LEAST_SEEDS else math.nan
  return 2 * min(p, 1 - p)


def groups(sweep: SweepResults, *, students: bool) -> list[list[CellResults]]:
  """Returns the cells that share data, network and noise, of each such kind with two or more.

  Args:
    sweep: results of a sweep.
    students: whether cells with teachers take part.
  """
  found: dict[Any, list[CellResults]] = collections.defaultdict(list)
  for cell in sweep.listed:
    if students or not cell.is_student:
      spread = cell.config["data"].get("cluster_std")
      found[cell.data, spread, cell.model, cell.noise].append(cell)
  return [cells for cells in found.values() if len(cells) > 1]


def differences(cells: Sequence[CellResults]) -> list[str]:
  """Returns, for each cell, the fields in which the cells differ, unless its name says them."""
  names = {name for cell in cells for name in cell.flat}
  varied = [
    name
    for name in sorted(names)
    if name.split(".")[0] not in _SAID
    and not (name.startswith("loss.") and name.split(".")[1] in _SAID_BY_LABEL)
    and len({repr(cell.flat.get(name)) for cell in cells}) > 1
  ]
  return [
    ", ".join(f"{name} {cell.flat[name]}" for name in varied if name in cell.flat) for cell in cells
  ]
