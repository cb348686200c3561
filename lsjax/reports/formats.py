"""Tables as text: comma-separated values, LaTeX, Markdown and HTML."""

import csv
import io
import math
import re
from collections.abc import Collection, Sequence
from html import escape

from lsjax.reports import reading
from lsjax.reports.table import Entry, Number, Table

_LATEX = str.maketrans(
  {c: f"\\{c}" for c in "&%$#_{}"}
  | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
  | {"±": r"$\pm$", "<": r"$<$", ">": r"$>$", "≈": r"$\approx$"}
)
# What Markdown takes for itself: everywhere, between the two parts of a link, and before the name
# of a character; then what makes a heading, a quotation or a list at the start of a line.
_MARKDOWN = re.compile(r"[\\|`*_<~]|(?<=\])[(\[:]|&(?=[#\w])")
_START = re.compile(r"^\s*(?=[#>+=-])|(?<=^\d)(?=[.)])")
_STATISTICS = ("mean", "sd", "n", "low", "high")


def to_csv(table: Table) -> str:
  """Returns a table as comma-separated values with plain numbers.

  A column of numbers becomes five: mean, sd, n, and the ends of the 95 % interval of the mean,
  low and high, then a column "note" if a number has one. Texts in such a column stand in "note".
  """
  columns = list(zip(*table.rows, strict=True))
  numeric = [any(isinstance(entry, Number) for entry in column) for column in columns]
  header, width = [], len(_STATISTICS)
  for name, is_numeric in zip(table.header, numeric, strict=True):
    header += [f"{name}: {x}" for x in (*_STATISTICS, "note")] if is_numeric else [name]
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator="\n")
  writer.writerow(header)
  for row in table.rows:
    texts: list[str] = []
    for entry, is_numeric in zip(row, numeric, strict=True):
      if isinstance(entry, Number):
        s = entry.summary
        values = (s.mean, s.sd, s.n, s.low, s.high)
        texts += ["" if math.isnan(x) else repr(x) for x in values] + [entry.note]
      else:
        texts += [""] * (width if is_numeric else 0) + [entry]
    writer.writerow(texts)
  return buffer.getvalue()


def to_latex(table: Table) -> str:
  """Returns a LaTeX table environment (package booktabs) with caption, label, header and rows."""
  columns = "lp{5cm}" + "p{5cm}" * (len(table.header) - 2)
  columns = columns if is_prose(table) else "l" * len(table.header)
  caption = f"{table.title}. {table.caption}".translate(_LATEX)
  header, *rows = (
    " & ".join(_latex(entry) for entry in row) + r" \\" for row in (table.header, *table.rows)
  )
  lines = [
    r"% \usepackage{booktabs}",
    r"\begin{table}",
    rf"\caption{{{caption}}}",
    rf"\label{{tab:{table.id}}}",
    rf"\begin{{tabular}}{{{columns}}}",
    *(r"\toprule", header, r"\midrule", *rows, r"\bottomrule"),
    *(r"\end{tabular}", r"\end{table}", ""),
  ]
  return "\n".join(lines)


def to_markdown(table: Table) -> list[str]:
  """Returns the lines of a Markdown table without its caption."""
  header, *rows = (
    "| " + " | ".join(_markdown(entry) for entry in row) + " |"
    for row in (table.header, *table.rows)
  )
  return [header, "|" + "---|" * len(table.header), *rows]


def to_html(table: Table, shaded: Collection[int] = ()) -> list[str]:
  """Returns the lines of an HTML table in a box that scrolls, without its caption.

  Args:
    table: the table.
    shaded: the numbers of rows that belong together.
  """
  return [
    f'<div class="scroll{" prose" if is_prose(table) else ""}"><table><thead><tr>',
    *(f"<th>{escape(name)}</th>" for name in table.header),
    "</tr></thead><tbody>",
    *(
      f"<tr{_class(table, i, i in shaded)}>{''.join(map(_html, row))}</tr>"
      for i, row in enumerate(table.rows)
    ),
    "</tbody></table></div>",
  ]


def is_prose(table: Table) -> bool:
  """Returns whether the cells of a table are sentences, which need lines that wrap."""
  return table.id == "claims"


def escape_markdown(text: str) -> str:
  """Returns a text that Markdown shows as it is."""
  return _START.sub(r"\\", _escape(text))


def _class(table: Table, i: int, is_shaded: bool) -> str:
  """Returns the attribute of a row that is shaded, or that starts a group by its first entry."""
  first: Sequence[Entry] = table.rows[i]
  is_ranked = table.header[0] == "rank"
  starts = i > 0 and not is_ranked and first[0] != table.rows[i - 1][0] and first[0] != ""
  names = ["group"] * starts + ["shaded"] * is_shaded
  return f' class="{" ".join(names)}"' if names else ""


def _latex(entry: Entry) -> str:
  text = str(entry).translate(_LATEX)
  return rf"\textbf{{{text}}}" if isinstance(entry, Number) and entry.bold else text


def _escape(text: str) -> str:
  return _MARKDOWN.sub(r"\\\g<0>", reading.plain(text))


def _markdown(entry: Entry) -> str:
  text = _escape(str(entry))
  return f"**{text}**" if isinstance(entry, Number) and entry.bold else text


def _html(entry: Entry) -> str:
  text = escape(str(entry))
  if not isinstance(entry, Number):
    return f"<td>{text}</td>"
  return f'<td class="number">{f"<b>{text}</b>" if entry.bold else text}</td>'
