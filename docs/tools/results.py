"""Writes the tables of the pages that come from a report: python docs/tools/results.py

A table on a page stands between a marker and `<!-- end -->`. The marker names the report, the
table in it, the columns to show and, if only some rows are shown, the values of a column:

    <!-- results/digits table_a: loss; paper, CIFAR-10 | loss = CE, LS 0.1 -->

The table `verdicts` has a row per claim, the table `helps` a row per method. The names of several
reports, joined by a plus sign, make tables with a column for each of them: `verdicts` and `claims`
at the final step. The table `cases` has a row per case of benchmarks/advice.py, and `totals` counts
what was reached. The table `lines` is that of an attack (tests/attack). tests/test_docs.py checks
that the pages are up to date.
"""

import json
import pathlib
import re
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_MARKED = re.compile(
  r"(<!-- (results/[\w+]+) (\w+)(?:: (.*?))?(?: \| (.*?))? -->\n).*?(<!-- end -->)", re.DOTALL
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
    id: "verdicts" for a row per claim, "claims" for a row per statement.
  """
  found: dict[tuple[str, str], list[str]] = {}
  for i, report in enumerate(reports):
    tables = [verdicts(report), *report["tables"]]
    (one,) = [t for t in tables if t["id"] == id]
    at, claim = one["header"].index("final step"), ""
    for row in one["rows"]:
      claim = row[0] or claim
      cells = found.setdefault((claim, row[1]), ["-"] * len(reports))
      cells[i] = row[at].split("; about")[0]
  order = sorted(found, key=lambda key: key[0])
  rows = [[*key, *found[key]] for key in order]
  second = "what it says" if id == "verdicts" else "statement"
  return {"id": id, "header": ["claim", second, *(r["label"] for r in reports)], "rows": rows}


def cases(directory: pathlib.Path) -> dict[str, Any]:
  """Returns a table of the cases of the benchmark of the advice, beside cleanlab's numbers."""

  def both(own: float | None, other: float | None, form: str) -> str:
    return " / ".join("-" if x is None else form.format(x) for x in (own, other))

  rows = []
  for path in sorted(directory.glob("*.json")):
    case = json.loads(path.read_text())
    own, other, chosen = case["advice"], case["cleanlab"] or {}, case["methods"]
    expected, checked = chosen["expected"], case.get("checked")
    interval = "refused"
    if expected:
      interval = f"{100 * expected['low']:.1f} to {100 * expected['high']:.1f}"
    rows.append(
      [
        case["data"].replace("_", " "),
        case["noise"].replace("_", " "),
        f"{100 * case['true_rate']:.1f}",
        f"{100 * own['rate']:.1f} [{100 * own['rate_low']:.1f}, {100 * own['rate_high']:.1f}]",
        f"{100 * other['rate']:.1f}" if other else "-",
        both(own["transition_error"], other.get("transition_error"), "{:.4f}"),
        both(own["auroc"], other.get("auroc"), "{:.3f}"),
        f"{100 * checked['mean_rate_error']:.1f} ({100 * checked['covered']:.0f} %)"
        if checked
        else "-",
        both(checked and checked["transition_error"], None, "{:.4f}").split(" /")[0],
        chosen["recommended"],
        interval,
        f"{100 * chosen['clean_accuracy']:.1f}",
        f"{100 * chosen['regret']:.1f}",
        "-" if case["seconds"] is None else f"{case['seconds']:.0f}",
      ]
    )
  header = (
    *("data", "noise", "wrong labels, %", "advice, %", "cleanlab, %"),
    *("error of T, advice / cleanlab", "AUROC of suspects, advice / cleanlab"),
    *("error of the rate with checked labels, points (covered)", "error of T with checked labels"),
    *("recommended", "expected accuracy, %", "true accuracy, %", "regret, points", "seconds"),
  )
  return {"id": "cases", "header": list(header), "rows": rows}


def totals(directory: pathlib.Path) -> dict[str, Any]:
  """Returns a table of what the advice reached in how many cases of its benchmark."""
  found = [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]

  def off(case: dict[str, Any], whose: str) -> float:
    return abs(case[whose]["rate"] - case["true_rate"])

  def holds(interval: dict[str, float] | None, value: float) -> bool | None:
    return interval and interval["low"] <= value <= interval["high"]

  def ranges(case: dict[str, Any]) -> dict[str, float]:
    return {end: case["advice"][f"rate_{end}"] for end in ("low", "high")}

  asked = {
    "the range holds the rate": lambda c: holds(ranges(c), c["true_rate"]),
    "the rate is nearer than cleanlab's": lambda c: off(c, "advice") < off(c, "cleanlab"),
    "the error of T is smaller than cleanlab's": (
      lambda c: c["advice"]["transition_error"] < c["cleanlab"]["transition_error"]
    ),
    "with checked labels it is at most half of cleanlab's": (
      lambda c: c["checked"]["transition_error"] <= c["cleanlab"]["transition_error"] / 2
    ),
    "with checked labels the mean error of the rate is at most 3 points": (
      lambda c: c["checked"]["mean_rate_error"] <= 0.03
    ),
    "with checked labels the range holds the rate in at least 90 % of the draws": (
      lambda c: c["checked"]["covered"] >= 0.9
    ),
    "the AUROC of suspects is at least cleanlab's": lambda c: (
      None if c["advice"]["auroc"] is None else c["advice"]["auroc"] >= c["cleanlab"]["auroc"]
    ),
    "the range of the accuracy, where there is one, holds it": (
      lambda c: holds(c["methods"]["expected"], c["methods"]["clean_accuracy"])
    ),
    "the regret is at most 1 point": lambda c: c["methods"]["regret"] <= 0.01,
  }
  rows = []
  for what, ask in asked.items():
    answers = [answer for answer in map(ask, found) if answer is not None]
    rows.append([what, f"{sum(answers)} of {len(answers)}"])
  return {"id": "totals", "header": ["what", "cases"], "rows": rows}


def lines(path: pathlib.Path) -> dict[str, Any]:
  """Returns the table of an attack: what was tried, handled and lost, with sums."""
  counts = ("tried", "handled", "lost", "seconds")
  found = [*json.loads(path.read_text())["lines"].values()]
  sums = {"what": "all", **{count: sum(one[count] for one in found) for count in counts}}
  rows = [[one["what"], *(f"{one[count]:,.0f}" for count in counts)] for one in (*found, sums)]
  return {"id": "lines", "header": ["what", *counts], "rows": rows}


def table(name: str, id: str, columns: str | None, wanted: str | None) -> str:
  """Returns a table of a report in Markdown, with some columns and rows.

  Args:
    name: the directory of the report; further names in results/ behind plus signs.
    id: the id of the table, or "verdicts".
    columns: headings separated by semicolons; None for all.
    wanted: "heading = value, value"; None for all rows.
  """
  first, *others = name.split("+")
  if id in ("cases", "totals"):
    return shown_of({"cases": cases, "totals": totals}[id](ROOT / first), columns, wanted)
  if id == "lines":
    return shown_of(lines(ROOT / f"{first}.json"), columns, wanted)
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
