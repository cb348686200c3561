"""A table of text and of numbers that keep their statistics."""

import collections
import dataclasses
from collections.abc import Sequence

from lsjax.reports.statistics import Summary


@dataclasses.dataclass(frozen=True)
class Number:
  """A mean over seeds in a table.

  Attributes:
    summary: statistics in the unit of the column.
    digits: digits after the point.
    signed: whether it is a difference, which is shown with its sign and interval; otherwise it is
      shown with its standard deviation.
    note: what else the cell says, such as "1 of 5 diverged".
    bold: whether it is printed in bold: the best of its group or, if signed, told from 0.
    shows_n: whether the cell says n, because it differs from that of the other cells.
  """

  summary: Summary
  digits: int = 2
  signed: bool = False
  note: str = ""
  bold: bool = False
  shows_n: bool = False

  def __str__(self) -> str:
    s, digits = self.summary, self.digits
    text = f"{s.mean:+.{digits}f}" if self.signed else f"{s.mean:.{digits}f}"
    if s.n > 1:
      interval = f" [{s.low:+.{digits}f}, {s.high:+.{digits}f}]"
      text += interval if self.signed else f" ± {s.sd:.{digits}f}"
    notes = [f"n = {s.n}"] if self.shows_n else []
    notes += [self.note] if self.note else []
    return f"{text} ({'; '.join(notes)})" if notes else text


Entry = str | Number


@dataclasses.dataclass(frozen=True)
class Table:
  """A table.

  Attributes:
    id: name of its files.
    title: title, with the paper's name of the table if it has one.
    caption: what was measured on what, how often, and what ± and brackets are.
    header: headings of the columns.
    rows: entries by row.
  """

  id: str
  title: str
  caption: str
  header: Sequence[str]
  rows: Sequence[Sequence[Entry]]

  @classmethod
  def saying_n_once(
    cls, id: str, title: str, caption: str, header: Sequence[str], rows: Sequence[Sequence[Entry]]
  ) -> "Table":
    """Returns a table whose caption says the n that most numbers have; the others say their own."""
    numbers = [entry for row in rows for entry in row if isinstance(entry, Number)]
    if not numbers:
      return cls(id, title, caption, header, rows)
    counts = collections.Counter(number.summary.n for number in numbers)
    n = counts.most_common(1)[0][0]
    marked = [[_marked(entry, n) for entry in row] for row in rows]
    words = [
      f"n = {n} seed{'s' if n > 1 else ''}"
      + (" unless a cell says otherwise" if len(counts) > 1 else "")
    ]
    if any(x.summary.n > 1 and not x.signed for x in numbers):
      words.append("± is the standard deviation over seeds")
    if any(x.summary.n > 1 and x.signed for x in numbers):
      words.append("[ ] is the 95 % t interval of the difference paired by seed")
    if any(x.bold and x.signed for x in numbers):
      words.append(
        "bold: told from 0 (paired t test at 5 %, corrected for the number of cells of the column)"
      )
    if any(x.bold and not x.signed for x in numbers):
      words.append(
        "bold: the best of its group and what cannot be told from it (paired t test at 5 %, "
        "corrected for the number of cells)"
      )
    return cls(id, title, f"{caption} {'; '.join(words)}.", header, marked)

  def renamed(self, id: str) -> "Table":
    """Returns the table under another name of its files."""
    return dataclasses.replace(self, id=id)


def _marked(entry: Entry, n: int) -> Entry:
  if isinstance(entry, Number) and entry.summary.n != n:
    return dataclasses.replace(entry, shows_n=True)
  return entry
