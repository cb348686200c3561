r"""Losses that weigh the label's loss against those of the other classes.

Reverse cross-entropy and normalised cross-entropy are robust by their form, and combine with
cross-entropy or with one another.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lsjax.losses.inputs import check_bounds, prepare
from lsjax.losses.logspace import of_labels, pick, times

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "symmetric_cross_entropy",
  "normalized_cross_entropy",
  "active_passive",
]

# The logarithm that the authors of active and passive losses take for that of 0.
_LOG_ZERO = math.log(1e-4)


def symmetric_cross_entropy(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  alpha: ArrayLike,
  beta: ArrayLike,
  log_zero: ArrayLike,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes symmetric cross-entropy, $\alpha\, \ell_y - \beta A\, (1 - p_y)$.

  The second term is the reverse cross-entropy $-\sum_j p_j \log e_j$ of the one-hot vector e, with
  the negative number A in the place of log 0. The authors use A = -4, with alpha 0.1 and beta 1 on
  CIFAR-10 and alpha 6 and beta 0.1 on CIFAR-100. Others clip e at 1e-4, that is A = -9.21.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    alpha: Weight of cross-entropy, at least 0, a scalar or an array that broadcasts to [...].
    beta: Weight of reverse cross-entropy, at least 0, likewise.
    log_zero: The number A, at most 0, likewise.
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if a concrete label is outside its
      range, or if a concrete parameter is out of bounds. Traced parameters are not checked.

  References:
    Wang et al., [Symmetric cross entropy for robust learning with noisy
    labels](https://arxiv.org/abs/1908.06112), 2019, section 3.2.

  Examples:
    >>> x, y = jnp.log(jnp.array([0.25, 0.75])), jnp.array(0)
    >>> loss = symmetric_cross_entropy(x, y, alpha=0.1, beta=1.0, log_zero=-4.0)
    >>> print(f"{loss:.4f}")  # 0.1 log 4 + 4 * 0.75
    3.1386
  """
  check_bounds("alpha", alpha, 0, np.inf)
  check_bounds("beta", beta, 0, np.inf)
  check_bounds("log_zero", log_zero, -np.inf, 0)
  logits, labels, finish = prepare(logits, labels, where)
  log_p = jax.nn.log_softmax(logits)
  reverse = _reverse_cross_entropy(log_p, labels, log_zero)
  return finish(times(alpha, pick(-log_p, labels)) + times(beta, reverse))


def normalized_cross_entropy(
  logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None
) -> Array:
  r"""Computes normalised cross-entropy, $\ell_y / \sum_j \ell_j$.

  The losses of all possible labels of an example sum to 1, which makes the loss robust against
  symmetric noise. Where some classes have probability 0, they share the loss in equal parts and the
  others have none of it.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L] with L at least 2.
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...], in [0, 1].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if there is only one class, or if a
      concrete label is outside its range.

  References:
    Ma et al., [Normalized loss functions for deep learning with noisy
    labels](https://arxiv.org/abs/2006.13554), 2020, section 3.1.

  Examples:
    >>> x, y = jnp.log(jnp.array([0.25, 0.75])), jnp.array(0)
    >>> print(f"{normalized_cross_entropy(x, y):.4f}")  # log 4 / (log 4 + log 4/3)
    0.8281
  """
  logits, labels, finish = prepare(logits, labels, where)
  return finish(_normalized(jax.nn.log_softmax(logits), labels))


def active_passive(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  active: ArrayLike,
  passive: ArrayLike,
  log_zero: ArrayLike = _LOG_ZERO,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes $a\, \ell_y / \sum_j \ell_j - b A\, (1 - p_y)$, an active plus a passive loss.

  The active loss is `normalized_cross_entropy`, which raises the probability of the label, and the
  passive one is the reverse cross-entropy of `symmetric_cross_entropy`, which lowers those of the
  other classes. Both are robust, and together they learn faster than either. The authors use the
  weights a = b = 1 on CIFAR-10, a = 10 and b = 0.1 on CIFAR-100.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L] with L at least 2.
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    active: Weight a of normalised cross-entropy, at least 0, a scalar or an array that broadcasts
      to [...].
    passive: Weight b of reverse cross-entropy, at least 0, likewise.
    log_zero: The number A that stands for log 0, at most 0, likewise. By default it is log 1e-4,
      as in the authors' code.
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if there is only one class, if a
      concrete label is outside its range, or if a concrete parameter is out of bounds. Traced
      parameters are not checked.

  References:
    Ma et al., [Normalized loss functions for deep learning with noisy
    labels](https://arxiv.org/abs/2006.13554), 2020, section 3.3.

  Examples:
    >>> x, y = jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([0])
    >>> print(active_passive(x, y, active=1.0, passive=1.0).round(4))  # 0.8281 + 9.2103 * 0.75
    [7.7359]
  """
  check_bounds("active", active, 0, np.inf)
  check_bounds("passive", passive, 0, np.inf)
  check_bounds("log_zero", log_zero, -np.inf, 0)
  logits, labels, finish = prepare(logits, labels, where)
  log_p = jax.nn.log_softmax(logits)
  reverse = _reverse_cross_entropy(log_p, labels, log_zero)
  return finish(times(active, _normalized(log_p, labels)) + times(passive, reverse))


def _reverse_cross_entropy(log_p: Array, labels: Array, log_zero: ArrayLike) -> Array:
  """Computes -A (1 - p_y) with A in the place of log 0."""
  return -jnp.asarray(log_zero, log_p.dtype) * of_labels(lambda x: -jnp.expm1(x), log_p, labels)


def _normalized(log_p: Array, labels: Array) -> Array:
  """Computes l_y / sum_j l_j; infinite losses share 1 in equal parts."""
  if log_p.shape[-1] < 2:
    raise ValueError(f"logits of shape {log_p.shape} have 1 class: at least 2 are allowed")
  infinite = jnp.isinf(log_p)
  count = infinite.sum(-1)
  losses = jnp.where((count > 0)[..., None], 1, -log_p)
  share = pick(infinite.astype(log_p.dtype), labels) / jnp.maximum(count, 1)
  return jnp.where(count > 0, share, pick(losses, labels) / losses.sum(-1))
