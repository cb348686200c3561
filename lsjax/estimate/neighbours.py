"""A transition matrix from the labels of neighbours in a space of features, without training."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, sparse

from lsjax import labels as labels_lib
from lsjax.estimate import checks
from lsjax.estimate.rates import Estimate

# Similarities that are held at once: 64 MiB in float32.
_BLOCK = 2**24

# The gradient at which a fit stops, its largest number of steps, and SciPy's status after those.
_GRADIENT = 1e-7
_LARGEST_STEPS = 5000
_TOO_LONG = 1
# Rows with a smaller sum are no distributions; the penalty makes the optimiser step back from them.
_LEAST_SUM = 1e-3


@dataclasses.dataclass(frozen=True)
class ConsensusEstimate(Estimate):
  """Holds the matrix and the shares whose consensus comes nearest to that of the labels.

  Attributes:
    transition: Matrix T[true, noisy], float64 of shape [L, L]; rows sum to 1.
    prior: Shares of the true classes, float64 of shape [L]; they sum to 1.
    error: Sum of the squared distances of the fitted frequencies from those counted.
    converged: Whether the fit ended at a minimum rather than at its largest number of steps.
  """

  error: float
  converged: bool


def hoc(
  features: ArrayLike,
  labels: ArrayLike,
  num_classes: int,
  *,
  seed: int,
  max_examples: int | None = 50_000,
) -> ConsensusEstimate:
  r"""Estimates a transition matrix from how far neighbours agree on their labels (HOC).

  Neighbours in a good space of features are of one true class, so that the labels of an example
  and of its two nearest neighbours are three draws from one row of T. `triples` collects them and
  `fit_triples` finds the T and p that give them. Where neighbours are of different classes, their
  disagreement counts as noise, and the estimated rate is too high.

  The published method searches among 15,000 examples, 50 times. Here one search is made among all,
  or among `max_examples` drawn at random: it costs less and finds neighbours that are nearer.

  Args:
    features: Features of the examples, of shape [N, D], at least three examples; the activations
      before the last layer of a network trained on anything similar.
    labels: Noisy labels of the same examples, integers of shape [N] in [0, L).
    num_classes: Number of classes L, at least 2.
    seed: Seed of the draw of examples. It changes nothing if all are used.
    max_examples: Largest number of examples to use, at least 3, or None for all.

  Returns:
    The matrix and the shares. With M examples in use the search takes time O(M^2 D), about half a
    minute on two cores for M = 50,000 and D = 512. Memory is O(M (D + L) + L^2).

  Raises:
    ValueError: If a feature is not finite or an example has the zero vector, if there are less than
      three examples, if the labels are not N integers in [0, L), or if a number is too small.

  References:
    Zhu et al., [Clusterability as an alternative to anchor points when learning with noisy
    labels](https://arxiv.org/abs/2102.05291), 2021, section 3.

  Examples:
    >>> from lsjax import noise, transition
    >>> rng = np.random.default_rng(0)
    >>> true = rng.integers(0, 3, 3000)
    >>> features = np.eye(3)[true] + 0.1 * rng.normal(size=(3000, 3))
    >>> labels = noise.corrupt(true, transition.pair(3, 0.3), seed=0).labels
    >>> found = hoc(features, labels, 3, seed=0)
    >>> bool(np.abs(found.transition - transition.pair(3, 0.3)).max() < 0.05)
    True
  """
  found = checks.rows(features, "features", "D")
  checks.at_least(num_classes, 2, "num_classes")
  given = checks.paired(labels, len(found), num_classes, "labels", "features")
  if max_examples is not None:
    checks.at_least(max_examples, 3, "max_examples")
    if max_examples < len(found):
      chosen = np.random.default_rng(seed).permutation(len(found))[:max_examples]
      found, given = found[chosen], given[chosen]
  return fit_triples(triples(found, given), num_classes)


def triples(features: ArrayLike, labels: ArrayLike) -> NDArray[np.int32]:
  """Collects the label of each example and those of its two nearest neighbours.

  The nearest neighbours are those with the largest cosine of the angle between the features, the
  example itself left out. Copies of an example are its neighbours: leave them out if their labels
  are copies too.

  Args:
    features: Features of the examples, of shape [N, D], at least three examples. The search is in
      float32.
    labels: Noisy labels of the same examples, integers of shape [N], at least 0.

  Returns:
    Labels of the example, of its nearest and of its second nearest neighbour, int32 of shape
    [N, 3]. It takes time O(N^2 D) and memory O(N D).

  Raises:
    ValueError: If a feature is not finite or an example has the zero vector, if there are less than
      three examples, or if the labels are not N integers.

  Examples:
    >>> triples([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.0, 1.0]], [0, 1, 2, 3])
    array([[0, 1, 2],
           [1, 0, 2],
           [2, 1, 0],
           [3, 2, 1]], dtype=int32)
  """
  found = checks.rows(features, "features", "D")
  given = checks.paired(labels, len(found), None, "labels", "features")
  checks.at_least(len(found), 3, "the number of examples in features")
  # Divided by the largest entry first, so that no square is too large or too small for a float.
  scales = np.abs(found).max(axis=1, keepdims=True)
  if not scales.all():
    raise ValueError(f"features[{int(scales.argmin())}] is the zero vector, which has no direction")
  unit = found / scales
  unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
  result = np.empty((len(unit), 3), np.int32)
  result[:, 0] = given
  block = max(1, _BLOCK // len(unit))
  for start in range(0, len(unit), block):
    similar = unit[start : start + block] @ unit.T
    rows = np.arange(len(similar))
    similar[rows, start + rows] = -np.inf
    for k in (1, 2):
      nearest = similar.argmax(axis=1)
      result[start : start + block, k] = given[nearest]
      similar[rows, nearest] = -np.inf
  return result


def fit_triples(
  triples: ArrayLike, num_classes: int, *, weights: ArrayLike | None = None
) -> ConsensusEstimate:
  r"""Finds the transition matrix that explains how often three labels of one class agree.

  Three labels drawn for one true class have the frequencies

  $$c_1 = T^\top p, \quad c_2 = T^\top \mathrm{diag}(p)\, T, \quad
  c_3[j, k, l] = \sum_i p_i T_{ij} T_{ik} T_{il}.$$

  The estimate minimises the sum of the squared distances of these from the frequencies counted
  among the first labels, the first two and all three. L-BFGS with exact gradients finds rows of T
  and p as numbers of at least 0 that are divided by their sum. (As softmaxes, like in the published
  method, they do not reach 0, and a fit to pair noise can end in a wrong minimum.) The names of the
  true classes are not in the frequencies: the fit starts near the identity, and rows are ordered
  so that the trace is the largest. It is right if most labels of each class are.

  No array with $L^3$ entries is made. The squared norm of the fitted $c_3$ is
  $\sum_{ij} p_i p_j (T_i \cdot T_j)^3$, and its product with the counted one needs only the triples
  that occur. A resample of triples (as in `bootstrap`) is worth more than one of examples, whose
  copies would be their own neighbours.

  Args:
    triples: Labels of one true class in each row, integers of shape [N, 3] in [0, L): those of
      neighbours, or of three annotators who are alike.
    num_classes: Number of classes L, at least 2.
    weights: How much each triple counts, of shape [N], at least 0, with a positive sum; all alike
      by default.

  Returns:
    The matrix and the shares. For M different triples each step takes time O(M L + L^3), and memory
    is O(M L + L^2). 50,000 triples take 0.1 s for 10 classes and up to 40 s for 100, on one core.

  Raises:
    ValueError: If the triples are not integers in [0, L) of shape [N, 3], or if the weights are not
      N numbers of at least 0 with a positive sum.

  References:
    Zhu et al., [Clusterability as an alternative to anchor points when learning with noisy
    labels](https://arxiv.org/abs/2102.05291), 2021, section 3.

  Examples:
    >>> fit_triples([[0, 0, 0], [0, 0, 0], [1, 1, 1]], 2).prior.round(2)
    array([0.67, 0.33])
  """
  checks.at_least(num_classes, 2, "num_classes")
  objective = _Consensus(*_checked(triples, num_classes, weights), num_classes)
  start = np.full((num_classes + 1, num_classes), 0.1 / num_classes)
  start[:-1] += 0.9 * np.eye(num_classes)
  result = optimize.minimize(
    objective,
    start.ravel(),
    jac=True,
    method="L-BFGS-B",
    bounds=optimize.Bounds(np.zeros(start.size), np.inf),
    options={
      "maxcor": 20,
      "maxiter": _LARGEST_STEPS,
      "maxfun": 2 * _LARGEST_STEPS,
      "ftol": 0.0,
      "gtol": _GRADIENT,
    },
  )
  matrix, prior = _parts(objective.best, num_classes)
  rows = optimize.linear_sum_assignment(matrix, maximize=True)[1].argsort()
  return ConsensusEstimate(
    matrix[rows], prior[rows], max(objective.error, 0.0), result.status != _TOO_LONG
  )


class _Consensus:
  """The objective of the fit with its gradient, and the best of the parameters it has seen."""

  def __init__(self, found: NDArray[np.int32], weights: NDArray[np.float64], num_classes: int):
    shape = (num_classes, num_classes)
    self.shape = shape
    self.first = np.bincount(found[:, 0], weights, num_classes)
    self.second = np.zeros(shape)
    np.add.at(self.second, (found[:, 0], found[:, 1]), weights)
    raw = np.unique(np.ravel_multi_index((*found.T,), (num_classes,) * 3), return_inverse=True)[1]
    self.third_squared = float((np.bincount(raw, weights) ** 2).sum())
    # Row j of `rest` has the weights of the pairs of labels that are left when one j is taken out
    # of a triple. Only pairs that occur have a column, and a pair is in order: it is symmetric.
    taken = np.concatenate([found[:, k] for k in range(3)])
    left = np.sort(np.concatenate([found[:, [1, 2]], found[:, [0, 2]], found[:, [0, 1]]]), axis=1)
    pairs, column = np.unique(np.ravel_multi_index((*left.T,), shape), return_inverse=True)
    self.pairs = np.unravel_index(pairs, shape)
    entries = (np.tile(weights, 3), (taken, column))
    self.rest = sparse.coo_array(entries, shape=(num_classes, len(pairs))).tocsr()
    self.error = np.inf
    self.best = np.empty(0)

  def __call__(self, parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Returns the squared distances times L, plus a penalty, and the gradient."""
    num_classes = self.shape[0]
    matrix, prior = _parts(parameters, num_classes)
    weighted = prior[:, None] * matrix
    first = prior @ matrix - self.first
    second = weighted.T @ matrix - self.second
    gram = matrix @ matrix.T
    both = self.rest @ (matrix.T[self.pairs[0]] * matrix.T[self.pairs[1]])  # [label, true]
    error = (
      first @ first
      + (second**2).sum()
      + prior @ gram**3 @ prior
      - 2 / 3 * (weighted * both.T).sum()  # a triple is in three rows of `rest`
      + self.third_squared
    )
    if error < self.error:
      # The optimiser may go on to write into its array: the best one is a copy.
      self.error, self.best = float(error), parameters.copy()
    of_prior = 2 * (
      matrix @ first
      + ((matrix @ second) * matrix).sum(axis=1)
      + gram**3 @ prior
      - (matrix * both.T).sum(axis=1) / 3
    )
    of_matrix = prior[:, None] * (
      2 * first + 2 * matrix @ (second + second.T) + 6 * (gram**2 * prior) @ matrix - 2 * both.T
    )
    # Through the division of numbers by their sum. The scale of a row changes nothing; a penalty
    # keeps sums near 1, where no step leads to a row of zeros.
    values, sums = np.vstack([matrix, prior]), _sums(parameters, num_classes)
    gradient = num_classes * np.vstack([of_matrix, of_prior])
    gradient = (gradient - (gradient * values).sum(axis=1, keepdims=True)) / sums + 2 * (sums - 1)
    return num_classes * float(error) + float(((sums - 1) ** 2).sum()), gradient.ravel()


def _parts(
  parameters: NDArray[np.float64], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
  """Returns T and p, whose rows the parameters are before they are divided by their sums."""
  rows = parameters.reshape(num_classes + 1, num_classes) / _sums(parameters, num_classes)
  return rows[:-1], rows[-1]


def _sums(parameters: NDArray[np.float64], num_classes: int) -> NDArray[np.float64]:
  sums = parameters.reshape(num_classes + 1, num_classes).sum(axis=1, keepdims=True)
  return np.maximum(sums, _LEAST_SUM)


def _checked(
  triples: ArrayLike, num_classes: int, weights: ArrayLike | None
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
  """Returns the triples, and their weights divided by their sum."""
  array = np.asarray(triples)
  if array.ndim != 2 or array.shape[1] != 3 or not len(array):
    raise ValueError(f"triples must have shape [N, 3] with N at least 1, not {list(array.shape)}")
  columns = [labels_lib.check(array[:, k], num_classes, name=f"triples[:, {k}]") for k in range(3)]
  found = np.stack(columns, axis=1)
  if weights is None:
    return found, np.full(len(found), 1 / len(found))
  return found, checks.shares(weights, len(found), "weights")
