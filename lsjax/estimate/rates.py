"""What a transition matrix says together with the shares of the true classes."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from lsjax import labels as labels_lib
from lsjax import transition as transition_lib
from lsjax.estimate import checks


@dataclasses.dataclass(frozen=True)
class Estimate:
  """Holds a transition matrix and the shares of the true classes.

  Attributes:
    transition: Matrix T[true, noisy], float64 of shape [L, L]; rows sum to 1.
    prior: Shares of the true classes, float64 of shape [L]; they sum to 1.
  """

  transition: NDArray[np.float64]
  prior: NDArray[np.float64]

  @property
  def rate(self) -> float:
    """Chance in [0, 1] that a label is wrong."""
    return rate(self.transition, self.prior)


def rate(transition: ArrayLike, prior: ArrayLike) -> float:
  r"""Computes the chance that a label is wrong.

  With the shares $p_i$ of the true classes it is $1 - \sum_i p_i T_{ii}$.

  Args:
    transition: Transition matrix T[true, noisy] of shape [L, L].
    prior: Shares of the true classes, of shape [L], at least 0; they are divided by their sum.

  Returns:
    The chance, in [0, 1].

  Raises:
    ValueError: If the matrix is not a transition matrix (see `transition.validate`), or if `prior`
      is not L numbers of at least 0 with a positive sum.

  Examples:
    >>> round(rate([[0.9, 0.1], [0.3, 0.7]], [0.5, 0.5]), 6)
    0.2
  """
  matrix = transition_lib.validate(transition)
  wrong = 1 - matrix.diagonal()  # each in [0, 1], so that their mean is too
  return float(checks.shares(prior, len(matrix), "prior") @ wrong)


def prior(transition: ArrayLike, frequencies: ArrayLike) -> NDArray[np.float64]:
  r"""Estimates the shares of the true classes from the frequencies of the noisy labels.

  True classes with shares p give noisy labels with frequencies $f = T^\top p$. The estimate is the
  p on the simplex (at least 0, sum 1) that minimises $\|T^\top p - f\|^2$. It is exact if T and f
  are, and if T can be inverted. If T is nearly singular, a small error of f makes a large one of p.

  The constraint that the shares sum to 1 needs no penalty: with B the matrix whose column i is
  $T_i - f$, non-negative least squares for $B x = 0$ together with $\sum_i x_i = 1$ finds
  a multiple of p.

  Args:
    transition: Transition matrix T[true, noisy] of shape [L, L].
    frequencies: How often each noisy label occurs, of shape [L]: counts, or shares. They are
      divided by their sum.

  Returns:
    Shares of the true classes, float64 of shape [L]. It takes time O(L^3) for a matrix that can be
    inverted, and memory O(L^2).

  Raises:
    ValueError: If the matrix is not a transition matrix (see `transition.validate`), or if
      `frequencies` is not L numbers of at least 0 with a positive sum.

  References:
    Lawson and Hanson, Solving least squares problems, 1974, chapter 23, for non-negative least
    squares.

  Examples:
    >>> prior([[0.9, 0.1], [0.3, 0.7]], [450, 550]).round(6)
    array([0.25, 0.75])
  """
  matrix = transition_lib.validate(transition)
  shares = checks.shares(frequencies, len(matrix), "frequencies")
  # For x = s p the squared error is s^2 |Bp|^2 + (s - 1)^2. The best s leaves d / (1 + d) with
  # d = |Bp|^2, which grows with d: the best x is a multiple of the best p.
  rows = np.vstack([matrix.T - shares[:, None], np.ones(len(matrix))])
  scaled, _ = optimize.nnls(rows, np.append(np.zeros(len(matrix)), 1.0))
  return scaled / scaled.sum()


def from_labels(transition: ArrayLike, labels: ArrayLike) -> Estimate:
  """Estimates the shares of the true classes from noisy labels, and adds them to a matrix.

  Args:
    transition: Transition matrix T[true, noisy] of shape [L, L].
    labels: Noisy labels, integers of shape [N] in [0, L), at least one.

  Returns:
    The matrix, with each row divided by its sum, and the shares that `prior` finds for the
    frequencies of the labels.

  Raises:
    ValueError: If the matrix is not a transition matrix (see `transition.validate`), or if the
      labels are not integers in [0, L).

  Examples:
    >>> found = from_labels([[0.5, 0.5], [0.0, 1.0]], [0, 1, 1, 1])
    >>> found.prior.round(6), round(found.rate, 6)
    (array([0.5, 0.5]), 0.25)
  """
  matrix = transition_lib.validate(transition)
  given = labels_lib.check(labels, len(matrix))
  if not given.size:
    raise ValueError("labels has no example")
  return Estimate(matrix, prior(matrix, np.bincount(given, minlength=len(matrix))))
