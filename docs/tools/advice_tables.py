"""Tables of what the benchmark of the advice measured: benchmarks/advice.py."""

import json
import pathlib
from typing import Any


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

  def corrected(case: dict[str, Any]) -> float:
    return case["advice"]["rate"] - (case["twin"]["found"] - case["twin"]["rate"])

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
    "the rate would be nearer if it were corrected by what twins say": lambda c: (
      None if c.get("twin") is None else abs(corrected(c) - c["true_rate"]) < off(c, "advice")
    ),
    "the area under the margin alone would have a larger AUROC": lambda c: (
      None if c.get("area_under_margin") is None else c["area_under_margin"] > c["advice"]["auroc"]
    ),
    "the regret is at most 1 point": lambda c: c["methods"]["regret"] <= 0.01,
  }
  rows = []
  for what, ask in asked.items():
    if answers := [answer for answer in map(ask, found) if answer is not None]:
      rows.append([what, f"{sum(answers)} of {len(answers)}"])
  told = [case for case in found if case.get("twin")]
  errors = {
    "mean error of the rate, points": [off(case, "advice") for case in told],
    "the same, corrected by what twins say": [abs(corrected(c) - c["true_rate"]) for c in told],
  }
  rows += [[what, f"{100 * sum(e) / len(e):.1f}"] for what, e in errors.items() if e]
  return {"id": "totals", "header": ["what", "cases"], "rows": rows}


def estimators(directory: pathlib.Path) -> dict[str, Any]:
  """Returns a table of how far every estimator's rate and T are from the truth, by case."""
  found = [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]
  names = list(dict.fromkeys(name for case in found for name in case["estimators"]))
  rows = []
  for case in found:
    listed = [case["advice"], *(case["estimators"].get(name) for name in names)]
    errors = [
      "-"
      if one is None
      else f"{100 * (one['rate'] - case['true_rate']):+.1f} / {one['transition_error']:.4f}"
      for one in listed
    ]
    named = (case[key].replace("_", " ") for key in ("data", "noise"))
    rows.append([*named, f"{100 * case['true_rate']:.1f}", *errors])
  header = ["data", "noise", "wrong labels, %", "advice", *names]
  return {"id": "estimators", "header": header, "rows": rows}
