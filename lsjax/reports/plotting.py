"""What the figures share: styles, panels, bands and files. Matplotlib is imported on first use."""

import collections
import dataclasses
import functools
import io
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lsjax.reports.captions import words
from lsjax.reports.cell import CellResults
from lsjax.reports.paper import ALPHA, RATE
from lsjax.reports.results import SweepResults
from lsjax.reports.statistics import Summary

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

DPI = 200
_MOST_COMPARED = 6
BLACK, BLUE, GREY, ORANGE = "#000000", "#0072B2", "#777777", "#D55E00"
# Okabe and Ito's palette, which colour-blind readers can tell apart; markers and dashes differ too.
STYLES: Mapping[str, dict[str, Any]] = {
  "CE": {"color": BLACK, "marker": "o", "linestyle": "-"},
  "LS": {"color": BLUE, "marker": "s", "linestyle": "-"},
  "FC": {"color": ORANGE, "marker": "^", "linestyle": "-"},
  "BC": {"color": "#009E73", "marker": "D", "linestyle": "-"},
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
    """Returns the content of a png, svg or pdf file, which depends only on what is drawn."""
    from matplotlib import rc_context

    png = self._png  # always the first, since it places the panels
    if suffix == "png":
      return png
    buffer = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}[suffix]
    with rc_context({"svg.hashsalt": self.id}):
      self.figure.savefig(buffer, format=suffix, dpi=DPI, metadata=metadata)
    return buffer.getvalue()

  @functools.cached_property
  def _png(self) -> bytes:
    """The content of the png file; drawing it places the panels for the other files as well."""
    from matplotlib import rc_context
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(self.figure)
    self.figure.set_dpi(DPI)
    canvas.draw()
    with rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
      self.figure.set_layout_engine(None)
    buffer = io.BytesIO()
    # Without its opaque fourth channel an image is as small after half the time.
    pixels = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
    FigureCanvasBase(self.figure)  # the other canvas holds the pixels
    Image.fromarray(pixels).save(buffer, "png", compress_level=3, dpi=(DPI, DPI))
    return buffer.getvalue()


def captioned(
  id: str,
  figure: "Figure",
  sweep: SweepResults,
  cells: Collection[CellResults] = (),
  **values: str,
) -> Drawing:
  """Returns a figure with its title and caption; see `captions.words` for the other arguments."""
  return Drawing(id, *words(id, sweep, cells, **values), figure)


def style(index: int, *properties: str) -> dict[str, Any]:
  """Returns the color, linestyle or marker of one of several series; they repeat after seven."""
  return {name: _SERIES[name][index % len(_SERIES[name])] for name in properties}


def panels(
  columns: int,
  *,
  width: float = 3.2,
  height: float = 2.9,
  rows: int = 1,
  share_y: bool = False,
) -> tuple["Figure", np.ndarray]:
  """Returns a figure and its axes [rows, columns], each of about width x height inches."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width * columns + 0.6, height * rows + 0.3), layout="constrained")
  axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
  for panel in axes.flat:
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
  return figure, axes


def legend_below(figure: "Figure", axes: "Axes") -> None:
  """Puts the legend of some axes below the figure, where it covers no data."""
  handles, labels = axes.get_legend_handles_labels()
  if handles:
    # At this size a letter takes about 0.07 inches and a line with its gaps 0.6.
    widest = 0.6 + 0.07 * max(map(len, labels))
    columns = min(len(labels), max(1, int(figure.get_figwidth() / widest)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8)


def band(
  panel: "Axes",
  x: Iterable[float],
  summaries: Sequence[Summary],
  label: str,
  *,
  limits: tuple[float, float] = (0, 100),
  **line: Any,
) -> None:
  """Draws a line through means with a band for the 95 % interval of each mean.

  Args:
    panel: axes to draw on.
    x: position of each mean.
    summaries: statistics with the means and intervals; one of no values leaves a gap.
    label: label in the legend.
    limits: least and greatest possible value, beyond which no band goes.
    **line: properties of the line; color is required.
  """
  x, mean = list(x), [s.mean if s.n else math.nan for s in summaries]
  panel.plot(x, mean, label=label, **{"markersize": 4, "linewidth": 1.4} | line)
  low, high = (np.clip([getattr(s, end) for s in summaries], *limits) for end in ("low", "high"))
  panel.fill_between(x, low, high, color=line["color"], alpha=0.15, linewidth=0)


def looks(cells: Iterable[CellResults]) -> list[dict[str, Any]]:
  """Returns the line of each cell: the colour is that of its method in every figure.

  Cells of one method differ in their dashes.
  """
  seen: collections.Counter[str] = collections.Counter()
  found = []
  for cell in cells:
    line = STYLES.get(cell.method, {"color": GREY, "marker": "P"})
    found.append({**line, **style(seen[cell.method], "linestyle")})
    seen[cell.method] += 1
  return found


def compared(sweep: SweepResults) -> dict[str, CellResults]:
  """Returns the cells that most figures compare, by label.

  They are the four methods with the alpha and the noise of the paper's table A, and LS with an
  alpha of three times that rate. In a sweep that has none of them they are the first cells of the
  noise that most cells have.
  """
  labels = ("CE", f"LS {ALPHA:g}", f"LS {3 * RATE:g}", f"FC {ALPHA:g}", f"BC {ALPHA:g}")
  found = {
    label: cells[0]
    for label in labels
    if len(cells := sweep.select(label=label, **sweep.noise_of(RATE))) == 1
  }
  if found:
    return found
  cells = [cell for cell in sweep.listed if (cell.data, cell.model) == sweep.main]
  (noise, _), *_ = collections.Counter(cell.noise for cell in cells).most_common()
  cells = [cell for cell in cells if cell.noise == noise]
  return {cell.name: cell for cell in cells[:_MOST_COMPARED]}
