"""Sums and products of probabilities and losses of which some are 0 or infinite."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lsjax.losses.inputs import is_index


def times(weights: ArrayLike, losses: Array) -> Array:
  """Multiplies losses by weights; a weight of 0 makes an infinite loss 0 and not NaN."""
  return _times(jnp.asarray(weights, losses.dtype), losses)


@jax.custom_jvp
def _times(weights: Array, losses: Array) -> Array:
  return jnp.where(weights == 0, 0, weights * losses)


@_times.defjvp
def _times_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
  # Without this rule JAX would lose the derivative by a weight of 0. A mask of infinite losses in
  # the product would keep it, and nearly double the time that the loss of a small batch takes.
  weights, losses = primals
  finite = jnp.where((weights == 0) & jnp.isinf(losses), 0, losses)
  return _times(weights, losses), weights * tangents[1] + tangents[0] * finite


def pick(losses: Array, labels: Array) -> Array:
  """Returns losses [..., L] at integer labels, or their means under distributions."""
  if is_index(labels):
    return jnp.take_along_axis(losses, labels[..., None], axis=-1)[..., 0]
  return times(labels, losses).sum(-1)


def normaliser(logits: Array) -> tuple[Array, Array]:
  """Returns the largest logits, and the logarithms of the sums of exponentials relative to them."""
  top = jax.lax.stop_gradient(logits.max(-1))
  return top, jnp.log(jnp.exp(logits - top[..., None]).sum(-1))


def of_integers(logits: Array, labels: Array) -> Array:
  """Returns the cross-entropies of integer labels [...].

  Only the logits of the labels are looked at again. A log-softmax of all would be as large as they
  are, and writing it takes longer than all else with many classes.
  """
  top, total = normaliser(logits)
  return total - (pick(logits, labels) - top)


def weighted(logits: Array, weights: ArrayLike) -> Array:
  """Returns the weighted sum over all possible labels of their cross-entropies.

  Args:
    logits: Logits of shape [..., L].
    weights: Any real weights that broadcast to [..., L]; a weight of 0 counts no infinite loss.
  """
  top, total = normaliser(logits)
  weights = jnp.broadcast_to(jnp.asarray(weights, logits.dtype), logits.shape)
  # Behind the barrier, logits less their largest are computed again where they are needed. Else XLA
  # keeps those of the normaliser in memory, which takes longer.
  relative = logits - jax.lax.optimization_barrier(top)[..., None]
  return weights.sum(-1) * total - times(weights, relative).sum(-1)


@jax.custom_jvp
def of_mixture(logits: Array, weights: Array) -> Array:
  """Computes minus the logarithm of the weighted sum of probabilities over the last axis.

  The sum is scaled by the largest probability with a weight, so that it neither overflows nor
  vanishes. Where no probability has a weight above 0, the loss is infinite and has no gradient.

  Args:
    logits: Logits of shape [..., L].
    weights: Weights of shape [..., L], 0 or above.
  """
  return _mixture(logits, weights)[0]


@of_mixture.defjvp
def _of_mixture_jvp(
  primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
  # By the logits it is p - p w / (sum of p w), from exponentials that the loss has computed.
  loss, p, mixed, inverse = _mixture(*primals)
  by_logits = p - primals[1] * mixed * inverse[..., None]
  by_weights = mixed * inverse[..., None]
  return loss, (by_logits * tangents[0] - by_weights * tangents[1]).sum(-1)


def _mixture(logits: Array, weights: Array) -> tuple[Array, Array, Array, Array]:
  """Returns the loss, probabilities, those with a weight up to a factor, and 1 / their sum.

  All but the loss are zero where no probability has a weight.
  """
  top = logits.max(-1)
  scaled = jnp.exp(logits - top[..., None])
  total = scaled.sum(-1)
  has_weight = weights > 0
  largest = jnp.where(has_weight, logits, -jnp.inf).max(-1)
  largest = jnp.where(jnp.isfinite(largest), largest, 0)
  mixed = jnp.where(has_weight, jnp.exp(logits - largest[..., None]), 0)
  sums = (weights * mixed).sum(-1)
  possible = sums > 0
  inverse = jnp.where(possible, 1 / jnp.where(possible, sums, 1), 0)
  loss = jnp.where(possible, jnp.log(total) + log(inverse) + (top - largest), jnp.inf)
  return loss, scaled * (possible / total)[..., None], mixed, inverse


def as_distributions(labels: Array, logits: Array) -> Array:
  """Returns labels as distributions [..., L]; integer labels become one-hot."""
  if not is_index(labels):
    return labels
  return jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)


def of_labels(
  loss: Callable[..., Array], log_p: Array, labels: Array, *parameters: ArrayLike
) -> Array:
  """Returns the losses of labels, of a loss that depends on the label's own probability alone.

  Args:
    loss: Function of log-probabilities and parameters, applied to each entry.
    log_p: Log-probabilities of shape [..., L].
    labels: Integers of shape [...], or distributions of shape [..., L], which get the mean.
    parameters: Scalars or arrays that broadcast to [...].
  """
  values = [jnp.asarray(parameter, log_p.dtype) for parameter in parameters]
  if is_index(labels):
    return loss(pick(log_p, labels), *values)
  return pick(loss(log_p, *(value[..., None] for value in values)), labels)


def mass(labels: Array) -> Array | float:
  """Returns the sums of distributions; that of an integer label is 1."""
  return 1.0 if is_index(labels) else labels.sum(-1)


def log(x: Array) -> Array:
  """Computes the logarithm; that of 0 is -inf, with a gradient of zero instead of NaN."""
  positive = x > 0
  return jnp.where(positive, jnp.log(jnp.where(positive, x, 1)), -jnp.inf)


def expm1_ratio(x: Array) -> Array:
  """Computes expm1(x) / x; both the value and the gradient are exact near 0 and at 0."""
  # sum_k x^k / (k + 1)!, whose first term left out is below 1e-17 for |x| < 1/2
  return _near_zero(jnp.expm1, x, 0.5, [1 / math.factorial(k + 1) for k in range(15)])


def log1p_ratio(x: Array) -> Array:
  """Computes log1p(x) / x; both the value and the gradient are exact near 0 and at 0."""
  # sum_k (-x)^k / (k + 1), whose first term left out is below 1e-17 for |x| < 1/10
  return _near_zero(jnp.log1p, x, 0.1, [(-1) ** k / (k + 1) for k in range(16)])


def _near_zero(
  function: Callable[[Array], Array], x: Array, radius: float, series: list[float]
) -> Array:
  """Computes function(x) / x, by the series of the quotient for |x| below a radius."""
  near = jnp.abs(x) < radius
  coefficients = jnp.asarray(series[::-1], x.dtype)
  far = jnp.where(near, 1, x)
  return jnp.where(near, jnp.polyval(coefficients, jnp.where(near, x, 0)), function(far) / far)
