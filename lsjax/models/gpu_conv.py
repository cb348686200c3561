"""2-D convolutions of several runs at once, as one dense convolution, for GPUs.

Under vmap over runs, JAX turns a convolution into a grouped one with a group per run, for which
cuDNN has slow kernels. The narrow layers of a CIFAR network leave a GPU idle on their own. Here the
channels of all runs stand beside each other, and their kernels form a block-diagonal kernel: with G
runs the dense convolution computes G times as many products as needed, on matrix units that were
waiting anyway. benchmarks/packing.py compares the forms and widths.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from lsjax.models import cpu_conv

Array = jax.Array
Strides = tuple[int, ...]
Padding = str | tuple[tuple[int, int], ...]


def conv_general_dilated(
  lhs: Array,
  rhs: Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  **options: Any,
) -> Array:
  """Replaces `jax.lax.conv_general_dilated` in `flax.linen.Conv`.

  Without vmap it is the original.

  Args:
    lhs: images [N, H, W, C].
    rhs: a kernel [kh, kw, C, O].
    window_strides: the vertical and the horizontal stride.
    padding: "SAME", "VALID" or ((top, bottom), (left, right)).
    **options: the other arguments of the original. Layouts are ignored because Flax always passes
      NHWC and HWIO.

  Returns:
    Images [N, H', W', O].

  Raises:
    NotImplementedError: for dilation or groups.
  """
  cpu_conv.check_options(**options)
  if not isinstance(padding, str):
    padding = tuple((int(low), int(high)) for low, high in padding)
  return _conv(lhs, rhs, tuple(window_strides), padding)


def _plain(lhs: Array, rhs: Array, strides: Strides, padding: Padding) -> Array:
  layouts = ("NHWC", "HWIO", "NHWC")
  return lax.conv_general_dilated(lhs, rhs, strides, padding, dimension_numbers=layouts)


def _merged(lhs: Array, rhs: Array, strides: Strides, padding: Padding) -> Array:
  """Computes the convolutions of G runs, [G, N, H, W, C] by [G, kh, kw, C, O], as a dense one."""
  groups, kernel_h, kernel_w, channels, features = rhs.shape
  images = jnp.moveaxis(lhs, 0, 3).reshape(*lhs.shape[1:4], groups * channels)
  diagonal = jnp.eye(groups, dtype=rhs.dtype)[:, None, :, None]
  kernel = jnp.moveaxis(rhs, 0, 2)[:, :, :, :, None, :] * diagonal
  kernel = kernel.reshape(kernel_h, kernel_w, groups * channels, groups * features)
  out = _plain(images, kernel, strides, padding)
  return jnp.moveaxis(out.reshape(*out.shape[:3], groups, features), 3, 0)


@functools.lru_cache(maxsize=64)
def _operations(strides: Strides, padding: Padding) -> tuple[Callable[..., Any], ...]:
  """Returns the convolution and its gradients, each with a rule for vmap over runs."""

  def forward(lhs: Array, rhs: Array) -> Array:
    return _plain(lhs, rhs, strides, padding)

  def forward_of_runs(lhs: Array, rhs: Array) -> Array:
    return _merged(lhs, rhs, strides, padding)

  def gradients(of: Callable[..., Array]) -> Callable[..., Any]:
    return lambda lhs, rhs, grad: jax.vjp(of, lhs, rhs)[1](grad)

  return (
    _with_rule(forward, forward_of_runs),
    _with_rule(gradients(forward), gradients(forward_of_runs)),
  )


def _with_rule(of_one: Callable[..., Any], of_runs: Callable[..., Any]) -> Callable[..., Any]:
  """Returns `of_one` with `of_runs` as the function that vmap makes of it."""
  operation = custom_vmap(of_one)

  @operation.def_vmap
  def _(axis_size: int, in_batched: Sequence[bool], *args: Array) -> tuple[Any, Any]:
    stacked = [
      x if batched else jnp.broadcast_to(x, (axis_size, *x.shape))
      for x, batched in zip(args, in_batched, strict=True)
    ]
    out = of_runs(*stacked)
    return out, jax.tree.map(lambda _: True, out)

  return operation


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(lhs: Array, rhs: Array, strides: Strides, padding: Padding) -> Array:
  return _operations(strides, padding)[0](lhs, rhs)


def _conv_forward(
  lhs: Array, rhs: Array, strides: Strides, padding: Padding
) -> tuple[Array, tuple[Array, Array]]:
  return _conv(lhs, rhs, strides, padding), (lhs, rhs)


def _conv_backward(
  strides: Strides, padding: Padding, residuals: tuple[Array, Array], grad: Array
) -> tuple[Array, Array]:
  return _operations(strides, padding)[1](*residuals, grad)


_conv.defvjp(_conv_forward, _conv_backward)
