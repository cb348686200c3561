"""What the votes of several annotators say."""

import numpy as np

from lsjax import estimate
from lsjax.advice.noise.findings import (
  LEVEL,
  RESAMPLES,
  Answer,
)
from lsjax.advice.noise.joints import joint_of, rows_of
from lsjax.estimate import Interval

_MOST_VOTED = 5000  # examples whose votes are drawn anew for intervals, so that it takes seconds


def by_votes(ballots: np.ndarray, posterior: np.ndarray, labels: np.ndarray, seed: int) -> Answer:
  """Returns what the votes, the network's among them, say of the label that was made of them.

  For intervals examples are drawn anew, and what is known of the annotators is estimated anew.
  """
  rng = np.random.default_rng(seed)
  joint = joint_of(posterior, labels)
  size, count = len(joint), len(labels)
  resamples, rates = [], []
  for _ in range(RESAMPLES):
    rows = rng.integers(count, size=min(count, _MOST_VOTED))
    drawn = estimate.votes(
      ballots[rows], size, pseudocount=1 / size, max_steps=100, tolerance=1e-5
    ).posterior
    pairs = joint_of(np.eye(size)[estimate.drawn_classes(drawn, rng)], labels[rows])
    resamples.append(rows_of(pairs))
    rates.append(1 - np.trace(pairs))
  low, high = np.quantile(rates, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
  rate = float(1 - np.trace(joint))
  return Answer(
    Interval(rate, min(float(low), rate), max(float(high), rate), LEVEL),
    posterior,
    rows_of(joint),
    joint.sum(axis=1),
    np.array(resamples),
    "votes",
    "several labels of each example, and the network's as one more, tell how sure they are",
    "Mistakes that annotators share on an example cannot be told from its true class.",
  )
