"""The figures of a report, made from the results of a sweep."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lsjax.methods import SHORT_NAMES
from lsjax.reports import plotting
from lsjax.reports.plotting import Drawing, band, captioned, compared, panels, style
from lsjax.reports.results import CellResults, SweepResults
from lsjax.reports.statistics import summarise

if TYPE_CHECKING:
  from matplotlib.axes import Axes


def draw(sweep: SweepResults) -> list[Drawing]:
  """Draws every figure for which a sweep has results."""
  parts = {"clean_accuracy": "labelled right", "mislabelled_accuracy": "mislabelled"}
  memorisation = {"memorisation": "predicted as the wrong label"}
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
  )
  return [drawing for drawing in made if drawing is not None]


def _against_alpha(sweep: SweepResults, id: str, metric: str, ylabel: str) -> Drawing | None:
  """Draws a metric of LS, FC and BC against alpha, with a panel per noise rate."""
  rates = sweep.rates(method="LS")
  if not rates:
    return None
  figure, axes = panels(len(rates))
  drawn = []
  for panel, rate in zip(axes[0], rates):
    for method, line in plotting.STYLES.items():
      cells = sweep.curve(method, rate)
      drawn += cells
      summaries = [cell.summary(metric, 100) for cell in cells]
      band(panel, [cell.alpha for cell in cells], summaries, method, **line)
    panel.set(title=f"noise {rate:g}", xlabel="alpha (a/L convention)")
  axes[0, 0].set_ylabel(ylabel)
  axes[0, 0].legend()
  return captioned(id, figure, sweep, drawn)


def _spectrum(sweep: SweepResults) -> Drawing | None:
  """Draws accuracy against r, the parameter of the family that contains BC, CE and LS."""
  rates = sweep.rates(method="LS")
  if not rates:
    return None
  figure, axes = panels(1, width=6)
  panel, drawn = axes[0, 0], []
  for i, rate in enumerate(rates):
    # BC with alpha is r = -alpha / (1 - alpha), CE is r = 0 and LS is r = alpha.
    points = [(c.alpha, c) for name in ("LS", "CE") for c in sweep.select(method=name, rate=rate)]
    points += [(-c.alpha / (1 - c.alpha), c) for c in sweep.select(method="BC", rate=rate)]
    points.sort(key=lambda point: point[0])
    drawn += [cell for _, cell in points]
    summaries = [cell.summary("test.accuracy", 100) for _, cell in points]
    line = style(i, "color", "linestyle", "marker")
    band(panel, [r for r, _ in points], summaries, f"noise {rate:g}", **line)
  panel.set_xscale("symlog", linthresh=1)
  panel.set(xlabel="r (below 0: BC, 0: CE, above 0: LS)", ylabel="test accuracy, %")
  panel.axvline(0, color=plotting.GREY, linewidth=0.8)
  panel.legend()
  return captioned("r_spectrum", figure, sweep, drawn)


def _over_training(sweep: SweepResults, id: str, headings: Mapping[str, str]) -> Drawing | None:
  """Draws metrics of the training split against the step, with a panel per metric.

  Args:
    sweep: results to draw.
    id: name of the figure.
    headings: heading of each panel by the name of its metric.
  """
  drawn = compared(sweep)
  if not drawn:
    return None
  figure, axes = panels(len(headings), width=4.2, height=3.2)
  for panel, (metric, heading) in zip(axes[0], headings.items()):
    for i, (label, cell) in enumerate(drawn.items()):
      history = cell.history(metric)
      summaries = [summarise(values, 100) for values in history.values()]
      band(panel, history, summaries, label, **style(i, "color", "linestyle"))
    panel.set(title=heading, xlabel="step", ylim=(-3, 103))
  axes[0, 0].set_ylabel("share of the part, %")
  axes[0, 0].legend(fontsize=8)
  return captioned(id, figure, sweep, drawn.values())


def _reliability(sweep: SweepResults) -> Drawing | None:
  """Draws accuracy against confidence, with a panel per compared cell."""
  drawn = _compared_with(sweep, "reliability")
  if not drawn:
    return None
  figure, axes = panels(len(drawn), width=2.4, height=2.6)
  for panel, (label, _, runs) in zip(axes[0], drawn):
    examples, confidence, correct = np.sum([run["reliability"] for run in runs], axis=0)
    filled = examples > 0
    x, y = confidence[filled] / examples[filled], correct[filled] / examples[filled]
    panel.plot([0, 1], [0, 1], color=plotting.GREY, linewidth=0.8)
    panel.plot(x, y, color=plotting.BLUE, linewidth=1)
    panel.scatter(
      x, y, s=8 + 160 * examples[filled] / examples.sum(), color=plotting.BLUE, zorder=3
    )
    panel.set(title=label, xlabel="confidence", xlim=(0, 1.02), ylim=(0, 1.02))
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
  axes[0, 0].legend(fontsize=8)
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
        look = style(int(k), "color", "marker") | {"s": 12}
        panel.scatter(*points[right].T, alpha=0.6, linewidths=0, **look)
        panel.scatter(*points[wrong].T, linewidths=0.9, **look | {"marker": "x"})
      panel.set(title=f"{label}, {split}" if row == 0 else split, xticks=[], yticks=[])
  axes[0, 0].set_ylabel("templates' plane")
  return captioned("projection", figure, sweep)


def _students(sweep: SweepResults) -> Drawing | None:
  """Draws the accuracy of teachers and students by the teacher's loss, with a panel per rate."""
  students = sweep.students
  if not students:
    return None
  rates = sorted({cell.rate for cell in students}, reverse=True)
  alpha = max(float(cell.config["teacher"]["loss"]["alpha"]) for cell in students)
  figure, axes = panels(len(rates), width=5, height=3.2)
  for panel, rate in zip(axes[0], rates):
    kinds = sorted({(c.temperature, c.convention) for c in students if c.rate == rate})
    for x, method in enumerate(SHORT_NAMES):
      series = [("teacher", plotting.BLACK, sweep.trained(method, alpha, rate))]
      for i, (temperature, convention) in enumerate(kinds):
        cell = sweep.student(method, rate, temperature, convention)
        label = f"student, T = {temperature:g}" + (f", {convention}" if temperature != 1 else "")
        series.append((label, style(i, "color")["color"], cell))
      for i, (label, color, cell) in enumerate(series):
        if cell and (s := cell.summary("test.accuracy", 100)).n:
          panel.errorbar(
            x + 0.14 * (i - (len(series) - 1) / 2),
            s.mean,
            [[s.mean - s.low], [s.high - s.mean]] if s.n > 1 else None,
            label=label if method == "CE" else None,
            **{"color": color, "markersize": 5, "capsize": 2, "linestyle": "none"},
            **style(i, "marker"),
          )
    panel.set(title=f"noise {rate:g}", xlabel="loss of the teacher")
    panel.set_xticks(range(len(SHORT_NAMES)), SHORT_NAMES)
  axes[0, 0].set_ylabel("test accuracy, %")
  handles, labels = axes[0, 0].get_legend_handles_labels()
  figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
  return captioned("students", figure, sweep, students, teacher_alpha=f"{alpha:g}")


def _boundaries(sweep: SweepResults) -> Drawing | None:
  """Draws the boundaries of linear models on 2-D data, and their angles against alpha."""
  clean, noisy = sweep.plane
  if not noisy:
    return None
  figure, axes = panels(2, width=4.2, height=3.9)
  plane, angles = axes[0]
  _draw_plane(plane, clean, noisy)
  summaries = [cell.summary("boundary.angle") for cell in noisy]
  band(angles, [cell.alpha for cell in noisy], summaries, "with noise", **plotting.STYLES["LS"])
  for cell in clean:
    mean = cell.summary("boundary.angle").mean
    angles.axhline(mean, color=plotting.BLACK, linestyle=":", label="CE, no noise")
  angles.set(xlabel="alpha", ylabel="angle to the Bayes line, degrees")
  angles.legend(fontsize=8)
  rate, step = f"{noisy[0].rate:g}", noisy[0].config["train"]["num_steps"]
  return captioned("boundaries", figure, sweep, noisy, rate=rate, step=step)


def _draw_plane(panel: "Axes", clean: Sequence[CellResults], noisy: Sequence[CellResults]) -> None:
  """Draws both classes, the Bayes line and the mean boundary of each cell."""
  from matplotlib.cm import cividis

  theta = np.linspace(0, 2 * np.pi, 100)
  for centre, name in ((1, "class 0"), (-1, "class 1")):
    for radius in (1, 2):
      x, y = centre + radius * np.cos(theta), centre + radius * np.sin(theta)
      panel.plot(x, y, color="#999999", linewidth=0.7)
    panel.annotate(name, (centre, centre), ha="center", va="center", fontsize=8, color="#555555")
  across = np.array([-4.0, 4.0])
  panel.plot(across, -across, color=plotting.GREY, linewidth=3, alpha=0.5, label="Bayes")
  for cell in (*clean, *noisy):
    line: dict[str, Any] = {"color": plotting.BLACK, "linestyle": ":", "label": "CE, no noise"}
    if cell in noisy:
      label = f"{cell.method} {cell.alpha:g}" if cell.alpha else cell.method
      # From blue to yellow with alpha, in a map that stays in order when printed in grey.
      line = {"color": cividis(cell.alpha), "linestyle": "--" if cell.alpha else "-"}
      line["label"] = label
    if found := cell.boundaries.values():
      normal = np.mean([boundary.normal for boundary in found], axis=0)
      offset = float(np.mean([boundary.offset for boundary in found]))
      panel.plot(across, -(normal[0] * across + offset) / normal[1], **line)
  panel.set(xlim=(-4, 4), ylim=(-4, 4), xlabel="x", ylabel="y", aspect="equal")
  panel.legend(fontsize=7, loc="upper right")


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
  return captioned("shrinkage", figure, sweep, data_sets=sweep.theory["seeds"])


def _compared_with(
  sweep: SweepResults, *names: str
) -> list[tuple[str, CellResults, list[dict[str, np.ndarray]]]]:
  """Returns label, cell and the named arrays of each run, for compared cells with such runs."""
  found = [(label, c, list(c.diagnostics(*names).values())) for label, c in compared(sweep).items()]
  return [(label, cell, runs) for label, cell, runs in found if runs]
