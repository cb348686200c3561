"""What every loss does with its inputs: types, shapes, labels, masks and bounds."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

_ROUNDING = 1e-6  # how far below 0 rounding may leave an entry of a distribution


def prepare(
  logits: ArrayLike, labels: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array, Callable[[Array], Array]]:
  """Makes arrays of agreeing shapes, and checks labels as far as their values are known.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...], or distributions of shape [..., L].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Logits of at least float32; labels, integers in [0, L) or distributions; and the function that
    a loss applies to its losses [...] at the end. Logits and labels of masked examples are 0, and
    so are their final losses. The final loss of an integer label outside [0, L) is NaN.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes do not agree, or if concrete labels hold an integer outside [0, L) or
      an entry of a distribution that is negative or not finite.
  """
  floats = floating("logits", logits, where)
  given, labels = labels, jnp.asarray(labels)
  expected = floats.shape[:-1] if is_index(labels) else floats.shape
  if labels.shape != expected:
    raise ValueError(
      f"labels of shape {labels.shape} do not fit logits of shape {floats.shape}: "
      "integers [...] or distributions [..., L] are allowed"
    )
  known = _check_labels(given, floats.shape[-1], where)
  if not is_index(labels):
    labels = labels.astype(floats.dtype)
    labels = labels if where is None else jnp.where(jnp.asarray(where)[..., None], labels, 0)
    return floats, labels, lambda losses: masked(losses, where)
  if jnp.iinfo(labels.dtype).bits < 32:
    labels = labels.astype(jnp.int32)  # so that it can be compared with any L
  if where is not None:
    labels = jnp.where(where, labels, 0)
  if known:
    return floats, labels, lambda losses: masked(losses, where)
  valid = (labels >= 0) & (labels < floats.shape[-1])
  # A factor, which makes the gradient NaN too. Masked examples have the valid label 0.
  factor = jnp.where(valid, 1, jnp.nan).astype(floats.dtype)
  return floats, jnp.where(valid, labels, 0), lambda losses: masked(factor * losses, where)


def floating(name: str, logits: ArrayLike, where: ArrayLike | None) -> Array:
  """Returns logits [..., L] of at least float32, with zeros for masked examples.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the logits have no axis of classes.
  """
  array = jnp.asarray(logits)
  if not jnp.issubdtype(array.dtype, jnp.floating):
    raise TypeError(f"{name} must be floating point, not {array.dtype}")
  if array.ndim == 0:
    raise ValueError(f"{name} of shape () have no classes: shape [..., L] is allowed")
  array = array.astype(jnp.promote_types(array.dtype, jnp.float32))
  if where is not None:
    # Before the loss, not only after it: 0 * NaN would come back through the gradient.
    array = jnp.where(jnp.asarray(where)[..., None], array, 0)
  return array


def masked(losses: Array, where: ArrayLike | None) -> Array:
  """Returns losses with zeros for masked examples."""
  return losses if where is None else jnp.where(where, losses, 0)


def is_index(labels: Array) -> bool:
  """Tells whether labels are integers and not distributions."""
  return bool(jnp.issubdtype(labels.dtype, jnp.integer))


def is_concrete(value: ArrayLike | None) -> bool:
  """Tells whether this process knows an array's entries: JAX traces none of them."""
  if isinstance(value, jax.core.Tracer):
    return False
  return not isinstance(value, Array) or value.is_fully_addressable


def square(name: str, matrix: ArrayLike, logits: Array) -> Array:
  """Returns a matrix [L, L] in the precision of the logits.

  Raises:
    ValueError: If the matrix has another shape.
  """
  array = jnp.asarray(matrix, logits.dtype)
  if array.shape != (logits.shape[-1],) * 2:
    raise ValueError(
      f"{name} of shape {array.shape} does not fit logits with {logits.shape[-1]} classes: "
      f"[L, L] is allowed"
    )
  return array


def check_bounds(
  name: str, value: ArrayLike, low: float, high: float, *, includes_high: bool = True
) -> None:
  """Raises ValueError for a concrete parameter that is out of bounds or not finite."""
  if not is_concrete(value):
    return
  value = np.asarray(value)
  below = (value <= high) if includes_high else (value < high)
  if not (np.isfinite(value) & (value >= low) & below).all():
    bracket = "]" if includes_high else ")"
    raise ValueError(f"{name} must be in [{low:g}, {high:g}{bracket} and finite, not {value}")


def check_distributions(
  name: str, rows: ArrayLike, where: ArrayLike | None, sums: tuple[float, float]
) -> None:
  """Raises ValueError for concrete rows [..., L] with negative entries or other sums.

  Args:
    name: Name of the argument in the message.
    rows: Distributions of shape [..., L].
    where: Mask that broadcasts to [...]; rows outside it are not checked.
    sums: Least and greatest sum of a row that is allowed, without the tolerance for rounding.
  """
  if not (is_concrete(rows) and is_concrete(where)):
    return
  array = np.asarray(rows, np.float64)
  included = np.broadcast_to(True if where is None else np.asarray(where), array.shape[:-1])
  bad = ~(array >= -_ROUNDING) | (array == np.inf)
  entries = np.argwhere(bad & included[..., None])
  if entries.size:
    index = tuple(entries[0])
    raise ValueError(
      f"{_at(name, index)} = {array[index]:g} is no weight of a class: finite numbers of 0 or more "
      "are allowed"
    )
  totals = array.sum(-1)
  # Entries in half precision have two or three digits.
  tolerance = 1e-2 if jnp.asarray(rows).dtype.itemsize == 2 else 1e-4
  wrong = np.argwhere(((totals < sums[0] - tolerance) | (totals > sums[1] + tolerance)) & included)
  if wrong.size:
    index = tuple(wrong[0])
    allowed = "a sum of 1 is" if sums == (1, 1) else f"sums in [{sums[0]:g}, {sums[1]:g}] are"
    raise ValueError(f"{_at(name, index)} sums to {totals[index]:g}: {allowed} allowed")


def _check_labels(labels: ArrayLike, num_classes: int, where: ArrayLike | None) -> bool:
  """Checks labels and tells whether they were checked, which needs concrete arrays."""
  if not (is_concrete(labels) and is_concrete(where)):
    return False
  array = np.asarray(labels)
  if not jnp.issubdtype(array.dtype, jnp.integer):
    check_distributions("labels", labels, where, (-np.inf, np.inf))
    return True
  outside = ((array < 0) | (array >= num_classes)) & (where is None or np.asarray(where, bool))
  if outside.any():
    index = tuple(np.argwhere(outside)[0])
    raise ValueError(f"{_at('labels', index)} = {array[index]} is outside [0, {num_classes})")
  return True


def _at(name: str, index: tuple[int, ...]) -> str:
  return f"{name}[{', '.join(map(str, index))}]" if index else name
