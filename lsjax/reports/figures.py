"""The figures of a report, made from the results of a sweep."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lsjax.reports import plotting
from lsjax.reports.cell import CellResults
from lsjax.reports.overview_figures import draw_gains, draw_path
from lsjax.reports.plotting import (
  Drawing,
  band,
  captioned,
  compared,
  legend_below,
  looks,
  panels,
  style,
)
from lsjax.reports.results import SweepResults
from lsjax.reports.statistics import summarise

if TYPE_CHECKING:
  from matplotlib.axes import Axes


def draw(sweep: SweepResults) -> list[Drawing]:
  """Draws every figure for which a sweep has results."""
  from matplotlib import rc_context

  parts = {"clean_accuracy": "labelled right", "mislabelled_accuracy": "mislabelled"}
  memorisation = {"memorisation": "predicted as the wrong label"}
  # Titles stand above their panels at once, so that no drawing looks for the place.
  with rc_context({"axes.titley": 1.0}):
    made = (
      _against_alpha(sweep, "accuracy_alpha", "test.accuracy", "test accuracy, %"),
      _spectrum(sweep),
      _over_training(sweep, "parts", parts),
      _over_training(sweep, "memorisation", memorisation),
      _reliability(sweep),
      _against_alpha(sweep, "ece_alpha", "test.ece", "ECE, %"),
      _margins(sweep),
      _projection(sweep),
      _students(sweep),
      _boundaries(sweep),
      _shrinkage(sweep),
      draw_path(sweep),
      draw_gains(sweep),
    )
  return [drawing for drawing in made if drawing is not None]


def _with_curves(sweep: SweepResults) -> list[str]:
  """Returns the noises under which a sweep of the paper's methods measured LS."""
  noises = sweep.noises(method="LS") if sweep.is_of_paper else []
  return [noise for noise in noises if len(sweep.curve("LS", noise)) > 1]


def _against_alpha(sweep: SweepResults, id: str, metric: str, ylabel: str) -> Drawing | None:
  """Draws a metric of LS, FC and BC against alpha, with a panel per noise."""
  noises = _with_curves(sweep)
  if not noises:
    return None
  figure, axes = panels(len(noises), share_y=True)
  drawn = []
  for panel, noise in zip(axes[0], noises):
    for method in ("LS", "FC", "BC"):
      cells = sweep.curve(method, noise)
      if len(cells) < 2:
        continue
      drawn += cells
      alphas, line = [cell.alpha for cell in cells], plotting.STYLES[method]
      final, best = (
        [cell.summary(metric, moment, 100) for cell in cells] for moment in ("final", "best")
      )
      band(panel, alphas, final, method, **line)
      if any(s.n for s in best):
        dotted = {"linestyle": ":", "marker": None, "linewidth": 1.1}
        band(panel, alphas, best, f"{method}, best step", **line | dotted)
    panel.set(title=noise, xlabel="alpha (a/L convention)")
  axes[0, 0].set_ylabel(ylabel)
  legend_below(figure, axes[0, 0])
  return captioned(id, figure, sweep, drawn)


def _spectrum(sweep: SweepResults) -> Drawing | None:
  """Draws accuracy against r, the parameter of the family that contains BC, CE and LS."""
  noises = _with_curves(sweep)
  if not noises:
    return None
  figure, axes = panels(1, width=6)
  panel, drawn = axes[0, 0], []
  positions: list[float] = []
  for i, noise in enumerate(noises):
    # BC with alpha is r = -alpha / (1 - alpha), CE is r = 0 and LS is r = alpha.
    points = [(cell.alpha, cell) for cell in sweep.curve("LS", noise)]
    points += [(-c.alpha / (1 - c.alpha), c) for c in sweep.curve("BC", noise) if 0 < c.alpha < 1]
    points.sort(key=lambda point: point[0])
    drawn += [cell for _, cell in points]
    positions += [r for r, _ in points]
    summaries = [cell.summary("test.accuracy", "final", 100) for _, cell in points]
    line = style(i, "color", "linestyle", "marker")
    band(panel, [r for r, _ in points], summaries, noise, **line)
  if any(abs(r) > 1 for r in positions):
    panel.set_xscale("symlog", linthresh=1)
  panel.set(xlabel="r (below 0: BC, 0: CE, above 0: LS)", ylabel="test accuracy, %")
  panel.axvline(0, color=plotting.GREY, linewidth=0.8)
  legend_below(figure, panel)
  return captioned("r_spectrum", figure, sweep, drawn)


def _over_training(sweep: SweepResults, id: str, headings: Mapping[str, str]) -> Drawing | None:
  """Draws metrics of the training split against the step, with a panel per metric.

  Args:
    sweep: results to draw.
    id: name of the figure.
    headings: heading of each panel by the name of its metric.
  """
  drawn = compared(sweep)
  if not any(cell.history(metric) for cell in drawn.values() for metric in headings):
    return None
  figure, axes = panels(len(headings), width=4.2, height=3.2)
  for panel, (metric, heading) in zip(axes[0], headings.items()):
    for (label, cell), line in zip(drawn.items(), looks(drawn.values()), strict=True):
      history = cell.history(metric)
      summaries = [summarise(values, 100) for values in history.values()]
      band(panel, history, summaries, label, **line | {"marker": None})
    panel.set(title=heading, xlabel="step", ylim=(-3, 103))
  axes[0, 0].set_ylabel("share of the part, %")
  legend_below(figure, axes[0, 0])
  return captioned(id, figure, sweep, drawn.values())


def _reliability(sweep: SweepResults) -> Drawing | None:
  """Draws accuracy against confidence, with a panel per compared cell."""
  drawn = _compared_with(sweep, "reliability")
  if not drawn:
    return None
  figure, axes = panels(len(drawn), width=2.4, height=2.6)
  lines = looks(cell for _, cell, _ in drawn)
  for panel, (label, cell, runs), line in zip(axes[0], drawn, lines, strict=True):
    color = line["color"]
    examples, confidence, correct = np.sum([run["reliability"] for run in runs], axis=0)
    filled = examples > 0
    x, y = confidence[filled] / examples[filled], correct[filled] / examples[filled]
    panel.plot([0, 1], [0, 1], color=plotting.GREY, linewidth=0.8)
    panel.plot(x, y, color=color, linewidth=1)
    panel.scatter(x, y, s=8 + 160 * examples[filled] / examples.sum(), color=color, zorder=3)
    ece = cell.summary("test.ece", "final", 100).mean
    title = f"{label}\nECE {ece:.1f} %"
    panel.set(title=title, xlabel="confidence", xlim=(0, 1.02), ylim=(0, 1.02))
  axes[0, 0].set_ylabel("accuracy")
  return captioned("reliability", figure, sweep, [cell for _, cell, _ in drawn])


def _margins(sweep: SweepResults) -> Drawing | None:
  """Draws the densities of logit margins on both parts of the training set."""
  drawn = _compared_with(sweep, "margins_clean", "margins_mislabelled", "margin_edges")
  if not drawn:
    return None
  figure, axes = panels(len(drawn), width=2.6, height=2.6)
  clean = {"label": "labelled right", "color": plotting.BLUE, "linestyle": "-"}
  mislabelled = {"label": "mislabelled", "color": plotting.ORANGE, "linestyle": "--"}
  for panel, (label, _, runs) in zip(axes[0], drawn):
    edges = runs[0]["margin_edges"]
    for name, line in (("margins_clean", clean), ("margins_mislabelled", mislabelled)):
      counts = np.sum([run[name] for run in runs], axis=0).astype(float)
      panel.stairs(counts / max(counts.sum(), 1) / np.diff(edges), edges, linewidth=1.3, **line)
    panel.axvline(0, color=plotting.GREY, linewidth=0.8)
    panel.set(title=label, xlabel="true logit less largest other")
  axes[0, 0].set_ylabel("density")
  legend_below(figure, axes[0, 0])
  return captioned("margins", figure, sweep, [cell for _, cell, _ in drawn])


def _projection(sweep: SweepResults) -> Drawing | None:
  """Draws the features of three classes of one run, with a column of panels per compared cell."""
  splits, ends = ("train", "test"), ("", "_labels", "_given")
  names = [f"projection_{split}{end}" for split in splits for end in ends]
  drawn = _compared_with(sweep, *names)
  if not drawn:
    return None
  figure, axes = panels(len(drawn), width=2.4, height=2.4, rows=2)
  for column, (label, _, runs) in enumerate(drawn):
    for row, split in enumerate(splits):
      panel = axes[row, column]
      points, true, given = (runs[0][f"projection_{split}{end}"] for end in ends)
      for k in np.unique(true):
        right, wrong = (true == k) & (given == k), (true == k) & (given != k)
        dots = style(int(k), "color", "marker") | {"s": 12}
        panel.scatter(*points[right].T, alpha=0.6, linewidths=0, **dots)
        panel.scatter(*points[wrong].T, linewidths=0.9, **dots | {"marker": "x"})
      panel.set(title=f"{label}, {split}" if row == 0 else split, xticks=[], yticks=[])
  axes[0, 0].set_ylabel("templates' plane")
  return captioned("projection", figure, sweep)


def _students(sweep: SweepResults) -> Drawing | None:
  """Draws the accuracy of teachers and students by the teacher's loss, with a panel per noise."""
  students = sweep.students
  if not students:
    return None
  noises = list(dict.fromkeys(cell.noise for cell in students))
  teachers = list(dict.fromkeys(cell.teacher for cell in students))
  figure, axes = panels(len(noises), width=5, height=3.2, share_y=True)
  for panel, noise in zip(axes[0], noises):
    of_noise = [cell for cell in students if cell.noise == noise]
    kinds = sorted({(cell.temperature, cell.convention) for cell in of_noise})
    for x, teacher in enumerate(teachers):
      found = sweep.select(label=teacher, noise=noise)
      series = [("teacher", plotting.BLACK, found[0] if len(found) == 1 else None)]
      for i, kind in enumerate(kinds):
        fits = [c for c in of_noise if (c.teacher, c.temperature, c.convention) == (teacher, *kind)]
        label = f"student, T = {kind[0]:g}" + (f", {kind[1]}" if kind[0] != 1 else "")
        series.append((label, style(i, "color")["color"], fits[0] if len(fits) == 1 else None))
      for i, (label, color, cell) in enumerate(series):
        _error_bar(panel, x + 0.1 * (i - (len(series) - 1) / 2), cell, label, color, i, x == 0)
    panel.set(title=noise, xlabel="loss of the teacher")
    panel.set_xticks(range(len(teachers)), teachers)
  axes[0, 0].set_ylabel("test accuracy, %")
  legend_below(figure, axes[0, 0])
  return captioned("students", figure, sweep, students)


def _error_bar(
  panel: "Axes",
  x: float,
  cell: CellResults | None,
  label: str,
  color: str,
  index: int,
  is_first: bool,
) -> None:
  """Draws the test accuracy of a cell with its interval; the first of a series has a label."""
  if cell and (s := cell.summary("test.accuracy", "final", 100)).n:
    panel.errorbar(
      x,
      s.mean,
      [[s.mean - max(s.low, 0)], [min(s.high, 100) - s.mean]] if s.n > 1 else None,
      label=label if is_first else None,
      color=color,
      markersize=5,
      capsize=2,
      linestyle="none",
      **style(index, "marker"),
    )


def _boundaries(sweep: SweepResults) -> Drawing | None:
  """Draws boundaries and their distances from the origin, with a row per spread of the data."""
  planes = {spread: plane for spread, plane in sweep.planes.items() if plane[1]}
  if not planes:
    return None
  figure, axes = panels(2, width=4.2, height=3.9, rows=len(planes))
  drawn = []
  for (plane, distances), (spread, (clean, noisy)) in zip(axes, planes.items()):
    drawn += noisy
    _draw_plane(plane, float(spread), clean, noisy)
    plane.set_title(f"deviation {spread}, {noisy[0].noise}", fontsize=10)
    summaries = [cell.summary("boundary.distance") for cell in noisy]
    limits, line = (0.0, float("inf")), plotting.STYLES["LS"]
    alphas = [cell.alpha for cell in noisy]
    band(distances, alphas, summaries, "with noise", limits=limits, **line)
    if clean:
      mean = clean.summary("boundary.distance").mean
      distances.axhline(mean, color=plotting.BLACK, linestyle=":", label="CE, no noise")
    distances.set(xlabel="alpha of LS", ylabel="distance from the origin", ylim=(0, None))
    distances.legend(fontsize=8)
  return captioned("boundaries", figure, sweep, drawn)


def _draw_plane(
  panel: "Axes", spread: float, clean: CellResults | None, noisy: Sequence[CellResults]
) -> None:
  """Draws both classes, the Bayes line and the mean boundary of each cell."""
  from matplotlib.cm import cividis

  theta, reach = np.linspace(0, 2 * np.pi, 100), 1.2 + 2.4 * spread
  for centre, name in ((1, "class 0"), (-1, "class 1")):
    for radius in (spread, 2 * spread):
      x, y = centre + radius * np.cos(theta), centre + radius * np.sin(theta)
      panel.plot(x, y, color="#999999", linewidth=0.7)
    panel.annotate(name, (centre, centre), ha="center", va="center", fontsize=7, color="#555555")
  across = np.array([-reach, reach])
  panel.plot(across, -across, color=plotting.GREY, linewidth=3, alpha=0.5, label="Bayes")
  for cell in (*([clean] if clean else []), *noisy):
    line: dict[str, Any] = {"color": plotting.BLACK, "linestyle": ":", "label": "CE, no noise"}
    if cell is not clean:
      # From blue to yellow with alpha, in a map that stays in order when printed in grey.
      line = {"color": cividis(cell.alpha), "linestyle": "--" if cell.alpha else "-"}
      line["label"] = cell.label
    if found := cell.boundaries.values():
      normal = np.mean([boundary.normal for boundary in found], axis=0)
      offset = float(np.mean([boundary.offset for boundary in found]))
      panel.plot(across, -(normal[0] * across + offset) / normal[1], **line)
  panel.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="x", ylabel="y", aspect="equal")
  panel.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))


def _shrinkage(sweep: SweepResults) -> Drawing | None:
  """Draws the norm of least squares with smoothed labels against alpha."""
  if sweep.theory is None:
    return None
  rows = sweep.theory["shrinkage"]
  figure, axes = panels(1, width=4)
  panel = axes[0, 0]
  panel.plot([0, 1], [1, 0], color=plotting.GREY, linewidth=1, label="1 - alpha")
  ratios = [row["norm_ratio"] for row in rows]
  panel.plot([row["alpha"] for row in rows], ratios, "s", color=plotting.BLUE, label="measured")
  panel.set(xlabel="alpha", ylabel="norm of W_LS over norm of W*")
  panel.legend()
  return captioned("shrinkage", figure, sweep, data_sets=str(sweep.theory["seeds"]))


def _compared_with(
  sweep: SweepResults, *names: str
) -> list[tuple[str, CellResults, list[dict[str, np.ndarray]]]]:
  """Returns label, cell and the named arrays of each run, for compared cells with such runs."""
  found = [(label, c, list(c.diagnostics(*names).values())) for label, c in compared(sweep).items()]
  return [(label, cell, runs) for label, cell, runs in found if runs]
