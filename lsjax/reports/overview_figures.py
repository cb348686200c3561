"""Figures that compare methods over several noises."""

from lsjax.reports import overview, plotting
from lsjax.reports.plotting import Drawing, band, captioned, legend_below, panels
from lsjax.reports.results import SweepResults
from lsjax.reports.statistics import summarise


def draw_path(sweep: SweepResults) -> Drawing | None:
  """Draws accuracy against the strength of the smearing family, with a panel per noise."""
  paths = overview.paths(sweep)
  if not paths:
    return None
  figure, axes = panels(len(paths), width=3.0, share_y=True)
  final_line = {"color": plotting.BLUE, "marker": "o"}
  best_line = {"color": plotting.ORANGE, "marker": None, "linestyle": ":"}
  for panel, (noise, points) in zip(axes[0], paths.items(), strict=True):
    x = [beta for beta, _ in points]
    for moment, line in (("final", final_line), ("best", best_line)):
      scores = [cell.scored(moment) for _, cell in points]  # type: ignore[arg-type]
      summaries = [summarise(list(found.values()), 100) for found in scores]
      label = {"final": "final step", "best": "best noisy-validation step"}[moment]
      band(panel, x, summaries, label, **line)
    panel.set_xscale("symlog", linthresh=1)
    ticks = [beta for beta in x if beta == int(beta)]
    panel.set_xticks(ticks, [f"{beta:g}" for beta in ticks])
    panel.set(title=noise, xlabel="beta")
    panel.axvline(0, color=plotting.GREY, linewidth=0.8)
  axes[0, 0].set_ylabel("test accuracy, %")
  legend_below(figure, axes[0, 0])
  cells = [cell for points in paths.values() for _, cell in points]
  return captioned("smearing_path", figure, sweep, cells)


def draw_gains(sweep: SweepResults) -> Drawing | None:
  """Draws what each method gains over cross-entropy at the final step, with intervals."""
  found = overview.overview(sweep)
  if found is None:
    return None
  rows = found.rows[::-1]  # the best on top
  figure, axes = panels(1, width=6.4, height=0.9 + 0.3 * len(rows))
  panel = axes[0, 0]
  marks = {
    overview.FINAL: {"marker": "o", "color": plotting.BLUE},
    overview.STOPPED: {"marker": "o", "color": plotting.ORANGE, "markerfacecolor": "white"},
    overview.CHOSEN: {"marker": "x", "color": plotting.BLACK},
  }
  for i, (selection, mark) in enumerate(marks.items()):
    gains = [row.gain(found.base, selection, overview.FINAL).scaled(100) for row in rows]
    positions = [y + 0.22 * (1 - i) for y in range(len(rows))]
    reach = [[g.mean - g.low for g in gains], [g.high - g.mean for g in gains]]
    panel.errorbar(
      [g.mean for g in gains],
      positions,
      xerr=reach if all(g.n > 1 for g in gains) else None,
      linestyle="none",
      markersize=4.5,
      linewidth=1,
      label=selection,
      **mark,
    )
  panel.axvline(0, color=plotting.GREY, linewidth=0.8)
  panel.set_yticks(range(len(rows)), [row.label for row in rows])
  panel.set(xlabel="test accuracy less that of CE at the final step, pp")
  legend_below(figure, panel)
  counts = sorted({row.accuracy(overview.FINAL).n for row in rows})
  pairs = f"n = {' to '.join(map(str, counts[:: max(len(counts) - 1, 1)]))}"
  return captioned("gains", figure, sweep, noises=", ".join(found.noises), pairs=pairs)
