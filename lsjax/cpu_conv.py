"""2-D convolution whose gradients stay fast inside a loop on XLA's CPU backend.

XLA:CPU rewrites convolutions to a form it has a fast kernel for (NHWC inputs, HWIO
kernels) only outside loops; autodiff's gradient convolutions are not in that form, and
inside `lax.scan` they fall to a far slower one. Here the input gradient is
written in that form and the kernel gradient as matrix products. Strided convolutions,
whose gradients would need dilation, become one matrix product over patches. Other
backends never see this file (see `models`).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def conv_general_dilated(
  lhs: jax.Array,
  rhs: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  **options: Any,
) -> jax.Array:
  """Drop-in for `jax.lax.conv_general_dilated`, as `flax.linen.Conv` calls it.

  Args:
    lhs: [N, H, W, C].
    rhs: [kh, kw, C, O].
    window_strides: two strides.
    padding: "SAME", "VALID" or ((top, bottom), (left, right)).
    **options: the others of the original. Layouts are ignored, because flax passes NHWC and
      HWIO, and precision, because the CPU has one.

  Returns:
    [N, H', W', O].

  Raises:
    NotImplementedError: for dilation or groups.
  """
  _check(**options)
  strides, pads = _geometry(lhs, rhs, window_strides, padding)
  if strides == (1, 1):
    return _conv(lhs, rhs, pads)
  return _patches_conv(lhs, rhs, strides, pads)


def im2col_conv_general_dilated(
  lhs: jax.Array, rhs: jax.Array, window_strides: Any, padding: Any, **options: Any
) -> jax.Array:
  """The same by one matrix product over patches (im2col), whatever the strides.

  Packed by vmap over kernels it becomes one batched matrix product, where XLA's own
  convolution would become a grouped one. benchmarks/packing.py compares them.
  """
  _check(**options)
  return _patches_conv(lhs, rhs, *_geometry(lhs, rhs, window_strides, padding))


def _check(
  lhs_dilation: Any = None, rhs_dilation: Any = None, feature_group_count: int = 1, **_: Any
) -> None:
  dilated = {1} != {1, *(lhs_dilation or ()), *(rhs_dilation or ())}
  if dilated or feature_group_count != 1:
    raise NotImplementedError("dilated and grouped convolutions")


def _geometry(lhs: jax.Array, rhs: jax.Array, window_strides: Any, padding: Any) -> tuple[Any, Any]:
  """Returns strides and ((top, bottom), (left, right)) as plain integers."""
  strides = tuple(window_strides)
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
  return strides, tuple((int(low), int(high)) for low, high in padding)


def _plain(lhs: jax.Array, rhs: jax.Array, pads: Any) -> jax.Array:
  return lax.conv_general_dilated(lhs, rhs, (1, 1), pads, dimension_numbers=_DIMENSIONS)


def _conv(lhs: jax.Array, rhs: jax.Array, pads: Any) -> jax.Array:
  """Stride-1 convolution with canonical gradients."""

  @jax.custom_vjp
  def conv(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    return _plain(lhs, rhs, pads)

  def forward(lhs: jax.Array, rhs: jax.Array) -> Any:
    return _plain(lhs, rhs, pads), (lhs, rhs)

  def backward(residuals: Any, grad: jax.Array) -> Any:
    lhs, rhs = residuals
    # Input gradient: the output gradient against the kernel turned by 180 degrees.
    turned = rhs[::-1, ::-1].transpose(0, 1, 3, 2)
    full = tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(rhs.shape, pads))
    grad_lhs = _plain(grad, turned, full)
    return grad_lhs, _kernel_gradient(lhs, grad, rhs.shape[:2], pads)

  conv.defvjp(forward, backward)
  return conv(lhs, rhs)


def _kernel_gradient(lhs: jax.Array, grad: jax.Array, kernel: Any, pads: Any) -> jax.Array:
  """Gradient of a stride-1 convolution by its kernel, as one matrix product.

  The plain product over patches is [kh kw C, O] with 16 to 64 rows and columns: too small for a
  fast matrix kernel, and the patches are kh kw copies of the input. So `block` neighbouring
  outputs of a row are taken together with the inputs they touch, which makes the product wider
  by that factor; the wanted gradient is the sum of its (shifted) diagonal blocks. The kernel's
  rows are copies of the output gradient, shifted, beside each other. The rest of the product is
  thrown away, which still pays (benchmarks/step_time.py).
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
  # Flattened first: contracted over several axes at once the product is far slower.
  wide = _contract(
    jnp.concatenate(windows, axis=2).reshape(-1, window * channels),
    jnp.concatenate(shifted, axis=-1).reshape(-1, kernel_h * block * features),
  ).reshape(window, channels, kernel_h, block, features)
  columns = [sum(wide[j + k, :, :, k] for k in range(block)) for j in range(kernel_w)]
  return jnp.stack(columns).transpose(2, 0, 1, 3)


def _contract(a: jax.Array, b: jax.Array) -> jax.Array:
  """a [K, P], b [K, Q] -> a^T b, [P, Q]."""
  return lax.dot_general(a, b, (((0,), (0,)), ((), ())))


def _patches_conv(lhs: jax.Array, rhs: jax.Array, strides: Any, pads: Any) -> jax.Array:
  """Convolution of any stride as one matrix product over patches."""
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
