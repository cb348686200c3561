"""Writes the tables of the pages that come from a report: python docs/tools/results.py

A table on a page stands between a marker and `<!-- end -->`. The marker names the report, the
table in it, the columns to show and, if only some rows are shown, the values of a column:

    <!-- results/digits table_a: loss; paper, CIFAR-10 | loss = CE, LS 0.1 -->

The table `verdicts` has a row per claim, the table `helps` a row per method. The names of several
reports, joined by a plus sign, make tables with a column for each of them: `verdicts` and `claims`
at the final step. `cases`, `totals` and `estimators` are about benchmarks/advice.py,
`published_ranking` and `orderings` about a leaderboard on the labels of CIFAR-10N, `lines` about
an attack (tests/attack). tests/test_docs.py checks that the pages are up to date.
"""

import json
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(pathlib.Path(__file__).parent)]  # wherever it is started from

import advice_tables  # noqa: E402
import published  # noqa: E402


def lines(directory: pathlib.Path) -> dict[str, Any]:
  """Returns the table of an attack: what was tried, handled and lost, with sums."""
  counts = ("tried", "handled", "lost", "seconds")
  found = [*json.loads(directory.with_suffix(".json").read_text())["lines"].values()]
  sums = {"what": "all", **{count: sum(one[count] for one in found) for count in counts}}
  rows = [[one["what"], *(f"{one[count]:,.0f}" for count in counts)] for one in (*found, sums)]
  return {"id": "lines", "header": ["what", *counts], "rows": rows}


def kernels(directory: pathlib.Path) -> dict[str, Any]:
  """Returns the table of the kernels of a step, with predicted times."""
  parts = ("convolution", "preparing convolutions", "BatchNorm", "optimizer", "input", "rest")
  predicted = [
    f"predicted {what}, {gpu}" for gpu in ("h100", "h200") for what in ("ms", "run-steps/s")
  ]
  header = [
    "program",
    "kernels",
    "launches",
    *parts,
    "MiB",
    "GFLOP",
    *(p.replace("h", "H") for p in predicted),
  ]
  rows = []
  for row in json.loads((directory / "kernels.json").read_text())["rows"]:
    details = row["details"]
    rows.append(
      [row["name"].split()[-1], f"{row['value']['median']:.0f}", f"{details['launches']:.0f}"]
      + [f"{details.get(f'kernels, {part}', 0):.0f}" for part in parts]
      + [f"{details[key]:,.0f}" for key in ("mib", "gflop")]
      + [f"{details[key]:,.{2 if 'ms' in key else 0}f}" for key in predicted]
    )
  return {"id": "kernels", "header": header, "rows": rows}


def speeds(directory: pathlib.Path) -> dict[str, Any]:
  """Returns the measured speeds of programs on a GPU beside the predicted ones."""
  rows = []
  predicted = json.loads((ROOT / "results/benchmarks/kernels.json").read_text())["rows"]
  times = {row["name"]: 1e3 / row["details"]["predicted run-steps/s, h100"] for row in predicted}
  for file in ("batch_norm_resnet32", "packing_resnet32"):
    for row in json.loads((directory / f"{file}.json").read_text())["rows"]:
      model, dtype, kind, _, width, *norm = row["name"].split()
      program = "+".join((f"{kind}:{width}", *norm))
      by_default = "paired" if kind == "vmap" else "flax"
      name = f"{model} {dtype} {program.removesuffix(f'+{by_default}')}"
      if name not in times or (not norm and width in ("1", "4")):
        continue  # the other file has it beside Flax's BatchNorm
      speed = row["value"]
      time = int(width) * times[name]
      measured = int(width) * 1e3 / speed["median"]
      spread = f"{speed['min']:,.0f} to {speed['max']:,.0f}"
      shown = program if norm else f"{program}+{by_default}"
      row_of = (f"{time:.2f}", f"{measured:.2f}", f"{measured / time:.2f}")
      rows.append([shown, *row_of, f"{speed['median']:,.0f}", spread])
  header = ["program", "predicted ms", "measured ms", "ratio", "run-steps/s", "min to max"]
  return {"id": "speeds", "header": header, "rows": rows}


# Tables that do not come from a report, by their names: functions of the directory of results.
OTHERS: dict[str, Callable[[pathlib.Path], dict[str, Any]]] = {
  "cases": advice_tables.cases,
  "totals": advice_tables.totals,
  "estimators": advice_tables.estimators,
  "published_ranking": published.ranking,
  "orderings": published.orderings,
  "lines": lines,
  "kernels": kernels,
  "speeds": speeds,
}
PAGES = (
  ROOT / "README.md",
  *sorted((ROOT / "docs").glob("*.md")),
  ROOT / "results/gpu/h100/README.md",
)
# What the claims say, in a few words.
_SHORT = {
  "C1": "LS beats CE",
  "C2": "LS is close to FC, above BC",
  "C3": "an alpha above the noise rate helps more",
  "C4": "LS denoises",
  "C5": "a small alpha keeps LS calibrated; FC, BC are not",
  "C6": "LS is shrinkage",
  "C7": "LS moves a 2-D boundary back",
  "C8": "LS and FC teachers are better under noise",
  "C9": "and LS teachers worse without",
}
# How a heading calls the noise that is said in the statements of a report.
_NOISES = {"20 % noise": "20 % symmetric noise"}
_MARKED = re.compile(
  r"(<!-- (results/[\w+/]+) (\w+)(?:: (.*?))?(?: \| (.*?))? -->\n).*?(<!-- end -->)", re.DOTALL
)


def verdicts(report: dict[str, Any]) -> dict[str, Any]:
  """Returns a table with a row per claim and its verdict in every setting."""
  settings = list(dict.fromkeys(name for claim in report["claims"] for name in claim["settings"]))
  rows = [
    [claim["id"], claim["text"].strip()]
    + [
      claim["settings"].get(name, {}).get("verdict", claim["verdict"] if i == 0 else "-")
      for i, name in enumerate(settings)
    ]
    for claim in report["claims"]
  ]
  return {"id": "verdicts", "header": ["claim", "what it says", *settings], "rows": rows}


def helps(report: dict[str, Any]) -> dict[str, Any]:
  """Returns a table of the noises under which each method is told from cross-entropy."""
  header: list[str] = ["loss"]
  rows: list[list[str]] = []
  for gains in [t for t in report["tables"] if t["id"] == "gains_by_noise"]:
    columns = [heading.rsplit(", ", 1) for heading in gains["header"][1:]]
    selections = list(dict.fromkeys(selection for _, selection in columns))
    sides = (("better", 1), ("worse", -1))
    header += [f"{side} than CE, {selection}" for selection in selections for side, _ in sides]
    for label, *cells in gains["rows"]:
      row = [label]
      for selection in selections:
        for _, sign in sides:
          told = [
            noise
            for (noise, at), cell in zip(columns, cells, strict=True)
            if at == selection and cell["bold"] and sign * cell["mean"] > 0
          ]
          row.append(", ".join(told) or "-")
      rows.append(row)
  return {"id": "helps", "header": header, "rows": rows}


def side_by_side(reports: list[dict[str, Any]], id: str) -> dict[str, Any]:
  """Returns a table of claims, or of their statements, with a column for each report.

  Args:
    reports: the reports.
    id: "verdicts" for a row per claim, or "verdicts_short" with fewer words; "claims" for a row per
      statement.
  """
  found: dict[tuple[str, str], list[str]] = {}
  id, is_short = ("verdicts", True) if id == "verdicts_short" else (id, False)
  header = ["claim", "what it says" if id == "verdicts" else "statement"]
  for i, report in enumerate(reports):
    tables = [verdicts(report), *report["tables"]]
    (one,) = [t for t in tables if t["id"] == id]
    at, claim = one["header"].index("final step"), ""
    first = report["claims"][0]["settings"]["final step"]["tests"][0]["what"]
    noise = first.rpartition(", ")[2]  # of the column, and no part of its statements
    header.append(f"{report['label']}, {_NOISES.get(noise, noise)}")
    for row in one["rows"]:
      claim = row[0] or claim
      statement = row[1].replace(f", {noise}", "")
      cells = found.setdefault((claim, statement), ["-"] * len(reports))
      cells[i] = row[at].split("; about")[0]
  order = sorted(found, key=lambda key: key[0])
  rows = [[key[0], _SHORT[key[0]] if is_short else key[1], *found[key]] for key in order]
  return {"id": id, "header": header, "rows": rows}


def table(name: str, id: str, columns: str | None, wanted: str | None) -> str:
  """Returns a table of a report in Markdown, with some columns and rows.

  Args:
    name: the directory of the report; further names in results/ behind plus signs.
    id: the id of the table, or "verdicts".
    columns: headings separated by semicolons; None for all.
    wanted: "heading = value, value"; None for all rows.
  """
  first, *others = name.split("+")
  if id in OTHERS:
    return shown_of(OTHERS[id](ROOT / first), columns, wanted)
  paths = [ROOT / first, *(ROOT / "results" / other for other in others)]
  reports = [json.loads((path / "report.json").read_text()) for path in paths]
  if others:
    found = side_by_side(reports, id)
  else:
    (report,) = reports
    (found,) = [t for t in [verdicts(report), helps(report), *report["tables"]] if t["id"] == id]
  return shown_of(found, columns, wanted)


def shown_of(found: dict[str, Any], columns: str | None, wanted: str | None) -> str:
  """Returns some columns and rows of a table in Markdown; see `table` for the arguments."""
  header = found["header"]
  rows = [[e["text"] if isinstance(e, dict) else e for e in row] for row in found["rows"]]
  if wanted:
    heading, _, values = wanted.partition(" = ")
    allowed = values.split(", ")
    rows = [row for row in rows if row[header.index(heading)] in allowed]
  shown = columns.split("; ") if columns else header
  picked = [header.index(heading) for heading in shown]
  lines = [shown, ["---"] * len(shown), *([row[i] for i in picked] for row in rows)]
  return "".join("| " + " | ".join(x.replace("|", "\\|") for x in line) + " |\n" for line in lines)


def updated(text: str) -> str:
  """Returns a page with its tables made anew."""
  return _MARKED.sub(lambda m: m[1] + table(m[2], m[3], m[4], m[5]) + m[6], text)


if __name__ == "__main__":
  for page in PAGES:
    old = page.read_text()
    if (new := updated(old)) != old:
      page.write_text(new)
      print(page.relative_to(ROOT))
