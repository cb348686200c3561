"""BatchNorm with one reduction in each direction, for several runs at once on a GPU.

Flax's BatchNorm is 10.6 kernels a layer in the program that XLA makes of a training step, most of
which do little but wait for their turn (docs/performance.md). Here the two sums of each direction
are one reduction of pairs, which leaves six kernels a layer.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array


class BatchNorm(nn.Module):
  """Replaces `flax.linen.BatchNorm`, with the same parameters, statistics and results.

  Attributes:
    use_running_average: whether to use the running averages instead of the statistics of the batch.
    momentum: what the running averages keep of themselves in a step.
    epsilon: what is added to the variance.
    dtype: type of the result; sums, statistics and parameters are float32.
    axis_name: mapped axis of the devices that share statistics, or None.
  """

  use_running_average: bool
  momentum: float = 0.99
  epsilon: float = 1e-5
  dtype: jax.typing.DTypeLike = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Normalises each channel, the last axis, and returns an array of the same shape."""
    shape = (x.shape[-1],)
    average = self.variable("batch_stats", "mean", jnp.zeros, shape)
    variance = self.variable("batch_stats", "var", jnp.ones, shape)
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    if self.use_running_average:
      factor = lax.rsqrt(variance.value + self.epsilon) * scale
      return ((x - average.value) * factor + bias).astype(self.dtype)
    y, *of_batch = _normalise(x, scale, bias, self.epsilon, jnp.dtype(self.dtype), self.axis_name)
    if not self.is_initializing():
      for running, new in zip((average, variance), of_batch, strict=True):
        running.value = self.momentum * running.value + (1 - self.momentum) * new
    return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _normalise(
  x: Array, scale: Array, bias: Array, epsilon: float, dtype: Any, axis_name: str | None
) -> tuple[Array, Array, Array]:
  """Returns the normalised array, and the mean and variance, of which no gradient is taken."""
  return _forward(x, scale, bias, epsilon, dtype, axis_name)[0]


def _forward(
  x: Array, scale: Array, bias: Array, epsilon: float, dtype: Any, axis_name: str | None
) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
  wide = x.astype(jnp.float32)
  mean, square = _means(wide, wide * wide, axis_name)
  variance = jnp.maximum(square - mean * mean, 0)
  inverse = lax.rsqrt(variance + epsilon)
  y = (wide - mean) * (inverse * scale) + bias
  return (y.astype(dtype), mean, variance), (x, scale, mean, inverse)


def _backward(
  epsilon: float, dtype: Any, axis_name: str | None, residuals: tuple[Array, ...], grads: Any
) -> tuple[Array, Array, Array]:
  x, scale, mean, inverse = residuals
  grad = grads[0].astype(jnp.float32)
  normal = (x.astype(jnp.float32) - mean) * inverse
  of_bias, of_scale = _sums(grad, grad * normal)
  count = x.size // x.shape[-1]
  mean_grad, mean_product = of_bias / count, of_scale / count
  if axis_name is not None:
    mean_grad, mean_product = lax.pmean((mean_grad, mean_product), axis_name)
  of_x = (grad - mean_grad - normal * mean_product) * (inverse * scale)
  return of_x.astype(x.dtype), of_scale, of_bias


_normalise.defvjp(_forward, _backward)


def _means(x: Array, y: Array, axis_name: str | None) -> tuple[Array, Array]:
  """Returns the means of two arrays over all axes but the last, and over devices."""
  count = x.size // x.shape[-1]
  x_sum, y_sum = _sums(x, y)
  means = (x_sum / count, y_sum / count)
  return means if axis_name is None else lax.pmean(means, axis_name)


def _sums(x: Array, y: Array) -> tuple[Array, Array]:
  """Returns the sums of two arrays over all axes but the last, in one reduction."""
  add = lambda a, b: (a[0] + b[0], a[1] + b[1])  # noqa: E731
  zero = jnp.zeros((), x.dtype)
  sums: Any = lax.reduce((x, y), (zero, zero), add, tuple(range(x.ndim - 1)))
  return sums[0], sums[1]
