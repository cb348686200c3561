"""True classes, annotators and a transition matrix from several labels of each example."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, special

from lsjax.estimate import checks
from lsjax.estimate.rates import Estimate


@dataclasses.dataclass(frozen=True)
class CrowdEstimate(Estimate):
  """Holds what several labels of each example tell about examples, annotators and noise.

  Attributes:
    transition: Matrix T[true, noisy] of a vote drawn at random among all votes, float64 of shape
      [L, L]; rows sum to 1. Without a pseudocount it is the mean of `confusions`, weighted by how
      many votes each annotator has given on examples of the class.
    prior: Shares of the true classes, float64 of shape [L]; they sum to 1.
    posterior: Probabilities of the true class of each example, float64 of shape [N, L]: soft
      labels. Rows sum to 1.
    confusions: Matrix [true, vote] of each annotator, float64 of shape [A, L, L]; rows sum to 1.
    log_likelihood: Mean over the examples of the log-probability of their votes, in nats, under
      `confusions` and `prior`.
    steps: Number of steps taken.
    converged: Whether the steps ended because the likelihood hardly grew any more.
  """

  posterior: NDArray[np.float64]
  confusions: NDArray[np.float64]
  log_likelihood: float
  steps: int
  converged: bool


def votes(
  votes: ArrayLike,
  num_classes: int,
  *,
  pseudocount: float = 0.0,
  max_steps: int = 1000,
  tolerance: float = 1e-9,
) -> CrowdEstimate:
  r"""Estimates true classes and the confusion matrix of each annotator (Dawid and Skene).

  Given the true class i of an example, which has the probability $p_i$, annotator a votes for j
  with probability $\pi^a_{ij}$, independently of the other annotators. Starting from the shares of
  the votes of each example as its posterior q, each step of expectation-maximisation computes

  $$p_i = \frac{1}{N} \sum_n q_{ni}, \quad
  \pi^a_{ij} \propto c + \sum_{n: v_{na} = j} q_{ni}, \quad
  q_{ni} \propto p_i \prod_a \pi^a_{i v_{na}},$$

  where the product is over the votes that example n has. No step makes the votes less likely (with
  a pseudocount c: less likely together with the confusion matrices). Without a pseudocount, an
  annotator who has no vote on a class is taken to know it: the row is the identity's.

  Two votes of an example do not tell confusion matrices apart: three or more do. Where annotators
  have few votes, a pseudocount keeps chances of 0 from deciding.

  Args:
    votes: Votes of A annotators on N examples, integers of shape [N, A] in [0, L), or -1 where
      there is none. Every example has at least one.
    num_classes: Number of classes L, at least 2.
    pseudocount: Votes that are added to each entry of each annotator's counts, at least 0.
    max_steps: Largest number of steps, at least 1.
    tolerance: The steps end when the mean log-likelihood of an example (with a pseudocount, plus
      that of the matrices) grows by less than this, in nats; at least 0.

  Returns:
    Posterior, confusion matrices, shares and the matrix of a random vote. Each step takes time
    O(V L + A L^2) for V votes in all; memory is O(V + N L + A L^2).

  Raises:
    ValueError: If the votes are not integers in [-1, L) of shape [N, A], if an example has none, or
      if a number is out of range.

  References:
    Dawid and Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm,
    1979, Journal of the Royal Statistical Society C 28, pages 20-28.

  Examples:
    >>> found = votes([[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, -1]], 2)
    >>> found.posterior.round(3)
    array([[1., 0.],
           [1., 0.],
           [0., 1.],
           [0., 1.]])
    >>> found.confusions[2].round(3)  # the third annotator
    array([[0.5, 0.5],
           [1. , 0. ]])
  """
  checks.at_least(num_classes, 2, "num_classes")
  checks.at_least(max_steps, 1, "max_steps")
  if not 0 <= pseudocount < np.inf:
    raise ValueError(f"pseudocount must be a number of at least 0, not {pseudocount}")
  if not 0 <= tolerance < np.inf:
    raise ValueError(f"tolerance must be a number of at least 0, not {tolerance}")
  given = _checked(votes, num_classes)
  num_examples, num_annotators = given.shape
  shape = (num_annotators, num_classes, num_classes)  # [annotator, vote, true]
  examples, annotators = np.nonzero(given >= 0)
  # One column for each vote that an annotator can give.
  columns = annotators * num_classes + given[examples, annotators]
  entries = (np.ones(len(examples)), (examples, columns))
  chosen = sparse.csr_array(entries, shape=(num_examples, num_annotators * num_classes))
  transposed = chosen.T.tocsr()
  shares = _by_class(given, num_classes)
  posterior = shares / shares.sum(axis=1, keepdims=True)
  previous, steps, converged = -np.inf, 0, False
  while not converged and steps < max_steps:
    steps += 1
    prior = posterior.mean(axis=0)
    counts = (transposed @ posterior).reshape(shape).swapaxes(1, 2)  # [annotator, true, vote]
    confusions = _rows(counts + pseudocount)
    with np.errstate(divide="ignore"):  # the logarithm of a chance of 0
      log_prior, log_confusions = np.log(prior), np.log(confusions)
    log_joint = log_prior + chosen @ log_confusions.swapaxes(1, 2).reshape(-1, num_classes)
    log_evidence = special.logsumexp(log_joint, axis=1)
    posterior = np.exp(log_joint - log_evidence[:, None])
    likelihood = float(log_evidence.mean())
    penalised = likelihood
    if pseudocount:  # no chance is 0
      penalised += pseudocount * float(log_confusions.sum()) / num_examples
    converged, previous = penalised - previous < tolerance, penalised
  transition = _rows(counts.sum(axis=0))
  return CrowdEstimate(transition, prior, posterior, confusions, likelihood, steps, converged)


def _checked(votes: ArrayLike, num_classes: int) -> NDArray[np.int64]:
  given = np.asarray(votes)
  if given.ndim != 2 or 0 in given.shape or given.dtype.kind not in "iu":
    raise ValueError(
      f"votes must be integers [N, A] with N and A at least 1, not {given.dtype} "
      f"{list(given.shape)}"
    )
  outside = (given < -1) | (given >= num_classes)
  if outside.any():
    n, a = np.argwhere(outside)[0]
    raise ValueError(
      f"votes[{n}, {a}] = {given[n, a]} is outside [0, {num_classes}) and not -1, which is no vote"
    )
  silent = (given < 0).all(axis=1)
  if silent.any():
    raise ValueError(f"votes[{int(silent.argmax())}] has no vote: leave such examples out")
  return given.astype(np.int64)


def _by_class(given: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
  """Returns how many votes each class has, for each example, of shape [N, L]."""
  examples, annotators = np.nonzero(given >= 0)
  pairs = examples * num_classes + given[examples, annotators]
  counts = np.bincount(pairs, minlength=len(given) * num_classes)
  return counts.reshape(len(given), num_classes).astype(np.float64)


def _rows(counts: NDArray[np.float64]) -> NDArray[np.float64]:
  """Divides rows of counts by their sums; a row without any becomes the identity's."""
  empty = ~counts.any(axis=-1, keepdims=True)
  filled = np.where(empty, np.eye(counts.shape[-1]), counts)
  return filled / filled.sum(axis=-1, keepdims=True)
