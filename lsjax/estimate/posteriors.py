"""Transition matrices from predicted probabilities of the noisy label."""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lsjax.estimate import checks
from lsjax.estimate.rates import Estimate

# How far below its class's threshold a probability may be: the mean of equal numbers is rounded.
_ROUNDING = 1e-12


def anchor(probabilities: ArrayLike, *, quantile: float | None = None) -> NDArray[np.float64]:
  r"""Estimates a transition matrix from one anchor point for each class.

  If an example surely belongs to class i, then the probabilities of its noisy label are row i of
  T. The anchor point of class i is the example x with the largest predicted $q_i(x)$, the first
  one if several have it, and $T_i = q(x)$.

  The largest of many estimates is an outlier. With `quantile`, the examples whose $q_i$ is at or
  above that quantile are ignored, and the anchor point is the best of the rest. (At a value that
  many examples share, only as many are ignored as if their values differed a little.) That helps if
  a class has many more examples than are ignored: at 0.97, a class that makes up less than 3 % of
  the examples, like any of 100 classes, can lose all of them and get an example of another class.

  Args:
    probabilities: Predicted probabilities q of the noisy label, of shape [N, L].
    quantile: Quantile in (0, 1) from which examples are ignored, such as 0.97, or None.

  Returns:
    Transition matrix T[true, noisy], float64 of shape [L, L]. It takes time O(N L),
    or O(N log(N) L) with a quantile, and memory O(N L).

  Raises:
    ValueError: If an entry of `probabilities` is negative or not finite, if a row does not sum to
      1, or if `quantile` is not in (0, 1).

  References:
    Patrini et al., [Making deep neural networks robust to label noise: a loss correction
    approach](https://arxiv.org/abs/1609.03683), 2017, section 4.

  Examples:
    >>> anchor([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    array([[0.8, 0.2],
           [0.3, 0.7]])
  """
  return _anchor(checks.probabilities(probabilities), quantile)


def dual_t(
  probabilities: ArrayLike, labels: ArrayLike, *, quantile: float | None = None
) -> NDArray[np.float64]:
  r"""Estimates a transition matrix as a product of two, one of which is counted.

  The predicted class $\arg\max q(x)$ stands between the true class and the noisy label. T = A B,
  where A is the matrix from anchor points, and $B_{lj}$ is the share with the noisy label j among
  the examples with the predicted class l. Counting has a smaller error than the probabilities of
  single examples. A class that nobody predicts has the identity's row in B.

  The product is the noise of A followed by that of B. It is T where one of them is the identity: A
  for a network sure of its classes. For exact q and classes that are far apart, both are T, and the
  product T T says that there is more noise than there is. With calibrated probabilities, `anchor`
  or `confident_joint` is the better choice.

  Args:
    probabilities: Predicted probabilities q of the noisy label, of shape [N, L].
    labels: Noisy labels of the same examples, integers of shape [N] in [0, L).
    quantile: Quantile for the anchor points, as in `anchor`, or None.

  Returns:
    Transition matrix T[true, noisy], float64 of shape [L, L]. It takes time O(N L + L^3) and memory
    O(N L).

  Raises:
    ValueError: As in `anchor`, and if the labels are not N integers in [0, L).

  References:
    Yao et al., [Dual T: reducing estimation error for transition matrix in label-noise
    learning](https://arxiv.org/abs/2006.07805), 2020, section 3.

  Examples:
    >>> dual_t([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.0, 1.0]], [0, 0, 1, 1]).round(4)
    array([[0.6667, 0.3333],
           [0.    , 1.    ]])
  """
  q = checks.probabilities(probabilities)
  given = checks.paired(labels, len(q), q.shape[1], "labels", "probabilities")
  counts = _count(q.argmax(axis=1), given, q.shape[1]).astype(np.float64)
  counts[~counts.any(axis=1)] = np.eye(q.shape[1])[~counts.any(axis=1)]
  return _anchor(q, quantile) @ (counts / counts.sum(axis=1, keepdims=True))


@dataclasses.dataclass(frozen=True)
class ConfidentJoint(Estimate):
  """Holds how many examples of each noisy label are confidently counted for each true class.

  The rows of `counts` and `joint` are NOISY labels, as in confident learning; those of
  `transition` are true classes.

  Attributes:
    transition: Matrix T[true, noisy], float64 of shape [L, L]; rows sum to 1.
    prior: Shares of the true classes, float64 of shape [L]; they sum to 1.
    counts: The confident joint J[noisy, true], int64 of shape [L, L].
    joint: Joint distribution of noisy labels and true classes [noisy, true], float64 of shape
      [L, L]. The sum of a row is the share of that noisy label.
    thresholds: Thresholds of the classes, float64 of shape [L], in [0, 1]; infinite for a class
      that no example is labelled with.
  """

  counts: NDArray[np.int64]
  joint: NDArray[np.float64]
  thresholds: NDArray[np.float64]


def confident_joint(probabilities: ArrayLike, labels: ArrayLike) -> ConfidentJoint:
  r"""Estimates the joint distribution of noisy labels and true classes by confident counting.

  The threshold $t_j$ is the mean of $q_j$ over the examples labelled j. An example is counted for
  the class of the largest $q_j$ among those with $q_j \ge t_j$, and not at all if there is none.
  $J_{kj}$ is the number of examples labelled k that are counted for class j, and the diagonal of J
  is at least 1. Each row of J is then scaled to the number of examples with that label, and all of
  it to sum 1. With that joint distribution Q, $T_{ij} = Q_{ji} / \sum_k Q_{ki}$.

  A class that no example is labelled with has share 0 and keeps its own label.

  Args:
    probabilities: Predicted probabilities q of the noisy label, of shape [N, L]; out of fold, or
      else the network agrees with the labels it was trained on.
    labels: Noisy labels of the same examples, integers of shape [N] in [0, L).

  Returns:
    The joint distribution, with the transition matrix and the shares of the true classes. It takes
    time O(N L + L^2) and memory O(N L).

  Raises:
    ValueError: If an entry of `probabilities` is negative or not finite, if a row does not sum to
      1, or if the labels are not N integers in [0, L).

  References:
    Northcutt et al., [Confident learning: estimating uncertainty in dataset
    labels](https://arxiv.org/abs/1911.00068), 2021, section 3.1.

  Examples:
    >>> q = [[0.8, 0.2], [0.8, 0.2], [0.2, 0.8], [0.2, 0.8], [0.8, 0.2]]
    >>> found = confident_joint(q, [0, 0, 1, 1, 1])
    >>> found.counts
    array([[2, 0],
           [1, 2]])
    >>> found.transition
    array([[0.66666667, 0.33333333],
           [0.        , 1.        ]])
    >>> found.prior, round(found.rate, 6)
    (array([0.6, 0.4]), 0.2)
  """
  q = checks.probabilities(probabilities)
  given = checks.paired(labels, len(q), q.shape[1], "labels", "probabilities")
  num_classes = q.shape[1]
  of_label = np.bincount(given, minlength=num_classes)
  thresholds = np.full(num_classes, np.inf)
  for j in np.flatnonzero(of_label):
    thresholds[j] = q[given == j, j].mean()
  sure = q >= thresholds - _ROUNDING
  counted = sure.any(axis=1)
  chosen = np.where(sure, q, -1).argmax(axis=1)
  counts = _count(given[counted], chosen[counted], num_classes)
  np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
  joint = counts * (of_label / counts.sum(axis=1))[:, None] / len(q)
  prior = joint.sum(axis=0)
  unseen = of_label == 0  # the column is empty too: no example reaches an infinite threshold
  transition = joint.T / np.where(unseen, 1, prior)[:, None]
  transition[unseen] = np.eye(num_classes)[unseen]
  return ConfidentJoint(transition, prior, counts, joint, thresholds)


def glc(probabilities: ArrayLike, true_labels: ArrayLike) -> NDArray[np.float64]:
  r"""Estimates a transition matrix from examples whose true labels are known.

  Row i is the mean of the predicted probabilities of the noisy label over the trusted examples of
  class i. The noisy labels of the trusted examples are not used. To train afterwards, the method
  takes cross-entropy on the trusted examples and forward correction by T on the rest.

  Args:
    probabilities: Predicted probabilities q of the noisy label of the trusted examples, of shape
      [M, L], from a network that was trained on the other examples.
    true_labels: True labels of the trusted examples, integers of shape [M] in [0, L).

  Returns:
    Transition matrix T[true, noisy], float64 of shape [L, L]. It takes time and memory O(M L).

  Raises:
    ValueError: If an entry of `probabilities` is negative or not finite, if a row does not sum to
      1, if the labels are not M integers in [0, L), or if a class has no trusted example.

  References:
    Hendrycks et al., [Using trusted data to train deep networks on labels corrupted by severe
    noise](https://arxiv.org/abs/1802.05300), 2018, section 3.

  Examples:
    >>> glc([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]], [0, 0, 1])
    array([[0.7, 0.3],
           [0.3, 0.7]])
  """
  q = checks.probabilities(probabilities)
  true = checks.paired(true_labels, len(q), q.shape[1], "true_labels", "probabilities")
  num_classes = q.shape[1]
  missing = np.flatnonzero(np.bincount(true, minlength=num_classes) == 0)
  if missing.size:
    raise ValueError(
      f"true_labels has no example of class {missing[0]}: each of the {num_classes} classes needs "
      "at least one"
    )
  return np.stack([q[true == i].mean(axis=0) for i in range(num_classes)])


def _anchor(q: NDArray[np.float64], quantile: float | None) -> NDArray[np.float64]:
  if quantile is None:
    return q[q.argmax(axis=0)]
  if not 0 < quantile < 1:
    raise ValueError(f"quantile must be in (0, 1), such as 0.97 for 97 %, not {quantile:g}")
  # Ranks instead of values: examples that share the largest value are not all ignored.
  ignored = len(q) - math.ceil(quantile * (len(q) - 1))
  order = np.argsort(-q, axis=0, kind="stable")
  return q[order[min(ignored, len(q) - 1)]]


def _count(
  rows: NDArray[np.integer], columns: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
  """Returns how often each pair occurs, of shape [L, L]."""
  pairs = rows.astype(np.int64) * num_classes + columns
  return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
