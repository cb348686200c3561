r"""Cross-entropy and its smeared forms $(M \ell)_y$."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lsjax.losses.inputs import check_bounds, is_index, prepare, square
from lsjax.losses.logspace import mass, of_integers, pick, times, weighted

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "cross_entropy",
  "label_smoothing",
  "generalized_smoothing",
  "smearing",
  "confidence_regularization",
]


def cross_entropy(logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None) -> Array:
  r"""Computes softmax cross-entropy, $\ell_y = -\log p_y$.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, or if a concrete label is outside
      its range.

  Examples:
    >>> print(cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3])).round(4))
    [1.3863 1.3863]
  """
  logits, labels, finish = prepare(logits, labels, where)
  return finish(of_integers(logits, labels) if is_index(labels) else weighted(logits, labels))


def label_smoothing(
  logits: ArrayLike, labels: ArrayLike, *, alpha: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes label smoothing, $(1 - \alpha)\,\ell_y + \frac{\alpha}{L} \sum_j \ell_j$.

  This is the cross-entropy of targets that give every class the probability $\alpha / L$ and the
  labelled class $1 - \alpha$ in addition.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    alpha: Strength of smoothing in [0, 1], a scalar or an array that broadcasts to [...].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if a concrete label is outside its
      range, or if a concrete alpha is outside [0, 1]. A traced alpha is not checked.

  References:
    Szegedy et al., [Rethinking the Inception architecture](https://arxiv.org/abs/1512.00567), 2016,
    section 7; Lukasik et al., [Does label smoothing mitigate label
    noise?](https://arxiv.org/abs/2003.02819), 2020, section 3.

  Examples:
    >>> print(label_smoothing(jnp.array([[2.0, 0.0]]), jnp.array([0]), alpha=0.1).round(4))
    [0.2269]
  """
  check_bounds("alpha", alpha, 0, 1)
  return generalized_smoothing(logits, labels, r=alpha, where=where)


def generalized_smoothing(
  logits: ArrayLike, labels: ArrayLike, *, r: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes smoothing of either sign, $(1 - r)\,\ell_y + \frac{r}{L} \sum_j \ell_j$.

  Values of r in (0, 1] give label smoothing, 0 gives cross-entropy, and $r = -a / (1 - a)$ gives
  backward correction of the symmetric noise $T = (1 - a) I + (a / L) J$, where J is the matrix of
  ones. The loss is not bounded from below if r is negative.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    r: Strength of smoothing in (-inf, 1], a scalar or an array that broadcasts to [...].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if a concrete label is outside its
      range, or if a concrete r is above 1 or not finite. A traced r is not checked.

  References:
    Wei et al., [To smooth or not? When label smoothing meets noisy
    labels](https://arxiv.org/abs/2106.04149), 2022; Lukasik et al., [Does label smoothing mitigate
    label noise?](https://arxiv.org/abs/2003.02819), 2020, section 3.

  Examples:
    >>> print(f"{generalized_smoothing(jnp.array([2.0, 0.0]), jnp.array(0), r=-0.5):.4f}")
    -0.3731
  """
  check_bounds("r", r, -np.inf, 1)
  logits, labels, finish = prepare(logits, labels, where)
  r, num_classes = jnp.asarray(r, logits.dtype), logits.shape[-1]
  if not is_index(labels):
    # Targets keep their own mass, which is not 1 if the caller chose another.
    uniform = labels.sum(-1, keepdims=True) / num_classes
    return finish(weighted(logits, (1 - r)[..., None] * labels + r[..., None] * uniform))
  # An array of targets would take longer than all else.
  smooth = weighted(logits, 1 / num_classes)
  return finish(times(1 - r, of_integers(logits, labels)) + times(r, smooth))


def confidence_regularization(
  logits: ArrayLike, labels: ArrayLike, *, beta: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes $\ell_y - \frac{\beta}{L} \sum_j \ell'_j$ with $\ell'_j = -\log (p_j + 10^{-8})$.

  Beside the small number this is smearing by $M = I - (\beta / L) J$: label smoothing up to scale
  for negative $\beta$, cross-entropy for 0, backward correction up to scale for $\beta$ between 0
  and 1. Beyond 1 the weights of the losses have a negative sum, and a network that is certain of
  any class does best. The small number is the authors'; it keeps the loss bounded below. They let
  $\beta$ grow to 2.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    beta: Strength $\beta$ of either sign, a scalar or an array that broadcasts to [...].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if a concrete label is outside its
      range, or if a concrete beta is not finite. A traced beta is not checked.

  References:
    Cheng et al., [Learning with instance-dependent label noise: a sample sieve
    approach](https://arxiv.org/abs/2010.02347), 2021, section 3.1.

  Examples:
    >>> x, y = jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([0])
    >>> print(confidence_regularization(x, y, beta=2.0).round(4))  # log 4 - (log 4 + log 4/3)
    [-0.2877]
  """
  check_bounds("beta", beta, -np.inf, np.inf)
  logits, labels, finish = prepare(logits, labels, where)
  log_p = jax.nn.log_softmax(logits)
  mean = -jnp.logaddexp(log_p, math.log(1e-8)).mean(-1)
  return finish(pick(-log_p, labels) - times(beta, mass(labels) * mean))


def smearing(
  logits: ArrayLike, labels: ArrayLike, *, matrix: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes the smeared loss $(M \ell)_y = \sum_j M_{yj}\, \ell_j$.

  The identity matrix gives cross-entropy, $M = (1 - \alpha) I + (\alpha / L) J$ with the matrix of
  ones J gives label smoothing, and $M = T^{-1}$ gives backward correction.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    matrix: Matrix M of shape [L, L] with any real entries.
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...]. Beside the matrix, memory grows with L; time grows with L for an integer
    label and with the square of L for a distribution.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if a concrete label is outside its
      range, or if the matrix does not have the shape [L, L].

  References:
    Lukasik et al., [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819),
    2020, section 3.

  Examples:
    >>> m = 0.9 * jnp.eye(2) + 0.05
    >>> print(smearing(jnp.array([[2.0, 0.0]]), jnp.array([0]), matrix=m).round(4))
    [0.2269]
  """
  logits, labels, finish = prepare(logits, labels, where)
  matrix = square("matrix", matrix, logits)
  return finish(weighted(logits, matrix[labels] if is_index(labels) else labels @ matrix))
