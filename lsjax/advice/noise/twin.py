"""Twins of a problem, whose noise is known, on which estimators show their bias."""

import dataclasses

import numpy as np

from lsjax import estimate
from lsjax.advice.noise.findings import Findings, Twin
from lsjax.advice.problem import UNKNOWN, Problem

_MOST = 10_000  # examples of a twin: the error of a rate is then below half a point


def draw(problem: Problem, found: Findings, seed: int) -> tuple[Problem, np.ndarray, np.ndarray]:
  """Draws a twin of a problem: its inputs, with labels whose noise is known.

  The true class of an example is drawn from its posterior, and its label from that class's row of
  the estimated T. So the classes overlap as in the problem, and the noise is of that T.

  Args:
    problem: the examples.
    found: what is known of the noise.
    seed: the seed of all draws.

  Returns:
    The twin, without votes and checked labels; its true classes, int64 [M]; and its examples'
    positions in the problem, [M], where M is 10,000 at most.
  """
  rng = np.random.default_rng(seed)
  rows = np.sort(rng.permutation(len(problem))[:_MOST])
  true = estimate.drawn_classes(found.posterior[rows], rng)
  twin = dataclasses.replace(
    problem,
    inputs=problem.inputs[rows],
    labels=estimate.drawn_classes(found.transition[true], rng).astype(np.int32),
    ids=problem.ids[rows],
    true_labels=np.full(len(rows), UNKNOWN, np.int32),
    chances=np.full(len(rows), np.nan),
    votes=None,
    columns=None,
  )
  return twin, true, rows


def mean_of(twins: list[tuple[float, Findings]]) -> Twin:
  """Returns the means over twins, each given as its noise rate and what was found on it."""
  named = [{one.name: one.rate for one in found.estimates} for _, found in twins]
  return Twin(
    rate=float(np.mean([rate for rate, _ in twins])),
    found=float(np.mean([found.rate.estimate for _, found in twins])),
    by_estimator={name: float(np.mean([one[name] for one in named])) for name in named[0]},
    draws=len(twins),
  )
