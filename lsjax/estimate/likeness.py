"""Whether labels are mistaken for those of classes that look alike."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from lsjax.estimate import checks


@dataclasses.dataclass(frozen=True)
class Likeness:
  """Holds how far noise follows the likeness of classes.

  Attributes:
    correlation: Correlation in [-1, 1] of how often two classes are mistaken for one another with
      how much they overlap, over the pairs of classes.
    share: Share in [0, 1] of the noise that is in proportion to the overlap.
    p_value: Chance of as large a correlation if the names of the classes meant nothing.
  """

  correlation: float
  share: float
  p_value: float


def likeness(
  joint: ArrayLike, true_probabilities: ArrayLike, *, seed: int, num: int = 999
) -> Likeness:
  r"""Compares which classes are mistaken for one another with which classes look alike.

  Noise that depends on the class alone need not know what the classes look like. People who label
  examples err where an example could be of either class: their mistakes are in proportion to the
  overlap $O_{ij} = \frac{1}{N} \sum_n p_{ni} p_{nj}$ of the classes, and fall on examples that are
  hard. The joint distribution J of true and noisy labels is compared with O off the diagonal: by
  correlation, and by the non-negative least squares fit $J_{ij} = a + b\, O_{ij}$, whose second
  part has the share $b \bar O / (a + b \bar O)$. The p-value counts permutations of the classes of
  J that correlate at least as much.

  It is a sign, not a proof: noise of similar classes that does not depend on the example looks the
  same, and overlap that an estimate counts as noise adds to the correlation.

  Args:
    joint: Joint distribution J[true, noisy] of shape [L, L], with the noise off its diagonal.
    true_probabilities: Probabilities p of the true class, of shape [N, L].
    seed: Seed of the permutations.
    num: Number of permutations, at least 1.

  Returns:
    The correlation, the share and the p-value. A correlation of entries that are all alike is 0. It
    takes time O(N L^2 + B L^2) for B permutations.

  Raises:
    ValueError: If the rows are no distributions over L classes, or if J has another shape.

  References:
    Mantel, The detection of disease clustering and a generalized regression approach, 1967.

  Examples:
    >>> p = np.repeat([[0.8, 0.2, 0.0], [0.2, 0.8, 0.0], [0.0, 0.0, 1.0]], 10, axis=0)
    >>> found = likeness([[0.3, 0.03, 0.0], [0.03, 0.3, 0.0], [0.0, 0.0, 0.34]], p, seed=0)
    >>> round(found.correlation, 3), round(found.share, 3)
    (1.0, 1.0)
  """
  p = checks.probabilities(true_probabilities, "true_probabilities")
  noise = checks.rows(joint, "joint", "L")
  size = p.shape[1]
  if noise.shape != (size, size):
    raise ValueError(f"joint must have shape {[size, size]}, not {list(noise.shape)}")
  checks.at_least(num, 1, "num")
  off = ~np.eye(size, dtype=bool)
  overlap = (p.T @ p / len(p))[off]
  values = noise[off]
  scale = overlap.mean() or 1.0
  even, alike = optimize.nnls(np.stack([np.ones(len(values)), overlap / scale], axis=1), values)[0]
  share = float(alike / (even + alike)) if even + alike > 0 else 0.0
  found = _correlation(values, overlap)
  rng = np.random.default_rng(seed)
  orders = (rng.permutation(size) for _ in range(num))
  as_large = sum(
    _correlation(noise[np.ix_(order, order)][off], overlap) >= found - 1e-12 for order in orders
  )
  return Likeness(found, share, (1 + as_large) / (1 + num))


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
  a, b = a - a.mean(), b - b.mean()
  scale = np.sqrt((a @ a) * (b @ b))
  return float(a @ b / scale) if scale > 0 else 0.0
