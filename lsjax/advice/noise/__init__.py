"""How noisy the labels of a problem are: rate, T, which labels are wrong, and how sure that is.

`find` answers from the best of what there is. What is known comes as `findings.Findings`, by way of
an `Answer` of the labels alone (`unchecked`, with the noise layer in `layers` and the test in
`dependence`), of annotators (`votes`) or of checked labels (`checks`).
"""

import dataclasses

import numpy as np
import threadpoolctl
from scipy import special

from lsjax import estimate
from lsjax.advice.noise.checks import by_checks
from lsjax.advice.noise.dependence import dependence_of
from lsjax.advice.noise.findings import (
  ALONE,
  EXAMPLE,
  UNKNOWN,
  Dependence,
  Findings,
  NamedEstimate,
  Twin,
  findings_of,
  with_known,
)
from lsjax.advice.noise.joints import joint_of, rows_of
from lsjax.advice.noise.layers import Layers
from lsjax.advice.noise.twin import draw, mean_of
from lsjax.advice.noise.unchecked import by_labels, by_nothing, says_nothing
from lsjax.advice.noise.votes import by_votes
from lsjax.advice.problem import Problem

__all__ = [
  "ALONE",
  "EXAMPLE",
  "UNKNOWN",
  "Dependence",
  "Findings",
  "NamedEstimate",
  "Twin",
  "find",
  "with_checks",
  "with_known",
  "with_twin",
]

# Many small products: beside other processes, BLAS's threads would wait for one another at each.
_one_thread = threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
# Below this number of checked labels, their interval is longer than what is known without them.
_LEAST_CHECKED = 30
# Of an example, besides the network's: two in all do not tell annotators apart (`estimate.votes`).
_LEAST_VOTES = 2
_NEIGHBOURS, _MOST_CLASSES = 4000, 30  # of `hoc`, so that it takes seconds
_TWINS = 3


@_one_thread
def find(problem: Problem, logits: np.ndarray, *, seed: int) -> Findings:
  """Finds how noisy the labels of a problem are, from the best of what there is.

  Labels that somebody checked come first, then two or more votes of each example, and then the
  noise layer (see `estimate.noise_layer`), whose rate is too low if sure examples are rarely
  mislabelled, together with the confident joint, whose rate is too high where classes overlap.

  Args:
    problem: the examples and labels.
    logits: logits of the given label, [N, L], by networks that were not trained on the example.
    seed: seed of all draws.

  Returns:
    The findings. It takes some ten seconds for 50,000 examples of 10 classes.

  Raises:
    ValueError: if the logits do not fit the problem.
  """
  labels, size = problem.labels, len(problem.classes)
  if np.shape(logits) != (len(problem), size):
    raise ValueError(f"logits must have shape {[len(problem), size]}, not {list(np.shape(logits))}")
  z = np.asarray(logits, np.float64)
  q = special.softmax(z / estimate.temperature(z, labels), axis=1)
  joint = estimate.confident_joint(q, labels)
  layers = Layers.of(z, q, labels, joint.transition, seed)
  layer = layers.chosen
  dependence = dependence_of(layer, joint.rate, len(problem), seed)
  ballots, votes = None, None
  if problem.votes is not None and np.median((problem.votes >= 0).sum(axis=1)) >= _LEAST_VOTES:
    # The network votes too: it did not see the example, and knows what annotators do not.
    ballots = np.column_stack([problem.votes, q.argmax(axis=1)])
    votes = estimate.votes(ballots, size, pseudocount=1 / size)
  score = None
  estimates = _estimates(problem, q, joint, layer, votes, seed)
  if ballots is not None and votes is not None:
    answer = by_votes(ballots, votes.posterior, labels, seed)
  elif says_nothing(q, labels):
    answer = by_nothing(labels, q, joint, seed)
  else:
    score = estimate.suspects(layers.late.probabilities, labels, layers.late.transition).wrong
    answer = by_labels(labels, layers, joint, dependence, seed)
  found = findings_of(answer, labels, estimates, dependence, score)
  return with_checks(problem, found, seed=seed) if len(problem.checked) >= _LEAST_CHECKED else found


@_one_thread
def with_checks(problem: Problem, found: Findings, *, seed: int) -> Findings:
  """Finds how noisy the labels are once some of them are checked.

  Args:
    problem: the examples, some of which are checked.
    found: what is known without these.
    seed: seed of all draws.
  """
  answer = by_checks(problem, found.predicted, found.estimator, seed)
  known = found.estimates, found.class_conditional
  return findings_of(answer, problem.labels, *known, found.score, found.predicted)


def with_twin(problem: Problem, logits: np.ndarray, found: Findings, *, seed: int) -> Findings:
  """Asks every estimator about twins of a problem, whose noise is known.

  The labels of a twin are drawn from what was found. No network is trained again: the estimators
  see the logits of the problem, as they do not depend on the label of their own example. What a
  twin cannot show is noise that depends on the example, of which it has none.

  Args:
    problem: the examples and labels.
    logits: logits of the given label, [N, L], by networks that were not trained on the example.
    found: what was found of the noise.
    seed: the first seed of the twins.

  Returns:
    The findings with their `twin`, or as they were if a twin lacks one of the classes.
  """
  twins = []
  for number in range(_TWINS):
    twin, true, rows = draw(problem, found, seed + number)
    if len(np.unique(twin.labels)) < len(problem.classes):
      return found
    twins.append((float(np.mean(true != twin.labels)), find(twin, logits[rows], seed=seed)))
  return dataclasses.replace(found, twin=mean_of(twins))


def _estimates(
  problem: Problem,
  q: np.ndarray,
  joint: estimate.ConfidentJoint,
  layer: estimate.NoiseLayer,
  votes: estimate.CrowdEstimate | None,
  seed: int,
) -> tuple[NamedEstimate, ...]:
  labels, size = problem.labels, len(problem.classes)
  found = [
    NamedEstimate("noise layer", layer.rate, layer.transition, "misses noise of hard examples"),
    NamedEstimate("confident joint", joint.rate, joint.transition, "counts overlap as noise"),
  ]

  def add(name: str, matrix: np.ndarray, note: str) -> None:
    found.append(NamedEstimate(name, estimate.from_labels(matrix, labels).rate, matrix, note))

  add("anchor", estimate.anchor(q), "relies on the most extreme example of each class")
  add("dual-T", estimate.dual_t(q, labels), "counts the noise twice where probabilities are right")
  true = problem.true_labels[problem.checked]
  if len(np.unique(true)) == size:
    add("GLC", estimate.glc(q[problem.checked], true), "relies on the checked examples of a class")
  if not problem.is_image and size <= _MOST_CLASSES and problem.inputs.any(axis=1).all():
    matrix = estimate.hoc(problem.inputs, labels, size, seed=seed, max_examples=_NEIGHBOURS)
    add("HOC", matrix.transition, "counts neighbours of other classes as noise")
  if votes is not None:
    given = joint_of(votes.posterior, labels)
    found.append(
      NamedEstimate(
        "votes",
        1 - float(np.trace(given)),
        rows_of(given),
        "with the network as one more annotator",
      )
    )
  return tuple(found)
