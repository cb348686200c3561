"""Tables as text: comma-separated values, LaTeX, Markdown and HTML."""

import csv
import io
from html import escape

from lsjax.reports.tables import Table

_LATEX = str.maketrans(
  {c: f"\\{c}" for c in "&%$#_{}"}
  | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
  | {"±": r"$\pm$", "<": r"$<$", ">": r"$>$"}
)


def to_csv(table: Table) -> str:
  """Returns the header and the rows of a table as comma-separated values."""
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator="\n").writerows([table.header, *table.rows])
  return buffer.getvalue()


def to_latex(table: Table) -> str:
  """Returns a LaTeX table environment with caption, header and rows."""
  columns = "lp{5cm}lp{7cm}" if is_prose(table) else "l" * len(table.header)
  caption = f"{table.title}. {table.caption}".translate(_LATEX)
  header, *rows = (
    " & ".join(text.translate(_LATEX) for text in row) + r" \\"
    for row in (table.header, *table.rows)
  )
  lines = [
    r"\begin{table}",
    rf"\caption{{{caption}}}",
    rf"\begin{{tabular}}{{{columns}}}",
    *(r"\hline", header, r"\hline", *rows, r"\hline"),
    *(r"\end{tabular}", r"\end{table}", ""),
  ]
  return "\n".join(lines)


def to_markdown(table: Table) -> list[str]:
  """Returns the lines of a Markdown table without its caption."""
  header, *rows = (
    "| " + " | ".join(text.replace("|", "\\|") for text in row) + " |"
    for row in (table.header, *table.rows)
  )
  return [header, "|" + "---|" * len(table.header), *rows]


def to_html(table: Table) -> list[str]:
  """Returns the lines of an HTML table in a box that scrolls, without its caption."""
  return [
    f'<div class="scroll{" prose" if is_prose(table) else ""}"><table><thead><tr>',
    *(f"<th>{escape(name)}</th>" for name in table.header),
    "</tr></thead><tbody>",
    *("<tr>" + "".join(f"<td>{escape(x)}</td>" for x in row) + "</tr>" for row in table.rows),
    "</tbody></table></div>",
  ]


def is_prose(table: Table) -> bool:
  """Returns whether the cells of a table are sentences, which need lines that wrap."""
  return table.id == "claims"
