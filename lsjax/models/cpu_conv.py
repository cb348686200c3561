"""2-D convolutions whose gradients stay fast inside a loop on XLA's CPU backend.

XLA:CPU has a fast kernel for convolutions of NHWC inputs with HWIO kernels, and rewrites other
forms to this one only outside loops. The gradient convolutions of automatic differentiation have
another form, so that inside `lax.scan` they run on a far slower kernel. This module writes the
input gradient in the fast form, also that of strided convolutions, which would need dilation, and
the kernel gradient as matrix products over patches. The fast kernel does not take bfloat16: such
inputs become float32, and the result stays so, because rounding it would be one more pass over
memory. Other backends do not use this module (see `networks`).
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Strides = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
Padding = str | Sequence[tuple[int, int]]

# Patches of so many elements (2.5 MiB in float32) stay in the cache.
_PATCH_ELEMENTS = 10 * 2**16


def conv_general_dilated(
  lhs: jax.Array, rhs: jax.Array, window_strides: Sequence[int], padding: Padding, **options: Any
) -> jax.Array:
  """Replaces `jax.lax.conv_general_dilated` in `flax.linen.Conv`.

  Args:
    lhs: images [N, H, W, C].
    rhs: a kernel [kh, kw, C, O].
    window_strides: the vertical and the horizontal stride.
    padding: "SAME", "VALID" or ((top, bottom), (left, right)).
    **options: the other arguments of the original. Layouts are ignored because Flax always passes
      NHWC and HWIO, and precision because the CPU has only one.

  Returns:
    Images [N, H', W', O], in float32 for narrower inputs; the layer that follows rounds them.

  Raises:
    NotImplementedError: for dilation or groups.
  """
  check_options(**options)
  strides, pads = _geometry(lhs, rhs, window_strides, padding)
  return _conv(lhs, rhs, strides, pads)


def im2col_conv_general_dilated(
  lhs: jax.Array, rhs: jax.Array, window_strides: Sequence[int], padding: Padding, **options: Any
) -> jax.Array:
  """Computes the convolution as one matrix product over patches (im2col), whatever the strides.

  Under vmap over kernels it becomes one batched matrix product, and XLA's own convolution a
  grouped one; benchmarks/packing.py compares them. For arguments and errors see
  `conv_general_dilated`.
  """
  check_options(**options)
  return _patches_conv(lhs, rhs, *_geometry(lhs, rhs, window_strides, padding))


def check_options(
  lhs_dilation: Sequence[int] | None = None,
  rhs_dilation: Sequence[int] | None = None,
  feature_group_count: int = 1,
  **_: object,
) -> None:
  """Raises `NotImplementedError` for dilation or groups among the options of a convolution."""
  if {1, feature_group_count, *(lhs_dilation or ()), *(rhs_dilation or ())} != {1}:
    raise NotImplementedError("dilated and grouped convolutions")


def _geometry(
  lhs: jax.Array, rhs: jax.Array, window_strides: Sequence[int], padding: Padding
) -> tuple[Strides, Pads]:
  """Returns strides and ((top, bottom), (left, right)) as tuples of plain integers."""
  strides = tuple(window_strides)
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
  return strides, tuple((int(low), int(high)) for low, high in padding)


def _computed_in(x: jax.Array) -> Any:
  """Returns the type to compute in: float32 for narrower types."""
  return jnp.promote_types(x.dtype, jnp.float32)


def _plain(lhs: jax.Array, rhs: jax.Array, strides: Strides, pads: Pads) -> jax.Array:
  layouts = ("NHWC", "HWIO", "NHWC")
  x, kernel = (a.astype(_computed_in(lhs)) for a in (lhs, rhs))
  out = lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=layouts)
  return out


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(lhs: jax.Array, rhs: jax.Array, strides: Strides, pads: Pads) -> jax.Array:
  """Computes a convolution whose gradients are fast."""
  return _plain(lhs, rhs, strides, pads)


def _conv_forward(
  lhs: jax.Array, rhs: jax.Array, strides: Strides, pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return _plain(lhs, rhs, strides, pads), (lhs, rhs)


def _conv_backward(
  strides: Strides, pads: Pads, residuals: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
  lhs, rhs = residuals
  return (
    _input_gradient(grad, rhs, lhs.shape, strides, pads),
    _kernel_gradient(lhs, grad, rhs.shape[:2], strides, pads),
  )


_conv.defvjp(_conv_forward, _conv_backward)


def _input_gradient(
  grad: jax.Array, rhs: jax.Array, shape: tuple[int, ...], strides: Strides, pads: Pads
) -> jax.Array:
  """Computes the gradient of a convolution by its input [N, H, W, C] as a convolution of stride 1.

  It is the output gradient convolved with the kernel turned by 180 degrees. With strides (s, t), a
  block of s x t pixels of the input depends on the same outputs, so that the convolution has a
  feature for every pixel of a block and every channel.
  """
  (stride_h, stride_w), (count, height, width, channels) = strides, shape
  kernel, full, sizes = rhs, [], []
  for axis, (size, stride, (low, _)) in enumerate(zip(shape[1:3], strides, pads)):
    # Tap i of output y is pixel stride (y + block) + place, where stride block + place = i - low.
    first, last = -low // stride, (rhs.shape[axis] - 1 - low) // stride
    before = -low - stride * first
    after = stride * (last + 1 - first) - rhs.shape[axis] - before
    widths = [(0, 0)] * 4
    widths[axis] = (before, after)
    kernel = jnp.pad(kernel, widths)
    sizes.append(-(-size // stride))
    full.append((last, sizes[-1] - grad.shape[1 + axis] - first))
  taps_h, taps_w = kernel.shape[0] // stride_h, kernel.shape[1] // stride_w
  kernel = kernel.reshape(taps_h, stride_h, taps_w, stride_w, channels, -1)[::-1, :, ::-1]
  kernel = kernel.transpose(0, 2, 5, 1, 3, 4).reshape(taps_h, taps_w, grad.shape[-1], -1)
  out = _plain(grad, kernel, (1, 1), tuple(full)).astype(rhs.dtype)
  out = out.reshape(count, *sizes, stride_h, stride_w, channels).transpose(0, 1, 3, 2, 4, 5)
  return out.reshape(count, sizes[0] * stride_h, -1, channels)[:, :height, :width]


def _kernel_gradient(
  lhs: jax.Array, grad: jax.Array, kernel: tuple[int, ...], strides: Strides, pads: Pads
) -> jax.Array:
  """Computes the gradient of a convolution by its kernel as matrix products over patches.

  The patches are kh kw copies of the input. Therefore a loop takes as many images at a time as
  have patches that stay in the cache of a core.
  """
  (kernel_h, kernel_w), (count, out_h, out_w, features) = kernel, grad.shape
  channels = lhs.shape[-1]
  rows = kernel_h * kernel_w * channels
  fitting = max(1, _PATCH_ELEMENTS // (out_h * out_w * rows))
  images = next(n for n in range(min(fitting, count), 0, -1) if count % n == 0)

  dtype = _computed_in(lhs)

  def add(i: jax.Array, total: jax.Array) -> jax.Array:
    # Slices of the whole: a reshaped scan input is one more array in memory.
    x, g = (
      lax.dynamic_slice_in_dim(whole, i * images, images).astype(dtype) for whole in (lhs, grad)
    )
    a = _patches(x, kernel, (out_h, out_w), strides, pads).reshape(-1, rows)
    # The narrower factor comes first: in the other order the product takes up to twice as long.
    return total + lax.dot_general(g.reshape(-1, features), a, (((0,), (0,)), ((), ())))

  total = lax.fori_loop(0, count // images, add, jnp.zeros((features, rows), dtype))
  total = total.reshape(features, kernel_h, kernel_w, channels).transpose(1, 2, 3, 0)
  return total.astype(lhs.dtype)


def _patches(
  lhs: jax.Array, kernel: tuple[int, ...], size: tuple[int, int], strides: Strides, pads: Pads
) -> jax.Array:
  """Returns the kh kw C inputs of each output, [N, H', W', kh kw C]; size is (H', W')."""
  # Padding that is fused into each of the slices costs more than a pass of its own.
  x = lax.optimization_barrier(jnp.pad(lhs, ((0, 0), *pads, (0, 0))))
  rows, columns = ((n - 1) * stride + 1 for n, stride in zip(size, strides))
  return jnp.concatenate(
    [
      x[:, i : i + rows : strides[0], j : j + columns : strides[1]]
      for i in range(kernel[0])
      for j in range(kernel[1])
    ],
    axis=-1,
  )


def _patches_conv(lhs: jax.Array, rhs: jax.Array, strides: Strides, pads: Pads) -> jax.Array:
  """Computes a convolution of any stride as one matrix product over patches."""
  *kernel, channels, features = rhs.shape
  height, width = (
    (n + low + high - k) // stride + 1
    for n, k, stride, (low, high) in zip(lhs.shape[1:3], kernel, strides, pads)
  )
  patches = _patches(lhs, tuple(kernel), (height, width), strides, pads)
  out = patches.reshape(-1, math.prod(kernel) * channels) @ rhs.reshape(-1, features)
  return out.reshape(lhs.shape[0], height, width, features)
