r"""A loss that is a divergence between the label and the network's probabilities."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lsjax.losses.inputs import check_bounds, check_distributions, is_index, prepare
from lsjax.losses.logspace import log, log1p_ratio, pick, times

__all__ = ["jensen_shannon"]


def jensen_shannon(
  logits: ArrayLike, labels: ArrayLike, *, weight: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes the scaled Jensen-Shannon divergence between the label and the prediction.

  With the label as a distribution e, the weight w of the label and the mixture
  $m = w e + (1 - w) p$, the loss is

  $$\frac{w\, \mathrm{KL}(e, m) + (1 - w)\, \mathrm{KL}(p, m)}{-(1 - w) \log (1 - w)}.$$

  Its limit for w = 0, which it takes exactly there, is $\mathrm{KL}(e, p)$: cross-entropy for an
  integer label, and cross-entropy minus the entropy of e for a distribution. As w tends to 1, the
  loss of an integer label tends to the mean absolute error $1 - p_y$, with a difference of the
  order of $1 / \log (1 - w)$. The authors use w = 0.7 for 20 % to 40 % noise and 0.9 for 60 %.

  A distribution is compared as a whole, and its loss is not the mean over the labels that it
  weighs; it has to sum to 1.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    weight: Weight w of the label in [0, 1), a scalar or an array that broadcasts to [...].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...]. That of an integer label is at most
    $1 + w \log w / ((1 - w) \log (1 - w))$.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if a concrete label is outside its
      range or a concrete distribution does not sum to 1, or if a concrete weight is outside
      [0, 1). A traced weight is not checked.

  References:
    Englesson and Azizpour, [Generalized Jensen-Shannon divergence loss for learning with noisy
    labels](https://arxiv.org/abs/2105.04522), 2021, section 3.

  Examples:
    >>> x, y = jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([0])
    >>> print(jensen_shannon(x, y, weight=0.5).round(4))
    [1.0976]
  """
  check_bounds("weight", weight, 0, 1, includes_high=False)
  given = labels
  logits, labels, finish = prepare(logits, labels, where)
  log_p = jax.nn.log_softmax(logits)
  if is_index(labels):
    # All classes but the label have the same e_j = 0, and only the sum of their p_j counts.
    log_p = pick(log_p, labels)
    rest = -jnp.expm1(log_p)
    p, log_p = jnp.stack([jnp.exp(log_p), rest], -1), jnp.stack([log_p, log(rest)], -1)
    labels = jnp.broadcast_to(jnp.array([1, 0], p.dtype), p.shape)
  else:
    check_distributions("labels", given, where, (1, 1))
    p = jnp.exp(log_p)
  w = jnp.asarray(weight, p.dtype)
  # The divergence with e and p exchanged is that of the weight 1 - w. The smaller of the two
  # weights divides the sum and the scale, both of which would be rounding errors alone near 0.
  exchanged = w > 0.5
  small = jnp.where(exchanged, 1 - w, w)
  scale = jnp.where(exchanged, -jnp.log1p(-w), (1 - w) * log1p_ratio(-small))
  first, second = (labels, log(labels)), (p, log_p)
  a, log_a, b, log_b = (
    jnp.where(exchanged[..., None], y, x)
    for x, y in zip((*first, *second), (*second, *first), strict=True)
  )
  return finish(_divergence(a, log_a, b, log_b, small[..., None]) / scale)


def _divergence(a: Array, log_a: Array, b: Array, log_b: Array, s: Array) -> Array:
  """Computes [s KL(a, m) + (1 - s) KL(b, m)] / s with m = s a + (1 - s) b, for s in [0, 1/2].

  The second term is written with log(m / b) = log1p(x), x = s (a - b) / b, so that no difference
  of near numbers is divided by a small s.
  """
  # Beyond this log1p(x) / x is 0 for any s that matters, and x would be infinite.
  limit = 0.9 * jnp.log(jnp.finfo(b.dtype).max)
  x = s * (a * jnp.exp(-jnp.maximum(log_b, -limit)) - 1)
  m = s * a + (1 - s) * b
  positive = m > jnp.finfo(m.dtype).tiny
  log_m = jnp.where(positive, jnp.log(jnp.where(positive, m, 1)), log_b)
  terms = times(a, log_a) - times(a, log_m) - (1 - s) * (a - b) * log1p_ratio(x)
  return terms.sum(-1)
