"""How methods do over several noises, by what is chosen on noisy validation."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from lsjax.reports.cell import CellResults, Moment
from lsjax.reports.results import SweepResults
from lsjax.reports.statistics import CONFIDENCE, Summary, holm, paired, summarise, two_sided

# What noisy validation chooses: nothing, the step, or the values of a grid together with the step.
FINAL, STOPPED, CHOSEN = "final step", "best noisy-validation step", "values and step chosen"
SELECTIONS = (FINAL, STOPPED, CHOSEN)

# Accuracy by seed.
Scores = Mapping[int, float]


@dataclasses.dataclass(frozen=True)
class Row:
  """A method over all noises.

  Attributes:
    label: the method, such as "LS 0.1".
    scores: test accuracy by seed, mean over the noises, by selection. A diverged run counts as
      guessing. A method without a grid has nothing to choose but the step.
    by_noise: the same under each noise, by selection.
  """

  label: str
  scores: Mapping[str, Scores]
  by_noise: Mapping[str, Sequence[Scores]]

  def accuracy(self, selection: str) -> Summary:
    """Returns statistics over seeds of the mean accuracy over the noises."""
    return summarise(list(self.scores[selection].values()))

  def gain(self, over: "Row", selection: str, other_selection: str) -> Summary:
    """Returns statistics of the differences to another method, paired by seed."""
    return paired(self.scores[selection], over.scores[other_selection])


@dataclasses.dataclass(frozen=True)
class Overview:
  """Methods over several noises.

  Attributes:
    noises: the noises in words.
    rows: the methods that were measured under each of them, the best at the final step first.
    base: cross-entropy.
  """

  noises: list[str]
  rows: list[Row]
  base: Row

  def gains(self, selection: str, noise: str) -> dict[str, tuple[Summary, bool]]:
    """Compares every other method with cross-entropy under a noise, with the same selection.

    Returns:
      {label: (the differences in test accuracy paired by seed, whether the paired t test at 5 %,
      corrected by Holm's method for the number of methods, tells them from 0)}.
    """
    i = self.noises.index(noise)
    base = self.base.by_noise[selection][i]
    found = {r.label: paired(r.by_noise[selection][i], base) for r in self.rows if r != self.base}
    p_values = holm([two_sided(gain) for gain in found.values()])
    return {
      label: (gain, p < 1 - CONFIDENCE)  # never for NaN
      for (label, gain), p in zip(found.items(), p_values, strict=True)
    }


def overview(sweep: SweepResults) -> Overview | None:
  """Compares the methods of a sweep over its noises; None unless there are several of both.

  The noises are those under which most methods of the main data and model were measured, and the
  methods those that were measured under each of them, cross-entropy among them.
  """
  cells = [
    cell
    for cell in sweep.select(data=sweep.main[0], model=sweep.main[1])
    if cell.noise_kind != "none" and cell.values("test.accuracy", "best")
  ]
  by_noise: dict[str, dict[str, CellResults]] = {}
  for cell in cells:
    by_noise.setdefault(cell.noise, {})[cell.label] = cell
  if not by_noise:
    return None
  most = max(len(found) for found in by_noise.values())
  noises = [noise for noise, found in by_noise.items() if len(found) > most / 2]
  labels = [
    label for label in by_noise[noises[0]] if all(label in by_noise[noise] for noise in noises)
  ]
  if len(noises) < 2 or len(labels) < 3 or "CE" not in labels:
    return None
  rows = [_row(sweep, label, [by_noise[noise][label] for noise in noises]) for label in labels]
  rows.sort(key=lambda row: -row.accuracy(FINAL).mean)
  (base,) = (row for row in rows if row.label == "CE")
  return Overview(noises, rows, base)


def _row(sweep: SweepResults, label: str, cells: list[CellResults]) -> Row:
  chosen = [sweep.tuned(cell, "best") or cell for cell in cells]
  moments: dict[str, tuple[list[CellResults], Moment]] = {
    FINAL: (cells, "final"),
    STOPPED: (cells, "best"),
    CHOSEN: (chosen, "best"),
  }
  by_noise = {
    name: [cell.scored(moment) for cell in of_noises]
    for name, (of_noises, moment) in moments.items()
  }
  return Row(label, {name: _mean(scores) for name, scores in by_noise.items()}, by_noise)


def _mean(scores: Sequence[Scores]) -> Scores:
  """Returns the mean by seed, for the seeds that all of them have."""
  seeds = sorted(set.intersection(*(set(found) for found in scores)))
  return {seed: float(np.mean([found[seed] for found in scores])) for seed in seeds}


_STRENGTH = "loss.confidence_regularization.beta"


def paths(sweep: SweepResults) -> dict[str, list[tuple[float, CellResults]]]:
  """Returns the smearing path under each noise: (beta, cell) in the order of beta.

  The points are the cells of confidence regularisation (CR) and those of its grid; beta 0 is
  cross-entropy. A path of fewer than three points is none.
  """
  found: dict[str, list[tuple[float, CellResults]]] = {}
  for cell in sweep.select(method="CR"):
    points = [(float(point.flat[_STRENGTH]), point) for point in sweep.grid(cell)]
    points += [(0.0, plain) for plain in sweep.select(method="CE", noise=cell.noise)[:1]]
    measured = [(beta, point) for beta, point in points if point.scored()]
    if len(measured) > 2:
      found[cell.noise] = sorted(measured, key=lambda pair: pair[0])
  return found
