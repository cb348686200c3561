"""A report as one page, in HTML with its figures inside and in Markdown."""

import base64
import dataclasses
import string
from collections.abc import Mapping, Sequence
from html import escape

from lsjax.reports import formats, resources
from lsjax.reports.claims import MARKS, Claim
from lsjax.reports.plotting import Drawing
from lsjax.reports.tables import Table

WIDE = 8  # inches from which a figure scrolls on a narrow screen instead of shrinking


@dataclasses.dataclass(frozen=True)
class Page:
  """The content of a report.

  Attributes:
    title: name of the sweep.
    about: sentences on what ran.
    claims: claims with their verdicts.
    tables: tables, that of the claims first.
    drawings: figures.
  """

  title: str
  about: Sequence[str]
  claims: Sequence[Claim]
  tables: Sequence[Table]
  drawings: Sequence[Drawing]

  def to_markdown(self) -> str:
    """Returns the page in Markdown, which refers to the figures in figures/."""
    lines = [f"# {self.title}", "", *self.about, ""]
    lines += [f"* **{c.id}** {MARKS[c.verdict]} {c.verdict}: {c.text}" for c in self.claims]
    for table in self.tables:
      lines += ["", f"## {table.title}", "", table.caption, "", *formats.to_markdown(table)]
    for drawing in self.drawings:
      lines += ["", f"## {drawing.title}", "", f"![{drawing.title}](figures/{drawing.id}.png)"]
      lines += ["", drawing.caption]
    return "\n".join(lines) + "\n"

  def to_html(self, images: Mapping[str, bytes]) -> str:
    """Returns the page in HTML, which refers to no other file.

    Args:
      images: content of each figure's png file, by the id of the figure.
    """
    template, style = string.Template(resources.text("page.html")), resources.text("page.css")
    about = [f'<p class="about">{escape(line)}</p>' for line in self.about]
    claims = [
      f'<li class="{c.verdict}"><strong>{c.id} {MARKS[c.verdict]} {c.verdict}</strong><br>'
      f"{escape(c.text)}</li>"
      for c in self.claims
    ]
    drawings = [_drawing(drawing, images[drawing.id]) for drawing in self.drawings]
    tables = [line for table in self.tables for line in _table(table)]
    lists = {"about": about, "claims": claims, "drawings": drawings, "tables": tables}
    # Every line ends with a line break, so that an empty list leaves no empty line.
    texts = {name: "".join(f"{line}\n" for line in lines) for name, lines in lists.items()}
    return template.substitute(texts, title=escape(self.title), style=style)


def _drawing(drawing: Drawing, png: bytes) -> str:
  image, title = base64.b64encode(png).decode(), escape(drawing.title)
  wide = " class='wide'" if drawing.figure.get_figwidth() > WIDE else ""
  return (
    f'<h2>{title}</h2><figure><div{wide}><img alt="{title}" src="data:image/png;base64,{image}">'
    f"</div><figcaption>{escape(drawing.caption)}</figcaption></figure>"
  )


def _table(table: Table) -> list[str]:
  heading = [f"<h2>{escape(table.title)}</h2>", f'<p class="caption">{escape(table.caption)}</p>']
  return [*heading, *formats.to_html(table)]
