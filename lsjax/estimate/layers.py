"""A transition matrix as a layer of noise behind the predictions of a trained network."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from lsjax import transition as transition_lib
from lsjax.estimate import checks
from lsjax.estimate.rates import Estimate

_STEPS = 100  # of L-BFGS: the rate then changes by less than 0.002 in 300 more
_LEAST_CHANCE = 1e-3  # of the start: a softmax moves away from 0 only slowly
# Standard deviation of the prior of the linear map, whose inputs have variance 1, and the number of
# labels that a row of T has before any is seen. Both only matter for classes with few examples.
_SPREAD, _BEFORE = 1.0, 0.5


@dataclasses.dataclass(frozen=True)
class NoiseLayer(Estimate):
  r"""Holds a transition matrix with the classifier that it was fitted together with.

  Attributes:
    transition: Matrix T[true, noisy], float64 of shape [L, L]; rows sum to 1.
    prior: Shares of the true classes, float64 of shape [L]; they sum to 1.
    probabilities: Probabilities p of the true class before the label is seen, float64 [N, L].
    log_likelihood: Mean log-probability of the noisy labels under $p T$, in nats.
  """

  probabilities: NDArray[np.float64]
  log_likelihood: float


def noise_layer(
  logits: ArrayLike,
  labels: ArrayLike,
  start: ArrayLike,
  *,
  seed: int,
  max_examples: int | None = 20_000,
) -> NoiseLayer:
  r"""Fits a classifier on out-of-fold logits together with the noise behind it.

  With logits z of the noisy label, the true class has the probabilities
  $p = \mathrm{softmax}(A z + b)$ and the noisy label $p T$. A, b and T are those under which the
  noisy labels are most likely, found by L-BFGS. A prior keeps A near a multiple of the identity.

  What tells T and p apart is the plateau: where classes overlap, p changes from example to example,
  and where it has reached one class, the labels are still wrong at T's rate. Unlike `anchor` and
  `confident_joint`, the overlap does not count as noise, and all examples are used instead of a few
  outliers. What it misses is noise that sure examples do not have, as with people's labels: this
  noise looks like overlap, so that the estimate is a lower bound of the rate then. Where no example
  is sure, overlap is still counted as noise.

  Args:
    logits: Logits z of the noisy label, of shape [N, L], from networks that were not trained on the
      example.
    labels: Noisy labels of the same examples, integers of shape [N] in [0, L).
    start: Matrix of shape [L, L] at which the search begins, such as that of `confident_joint`. The
      likelihood of pair noise has a second maximum near the identity.
    seed: Seed of the draw of examples. It changes nothing if all are used.
    max_examples: Largest number of examples to fit to, or None for all.

  Returns:
    The matrix, the shares, and the probabilities of all examples. With M examples in use it takes
    time O(M L^2) for each of at most 100 steps, and memory O(N L).

  Raises:
    ValueError: If a logit is not finite, if the labels are not N integers in [0, L), or if `start`
      is not a transition matrix.

  References:
    Sukhbaatar et al., [Training convolutional networks with noisy
    labels](https://arxiv.org/abs/1406.2080), 2015, section 3; Goldberger and Ben-Reuven, Training
    deep neural-networks using a noise adaptation layer, ICLR 2017.

  Examples:
    >>> from lsjax import noise, transition
    >>> x = np.random.default_rng(0).normal(size=(4000, 1)) * 4
    >>> true = (x[:, 0] > 0).astype(int)
    >>> labels = noise.corrupt(true, transition.symmetric(2, 0.2), seed=0).labels
    >>> found = noise_layer(np.hstack([-x, x]), labels, [[0.6, 0.4], [0.4, 0.6]], seed=0)
    >>> bool(abs(found.rate - 0.2) < 0.02)
    True
  """
  z = checks.rows(logits, "logits", "L")
  matrix = transition_lib.validate(start)
  if z.shape[1] != len(matrix):
    raise ValueError(f"logits have {z.shape[1]} classes, but start {len(matrix)}")
  given = checks.paired(labels, len(z), len(matrix), "labels", "logits")
  z = z - z.mean(axis=1, keepdims=True)
  z /= z.std() or 1.0
  used = np.arange(len(z))
  if max_examples is not None and max_examples < len(z):
    checks.at_least(max_examples, 1, "max_examples")
    used = np.random.default_rng(seed).permutation(len(z))[:max_examples]
  objective = _Layer(z[used], given[used])
  size = len(matrix)
  logs = np.log(np.clip(matrix, _LEAST_CHANCE, 1))
  beginning = np.concatenate([np.zeros(size * size + size), logs.ravel(), [1.0]])
  result = optimize.minimize(
    objective, beginning, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "maxcor": 20}
  )
  by, offset, fitted = objective.parts(result.x)
  p = special.softmax(z @ by + offset, axis=1)
  likely = (p * fitted.T[given]).sum(axis=1)
  return NoiseLayer(fitted, p.mean(axis=0), p, float(np.log(likely).mean()))


class _Layer:
  """The negative log-posterior of A, b and T for each example, with its gradient."""

  def __init__(self, z: NDArray[np.float64], labels: NDArray[np.int32]):
    self.z, self.labels = z, labels
    self.size = z.shape[1]
    self.one_hot = np.eye(self.size)[labels]

  def parts(
    self, parameters: NDArray[np.float64]
  ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns A transposed, b and T."""
    size = self.size
    away, offset, logs = np.split(parameters[:-1], [size * size, size * size + size])
    by = parameters[-1] * np.eye(size) + away.reshape(size, size)
    return by, offset, special.softmax(logs.reshape(size, size), axis=1)

  def __call__(self, parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    size, count = self.size, len(self.z)
    by, offset, matrix = self.parts(parameters)
    away, shift = parameters[: size * size], parameters[size * size : size * size + size]
    p = special.softmax(self.z @ by + offset, axis=1)
    joint = p * matrix.T[self.labels]
    likely = np.maximum(joint.sum(axis=1), np.finfo(float).tiny)
    posterior = joint / likely[:, None]
    error = -np.log(likely).sum() + 0.5 * ((away**2).sum() + (shift**2).sum()) / _SPREAD**2
    error -= _BEFORE / size * np.log(np.maximum(matrix, np.finfo(float).tiny)).sum()
    of_logits = p - posterior
    of_by = self.z.T @ of_logits
    counts = posterior.T @ self.one_hot + _BEFORE / size
    of_logs = counts.sum(axis=1, keepdims=True) * matrix - counts
    gradient = np.concatenate(
      [
        of_by.ravel() + away / _SPREAD**2,
        of_logits.sum(axis=0) + shift / _SPREAD**2,
        of_logs.ravel(),
        [np.trace(of_by)],
      ]
    )
    return float(error) / count, gradient / count
