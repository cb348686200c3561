"""Which of several cells is the best, and which cannot be told from it."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

from lsjax import methods
from lsjax.reports.cell import CellResults, Moment
from lsjax.reports.results import SweepResults
from lsjax.reports.statistics import (
  CONFIDENCE,
  Summary,
  holm,
  paired,
  summarise,
  two_sided,
)

# Fields that the name of the loss and the noise of a group already say.
_SAID = ("seed", "noise", "teacher", "student", "checkpoint")
_SAID_BY_LABEL = (
  *("name", "alpha", "r", "matrix", "transition", "transition_path", "estimator"),
  *methods.METHODS,
)


@dataclasses.dataclass(frozen=True)
class Standing:
  """The place of a cell among others.

  Attributes:
    cell: the cell.
    moment: the step at which the cell is taken.
    name: the name of the cell, and ", stopped early" where it is taken at another step than the
      others, the best noisy-validation step.
    accuracy: its test accuracy, in which a diverged run counts as guessing.
    less_best: the paired difference to the best cell; of no values for the best cell itself.
    is_best: whether its mean is the largest.
    is_tied: whether it cannot be told from the best cell: the paired t test at 5 %, corrected by
      Holm's method for the number of cells, does not separate them.
  """

  cell: CellResults
  moment: Moment
  name: str
  accuracy: Summary
  less_best: Summary
  is_best: bool
  is_tied: bool


def standings(
  cells: Sequence[CellResults], moment: Moment = "final", *, stopped_early: bool = False
) -> list[Standing]:
  """Ranks cells by test accuracy, the best first; cells without results are left out.

  Args:
    cells: the cells.
    moment: the step at which they are taken.
    stopped_early: whether cross-entropy takes part at its best noisy-validation step too.
  """
  entries: list[tuple[CellResults, Moment, str]] = [(cell, moment, cell.name) for cell in cells]
  if stopped_early and moment == "final":
    entries += [(c, "best", f"{c.name}, stopped early") for c in cells if c.method == "CE"]
  scores = {i: cell.scored(at) for i, (cell, at, _) in enumerate(entries)}
  found = [i for i, (cell, at, _) in enumerate(entries) if scores[i] and _has(cell, at)]
  if not found:
    return []
  accuracy = {i: summarise(list(scores[i].values())) for i in found}
  found.sort(key=lambda i: -accuracy[i].mean)
  best, *others = found
  gaps = [paired(scores[i], scores[best]) for i in others]
  p_values = holm([two_sided(gap) for gap in gaps])
  rows = [Standing(*entries[best], accuracy[best], paired({}, {}), True, False)]
  for i, gap, p in zip(others, gaps, p_values, strict=True):
    is_apart = p < 1 - CONFIDENCE  # never for NaN
    rows.append(Standing(*entries[i], accuracy[i], gap, False, not is_apart))
  return rows


def _has(cell: CellResults, moment: Moment) -> bool:
  """Whether the finished runs of a cell have a step; without noisy validation there is no best."""
  return bool(cell.values("test.accuracy", moment)) or not cell.values("test.accuracy")


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
  """Returns, for each cell, the fields in which it differs from most, unless its name says them."""
  counted: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
  for cell in cells:
    for name, value in cell.flat.items():
      counted[name][repr(value)] += 1
  varied = {
    name: counts
    for name, counts in sorted(counted.items())
    if name.split(".")[0] not in _SAID
    and not (name.startswith("loss.") and name.split(".")[1] in _SAID_BY_LABEL)
    and (len(counts) > 1 or counts.total() < len(cells))
  }
  return [
    ", ".join(
      f"{name} {cell.flat[name]}"
      for name, counts in varied.items()
      if name in cell.flat and 2 * counts[repr(cell.flat[name])] <= len(cells)
    )
    for cell in cells
  ]
