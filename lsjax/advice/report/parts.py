"""What the page is made of: sections of lines of HTML."""

import dataclasses
from collections.abc import Collection
from html import escape

from lsjax.reports import page
from lsjax.reports.plotting import Drawing
from lsjax.reports.table import Table


@dataclasses.dataclass(frozen=True)
class Section:
  """A section of the page.

  Attributes:
    id: its anchor.
    title: its heading.
    lines: its lines of HTML.
  """

  id: str
  title: str
  lines: list[str]

  @property
  def html(self) -> list[str]:
    """The lines with the heading."""
    return [f'<h2 id="{self.id}">{escape(self.title)}</h2>', *self.lines]


def paragraph(text: str) -> str:
  """Returns a paragraph."""
  return f"<p>{escape(text)}</p>"


def table(content: Table, shaded: Collection[int] = ()) -> list[str]:
  """Returns a table under its title and caption."""
  return [f'<h3 id="{content.id}">{escape(content.title)}</h3>', *page.captioned(content, shaded)]


def figure(drawing: Drawing) -> list[str]:
  """Returns a figure under its title, with its caption."""
  title = f'<h3 id="{drawing.id}">{escape(drawing.title)}</h3>'
  return [title, page.figure(drawing, drawing.image("png"))]
