"""Plausible transition matrices and classes, drawn where the true classes are not known."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lsjax import transition as transition_lib
from lsjax.estimate import checks

# Draws from one kept draw to the next, and before the first: the chain starts at the estimate, and
# what it must forget are the classes of examples of which the label does not say much.
_APART, _BEFORE = 2, 10
_PRIOR = 0.5  # labels that a row has before any is seen, as in `noise_layer`


def plausible_transitions(
  true_probabilities: ArrayLike,
  labels: ArrayLike,
  transition: ArrayLike,
  *,
  num: int,
  seed: int,
  max_examples: int | None = 10_000,
) -> NDArray[np.float64]:
  r"""Draws transition matrices that are plausible given noisy labels and probabilities of classes.

  Draws alternate between the true classes, with chances $p_i T_{i \tilde y}$ divided by their sum,
  and the rows of T, from Dirichlet distributions given how often each label is seen with each of
  these classes. After a while, the matrices are draws from the posterior distribution of T.

  They say what the number of labels leaves open for given p, and not what errors of p do.

  Args:
    true_probabilities: Probabilities p of the true class before the label is seen, of shape [N, L].
    labels: Noisy labels, integers of shape [N] in [0, L).
    transition: Matrix T[true, noisy] of shape [L, L] at which the draws begin.
    num: Number B of matrices, at least 1.
    seed: Seed of the draws.
    max_examples: Largest number M of examples to use, or None for all. Deviations from the mean of
      the draws are then made smaller by $\sqrt{M / N}$, and their mean is that of M examples.

  Returns:
    Matrices of shape [B, L, L]. It takes time O(B M L) and memory O(M L + B L^2).

  Raises:
    ValueError: If the rows are no distributions over L classes, if the labels are not N integers in
      [0, L), if T is not a transition matrix, or if a number is less than 1.

  References:
    Tanner and Wong, The calculation of posterior distributions by data augmentation, 1987.

  Examples:
    >>> p, labels = np.repeat(np.eye(2), 100, axis=0), np.repeat([0, 1, 1], [75, 25, 100])
    >>> found = plausible_transitions(p, labels, [[0.7, 0.3], [0.1, 0.9]], num=50, seed=0)
    >>> found.shape, bool(abs(found[:, 0, 1].mean() - 0.25) < 0.05)
    ((50, 2, 2), True)
  """
  p = checks.probabilities(true_probabilities, "true_probabilities")
  matrix = transition_lib.validate(transition)
  size = len(matrix)
  given = checks.paired(labels, len(p), size, "labels", "true_probabilities")
  checks.at_least(num, 1, "num")
  rng = np.random.default_rng(seed)
  share = 1.0
  if max_examples is not None and max_examples < len(p):
    checks.at_least(max_examples, 1, "max_examples")
    used = rng.permutation(len(p))[:max_examples]
    share = len(used) / len(p)
    p, given = p[used], given[used]
  kept = []
  for step in range(_BEFORE + num * _APART):
    true = drawn_classes(p * matrix.T[given], rng)
    counts = np.bincount(true * size + given, minlength=size * size).reshape(size, size)
    gammas = rng.standard_gamma(counts + _PRIOR / size)
    sums = gammas.sum(axis=1, keepdims=True)
    matrix = np.where(sums > 0, gammas / np.where(sums > 0, sums, 1), np.eye(size))
    if step >= _BEFORE and (step - _BEFORE) % _APART == 0:
      kept.append(matrix)
  draws = np.array(kept)
  mean = draws.mean(axis=0)
  return mean + np.sqrt(share) * (draws - mean)


def drawn_classes(weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
  """Draws a class for each row with chances in proportion to weights [N, L] of at least 0."""
  ends = np.cumsum(weights, axis=1)
  return (ends < rng.uniform(size=(len(ends), 1)) * ends[:, -1:]).sum(axis=1)
