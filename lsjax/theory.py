r"""The theorems on label smoothing of Lukasik et al. (2020) as functions, and a numerical check.

Up to a factor, label smoothing is cross-entropy plus $\beta\,\Omega$, where the regulariser
$\Omega(f) = \mathrm{E}_x[L\,\mathrm{logsumexp}\,f(x) - \sum_j f_j(x)]$ depends on no label. `check`
measures on random data how well each statement holds.

References:
  Lukasik et al., [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819),
  2020, section 4.
"""

from typing import TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lsjax import losses
from lsjax import transition as transition_lib

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "omega",
  "smoothing_weight",
  "least_squares",
  "smoothed_least_squares",
  "OmegaCheck",
  "ShrinkageCheck",
  "TheoryCheck",
  "check",
]

_ALPHAS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
_SEEDS = range(20)


def omega(logits: ArrayLike) -> Array:
  r"""Computes the regulariser $\Omega = \mathrm{E}[L\,\mathrm{logsumexp}\,f - \sum_j f_j]$.

  Args:
    logits: Values f(x) of N examples, floating point of shape [N, L].

  Returns:
    Mean over the examples, a scalar in nats; at least $L \log L$.

  Examples:
    >>> print(omega(jnp.zeros((3, 4))).round(4))  # 4 log 4
    5.5452
  """
  logits = jnp.asarray(logits)
  num_classes = logits.shape[-1]
  return (num_classes * jax.nn.logsumexp(logits, axis=-1) - logits.sum(-1)).mean()


def smoothing_weight(alpha: float, num_classes: int) -> float:
  r"""Computes the weight $\beta = \alpha / ((1 - \alpha) L)$ of $\Omega$ in label smoothing.

  With it, the mean of label smoothing is $(1 - \alpha)$ times the mean of cross-entropy plus
  $\beta\,\Omega$.

  Args:
    alpha: Strength of smoothing in [0, 1).
    num_classes: Number of classes L.

  Returns:
    The weight, 0 or more.

  Examples:
    >>> smoothing_weight(0.5, 10)
    0.1
  """
  return alpha / ((1 - alpha) * num_classes)


def least_squares(inputs: ArrayLike, targets: ArrayLike) -> Array:
  r"""Computes the weights $W^* = (X^\top X)^{-1} X^\top Y$ of a linear model with squared loss.

  Args:
    inputs: Inputs X of shape [N, D] and rank D.
    targets: Targets Y of shape [N, L].

  Returns:
    Weights W of shape [D, L] that minimise the squared distance of X W from Y.

  Examples:
    >>> print(least_squares(jnp.array([[1.0], [1.0]]), jnp.array([[0.0], [4.0]])))
    [[2.]]
  """
  inputs, targets = jnp.asarray(inputs), jnp.asarray(targets)
  return jnp.linalg.solve(inputs.T @ inputs, inputs.T @ targets)


def smoothed_least_squares(inputs: ArrayLike, targets: ArrayLike, alpha: Array | float) -> Array:
  r"""Computes the least-squares weights for smoothed targets from those for the targets.

  The weights are $(1 - \alpha) W^* + \frac{\alpha}{L} (X^\top X)^{-1} X^\top J$, where J is the
  matrix of ones. The second term vanishes if the inputs are centred, so that smoothing shrinks the
  weights by the factor $1 - \alpha$.

  Args:
    inputs: Inputs X of shape [N, D] and rank D.
    targets: Targets Y of shape [N, L] before smoothing, one-hot.
    alpha: Strength of smoothing, a scalar in [0, 1].

  Returns:
    Weights of shape [D, L].

  References:
    Lukasik et al., [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819),
    2020, section 4.

  Examples:
    >>> x, y = jnp.array([[1.0], [-1.0]]), jnp.eye(2)
    >>> print(least_squares(x, y), smoothed_least_squares(x, y, 0.5))
    [[ 0.5 -0.5]] [[ 0.25 -0.25]]
  """
  inputs, targets = jnp.asarray(inputs), jnp.asarray(targets)
  shift = least_squares(inputs, jnp.ones_like(targets)) * alpha / targets.shape[-1]
  return (1 - alpha) * least_squares(inputs, targets) + shift


class OmegaCheck(TypedDict):
  r"""How $\Omega$ of a linear model behaves at the weights W = 0, the worst of all data sets.

  Attributes:
    largest_gradient: Largest absolute entry of the gradient at W = 0.
    least_eigenvalue: Least eigenvalue of the Hessian at W = 0.
    least_excess: Least difference of the value at random weights from that at W = 0.
  """

  largest_gradient: float
  least_eigenvalue: float
  least_excess: float


class ShrinkageCheck(TypedDict):
  """How exactly label smoothing shrinks least-squares weights, in float64.

  Attributes:
    alpha: Strength of smoothing.
    norm_ratio: Mean over the data sets of the norm of the weights for smoothed targets, divided by
      that for the targets, on centred inputs.
    error_float64: Largest absolute error of an entry of the weights for smoothed targets, if they
      are predicted as 1 - alpha times those for the targets, on centred inputs.
    formula_error_float64: Largest absolute error of an entry of `smoothed_least_squares`, on inputs
      that are not centred.
  """

  alpha: float
  norm_ratio: float
  error_float64: float
  formula_error_float64: float


class TheoryCheck(TypedDict):
  r"""How well the statements of the theory hold on random data.

  Attributes:
    seeds: Number of random data sets.
    omega: What was measured of the theorem that $\Omega$ is least at W = 0.
    shrinkage: What was measured of shrinkage, for each alpha.
    shrinkage_error_float32: Largest error of shrinkage as in `ShrinkageCheck`, in float32.
    regulariser_error_float64: Largest absolute difference of the mean of label smoothing from
      $1 - \alpha$ times the mean of cross-entropy plus $\beta\,\Omega$.
    argmax_kept: Least share of random label distributions whose most probable class stays the
      same under symmetric noise with a rate below (L - 1) / L.
  """

  seeds: int
  omega: OmegaCheck
  shrinkage: list[ShrinkageCheck]
  shrinkage_error_float32: float
  regulariser_error_float64: float
  argmax_kept: float


def check() -> TheoryCheck:
  """Measures on random data how well the statements of the theory hold.

  All computations are in float64, and those on shrinkage in float32 too. They take a few seconds.

  Returns:
    The worst values over all data sets.

  References:
    Lukasik et al., [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819),
    2020, section 4 and theorem 1.

  Examples:
    >>> measured = check()
    >>> measured["regulariser_error_float64"] < 1e-10, measured["argmax_kept"]
    (True, 1.0)
  """
  with jax.enable_x64():
    at_zero = [_omega_at_zero(seed, 3, 4) for seed in _SEEDS]
    double = {alpha: [_shrinkage(seed, alpha) for seed in _SEEDS] for alpha in _ALPHAS}
    regulariser = [_regulariser_error(seed, alpha) for seed in _SEEDS for alpha in _ALPHAS]
  # A GPU would round the factors of products to TF32.
  with jax.default_matmul_precision("highest"):
    single = [_shrinkage(seed, alpha)[1] for seed in _SEEDS for alpha in _ALPHAS]
  gradients, eigenvalues, excesses = zip(*at_zero)
  shrinkage: list[ShrinkageCheck] = []
  for alpha, measured in double.items():
    ratios, errors, formula_errors = zip(*measured)
    shrinkage.append(
      {
        "alpha": alpha,
        "norm_ratio": float(np.mean(ratios)),
        "error_float64": max(errors),
        "formula_error_float64": max(formula_errors),
      }
    )
  return {
    "seeds": len(_SEEDS),
    "omega": {
      "largest_gradient": max(gradients),
      "least_eigenvalue": min(eigenvalues),
      "least_excess": min(excesses),
    },
    "shrinkage": shrinkage,
    "shrinkage_error_float32": max(single),
    "regulariser_error_float64": max(regulariser),
    "argmax_kept": min(_argmax_kept(0, rate) for rate in (0.2, 0.4, 0.6, 0.8)),
  }


def _omega_of(weights: Array, inputs: Array) -> Array:
  return omega(inputs @ weights)


_gradient = jax.jit(jax.grad(_omega_of))
_hessian = jax.jit(jax.hessian(_omega_of))
_values = jax.jit(jax.vmap(_omega_of, in_axes=(0, None)))


def _omega_at_zero(seed: int, dimension: int, num_classes: int) -> tuple[float, float, float]:
  """Returns the gradient, the eigenvalue and the excess of `OmegaCheck` for one data set."""
  rng = np.random.default_rng(seed)
  inputs = rng.gamma(0.5, size=(50, dimension)) + rng.normal(size=dimension)
  zero = np.zeros((dimension, num_classes))
  random = rng.normal(size=(20, dimension, num_classes))
  # NumPy around compiled functions: every operation of jax.numpy would be compiled by itself.
  hessian = np.asarray(_hessian(zero, inputs)).reshape(zero.size, zero.size)
  values = np.asarray(_values(np.concatenate([zero[None], random]), inputs))
  return (
    float(np.abs(_gradient(zero, inputs)).max()),
    float(np.linalg.eigvalsh(hessian).min()),
    float((values[1:] - values[0]).min()),
  )


def _shrinkage(seed: int, alpha: float) -> tuple[float, float, float]:
  """Returns the ratio, the error and the formula's error of `ShrinkageCheck` for one data set."""
  rng = np.random.default_rng(seed)
  raw = rng.normal(size=(200, 8)) + rng.normal(size=8)
  targets = np.eye(5)[rng.integers(0, 5, 200)]
  ratio, error, formula_error = _shrinkage_of(raw, targets, np.float64(alpha))
  return float(ratio), float(error), float(formula_error)


@jax.jit
def _shrinkage_of(raw: Array, targets: Array, alpha: Array) -> tuple[Array, Array, Array]:
  smooth = (1 - alpha) * targets + alpha / targets.shape[-1]
  inputs = raw - raw.mean(0)
  plain, shrunk = least_squares(inputs, targets), least_squares(inputs, smooth)
  formula = smoothed_least_squares(raw, targets, alpha)
  return (
    jnp.linalg.norm(shrunk) / jnp.linalg.norm(plain),
    jnp.abs(shrunk - (1 - alpha) * plain).max(),
    jnp.abs(formula - least_squares(raw, smooth)).max(),
  )


def _regulariser_error(seed: int, alpha: float) -> float:
  rng = np.random.default_rng(seed)
  logits, labels = rng.normal(size=(100, 7)) * 5, rng.integers(0, 7, 100)
  weight = smoothing_weight(alpha, logits.shape[-1])
  return float(_regulariser_error_of(logits, labels, np.float64(alpha), np.float64(weight)))


@jax.jit
def _regulariser_error_of(logits: Array, labels: Array, alpha: Array, weight: Array) -> Array:
  smoothed = losses.label_smoothing(logits, labels, alpha=alpha).mean()
  plain = losses.cross_entropy(logits, labels).mean()
  return jnp.abs(smoothed - (1 - alpha) * (plain + weight * omega(logits)))


def _argmax_kept(seed: int, rate: float) -> float:
  rng = np.random.default_rng(seed)
  clean = rng.dirichlet(np.full(10, 0.5), 1000)
  noisy = clean @ transition_lib.symmetric(10, rate)
  return float((clean.argmax(1) == noisy.argmax(1)).mean())
