"""Which labels are probably wrong, and what they should be."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lsjax import transition as transition_lib
from lsjax.estimate import checks

# Steps of the fit of `true_probabilities`, and the change of a probability that ends it early.
_STEPS, _CHANGE = 500, 1e-6


@dataclasses.dataclass(frozen=True)
class Suspects:
  """Holds what is known of each label.

  Attributes:
    wrong: Chance that the label is wrong, float64 of shape [N].
    proposed: Most probable true class, int32 of shape [N]; it may be the label itself.
    posterior: Probabilities of the true class, float64 of shape [N, L].
  """

  wrong: NDArray[np.float64]
  proposed: NDArray[np.int32]
  posterior: NDArray[np.float64]

  def ranked(self) -> NDArray[np.intp]:
    """Returns the indices of the examples, the one with the most suspicious label first."""
    return np.argsort(-self.wrong, kind="stable")

  def precision(self, count: int) -> float:
    """Returns the share of wrong labels that is expected among the `count` most suspicious.

    Raises:
      ValueError: If the count is not in [1, N].
    """
    if not 1 <= count <= len(self.wrong):
      raise ValueError(f"count must be in [1, {len(self.wrong)}], not {count}")
    return float(self.wrong[self.ranked()[:count]].mean())


def suspects(true_probabilities: ArrayLike, labels: ArrayLike, transition: ArrayLike) -> Suspects:
  r"""Computes the chance that each label is wrong, from what the network and the noise say.

  With the probabilities p of the true class before the label is seen, the probabilities after it
  are $p_i T_{i \tilde y}$, divided by their sum; the label is wrong with those of the other
  classes. They are chances in so far as p is calibrated and was predicted out of fold, and the
  noise depends on the class alone.

  Args:
    true_probabilities: Probabilities p of the true class, of shape [N, L], as `true_probabilities`
      or a network trained with forward correction gives them.
    labels: Noisy labels, integers of shape [N] in [0, L).
    transition: Transition matrix T[true, noisy] of shape [L, L].

  Returns:
    The chances and the proposed classes. Where p and T make the label impossible, p alone counts.

  Raises:
    ValueError: If the rows are no distributions over L classes, if the labels are not N integers in
      [0, L), or if T is not a transition matrix.

  Examples:
    >>> found = suspects([[0.9, 0.1], [0.1, 0.9]], [0, 0], [[0.8, 0.2], [0.2, 0.8]])
    >>> found.wrong.round(4), found.proposed
    (array([0.027 , 0.6923]), array([0, 1], dtype=int32))
  """
  p = checks.probabilities(true_probabilities, "true_probabilities")
  matrix = transition_lib.validate(transition)
  _check_classes(p, matrix, "true_probabilities")
  given = checks.paired(labels, len(p), len(matrix), "labels", "true_probabilities")
  joint = p * matrix.T[given]
  sums = joint.sum(axis=1, keepdims=True)
  posterior = np.where(sums > 0, joint / np.where(sums > 0, sums, 1), p)
  wrong = 1 - posterior[np.arange(len(p)), given]
  return Suspects(np.clip(wrong, 0, 1), posterior.argmax(axis=1).astype(np.int32), posterior)


def true_probabilities(
  probabilities: ArrayLike, transition: ArrayLike, *, prior: ArrayLike | None = None
) -> NDArray[np.float64]:
  r"""Finds the probabilities p of the true class whose noisy labels have the probabilities q.

  If q was predicted by a network trained on noisy labels, then $q = p T$. That p need not be a
  distribution where q is an estimate, so that the distribution is taken for which $p T$ is nearest
  to q in the Kullback-Leibler divergence. Steps of expectation and maximisation find it:
  $p_i \leftarrow p_i \sum_k q_k T_{ik} / (p T)_k$.

  Args:
    probabilities: Probabilities q of the noisy label, of shape [N, L].
    transition: Transition matrix T[true, noisy] of shape [L, L].
    prior: Where the steps begin, of shape [L], positive; uniform by default. It matters only where
      several distributions fit equally well, that is for a singular T.

  Returns:
    Probabilities p of the true class, float64 of shape [N, L]. Each of at most 500 steps takes time
    O(N L^2) and memory O(N L).

  Raises:
    ValueError: If the rows are no distributions over L classes, or if T is not a transition matrix.

  References:
    Shepp and Vardi, Maximum likelihood reconstruction for emission tomography, 1982, section 2.

  Examples:
    >>> t = np.array([[0.8, 0.2], [0.3, 0.7]])
    >>> true_probabilities(np.array([[0.5, 0.5]]) @ t, t).round(3)
    array([[0.5, 0.5]])
  """
  q = checks.probabilities(probabilities)
  matrix = transition_lib.validate(transition)
  _check_classes(q, matrix, "probabilities")
  size = len(matrix)
  start = np.full(size, 1 / size) if prior is None else checks.shares(prior, size, "prior")
  p = np.tile(start, (len(q), 1))
  for _ in range(_STEPS):
    predicted = p @ matrix
    ratio = np.where(q > 0, q / np.where(predicted > 0, predicted, 1), 0)
    new = p * (ratio @ matrix.T)
    new /= np.maximum(new.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    change = np.abs(new - p).max()
    p = new
    if change < _CHANGE:
      break
  return p


def _check_classes(p: NDArray[np.float64], matrix: NDArray[np.float64], name: str) -> None:
  if p.shape[1] != len(matrix):
    raise ValueError(f"{name} have {p.shape[1]} classes, but transition {len(matrix)}")
