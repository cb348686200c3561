"""The answer of an advice: the content of advice.json, and the sentences that say it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsjax.advice.noise import Findings
from lsjax.advice.problem import Problem
from lsjax.advice.ranking import Judged
from lsjax.advice.sizes import Sizes
from lsjax.estimate import Interval

_CUTS = (10, 50, 100, 500, 1000)  # numbers of suspects for which the expected precision is given


def content(
  problem: Problem,
  sizes: Sizes,
  found: Findings,
  judged: Sequence[Judged],
  curves: Mapping[str, Mapping[int, float]],
  final: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns the content of advice.json.

  Args:
    problem: the examples.
    sizes: what all runs have in common.
    found: what is known of the noise.
    judged: the ways to train, the best first.
    curves: the accuracy on held-out noisy labels by method and step.
    final: the recommended model: `workdir`, and `test_accuracy`, an interval or None.
  """
  best = judged[0]
  answer = {
    "data": {
      "name": problem.name,
      "examples": len(problem),
      "classes": list(problem.classes),
      "inputs": list(problem.inputs.shape[1:]),
      "is_image": problem.is_image,
      "annotators": list(problem.annotators),
      "checked": len(problem.checked),
      "test_examples": 0 if problem.test_labels is None else len(problem.test_labels),
      "notes": list(problem.notes),
    },
    "noise_rate": interval(found.rate),
    "identified": found.identified,
    "estimates": [
      {
        "estimator": e.name,
        "noise_rate": e.rate,
        "matrix": e.transition.round(6).tolist(),
        "note": e.note,
      }
      for e in found.estimates
    ],
    "transition": {
      "estimator": found.estimator,
      "reason": found.reason,
      "matrix": found.transition.round(6).tolist(),
      "low": found.transition_low.round(6).tolist(),
      "high": found.transition_high.round(6).tolist(),
    },
    "class_conditional": {
      "verdict": found.class_conditional.verdict,
      "p": found.class_conditional.p,
      "about": found.class_conditional.sentence,
    },
    "suspects": _suspects(found),
    "recommended": {
      "method": best.entry.name,
      "parameters": dict(best.entry.changes),
      "stop_step": best.entry.step,
      "stopped_early": best.entry.moment != "end",
      **final,
    },
    "expected_accuracy": interval(best.accuracy) | {"why": best.refused},
    "ranking": [row(one) for one in judged],
    "curves": {name: [list(point) for point in curve.items()] for name, curve in curves.items()},
    "folds": sizes.folds,
    "seeds": sizes.seeds,
    "steps": sizes.num_steps,
    "model": sizes.model,
    "left_out": list(sizes.left_out),
  }
  return {"answer": sentences(answer), **answer}


def row(one: Judged) -> dict[str, Any]:
  """Returns a row of the ranking."""
  return {
    "method": one.entry.name,
    "moment": one.entry.moment,
    "step": one.entry.step,
    "noisy_accuracy": one.entry.noisy_accuracy,
    "clean_accuracy": interval(one.accuracy),
    "clean_nll": one.nll,
    "clean_ece": one.ece,
    "behind": interval(one.behind),
    "tied": one.is_tied,
    "why": one.refused,
  }


def sentences(answer: dict[str, Any]) -> list[str]:
  """Returns the answers to a person's five questions, a text each."""
  rate, count = answer["noise_rate"], answer["data"]["examples"]
  noisy = (
    f"{_percent(rate)} of the {count:,} labels are wrong, {_range(rate)}. {answer['identified']}"
  )
  suspects = answer["suspects"]
  wrong = f"About {suspects['expected']:,.0f} labels are more likely wrong than right."
  if suspects["precision"]:
    first = suspects["precision"][-1]
    wrong += (
      f" Of the {first['count']:,} most suspicious labels {100 * first['precision']:.0f} % are "
      "expected to be wrong."
    )
  return [noisy, wrong, _recommendation(answer), _accuracy(answer), _model(answer)]


def _recommendation(answer: dict[str, Any]) -> str:
  best, rows = answer["recommended"], answer["ranking"]
  when = f"and stop at step {best['stop_step']}" if best["stopped_early"] else "to the last step"
  text = f"Train with {best['method']} {when}."
  tied = [f"{r['method']} ({r['moment']})" for r in rows[1:] if r["tied"]]
  if tied:
    text += f" These cannot be told apart from it: {', '.join(tied)}."
  return text


def _accuracy(answer: dict[str, Any]) -> str:
  expected = answer["expected_accuracy"]
  if expected["estimate"] is None:
    return f"The accuracy on clean labels cannot be said: {expected['why']}."
  text = f"Expected accuracy on clean labels: {_percent(expected)}, {_range(expected)}."
  base = [r for r in answer["ranking"] if r["method"] == "CE" and r["moment"] == "end"]
  if base and base[0]["clean_accuracy"]["estimate"] is not None:
    text += f" Cross-entropy to the last step: {_percent(base[0]['clean_accuracy'])}."
  test = answer["recommended"]["test_accuracy"]
  if test["estimate"] is not None:
    text += f" Measured on the clean test set: {_percent(test)}, {_range(test)}."
  return text


def _model(answer: dict[str, Any]) -> str:
  return (
    f"The model is trained on all {answer['data']['examples']:,} examples and lies in "
    f"{answer['recommended']['workdir']}; recommended.py is its config."
  )


def _suspects(found: Findings) -> dict[str, Any]:
  ordered = found.wrong[np.argsort(-found.score, kind="stable")]
  most = int((found.wrong > 0.5).sum())
  cuts = sorted({c for c in _CUTS if c < len(ordered)} | ({most} if most else set()))
  return {
    "expected": most,
    "precision": [
      {"count": c, "precision": float(ordered[:c].mean())} for c in cuts if c <= max(most, _CUTS[0])
    ],
  }


def interval(found: Interval | None) -> dict[str, float | None]:
  """Returns an interval as JSON values; None for each of them where there is none."""
  if found is None:
    return {"estimate": None, "low": None, "high": None}
  return {"estimate": found.estimate, "low": found.low, "high": found.high}


def _percent(interval: dict[str, Any]) -> str:
  return f"{100 * interval['estimate']:.1f} %"


def _range(interval: dict[str, Any]) -> str:
  return f"with 95 % confidence {100 * interval['low']:.1f} to {100 * interval['high']:.1f} %"
