"""What is known of the noise of a problem's labels."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from lsjax.estimate import Interval

LEVEL = 0.95
ALONE, EXAMPLE, UNKNOWN = (
  "depends on the class alone",
  "depends on the example",
  "cannot be told",
)
RESAMPLES = 100
# On clean labels, too, networks are sure and wrong on about one example in a hundred that they were
# not trained on (the cases without noise in benchmarks/advice.py).
MISTAKES = 0.01


@dataclasses.dataclass(frozen=True)
class NamedEstimate:
  """What one estimator says.

  Attributes:
    name: the estimator.
    rate: the chance that a label is wrong.
    transition: T[true, noisy], [L, L].
    note: what it counts and what it does not, in a sentence.
  """

  name: str
  rate: float
  transition: np.ndarray
  note: str


@dataclasses.dataclass(frozen=True)
class Dependence:
  """Whether the noise depends on the class alone.

  Attributes:
    verdict: one of `ALONE`, `EXAMPLE` and `UNKNOWN`.
    p: the p-value of the test that wrong labels have nothing to do with the likeness of classes;
      None if there are too few classes.
    sentence: what was compared, and how often such a verdict is wrong.
  """

  verdict: str
  p: float | None
  sentence: str


@dataclasses.dataclass(frozen=True)
class Twin:
  """What estimators say of labels whose noise is known; see `noise.with_twin`.

  Attributes:
    rate: the share of labels that are wrong, mean over the twins.
    found: what is found on them as on the problem, without votes and checked labels, mean.
    by_estimator: what every estimator says, mean, by its name.
    draws: the number of twins.
  """

  rate: float
  found: float
  by_estimator: Mapping[str, float]
  draws: int


@dataclasses.dataclass(frozen=True)
class Findings:
  """What is known of the noise.

  Attributes:
    rate: the chance that a label is wrong, with an interval.
    transition: T[true, noisy], [L, L]: the mean over the examples if it depends on them.
    transition_low: lower ends of the intervals of its entries, [L, L].
    transition_high: upper ends of them, [L, L].
    prior: shares of the true classes, [L].
    estimator: the estimator that is recommended.
    reason: why, in a sentence.
    estimates: what every estimator that applied says.
    class_conditional: whether the noise depends on the class alone.
    posterior: probabilities of the true class given the label, [N, L].
    predicted: the same from before any checked label was seen, [N, L]: what is compared with them.
    wrong: chance that each label is wrong, [N].
    proposed: the most probable true class, int32 [N].
    score: what suspects are ranked by, [N], the most suspicious with the largest.
    identified: what the labels leave open, in a sentence.
    resamples: plausible matrices, [B, L, L].
    twin: what the estimators say of twins of the problem; None if nobody asked.
  """

  rate: Interval
  transition: np.ndarray
  transition_low: np.ndarray
  transition_high: np.ndarray
  prior: np.ndarray
  estimator: str
  reason: str
  estimates: tuple[NamedEstimate, ...]
  class_conditional: Dependence
  posterior: np.ndarray
  predicted: np.ndarray
  wrong: np.ndarray
  proposed: np.ndarray
  score: np.ndarray
  identified: str
  resamples: np.ndarray
  twin: Twin | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
  """The part of the findings that depends on what there is."""

  rate: Interval
  posterior: np.ndarray
  transition: np.ndarray
  prior: np.ndarray
  resamples: np.ndarray
  estimator: str
  reason: str
  identified: str


def findings_of(
  answer: Answer,
  labels: np.ndarray,
  estimates: tuple[NamedEstimate, ...],
  dependence: Dependence,
  score: np.ndarray | None,
  predicted: np.ndarray | None = None,
) -> Findings:
  ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
  low, high = np.quantile(answer.resamples, ends, axis=0)
  # What a network is sure and wrong of may be in any entry.
  spread = MISTAKES / (len(answer.prior) - 1)
  low, high = low - spread, high + spread
  wrong = 1 - answer.posterior[np.arange(len(labels)), labels]
  return Findings(
    rate=answer.rate,
    transition=answer.transition,
    transition_low=np.clip(np.minimum(low, answer.transition), 0, 1),
    transition_high=np.clip(np.maximum(high, answer.transition), 0, 1),
    prior=answer.prior,
    estimator=answer.estimator,
    reason=answer.reason,
    estimates=estimates,
    class_conditional=dependence,
    posterior=answer.posterior,
    predicted=answer.posterior if predicted is None else predicted,
    wrong=wrong,
    proposed=answer.posterior.argmax(axis=1).astype(np.int32),
    score=wrong if score is None else score,
    identified=answer.identified,
    resamples=answer.resamples,
  )


def with_known(found: Findings, true_labels: np.ndarray, labels: np.ndarray) -> Findings:
  """Replaces what is probable of each checked label by what is known.

  Args:
    found: what is known of the noise.
    true_labels: the labels that somebody checked, [N], negative where nobody did.
    labels: the labels as given, [N].
  """
  known = true_labels >= 0
  wrong = (true_labels != labels).astype(float)
  one_hot = np.eye(found.posterior.shape[1])[np.where(known, true_labels, 0)]
  return dataclasses.replace(
    found,
    posterior=np.where(known[:, None], one_hot, found.posterior),
    wrong=np.where(known, wrong, found.wrong),
    proposed=np.where(known, true_labels, found.proposed).astype(np.int32),
    score=np.where(known, wrong, found.score),
  )
