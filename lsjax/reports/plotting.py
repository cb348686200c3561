"""What the figures share: styles, panels, bands and files. Matplotlib is imported on first use."""

import dataclasses
import io
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lsjax.reports.captions import words
from lsjax.reports.paper import ALPHA, RATE
from lsjax.reports.results import CellResults, SweepResults
from lsjax.reports.statistics import Summary

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

DPI = 110
BLACK, BLUE, GREY, ORANGE = "#000000", "#0072B2", "#777777", "#D55E00"
# Okabe and Ito's palette, which colour-blind readers can tell apart; markers and dashes differ too.
STYLES: Mapping[str, dict[str, Any]] = {
  "LS": {"color": BLUE, "marker": "s", "linestyle": "-"},
  "FC": {"color": ORANGE, "marker": "^", "linestyle": "--"},
  "BC": {"color": "#009E73", "marker": "D", "linestyle": ":"},
}
_SERIES: Mapping[str, Sequence[Any]] = {
  "color": (BLUE, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", ORANGE, BLACK),
  "linestyle": ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1))),
  "marker": ("o", "s", "^", "D", "v", "P", "X"),
}


@dataclasses.dataclass(frozen=True)
class Drawing:
  """A figure with its words.

  Attributes:
    id: name of its files.
    title: title.
    caption: what is drawn, of which data, and how often it was measured.
    figure: the Matplotlib figure.
  """

  id: str
  title: str
  caption: str
  figure: "Figure"

  def image(self, suffix: str) -> bytes:
    """Returns the content of a png or svg file, which depends on nothing but what is drawn."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    metadata = {"Date": None} if suffix == "svg" else {"Software": None}
    with rc_context({"svg.hashsalt": self.id}):
      self.figure.savefig(buffer, format=suffix, dpi=DPI, metadata=metadata)
    return buffer.getvalue()


def captioned(
  id: str,
  figure: "Figure",
  sweep: SweepResults,
  cells: Collection[CellResults] = (),
  **values: object,
) -> Drawing:
  """Returns a figure with its title and caption; see `captions.words` for the other arguments."""
  return Drawing(id, *words(id, sweep, cells, **values), figure)


def style(index: int, *properties: str) -> dict[str, Any]:
  """Returns the color, linestyle or marker of one of several series; they repeat after seven."""
  return {name: _SERIES[name][index % len(_SERIES[name])] for name in properties}


def panels(
  columns: int, *, width: float = 3.2, height: float = 2.9, rows: int = 1
) -> tuple["Figure", np.ndarray]:
  """Returns a figure and its axes [rows, columns], each of about width x height inches."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width * columns + 0.6, height * rows + 0.3), layout="constrained")
  axes = figure.subplots(rows, columns, squeeze=False)
  for panel in axes.flat:
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
  return figure, axes


def band(
  panel: "Axes", x: Iterable[float], summaries: Sequence[Summary], label: str, **line: Any
) -> None:
  """Draws a line through means with a band for the 95 % interval of each mean.

  Args:
    panel: axes to draw on.
    x: position of each mean.
    summaries: statistics with the means and intervals; one of no values leaves a gap.
    label: label in the legend.
    **line: properties of the line; color is required.
  """
  x, mean = list(x), [s.mean if s.n else math.nan for s in summaries]
  panel.plot(x, mean, label=label, markersize=4, linewidth=1.4, **line)
  low, high = [s.low for s in summaries], [s.high for s in summaries]
  panel.fill_between(x, low, high, color=line["color"], alpha=0.15, linewidth=0)


def compared(sweep: SweepResults) -> dict[str, CellResults]:
  """Returns the cells that most figures compare, by label.

  They are the four methods with the alpha and the noise rate of the paper's table A, and LS with
  an alpha of three times that rate.
  """
  strengths = (("CE", 0.0), ("LS", ALPHA), ("LS", round(3 * RATE, 9)), ("FC", ALPHA), ("BC", ALPHA))
  return {
    f"{method} {alpha:g}" if alpha else method: cell
    for method, alpha in strengths
    if (cell := sweep.trained(method, alpha, RATE))
  }
