r"""Losses that give less weight to labels that the network finds unlikely.

All of them are functions of the probabilities p of the network and of the noisy label y alone; they
need neither the rate nor the kind of the noise.
"""

import operator

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lsjax.losses.inputs import check_bounds, prepare
from lsjax.losses.logspace import expm1_ratio, mass, of_labels

__all__ = [
  "generalized_cross_entropy",
  "mean_absolute_error",
  "squared_error",
  "taylor_cross_entropy",
]


def generalized_cross_entropy(
  logits: ArrayLike, labels: ArrayLike, *, q: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes generalised cross-entropy, $(1 - p_y^q) / q$.

  The exponent moves the loss from cross-entropy, which it is exactly for q = 0 and approaches
  smoothly, to the mean absolute error $1 - p_y$ for q = 1. An example counts $p_y^q$ times as much
  in the gradient as in that of cross-entropy. The authors use q = 0.7.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    q: Exponent in [0, 1], a scalar or an array that broadcasts to [...].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...], in [0, 1/q] for q > 0.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if a concrete label is outside its
      range, or if a concrete q is outside [0, 1]. A traced q is not checked.

  References:
    Zhang and Sabuncu, [Generalized cross entropy loss for training deep neural networks with noisy
    labels](https://arxiv.org/abs/1805.07836), 2018, section 3.2.

  Examples:
    >>> x, y = jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([0])
    >>> print(generalized_cross_entropy(x, y, q=0.5).round(4))  # 2 (1 - 0.25^0.5)
    [1.]
  """
  check_bounds("q", q, 0, 1)
  logits, labels, finish = prepare(logits, labels, where)
  return finish(of_labels(_box_cox, jax.nn.log_softmax(logits), labels, q))


def mean_absolute_error(
  logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None
) -> Array:
  r"""Computes the mean absolute error, $1 - p_y$.

  This is half of $\sum_j |e_j - p_j|$, where e is the one-hot vector of the label; authors who sum
  over the classes have twice this loss.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...], in [0, 1].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, or if a concrete label is outside
      its range.

  References:
    Ghosh et al., [Robust loss functions under label noise for deep neural
    networks](https://arxiv.org/abs/1712.09482), 2017, section 3.

  Examples:
    >>> x, y = jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([0])
    >>> print(mean_absolute_error(x, y).round(4))
    [0.75]
  """
  logits, labels, finish = prepare(logits, labels, where)
  return finish(of_labels(_complement, jax.nn.log_softmax(logits), labels))


def squared_error(logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None) -> Array:
  r"""Computes the squared error of the probabilities, $\sum_j (e_j - p_j)^2$.

  e is the one-hot vector of the label. The loss is a proper score, known as Brier's, and bounded: a
  wrong label pulls less on a network that is sure of another class than under cross-entropy, and
  more than under the mean absolute error.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...], in [0, 2].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, or if a concrete label is outside
      its range.

  References:
    Ghosh et al., [Robust loss functions under label noise for deep neural
    networks](https://arxiv.org/abs/1712.09482), 2017, section 3.

  Examples:
    >>> x, y = jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([0])
    >>> print(squared_error(x, y).round(4))  # 0.75^2 + 0.75^2
    [1.125]
  """
  logits, labels, finish = prepare(logits, labels, where)
  log_p = jax.nn.log_softmax(logits)
  squares = jnp.exp(2 * log_p)

  def of_label(log_of_label: Array) -> Array:
    """(1 - p)^2 - p^2, to which the squares of all probabilities are added."""
    return 1 - 2 * jnp.exp(log_of_label)

  total = squares.sum(-1)
  return finish(of_labels(of_label, log_p, labels) + mass(labels) * total)


def taylor_cross_entropy(
  logits: ArrayLike, labels: ArrayLike, *, order: int, where: ArrayLike | None = None
) -> Array:
  r"""Computes the first terms of cross-entropy's Taylor series, $\sum_{k=1}^{t} (1 - p_y)^k / k$.

  Order 1 is the mean absolute error $1 - p_y$, and the loss tends to cross-entropy as the order
  grows. The authors use order 2 among others.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    order: The number t of terms, at least 1. It is a Python integer and not an array, so that each
      order is compiled on its own.
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...], in [0, 1 + 1/2 + ... + 1/t].

  Raises:
    TypeError: If the logits are not floating point, or if the order is not an integer or is traced.
    ValueError: If the shapes of logits and labels do not agree, if a concrete label is outside its
      range, or if the order is less than 1.

  References:
    Feng et al., Can cross entropy loss be robust to label noise?, IJCAI 2020, section 3.

  Examples:
    >>> x, y = jnp.log(jnp.array([0.25, 0.75])), jnp.array(0)
    >>> print(f"{taylor_cross_entropy(x, y, order=2):.5f}")  # 0.75 + 0.75^2 / 2
    1.03125
  """
  if isinstance(order, jax.core.Tracer):
    raise TypeError("order must be a Python integer, not a traced array")
  order = operator.index(order)
  if order < 1:
    raise ValueError(f"order must be at least 1, not {order}")
  logits, labels, finish = prepare(logits, labels, where)
  coefficients = [1 / k for k in range(order, 0, -1)] + [0.0]

  def series(log_p: Array) -> Array:
    return jnp.polyval(jnp.asarray(coefficients, log_p.dtype), _complement(log_p))

  return finish(of_labels(series, jax.nn.log_softmax(logits), labels))


def _complement(log_p: Array) -> Array:
  """Computes 1 - p, exact also for p near 1."""
  return -jnp.expm1(log_p)


def _box_cox(log_p: Array, q: Array) -> Array:
  """Computes (1 - p^q) / q, which is -log p for q = 0."""
  impossible = log_p == -jnp.inf
  finite = jnp.where(impossible, 0, log_p)
  at_zero = jnp.where(q > 0, 1 / jnp.where(q > 0, q, 1), jnp.inf)
  return jnp.where(impossible, at_zero, -finite * expm1_ratio(q * finite))
