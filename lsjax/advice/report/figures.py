"""The figures of an advice. Class names stand in none of them: they may be of any script."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsjax.advice.report import wording
from lsjax.reports import plotting
from lsjax.reports.plotting import BLACK, BLUE, GREY, ORANGE, Drawing

_LIGHT = "#BBBBBB"
_DRAWN = 6  # curves with a line of their own; the others are grey


def standings(content: Mapping[str, Any], ranking: Sequence[Mapping[str, Any]]) -> Drawing | None:
  """Draws how far ways to train are behind the best, and their accuracy on clean labels."""
  rows = [row for row in ranking if row["behind"]["estimate"] is not None]
  if len(rows) < 2:
    return None
  panels = [("behind", "points behind the best on noisy labels")]
  if any(row["clean_accuracy"]["estimate"] is not None for row in rows):
    panels.append(("clean_accuracy", "estimated accuracy on clean labels, %"))
  height = 0.5 + 0.19 * len(rows)
  figure, axes = plotting.panels(len(panels), width=4.1, height=height, share_y=True)
  for panel, (name, label) in zip(axes[0], panels):
    for y, row in enumerate(rows):
      _dot(panel, row[name], y, BLUE if row["tied"] else GREY)
    panel.set_xlabel(label, fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(axis="y", visible=False)
  axes[0, 0].axvline(0, color=BLACK, linewidth=0.8)
  axes[0, 0].set_yticks(range(len(rows)), [wording.way(row) for row in rows], parse_math=False)
  axes[0, 0].set_ylim(len(rows) - 0.4, -0.6)
  left, right = ("Left: ", " Right: estimated accuracy on the clean labels of held-out examples.")
  if len(panels) == 1:
    left, right = "Drawn: ", ""
  caption = (
    f"{wording.setting(content)} Each way to train at its last step, and stopped at its best "
    f"noisy-validation step. {left}how far the accuracy on held-out noisy labels is below that of "
    f"the best way, paired by example.{right} Bars: 95 % intervals, as in the table. Blue: not "
    "told apart from the best. Ways that were not compared are left out."
  )
  return Drawing("standings", "Ways to train with their intervals", caption, figure)


def curves(content: Mapping[str, Any]) -> Drawing | None:
  """Draws the accuracy on held-out noisy labels over steps; None without curves."""
  found = {name: np.array(points, float) for name, points in content["curves"].items() if points}
  if not found:
    return None
  best = content["recommended"]
  ranked = dict.fromkeys(row["method"] for row in content["ranking"])
  order = dict.fromkeys([best["method"], "CE", *ranked])
  drawn = [name for name in order if name in found][:_DRAWN]
  figure, axes = plotting.panels(1, width=7.8, height=3.3)
  panel = axes[0, 0]
  for i, name in enumerate(drawn):
    steps, values = found[name].T
    line = {**plotting.style(i, "color", "linestyle", "marker"), "markersize": 3.5}
    if name == "CE":
      line |= {"color": BLACK, "linestyle": "-"}
    if name in (best["method"], "CE"):
      line["linewidth"] = 2.2
    panel.plot(steps, 100 * values, label=name, **line)
  others = [name for name in found if name not in drawn]
  for i, name in enumerate(others):
    steps, values = found[name].T
    label = "" if i else wording.counted(len(others), "other method")
    panel.plot(steps, 100 * values, color=_LIGHT, linewidth=0.9, label=label, zorder=1)
  stop = best["stop_step"]
  panel.axvline(stop, color=BLUE, linestyle="--", linewidth=1.2, label=f"stop at step {stop:,}")
  panel.set_xlabel("step")
  panel.set_ylabel("accuracy on held-out noisy labels, %")
  panel.set_xlim(left=0)
  plotting.legend_below(figure, panel)
  caption = (
    f"{wording.setting(content)} Accuracy on held-out noisy labels at each evaluated step, mean "
    f"over folds and seeds, no intervals. Dashed: the recommended stop of {best['method']}. A "
    "curve that falls shows a network that learns wrong labels by heart; stopping at its top "
    "avoids that."
  )
  return Drawing("curves", "Why and when to stop", caption, figure)


def rates(content: Mapping[str, Any]) -> Drawing | None:
  """Draws every estimator's noise rate; None if there is a single estimator."""
  chosen, rate = content["transition"]["estimator"], content["noise_rate"]
  others = [found for found in content["estimates"] if found["estimator"] != chosen]
  if not others:
    return None
  figure, axes = plotting.panels(1, width=4.6, height=0.7 + 0.25 * (len(others) + 1))
  panel = axes[0, 0]
  panel.axvspan(100 * rate["low"], 100 * rate["high"], color=BLUE, alpha=0.12, linewidth=0)
  _dot(panel, rate, 0, BLUE)
  panel.plot([100 * o["noise_rate"] for o in others], range(1, len(others) + 1), "o", color=GREY)
  names = ["recommended", *(wording.shortened(found["estimator"], 24) for found in others)]
  panel.set_yticks(range(len(names)), names, parse_math=False)
  panel.set_ylim(len(names) - 0.4, -0.6)
  panel.tick_params(labelsize=8)
  panel.set_xlabel("wrong labels, %", fontsize=8)
  caption = (
    f"{wording.setting(content)} Blue: the recommended estimator ({chosen}) with its 95 % "
    "interval; grey: the others, without intervals."
  )
  return Drawing("rates-drawn", "How far the estimators agree", caption, figure)


def probabilities(content: Mapping[str, Any], chances: Sequence[float]) -> Drawing:
  """Draws how many labels are wrong with what probability."""
  figure, axes = plotting.panels(1, width=4.6, height=2.2)
  panel = axes[0, 0]
  edges = np.linspace(0, 100, 21)
  counts, _ = np.histogram(100 * np.clip(chances, 0, 1), edges)
  colors = [ORANGE if edge >= 50 else GREY for edge in edges[:-1]]
  panel.bar(edges[:-1], counts, width=5, align="edge", color=colors, edgecolor="white")
  panel.set_yscale("log")
  panel.set_ylim(bottom=0.7)  # below the bar of a single label
  panel.set_xlabel("probability that the label is wrong, %", fontsize=8)
  panel.set_ylabel("labels", fontsize=8)
  panel.tick_params(labelsize=8)
  caption = (
    f"{wording.setting(content)} Number of labels by the probability that they are wrong, on a "
    "logarithmic scale. Orange: more likely wrong than right. Many labels in the middle mean that "
    "the data do not decide."
  )
  return Drawing("probabilities", "How sure it is", caption, figure)


def _dot(panel: Any, interval: Mapping[str, float | None], y: float, color: str) -> None:
  """Draws an estimate with its interval, of shares in per cent; nothing where there is none."""
  ends = [interval[name] for name in ("low", "estimate", "high")]
  if None not in ends:
    low, estimate, high = (100 * end for end in ends if end is not None)
    panel.plot([low, high], [y, y], color=color, linewidth=1.6)
    panel.plot([estimate], [y], "o", color=color, markersize=4.5)
