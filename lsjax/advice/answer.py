"""The answer of an advice as numbers: the content of advice.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsjax.advice.noise import Findings, Twin
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
  return {
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
        "on_twin": found.twin.by_estimator.get(e.name) if found.twin else None,
        "matrix": e.transition.round(6).tolist(),
        "note": e.note,
      }
      for e in found.estimates
    ],
    "twin": _twin(found.twin),
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


def _twin(found: Twin | None) -> dict[str, Any] | None:
  if found is None:
    return None
  return {"noise_rate": found.rate, "found": found.found, "draws": found.draws}


def _suspects(found: Findings) -> dict[str, Any]:
  ordered = found.wrong[np.argsort(-found.score, kind="stable")]
  most = int((found.wrong > 0.5).sum())
  cuts = sorted({c for c in _CUTS if c < len(ordered)} | ({most} if most else set()))
  return {
    "expected": float(found.wrong.sum()),
    "likely": most,
    "precision": [
      {"count": c, "precision": float(ordered[:c].mean())} for c in cuts if c <= max(most, _CUTS[0])
    ],
  }


def interval(found: Interval | None) -> dict[str, float | None]:
  """Returns an interval as JSON values; None for each of them where there is none."""
  if found is None:
    return {"estimate": None, "low": None, "high": None}
  return {"estimate": found.estimate, "low": found.low, "high": found.high}
