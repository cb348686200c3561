"""Posteriors of the true class made to agree with a rate, or with labels that were checked."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from lsjax.estimate import checks

_LEAST = 1e-9  # the least chance of a class, so that its logarithm is finite
_FAR = 30.0  # a shift that leaves no chance for either side
# Standard deviations of the priors of the logarithm of the power, of the shift of all labels, and
# of the shifts of single classes, in nats. Two nats are a factor of seven in the odds; a class
# differs from the rest by a factor of two or so unless the checked labels say otherwise.
_OF_POWER, _OF_SHIFT, _OF_CLASS = 0.5, 2.0, 0.7


def tilt(posterior: ArrayLike, labels: ArrayLike, rate: float) -> NDArray[np.float64]:
  r"""Shifts the odds of every label by one factor, so that a given share of them is wrong.

  Args:
    posterior: Probabilities of the true class given the label, of shape [N, L].
    labels: Noisy labels, integers of shape [N] in [0, L).
    rate: Mean chance in [0, 1] that a label is wrong, after the shift.

  Returns:
    Probabilities [N, L] in proportion to the posterior, but for the label. Where labels are sure,
    the mean can stay short of the rate.

  Raises:
    ValueError: If the rows are no distributions over L classes, if the labels are not N integers in
      [0, L), or if the rate is not in [0, 1].

  Examples:
    >>> tilt([[0.9, 0.1], [0.9, 0.1]], [0, 0], 0.5).round(4)
    array([[0.5, 0.5],
           [0.5, 0.5]])
  """
  p = checks.probabilities(posterior, "posterior")
  given = checks.paired(labels, len(p), p.shape[1], "labels", "posterior")
  if not 0 <= rate <= 1:
    raise ValueError(f"rate must be in [0, 1], not {rate}")
  logs, is_label = np.log(np.maximum(p, _LEAST)), _is_label(given, p.shape[1])
  odds = logs[is_label] - special.logsumexp(np.where(is_label, -np.inf, logs), axis=1)

  def excess(shift: float) -> float:
    return float(special.expit(-odds - shift).mean()) - rate

  if excess(_FAR) >= 0:
    shift = _FAR
  elif excess(-_FAR) <= 0:
    shift = -_FAR
  else:
    shift = float(optimize.brentq(excess, -_FAR, _FAR))
  return special.softmax(logs + shift * is_label, axis=1)


def recalibrate(
  posterior: ArrayLike,
  labels: ArrayLike,
  indices: ArrayLike,
  true_labels: ArrayLike,
  weights: ArrayLike,
) -> NDArray[np.float64]:
  r"""Fits posteriors of the true class to examples that somebody has checked.

  The probabilities become in proportion to $\exp(\gamma \log p_i + (\beta + \beta_i)\,
  1[i = \tilde y])$: a power that makes them more or less sure, and shifts of the odds of a label,
  one for all and one for each class. The weighted likelihood of the checked classes with normal
  priors around no change, which hold where few were checked, is maximised by L-BFGS.

  Args:
    posterior: Probabilities p of the true class given the label, of shape [N, L].
    labels: Noisy labels, integers of shape [N] in [0, L).
    indices: Indices of the checked examples, integers of shape [m] in [0, N).
    true_labels: What was found for them, integers of shape [m] in [0, L).
    weights: Weights of the checked examples, of shape [m], such as 1 / chance; they are scaled to
      sum to the effective number of examples, $(\sum w)^2 / \sum w^2$.

  Returns:
    Probabilities of the true class, [N, L]. It takes time O(N L + m L^2).

  Raises:
    ValueError: If the rows are no distributions over L classes, if labels are no integers in
      [0, L), or if the shapes do not agree.

  References:
    Platt, Probabilistic outputs for support vector machines, 1999, for the power and the shift.

  Examples:
    >>> found = recalibrate([[0.9, 0.1]] * 200, [0] * 200, range(200), [0, 1] * 100, [1.0] * 200)
    >>> bool(abs(found[0, 1] - 0.5) < 0.02)
    True
  """
  p = checks.probabilities(posterior, "posterior")
  size = p.shape[1]
  given = checks.paired(labels, len(p), size, "labels", "posterior")
  chosen = checks.paired(indices, len(np.asarray(indices)), len(p), "indices", "indices")
  found = checks.paired(true_labels, len(chosen), size, "true_labels", "indices")
  weight = checks.shares(weights, len(chosen), "weights")
  weight = weight / (weight**2).sum()
  logs, is_label = np.log(np.maximum(p, _LEAST)), _is_label(given, size)
  spreads = np.concatenate([[_OF_POWER, _OF_SHIFT], np.full(size, _OF_CLASS)])
  one_hot = np.eye(size)[found]

  def logits(parameters: NDArray[np.float64], rows: NDArray[np.int32] | slice) -> NDArray:
    shift = parameters[1] + parameters[2:]
    return np.exp(parameters[0]) * logs[rows] + shift * is_label[rows]

  def objective(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    z = logits(parameters, chosen)
    fit = special.log_softmax(z, axis=1)
    error = -(weight * fit[np.arange(len(chosen)), found]).sum()
    of_z = weight[:, None] * (np.exp(fit) - one_hot)
    of_shifts = (of_z * is_label[chosen]).sum(axis=0)
    of_power = (of_z * np.exp(parameters[0]) * logs[chosen]).sum()
    gradient = np.concatenate([[of_power, of_shifts.sum()], of_shifts])
    scaled = parameters / spreads
    return float(error + 0.5 * scaled @ scaled), gradient + scaled / spreads

  best = optimize.minimize(objective, np.zeros(size + 2), jac=True, method="L-BFGS-B").x
  return special.softmax(logits(best, slice(None)), axis=1)


def _is_label(labels: NDArray[np.int32], size: int) -> NDArray[np.bool_]:
  return np.arange(size) == labels[:, None]
