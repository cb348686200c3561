"""The report of a sweep as files: pages, tables, figures, and the same content as JSON."""

import dataclasses
import json
import math
import os
import sys
from collections.abc import Sequence
from typing import Any

from lsjax import files
from lsjax.reports import archive, captions, figures, formats, leaderboard, reading, results
from lsjax.reports.cell import CellResults
from lsjax.reports.claims import FINAL, MARKS, Claim, Comparison, claims
from lsjax.reports.page import Page, verdict_line
from lsjax.reports.results import ResultsError, SweepResults
from lsjax.reports.statistics import Summary
from lsjax.reports.table import Number, Table
from lsjax.reports.tables import tables

_IMAGES = ("png", "svg", "pdf")
_ALWAYS = ("data.name", "model.name", "loss.name", "loss.alpha", "noise.kind", "noise.rate")
_TOP = 5  # the first places of a leaderboard in a terminal


def write(
  paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
  out: str | os.PathLike[str] | None = None,
) -> str:
  """Writes the report of a sweep or of runs and returns its verdicts as text for a terminal.

  The files are report.md, report.html (one file with the figures inside), report.json (claims
  and tables), results.json (settings and metrics of every run), cells.json (configs of the cells),
  tables/*.csv, tables/*.tex, and figures/*.png, *.svg and *.pdf. The same results give the same
  bytes, and results.json with cells.json gives the same tables.

  Args:
    paths: a sweep directory, work directories of one or more runs, or the directory of a report.
    out: directory to write to; None for the sweep directory, or for report/ in the work directory
      of a single run.

  Raises:
    ResultsError: if a path holds no results, or if several paths have no `out`.
    OSError: if a file cannot be read or written.
  """
  several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
  found = [files.path(path) for path in several]
  if len(found) > 1 and out is None:
    raise ResultsError("--out is missing: where the report of several runs goes")
  if len(found) > 1:
    sweep = results.read_runs(found)
  else:
    sweep = archive.read(found[0]) if archive.is_one(found[0]) else results.read(found[0])
  is_run = len(found) == 1 and (found[0] / "config.json").exists()
  target = files.path(out or (found[0] / "report" if is_run else found[0]))
  for line in sweep.unreadable:
    print(f"lsjax: warning: {line}; it counts as missing", file=sys.stderr)
  judged = claims(sweep)
  drawings, about = figures.draw(sweep), captions.about(sweep)
  page = Page(sweep.name, about, judged, tables(sweep, judged), drawings)
  contents = {f"figures/{d.id}.{end}": d.image(end) for d in drawings for end in _IMAGES}
  texts = {"report.md": page.to_markdown()}
  texts["report.html"] = page.to_html({d.id: contents[f"figures/{d.id}.png"] for d in drawings})
  for table in page.tables:
    texts[f"tables/{table.id}.csv"] = formats.to_csv(table)
    texts[f"tables/{table.id}.tex"] = formats.to_latex(table)
  for name, content in (contents | {name: text.encode() for name, text in texts.items()}).items():
    with files.replacing(target / name) as f:
      f.write(content)
  files.write_json(target / "report.json", _report_json(sweep, page))
  files.write_json(target / archive.CELLS, archive.cells_json(sweep))
  rows = ",\n".join(map(json.dumps, _results_json(sweep)))
  with files.replacing(target / archive.RUNS) as f:  # a line per run
    f.write(f"[\n{rows}\n]\n".encode())
  lines = [f"{c.id}  {MARKS[c.verdict]} {c.verdict:15} {c.text}" for c in judged]
  lines = lines or _standings(sweep)
  lines = [*lines, *about, f"report: {target / 'report.html'}"]
  return "\n".join(reading.plain(line) for line in lines)


def _standings(sweep: SweepResults) -> list[str]:
  """Returns the first places of every leaderboard."""
  lines = []
  for cells in leaderboard.groups(sweep, students=True):
    kind = f"{cells[0].data}, {cells[0].model}, {cells[0].noise}"
    tested = captions.tested_on(cells)
    accuracy = "test accuracy" if tested == "clean test set" else f"test accuracy ({tested})"
    lines.append(f"{kind}: {accuracy}, final step")
    ranked = leaderboard.standings(cells, stopped_early=True)
    for place, found in enumerate(ranked[:_TOP], 1):
      tied = ", cannot be told from the best" if found.is_tied else ""
      number = Number(found.accuracy.scaled(100), note=found.cell.problems)
      lines.append(f"  {place}. {found.name}: {number} %, n = {found.accuracy.n}{tied}")
  return lines


def _report_json(sweep: SweepResults, page: Page) -> dict[str, Any]:
  """Returns the content of report.json: what ran, the claims and the tables."""
  return {
    "sweep": sweep.name,
    "label": sweep.label,
    "environment": sweep.environment,
    "theory": sweep.theory,
    "claims": [_claim_json(claim) for claim in page.claims],
    "tables": [_table_json(table) for table in page.tables],
  }


def _claim_json(claim: Claim) -> dict[str, Any]:
  settings = {
    setting: {
      "verdict": claim.verdict_in(setting),
      "tests": [
        _comparison_json(test, verdict)
        for test, verdict in zip(tests, claim.verdicts(setting), strict=True)
      ],
    }
    for setting, tests in claim.tests.items()
  }
  texts = {"id": claim.id, "text": claim.text, "note": claim.note}
  kind = "mathematics" if claim.is_mathematics else "measurement"
  verdict = {
    "kind": kind,
    "setting": FINAL,
    "verdict": claim.verdict,
    "in_words": verdict_line(claim),
  }
  return {**texts, **verdict, "settings": settings}


def _comparison_json(test: Comparison, verdict: str) -> dict[str, Any]:
  side = "above" if test.sign > 0 else "below"
  claimed = {"bound": test.bound, "claimed_side": side, "note": test.note}
  return {"what": test.what, "verdict": verdict, **_summary_json(test.summary), **claimed}


def _summary_json(s: Summary) -> dict[str, Any]:
  # JSON has no NaN.
  mean, sd, low, high = (x if math.isfinite(x) else None for x in (s.mean, s.sd, s.low, s.high))
  return {"n": s.n, "mean": mean, "sd": sd, "interval_95": [low, high]}


def _table_json(table: Table) -> dict[str, Any]:
  rows = [
    [
      {"text": str(entry), "bold": entry.bold, **_summary_json(entry.summary)}
      if isinstance(entry, Number)
      else entry
      for entry in row
    ]
    for row in table.rows
  ]
  return dataclasses.asdict(dataclasses.replace(table, rows=[])) | {"rows": rows}


def _results_json(sweep: SweepResults) -> list[dict[str, Any]]:
  """Returns the content of results.json: a row for every run, its settings and its metrics.

  A row has the config fields that tell cells apart, and those of method, noise, data and network.
  """
  first: dict[str, str] = {}
  varied: set[str] = set()
  for cell in sweep.cells:
    for name, value in cell.flat.items():
      if (text := repr(value)) != first.setdefault(name, text):
        varied.add(name)
  told = sorted(n for n in first if (n in varied or n in _ALWAYS) and not n.startswith("seed."))
  of_cell = {cell.name: {n: cell.flat[n] for n in told if n in cell.flat} for cell in sweep.cells}

  def row(cell: CellResults, seed: int) -> dict[str, Any]:
    run: dict[str, Any] = {
      "cell": cell.name,
      "candidate_of": cell.candidate_of or None,
      "seed": seed,
    }
    run |= {"config_hash": cell.workdirs[seed].name, "status": cell.statuses[seed]}
    run |= {"method": cell.method, "method_label": cell.label, "noise_label": cell.noise}
    run |= {"alpha": cell.alpha, "teacher_label": cell.teacher or None}
    return {**run, **archive.run_json(cell, seed), "config": of_cell[cell.name]}

  return [row(cell, seed) for cell in sweep.cells for seed in cell.results]
