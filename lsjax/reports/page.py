"""A report as one page, in HTML with its figures inside and in Markdown."""

import base64
import dataclasses
import string
from collections.abc import Collection, Mapping, Sequence
from html import escape

from lsjax.reports import formats, resources
from lsjax.reports.claims import BEST, FINAL, MARKS, TUNED, Claim
from lsjax.reports.plotting import Drawing
from lsjax.reports.table import Table

WIDE = 8  # inches from which a figure scrolls on a narrow screen instead of shrinking
PAPER = "https://arxiv.org/abs/2003.02819"
CITED = "Lukasik et al., Does label smoothing mitigate label noise?, ICML 2020"
GLOSSARY = (
  "ECE: mean distance between confidence and accuracy over 15 bins of confidence. Brier: mean "
  "squared distance between probabilities and the one-hot label, 0 to 2. Memorisation: share of "
  "mislabelled training examples that are predicted as their wrong label. Best noisy-validation "
  "step: the evaluated step with the best accuracy on held-out examples with noisy labels. n: "
  "number of seeds."
)


@dataclasses.dataclass(frozen=True)
class Page:
  """The content of a report.

  Attributes:
    title: name of the sweep.
    about: sentences on what ran.
    claims: claims with their verdicts; empty for a sweep that is not the paper's.
    tables: tables.
    drawings: figures.
  """

  title: str
  about: Sequence[str]
  claims: Sequence[Claim]
  tables: Sequence[Table]
  drawings: Sequence[Drawing]

  @property
  def ordered(self) -> list[Table | Drawing]:
    """Leaderboards first if there are no claims; otherwise figures between claims and tables."""
    first = [table for table in self.tables if table.id == "claims" or not self.claims]
    return [*first, *self.drawings, *(table for table in self.tables if table not in first)]

  def to_markdown(self) -> str:
    """Returns the page in Markdown, which refers to the figures in figures/."""
    text = formats.escape_markdown
    lines = [f"# {text(self.title)}", "", *(text(line) for line in self.about), ""]
    if self.claims:
      lines += [f"Claims of [{CITED}]({PAPER}):", ""]
    lines += [f"* **{c.id}** {text(verdict_line(c))}" for c in self.claims]
    lines += ["", text(GLOSSARY)]
    for part in self.ordered:
      lines += ["", f"## {text(part.title)}", ""]
      if isinstance(part, Table):
        lines += [text(part.caption), "", *formats.to_markdown(part)]
      else:
        lines += [f"![{text(part.title)}](figures/{part.id}.png)", "", text(part.caption)]
    return "\n".join(lines) + "\n"

  def to_html(self, images: Mapping[str, bytes]) -> str:
    """Returns the page in HTML, which refers to no other file but the paper.

    Args:
      images: content of each figure's png file, by the id of the figure.
    """
    about = [f'<p class="about">{escape(line)}</p>' for line in self.about]
    parts = [line for part in self.ordered for line in _part(part, images)]
    links = {part.id: part.title for part in self.ordered}
    glossary = [f'<p class="about">{escape(GLOSSARY)}</p>']
    return filled(
      self.title,
      about=about,
      claims=_claims(self.claims),
      contents=contents(links) + glossary,
      parts=parts,
    )


def filled(title: str, *, style: str = "", **lists: Sequence[str]) -> str:
  """Returns a page in HTML that is made of lines of HTML.

  Args:
    title: its title, a plain text.
    style: CSS for this page after that of every report.
    **lists: the lines of `about`, `claims`, `contents` and `parts`, in this order on the page.
  """
  # Every line ends with a line break, so that an empty list leaves no empty line.
  texts = {name: "".join(f"{line}\n" for line in lines) for name, lines in lists.items()}
  return string.Template(resources.text("page.html")).substitute(
    texts, title=escape(title), style=resources.text("page.css") + style
  )


def contents(titles: Mapping[str, str]) -> list[str]:
  """Returns the list of contents, {id: title of the part}; nothing without parts."""
  links = [f'<a href="#{id}">{escape(title)}</a>' for id, title in titles.items()]
  return [f"<nav><strong>Contents</strong> {' · '.join(links)}</nav>"] if links else []


def figure(drawing: Drawing, png: bytes) -> str:
  """Returns a figure with its caption, and without its title."""
  image, title = base64.b64encode(png).decode(), escape(drawing.title)
  inches = drawing.figure.get_figwidth()
  is_wide = inches > WIDE
  hint = '<p class="hint">Scroll sideways to see the whole figure.</p>' if is_wide else ""
  wide = ' class="wide"' if is_wide else ""
  return (
    f"<figure>{hint}<div{wide}>"
    f'<img alt="{title}" style="width: {inches:.1f}in" src="data:image/png;base64,{image}">'
    f"</div><figcaption>{escape(drawing.caption)}</figcaption></figure>"
  )


def captioned(table: Table, shaded: Collection[int] = ()) -> list[str]:
  """Returns the lines of a table with its caption, and without its title.

  Args:
    table: the table.
    shaded: the numbers of rows that belong together.
  """
  return [
    f'<p class="caption">{escape(table.caption)}</p>',
    '<p class="hint">Scroll sideways to see the whole table.</p>',
    *formats.to_html(table, shaded),
  ]


def verdict_line(claim: Claim) -> str:
  """Returns a claim with its verdicts: in the paper's setting, then in the other ones."""
  text = f"{MARKS[claim.verdict]} {claim.verdict}: {claim.text}"
  if claim.any_of and claim.tests.get(FINAL):
    pairs = zip(claim.tests[FINAL], claim.verdicts(FINAL), strict=True)
    text += f" {'; '.join(f'{test.what}: {verdict}' for test, verdict in pairs)}."
  words = {BEST: "With early stopping", TUNED: "With rate and decay chosen per method"}
  for setting, start in words.items():
    if setting in claim.tests:
      text += f" {start}: {claim.verdict_in(setting)}."
  return f"{text} {claim.note.strip()}" if claim.note else text


def _claims(claims: Sequence[Claim]) -> list[str]:
  """Returns the lists of claims: those that were measured, and the mathematics."""
  lines: list[str] = []
  headings = {
    False: f'Claims of <a href="{PAPER}">{escape(CITED)}</a>, measured (final step)',
    True: "Mathematics, checked numerically",
  }
  for is_mathematics, heading in headings.items():
    kind = [claim for claim in claims if claim.is_mathematics == is_mathematics]
    if kind:
      lines += [f"<h2>{heading}</h2>", '<ul class="claims">', *map(_claim, kind), "</ul>"]
  return lines


def _claim(claim: Claim) -> str:
  verdict = f"{MARKS[claim.verdict]} {claim.verdict}"
  rest = verdict_line(claim).removeprefix(f"{verdict}: ")
  return f'<li class="{claim.verdict}"><strong>{claim.id} {verdict}</strong><br>{escape(rest)}</li>'


def _part(part: Table | Drawing, images: Mapping[str, bytes]) -> list[str]:
  heading = f'<h2 id="{part.id}">{escape(part.title)}</h2>'
  if isinstance(part, Table):
    return [heading, *captioned(part)]
  return [heading + figure(part, images[part.id])]
