"""The report of a sweep as files: pages, tables, figures, and the same content as JSON."""

import dataclasses
import math
import os
import pathlib
from typing import Any

from lsjax import files
from lsjax.reports import captions, figures, formats, results
from lsjax.reports.claims import MARKS, Comparison, claims
from lsjax.reports.page import Page
from lsjax.reports.results import SweepResults
from lsjax.reports.tables import tables


def write(path: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> str:
  """Writes the report of a sweep and returns its verdicts as text for a terminal.

  The files are report.md, report.html (one file with the figures inside), report.json (claims
  and tables), results.json (final metrics of every run), tables/*.csv, tables/*.tex,
  figures/*.png and figures/*.svg. The same results give the same bytes.

  Args:
    path: the sweep directory.
    out: directory to write to; the sweep directory if None.

  Raises:
    ResultsError: if `path` is not a sweep directory.
    OSError: if a file cannot be read or written.
  """
  sweep = results.read(pathlib.Path(path))
  target = pathlib.Path(out or path)
  found = claims(sweep)
  drawings, about = figures.draw(sweep), captions.about(sweep)
  page = Page(sweep.name, about, found, tables(sweep, found), drawings)
  contents = {f"figures/{d.id}.{end}": d.image(end) for d in drawings for end in ("png", "svg")}
  texts = {"report.md": page.to_markdown()}
  texts["report.html"] = page.to_html({d.id: contents[f"figures/{d.id}.png"] for d in drawings})
  for table in page.tables:
    texts[f"tables/{table.id}.csv"] = formats.to_csv(table)
    texts[f"tables/{table.id}.tex"] = formats.to_latex(table)
  for name, content in (contents | {name: text.encode() for name, text in texts.items()}).items():
    with files.replacing(target / name) as f:
      f.write(content)
  files.write_json(target / "report.json", _report_json(sweep, page))
  files.write_json(target / "results.json", _results_json(sweep))
  lines = [f"{c.id}  {MARKS[c.verdict]} {c.verdict:15} {c.text}" for c in found]
  return "\n".join([*lines, *about, f"report: {target / 'report.html'}"])


def _report_json(sweep: SweepResults, page: Page) -> dict[str, Any]:
  """Returns the content of report.json: what ran, the claims and the tables."""
  claims = [
    {"id": c.id, "text": c.text, "verdict": c.verdict, "note": c.note}
    | {"tests": [_comparison_json(test) for test in c.tests]}
    for c in page.claims
  ]
  return {
    "sweep": sweep.name,
    "label": sweep.label,
    "environment": sweep.environment,
    "theory": sweep.theory,
    "claims": claims,
    "tables": [dataclasses.asdict(table) for table in page.tables if table.id != "claims"],
  }


def _comparison_json(test: Comparison) -> dict[str, Any]:
  s = test.summary
  # JSON has no NaN.
  mean, sd, low, high = (x if math.isfinite(x) else None for x in (s.mean, s.sd, s.low, s.high))
  numbers = {"n": s.n, "mean": mean, "sd": sd, "interval_95": [low, high], "bound": test.bound}
  side = "above" if test.sign > 0 else "below"
  return {"what": test.what, "verdict": test.verdict, **numbers, "claimed_side": side}


def _results_json(sweep: SweepResults) -> list[dict[str, Any]]:
  """Returns the content of results.json: the final metrics of every run of every cell."""

  def run_json(cell: results.CellResults, seed: int) -> dict[str, Any]:
    result = cell.results[seed]
    run = {"seed": seed, "config_hash": cell.workdirs[seed].name, "status": cell.statuses[seed]}
    return run | {"final": result["final"] if result else None}

  return [
    {"cell": cell.name, "runs": [run_json(cell, seed) for seed in cell.results]}
    for cell in sweep.cells
  ]
