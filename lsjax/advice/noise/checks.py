"""What labels that somebody checked say."""

import dataclasses

import numpy as np

from lsjax import estimate
from lsjax.advice.noise.findings import (
  LEVEL,
  RESAMPLES,
  Answer,
)
from lsjax.advice.noise.joints import joint_of, rows_of, with_rate
from lsjax.advice.problem import Problem
from lsjax.estimate import Interval

# An entry of T that nobody checked is known to within a half: as if 4 examples had been counted.
_LIKE_COUNTED = 4.0


def by_checks(problem: Problem, before: np.ndarray, estimator: str, seed: int) -> Answer:
  """Returns what the checked labels say, with the help of the posterior from before them."""
  labels, chosen, chances = problem.labels, problem.checked, problem.sample.chances
  found, count = problem.true_labels[chosen], len(labels)
  rng = np.random.default_rng(seed)
  some = np.arange(count)
  if count > 10_000:  # enough for means whose error is that of the checked labels
    some = np.union1d(rng.permutation(count)[:10_000], chosen)

  given = before[np.arange(count), labels]

  def answered(rows: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, Interval]:
    """Returns posterior, joint and rate by the checked examples `rows` and all of `which`."""
    at = np.searchsorted(which, chosen[rows])
    posterior = estimate.recalibrate(
      before[which], labels[which], at, found[rows], 1 / chances[rows]
    )
    # The predictions are those before the checked labels were seen, or else the interval would
    # count the fit to these labels as knowledge.
    sample = estimate.Sample(chosen[rows], chances[rows])
    is_wrong = found[rows] != labels[chosen[rows]]
    rate = estimate.checked_mean(1 - given, sample, is_wrong, level=LEVEL)
    rate = dataclasses.replace(rate, estimate=float(np.clip(rate.estimate, 0, 1)))
    if not is_wrong.any():
      # Then no number varies, and the rule of three takes the place of Student's t.
      most = -np.log((1 - LEVEL) / 2) / (chances[rows].min() * count)
      rate = dataclasses.replace(rate, low=0.0, high=max(rate.high, min(float(most), 1.0)))
    return posterior, with_rate(joint_of(posterior, labels[which]), rate.estimate), rate

  every = np.arange(len(chosen))
  posterior, joint, rate = answered(every, np.arange(count))
  # Which classes are mistaken for one another is known from the network, and from the few mistakes
  # that were found: each entry varies as if that many had been counted.
  counted = _LIKE_COUNTED + len(chosen) * joint
  resamples = []
  for _ in range(RESAMPLES):
    _, drawn, of_rate = answered(rng.choice(every, len(every)), some)
    factors = rng.standard_gamma(counted) / counted
    resamples.append(rows_of(with_rate(drawn * factors, of_rate.estimate)))
  return Answer(
    rate,
    posterior,
    rows_of(joint),
    joint.sum(axis=1),
    np.array(resamples),
    f"{len(chosen)} checked labels with {estimator}",
    "labels that somebody checked tell noise from overlap, whatever the network says",
    "The interval of the rate holds whatever the network says; entries of T lean on the network "
    "where few labels of a class were checked.",
  )
