"""2-D convolutions whose gradients stay fast inside a loop on XLA's CPU backend.

XLA:CPU has a fast kernel for convolutions of NHWC inputs with HWIO kernels, and rewrites other
forms to this one only outside loops. The gradient convolutions of automatic differentiation have
another form, so that inside `lax.scan` they run on a far slower kernel. This module writes the
input gradient in the fast form and the kernel gradient as matrix products. Strided convolutions,
whose gradients would need dilation, become one matrix product over patches. Other backends do not
use this module (see `networks`).
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Strides = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
Padding = str | Sequence[tuple[int, int]]


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
    Images [N, H', W', O].

  Raises:
    NotImplementedError: for dilation or groups.
  """
  check_options(**options)
  strides, pads = _geometry(lhs, rhs, window_strides, padding)
  return _conv(lhs, rhs, pads) if strides == (1, 1) else _patches_conv(lhs, rhs, strides, pads)


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


def _plain(lhs: jax.Array, rhs: jax.Array, pads: Pads) -> jax.Array:
  layouts = ("NHWC", "HWIO", "NHWC")
  return lax.conv_general_dilated(lhs, rhs, (1, 1), pads, dimension_numbers=layouts)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(lhs: jax.Array, rhs: jax.Array, pads: Pads) -> jax.Array:
  """Computes a convolution of stride 1 whose gradients are fast."""
  return _plain(lhs, rhs, pads)


def _conv_forward(
  lhs: jax.Array, rhs: jax.Array, pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return _plain(lhs, rhs, pads), (lhs, rhs)


def _conv_backward(
  pads: Pads, residuals: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
  lhs, rhs = residuals
  # The input gradient is the output gradient convolved with the kernel turned by 180 degrees.
  turned = rhs[::-1, ::-1].transpose(0, 1, 3, 2)
  full = tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(rhs.shape, pads))
  return _plain(grad, turned, full), _kernel_gradient(lhs, grad, rhs.shape[:2], pads)


_conv.defvjp(_conv_forward, _conv_backward)


def _kernel_gradient(
  lhs: jax.Array, grad: jax.Array, kernel: tuple[int, ...], pads: Pads
) -> jax.Array:
  """Computes the gradient of a stride-1 convolution by its kernel as one matrix product.

  The plain product over patches is [kh kw C, O] with 16 to 64 rows and columns: too small for a
  fast matrix kernel, and the patches are kh kw copies of the input. Therefore `block` neighbouring
  outputs of a row are taken together with the inputs that they touch, which makes the product
  wider by that factor; the gradient is the sum of its (shifted) diagonal blocks. For the rows of
  the kernel, shifted copies of the output gradient stand beside each other. The other blocks of
  the product are not needed, but the wide product is still faster (benchmarks/step_time.py).
  """
  (kernel_h, kernel_w), (count, out_h, out_w, features) = kernel, grad.shape
  channels = lhs.shape[-1]
  most = 4 if channels < 32 else 2  # measured: wide layers fill the matrix kernel sooner
  block = next(b for b in (most, 2, 1) if out_w % b == 0)
  window = block + kernel_w - 1
  x = jnp.pad(lhs, ((0, 0), *pads, (0, 0)))
  height = x.shape[1]
  windows = [
    x[:, :, i : i + window].reshape(count, height, 1, window * channels)
    for i in range(0, out_w, block)
  ]
  blocks = grad.reshape(count, out_h, out_w // block, block * features)
  shifted = [
    jnp.pad(blocks, ((0, 0), (i, height - out_h - i), (0, 0), (0, 0))) for i in range(kernel_h)
  ]
  # Both are flattened first: a product contracted over several axes at once is far slower.
  a = jnp.concatenate(windows, axis=2).reshape(-1, window * channels)
  b = jnp.concatenate(shifted, axis=-1).reshape(-1, kernel_h * block * features)
  wide = lax.dot_general(a, b, (((0,), (0,)), ((), ())))  # a^T b
  wide = wide.reshape(window, channels, kernel_h, block, features)
  columns = [sum(wide[j + k, :, :, k] for k in range(block)) for j in range(kernel_w)]
  return jnp.stack(columns).transpose(2, 0, 1, 3)


def _patches_conv(lhs: jax.Array, rhs: jax.Array, strides: Strides, pads: Pads) -> jax.Array:
  """Computes a convolution of any stride as one matrix product over patches."""
  kernel_h, kernel_w, channels, features = rhs.shape
  x = jnp.pad(lhs, ((0, 0), *pads, (0, 0)))
  out_h = (x.shape[1] - kernel_h) // strides[0] + 1
  out_w = (x.shape[2] - kernel_w) // strides[1] + 1
  patches = [
    x[
      :,
      i : i + (out_h - 1) * strides[0] + 1 : strides[0],
      j : j + (out_w - 1) * strides[1] + 1 : strides[1],
    ]
    for i in range(kernel_h)
    for j in range(kernel_w)
  ]
  stacked = jnp.concatenate(patches, axis=-1).reshape(-1, kernel_h * kernel_w * channels)
  out = stacked @ rhs.reshape(-1, features)
  return out.reshape(lhs.shape[0], out_h, out_w, features)
