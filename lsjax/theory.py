r"""The paper's mathematics as functions, and the numbers that check it.

Label smoothing is, up to a scale, cross-entropy plus :math:`\beta\,\Omega` with
:math:`\Omega(f) = E_x[L\,\mathrm{logsumexp} f(x) - \sum_j f_j(x)]`, which no label enters
(Lukasik et al., 2020, section 4). `check` measures each statement on random data.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lsjax import losses
from lsjax import transition as transition_lib

Array = jax.Array


def omega(logits: Array) -> Array:
  r"""Computes :math:`\Omega = E[L\,\mathrm{logsumexp} f - \sum_j f_j]`, the mean over [N, L].

  >>> print(omega(jnp.zeros((3, 4))).round(4))  # 4 log 4
  5.5452
  """
  num_classes = logits.shape[-1]
  return (num_classes * jax.nn.logsumexp(logits, axis=-1) - logits.sum(-1)).mean()


def smoothing_weight(alpha: float, num_classes: int) -> float:
  r"""Returns :math:`\beta = \alpha / ((1 - \alpha) L)`: LS = (1 - alpha) (CE + beta Omega).

  >>> smoothing_weight(0.5, 10)
  0.1
  """
  return alpha / ((1 - alpha) * num_classes)


def least_squares(inputs: Array, targets: Array) -> Array:
  """Returns the W [D, L] that minimises the squared loss of inputs [N, D] W to targets [N, L]."""
  return jnp.linalg.solve(inputs.T @ inputs, inputs.T @ targets)


def smoothed_least_squares(inputs: Array, targets: Array, alpha: Array | float) -> Array:
  r"""Returns the minimiser for smoothed targets by the paper's formula.

  :math:`(1-\alpha) W^* + \frac{\alpha}{L} (X^\top X)^{-1} X^\top J`; the second term vanishes
  where the inputs are centred, and smoothing is shrinkage.

  Args:
    inputs: X, [N, D].
    targets: one-hot, [N, L].
    alpha: in [0, 1).
  """
  ones = jnp.ones_like(targets)
  shift = least_squares(inputs, ones) * alpha / targets.shape[-1]
  return (1 - alpha) * least_squares(inputs, targets) + shift


def _omega_of(weights: Array, inputs: Array) -> Array:
  return omega(inputs @ weights)


def _omega_at_zero(seed: int, dimension: int, num_classes: int) -> dict[str, float]:
  """Returns the largest gradient and least eigenvalue of Omega's Hessian at W = 0, and how
  far Omega(0) lies below Omega at random W."""
  rng = np.random.default_rng(seed)
  inputs = rng.gamma(0.5, size=(50, dimension)) + rng.normal(size=dimension)
  zero = np.zeros((dimension, num_classes))
  random = rng.normal(size=(20, dimension, num_classes))
  hessian = _hessian(zero, inputs).reshape(zero.size, zero.size)
  values = _values(np.concatenate([zero[None], random]), inputs)
  return {
    "gradient": float(jnp.abs(_gradient(zero, inputs)).max()),
    "least_eigenvalue": float(np.linalg.eigvalsh(hessian).min()),
    "least_excess": float((values[1:] - values[0]).min()),
  }


_gradient = jax.jit(jax.grad(_omega_of))
_hessian = jax.jit(jax.hessian(_omega_of))
_values = jax.jit(jax.vmap(_omega_of, in_axes=(0, None)))


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


def _shrinkage(seed: int, alpha: float) -> dict[str, float]:
  """Returns the ratio of norms and the largest error of W_LS = (1 - alpha) W* on centred data,
  and of the formula on data that are not centred."""
  rng = np.random.default_rng(seed)
  raw = jnp.asarray(rng.normal(size=(200, 8)) + rng.normal(size=8))
  targets = jnp.eye(5, dtype=raw.dtype)[rng.integers(0, 5, 200)]
  ratio, error, formula_error = _shrinkage_of(raw, targets, jnp.asarray(alpha, raw.dtype))
  return {
    "norm_ratio": float(ratio),
    "error": float(error),
    "formula_error": float(formula_error),
  }


def _regulariser_error(seed: int, alpha: float) -> float:
  """Returns the largest |LS - (1 - alpha) (CE + beta Omega)| over random logits."""
  rng = np.random.default_rng(seed)
  logits = jnp.asarray(rng.normal(size=(100, 7)) * 5)
  labels = rng.integers(0, 7, 100)
  smoothed = losses.label_smoothing(logits, labels, alpha=alpha).mean()
  plain = losses.cross_entropy(logits, labels).mean()
  scaled = (1 - alpha) * (plain + smoothing_weight(alpha, 7) * omega(logits))
  return float(jnp.abs(smoothed - scaled))


def _argmax_kept(seed: int, rate: float) -> float:
  """Returns the share of random label distributions whose argmax symmetric noise keeps."""
  rng = np.random.default_rng(seed)
  clean = rng.dirichlet(np.full(10, 0.5), 1000)
  noisy = clean @ transition_lib.symmetric(10, rate)
  return float((clean.argmax(1) == noisy.argmax(1)).mean())


ALPHAS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
SEEDS = 20


def check() -> dict[str, Any]:
  """Measures the statements in float64 (shrinkage also in float32); returns theory.json.

  Returns:
    omega: worst values over random inputs; shrinkage: per alpha; regulariser: worst error;
    argmax: least share kept for rates below (L - 1) / L.
  """
  with jax.enable_x64():
    at_zero = [_omega_at_zero(seed, 3, 4) for seed in range(SEEDS)]
    double = {alpha: [_shrinkage(s, alpha) for s in range(SEEDS)] for alpha in ALPHAS}
    regulariser = [_regulariser_error(s, a) for s in range(SEEDS) for a in ALPHAS]
  single = [_shrinkage(s, alpha)["error"] for s in range(SEEDS) for alpha in ALPHAS]
  return {
    "seeds": SEEDS,
    "omega": {
      "largest_gradient": max(one["gradient"] for one in at_zero),
      "least_eigenvalue": min(one["least_eigenvalue"] for one in at_zero),
      "least_excess": min(one["least_excess"] for one in at_zero),
    },
    "shrinkage": [
      {
        "alpha": alpha,
        "norm_ratio": float(np.mean([one["norm_ratio"] for one in ones])),
        "error_float64": max(one["error"] for one in ones),
        "formula_error_float64": max(one["formula_error"] for one in ones),
      }
      for alpha, ones in double.items()
    ],
    "shrinkage_error_float32": max(single),
    "regulariser_error_float64": max(regulariser),
    "argmax_kept": min(_argmax_kept(0, rate) for rate in (0.2, 0.4, 0.6, 0.8)),
  }
