"""A sweep's result files as a report: python -m lsjax.report runs/paper_digits

Writes, in the sweep's directory or in --out: report.md, report.html (one file, figures inside,
no network), report.json (claims and tables), results.json (final metrics of every run),
tables/*.csv and *.tex, figures/*.png and *.svg. Reads files only; JAX is not imported.
"""

import argparse
import base64
import csv
import html
import io
import math
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from lsjax import claims, figures, files
from lsjax import pool as pool_lib
from lsjax import tables as tables_lib

_DPI = 110
_MARKS = {
  claims.REPRODUCED: "✓",
  claims.NOT_REPRODUCED: "✗",
  claims.INCONCLUSIVE: "≈",
  claims.UNTESTED: "?",
}


def write(path: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> str:
  """Writes the report of a sweep; returns a summary for a terminal.

  Args:
    path: the sweep's directory.
    out: where the report goes; the sweep's directory when absent.

  Raises:
    pool_lib.PoolError: if the directory is no sweep's.
  """
  pool = pool_lib.read(pathlib.Path(path))
  target = pathlib.Path(out or path)
  found = claims.claims(pool)
  tables = [tables_lib.claims_table(found), *tables_lib.tables(pool)]
  drawings = figures.draw(pool)
  images = {(d.id, suffix): _image(d, suffix) for d in drawings for suffix in ("png", "svg")}
  for (name, suffix), content in images.items():
    _write(target / "figures" / f"{name}.{suffix}", content)
  for table in tables:
    _write(target / "tables" / f"{table.id}.csv", _csv(table).encode())
    _write(target / "tables" / f"{table.id}.tex", _latex(table).encode())
  about = _about(pool)
  _write(target / "report.md", _markdown(pool, about, found, tables, drawings).encode())
  _write(target / "report.html", _html(pool, about, found, tables, drawings, images).encode())
  files.write_json(target / "report.json", _json(pool, found, tables))
  files.write_json(target / "results.json", _results(pool))
  lines = [f"{c.id}  {_MARKS[c.verdict]} {c.verdict:15} {c.text}" for c in found]
  return "\n".join([*lines, *about, f"report: {target / 'report.html'}"])


def _write(path: pathlib.Path, content: bytes) -> None:
  with files.replacing(path) as f:
    f.write(content)


def _image(drawing: figures.Drawing, suffix: str) -> bytes:
  """Returns a figure as a file: the same results give the same bytes, without a date."""
  from matplotlib import rc_context

  buffer = io.BytesIO()
  metadata = {"Date": None} if suffix == "svg" else {"Software": None}
  with rc_context({"svg.hashsalt": drawing.id}):
    drawing.figure.savefig(buffer, format=suffix, dpi=_DPI, metadata=metadata)
  return buffer.getvalue()


def _about(pool: pool_lib.Pool) -> list[str]:
  """Returns sentences on what ran: runs, time, versions, what is not there."""
  runs = {w: r for c in pool.cells for w, r in zip(c.workdirs.values(), c.results.values())}
  statuses = [result["status"] if result else "missing" for result in runs.values()]
  counts = ", ".join(f"{statuses.count(s)} {s}" for s in sorted(set(statuses)))
  lines = [f"{pool.label}: {len(pool.cells)} cells, {len(runs)} distinct runs ({counts})."]
  sessions = pool.path / "sessions.jsonl"
  rows = files.read_rows(sessions) if sessions.exists() else []
  ended = [row["seconds"] for row in rows if "seconds" in row]
  if rows:
    killed = len(rows) - 2 * len(ended)  # each writes a row when it begins and one when it ends
    lines.append(
      f"Trained in {sum(ended):.0f} s of {len(ended)} process{'es' if len(ended) != 1 else ''} "
      f"(start-up, theory and report not counted"
      f"{f'; {killed} more were killed' if killed > 0 else ''}), {rows[-1]['date']}."
    )
  if pool.environment:
    e = pool.environment
    lines.append(
      f"{e['device']} ({e['backend']}), Python {e['python']}, jax {e['jax']}, flax {e['flax']}, "
      f"optax {e['optax']}, lsjax {e['lsjax']} at {e['commit'] or 'no commit'}."
    )
  bad = [f"{cell.name}: {cell.problems}" for cell in pool.cells if cell.problems]
  if bad:
    lines.append(f"Not all there: {'; '.join(bad)}.")
  return lines


def _json(
  pool: pool_lib.Pool, found: Sequence[claims.Claim], tables: Sequence[tables_lib.Table]
) -> dict[str, Any]:
  def number(x: float) -> float | None:
    return x if math.isfinite(x) else None

  return {
    "sweep": pool.name,
    "label": pool.label,
    "environment": pool.environment,
    "theory": pool.theory,
    "claims": [
      {
        "id": claim.id,
        "text": claim.text,
        "verdict": claim.verdict,
        "note": claim.note,
        "tests": [
          {
            "what": test.what,
            "verdict": test.verdict,
            "n": test.summary.n,
            "mean": number(test.summary.mean),
            "sd": number(test.summary.sd),
            "interval_95": [number(test.summary.low), number(test.summary.high)],
            "bound": test.bound,
            "claimed_side": "above" if test.sign > 0 else "below",
          }
          for test in claim.tests
        ],
      }
      for claim in found
    ],
    "tables": [
      {"id": t.id, "title": t.title, "caption": t.caption, "header": t.header, "rows": t.rows}
      for t in tables[1:]
    ],
  }


def _results(pool: pool_lib.Pool) -> list[dict[str, Any]]:
  """Returns the final metrics of every run of every cell."""
  return [
    {
      "cell": cell.name,
      "runs": [
        {
          "seed": seed,
          "config_hash": cell.workdirs[seed].name,
          "status": result["status"] if result else "missing",
          "final": result["final"] if result else None,
        }
        for seed, result in cell.results.items()
      ],
    }
    for cell in pool.cells
  ]


def _csv(table: tables_lib.Table) -> str:
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator="\n")
  writer.writerows([table.header, *table.rows])
  return buffer.getvalue()


def _latex(table: tables_lib.Table) -> str:
  special = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
  }

  def escaped(text: str) -> str:
    return "".join(special.get(c, c) for c in text)

  prose = table.id == "claims"  # its last columns are sentences
  columns = "lp{5cm}lp{7cm}" if prose else "l" * len(table.header)
  rows = [" & ".join(map(escaped, row)) + r" \\" for row in table.rows]
  return "\n".join(
    [
      r"\begin{table}",
      rf"\caption{{{escaped(table.title)}. {escaped(table.caption)}}}",
      rf"\begin{{tabular}}{{{columns}}}",
      r"\hline",
      " & ".join(map(escaped, table.header)) + r" \\",
      r"\hline",
      *rows,
      r"\hline",
      r"\end{tabular}",
      r"\end{table}",
      "",
    ]
  )


def _markdown_table(table: tables_lib.Table) -> list[str]:
  rows = [" | ".join(x.replace("|", "\\|") for x in row) for row in (table.header, *table.rows)]
  rows = [f"| {row} |" for row in rows]
  return [rows[0], "|" + "---|" * len(table.header), *rows[1:]]


def _markdown(
  pool: pool_lib.Pool,
  about: Sequence[str],
  found: Sequence[claims.Claim],
  tables: Sequence[tables_lib.Table],
  drawings: Sequence[figures.Drawing],
) -> str:
  lines = [f"# {pool.name}", "", *about, ""]
  for claim in found:
    lines.append(f"* **{claim.id}** {_MARKS[claim.verdict]} {claim.verdict}: {claim.text}")
  for table in tables:
    lines += ["", f"## {table.title}", "", table.caption, "", *_markdown_table(table)]
  for drawing in drawings:
    lines += ["", f"## {drawing.title}", "", f"![{drawing.title}](figures/{drawing.id}.png)"]
    lines += ["", drawing.caption]
  return "\n".join(lines) + "\n"


_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 75rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; }
p.about { color: #444; margin: .2rem 0; overflow-wrap: anywhere; }
p.caption, figcaption { color: #444; font-size: .88rem; max-width: 60rem; }
ul.claims { list-style: none; padding: 0; }
ul.claims li { border-left: .4rem solid #999; padding: .2rem .7rem; margin: .5rem 0; }
li.reproduced { border-color: #0072B2 !important; }
li.not { border-color: #D55E00 !important; }
li.inconclusive { border-color: #E69F00 !important; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd;
  vertical-align: top; }
.scroll:not(.prose) td { white-space: nowrap; } .prose td:nth-child(2) { min-width: 16rem; }
.prose td:last-child { min-width: 20rem; }
th { border-bottom: 2px solid #888; white-space: normal; }
figure { margin: 0; } img { max-width: 100%; height: auto; }
@media (max-width: 40rem) { body { padding: .6rem; } .wide img { max-width: none; width: 44rem; }
  .wide { overflow-x: auto; } }
@media print {
  body { max-width: none; font-size: 10pt; } table { font-size: 7.5pt; }
  h2, p.caption { break-after: avoid; } figure, tr, p.caption { break-inside: avoid; }
  .scroll, .wide { overflow: visible; } .wide img { width: 100%; }
  .scroll td { white-space: normal !important; } .prose td { min-width: 0 !important; }
}
"""


def _html(
  pool: pool_lib.Pool,
  about: Sequence[str],
  found: Sequence[claims.Claim],
  tables: Sequence[tables_lib.Table],
  drawings: Sequence[figures.Drawing],
  images: dict[tuple[str, str], bytes],
) -> str:
  parts = [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    f"<title>{html.escape(pool.name)}</title><style>{_STYLE}</style></head><body>",
    f"<h1>{html.escape(pool.name)}</h1>",
    *(f'<p class="about">{html.escape(line)}</p>' for line in about),
    '<ul class="claims">',
  ]
  for c in found:
    parts.append(
      f'<li class="{c.verdict}"><strong>{c.id} {_MARKS[c.verdict]} {c.verdict}</strong><br>'
      f"{html.escape(c.text)}</li>"
    )
  parts.append("</ul>")
  for drawing in drawings:
    image = base64.b64encode(images[drawing.id, "png"]).decode()
    wide = " class='wide'" if drawing.figure.get_figwidth() > 8 else ""
    parts.append(
      f"<h2>{html.escape(drawing.title)}</h2><figure><div{wide}>"
      f'<img alt="{html.escape(drawing.title)}" src="data:image/png;base64,{image}"></div>'
      f"<figcaption>{html.escape(drawing.caption)}</figcaption></figure>"
    )
  for table in tables:
    prose = " prose" if table.id == "claims" else ""
    parts.append(f"<h2>{html.escape(table.title)}</h2>")
    parts.append(f'<p class="caption">{html.escape(table.caption)}</p>')
    parts.append(f'<div class="scroll{prose}"><table><thead><tr>')
    parts += [f"<th>{html.escape(name)}</th>" for name in table.header]
    parts.append("</tr></thead><tbody>")
    for row in table.rows:
      parts.append("<tr>" + "".join(f"<td>{html.escape(x)}</td>" for x in row) + "</tr>")
    parts.append("</tbody></table></div>")
  parts.append("</body></html>\n")
  return "\n".join(parts)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("path", help="a sweep's directory, such as runs/paper_digits")
  parser.add_argument("--out", help="where the report goes (default: the sweep's directory)")
  args = parser.parse_args()
  try:
    print(write(args.path, args.out))
  except (pool_lib.PoolError, OSError) as error:
    print(f"lsjax: {error}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
  main()
