r"""Losses that trust the network's own predictions beside the labels."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lsjax.losses.inputs import check_bounds, check_distributions, floating, prepare
from lsjax.losses.logspace import mass, pick, times

__all__ = [
  "bootstrap",
  "early_learning_regularization",
  "early_learning_targets",
]

# Least value of 1 - <t, p>. The authors clip the probabilities p to [1e-4, 1 - 1e-4] instead.
_FLOOR = 1e-4


def bootstrap(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  beta: ArrayLike,
  hard: bool = False,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes bootstrapping, the cross-entropy of $\beta\, e_y + (1 - \beta)\, \hat p$.

  The targets mix the label's one-hot vector $e_y$ with the network's own prediction $\hat p$: its
  probabilities p, or with `hard` the one-hot vector of its most likely class. No gradient flows
  through $\hat p$. With beta = 1 the loss is cross-entropy. The authors use beta 0.95, and 0.8 with
  `hard`.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    beta: Weight of the label in [0, 1], a scalar or an array that broadcasts to [...].
    hard: Whether the prediction is the most likely class instead of the probabilities.
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if a concrete label is outside its
      range, or if a concrete beta is outside [0, 1]. A traced beta is not checked.

  References:
    Reed et al., [Training deep neural networks on noisy labels with
    bootstrapping](https://arxiv.org/abs/1412.6596), 2015, section 3.

  Examples:
    >>> x, y = jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([0])
    >>> print(bootstrap(x, y, beta=0.8, hard=True).round(4))  # 0.8 log 4 + 0.2 log 4/3
    [1.1666]
  """
  check_bounds("beta", beta, 0, 1)
  logits, labels, finish = prepare(logits, labels, where)
  log_p = jax.nn.log_softmax(logits)
  predicted = logits.argmax(-1) if hard else jax.lax.stop_gradient(jnp.exp(log_p))
  beta = jnp.asarray(beta, logits.dtype)
  own = times((1 - beta) * mass(labels), pick(-log_p, predicted))
  return finish(times(beta, pick(-log_p, labels)) + own)


def early_learning_regularization(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  targets: ArrayLike,
  weight: ArrayLike,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes early-learning regularisation, $\ell_y + \lambda \log (1 - \langle t, p \rangle)$.

  The targets t are a running average of the example's earlier predictions, which
  `early_learning_targets` updates. The second term is least where p agrees with t, so that the
  network keeps what it learned before it began to fit wrong labels. With $\lambda = 0$ the loss is
  cross-entropy. $1 - \langle t, p \rangle$ is at least 1e-4, and the second term has no gradient
  below that, which stands for the authors' clipping of p at 1e-4 and keeps both finite. The authors
  use $\lambda = 3$ with momentum 0.7 on CIFAR-10, $\lambda = 7$ with momentum 0.9 on CIFAR-100.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    targets: Targets t of the same examples, of shape [..., L], with entries of at least 0 and a sum
      of at most 1; zeros before the first update. No gradient flows to them.
    weight: Weight $\lambda$, at least 0, a scalar or an array that broadcasts to [...].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...], which may be negative.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits, labels and targets do not agree, if a concrete label is
      outside its range, if concrete targets are not as described, or if a concrete weight is
      negative. What is traced is not checked.

  References:
    Liu et al., [Early-learning regularization prevents memorization of noisy
    labels](https://arxiv.org/abs/2007.00151), 2020, section 4.

  Examples:
    >>> x, y = jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([0])
    >>> t = jnp.array([[0.0, 0.8]])
    >>> print(early_learning_regularization(x, y, targets=t, weight=3.0).round(4))
    [-1.3626]
  """
  check_bounds("weight", weight, 0, jnp.inf)
  logits, labels, finish = prepare(logits, labels, where)
  memory = jax.lax.stop_gradient(_memory(targets, logits))
  check_distributions("targets", targets, where, (0, 1))
  if where is not None:
    memory = jnp.where(jnp.asarray(where)[..., None], memory, 0)
  log_p = jax.nn.log_softmax(logits)
  # 1 - <t, p> as a sum without cancellation, because p sums to 1.
  rest = (jnp.exp(log_p) * (1 - memory)).sum(-1)
  regulariser = jnp.log(jnp.maximum(rest, _FLOOR))
  return finish(pick(-log_p, labels) + times(weight, mass(labels) * regulariser))


def early_learning_targets(
  targets: ArrayLike, logits: ArrayLike, *, momentum: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes the next targets of early-learning regularisation, $b\, t + (1 - b)\, p$.

  No gradient flows through the result. The targets of all N examples are an array [N, L], of which
  a step reads and writes the rows of its batch: `memory.at[rows].set(new)`. The authors update the
  targets before they compute the loss of the same step.

  Args:
    targets: Targets t, of shape [..., L]; zeros before the first update.
    logits: Unnormalised log-probabilities of the same examples, floating point of shape [..., L].
    momentum: Momentum b in [0, 1], a scalar or an array that broadcasts to [...].
    where: Mask that broadcasts to [...], or None to include every example. Examples outside the
      mask keep their targets.

  Returns:
    New targets of shape [..., L], at least float32.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of targets and logits do not agree, or if a concrete momentum is
      outside [0, 1].

  References:
    Liu et al., [Early-learning regularization prevents memorization of noisy
    labels](https://arxiv.org/abs/2007.00151), 2020, section 4.

  Examples:
    >>> x = jnp.log(jnp.array([[0.25, 0.75]]))
    >>> print(early_learning_targets(jnp.zeros((1, 2)), x, momentum=0.75).round(4))
    [[0.0625 0.1875]]
  """
  check_bounds("momentum", momentum, 0, 1)
  logits = floating("logits", logits, where)
  memory = _memory(targets, logits)
  momentum = jnp.asarray(momentum, logits.dtype)[..., None]
  new = momentum * memory + (1 - momentum) * jax.nn.softmax(logits)
  if where is not None:
    new = jnp.where(jnp.asarray(where)[..., None], new, memory)
  return jax.lax.stop_gradient(new)


def _memory(targets: ArrayLike, logits: Array) -> Array:
  """Returns targets in the precision of the logits, whose shape they must have."""
  memory = jnp.asarray(targets, logits.dtype)
  if memory.shape != logits.shape:
    raise ValueError(
      f"targets of shape {memory.shape} do not fit logits of shape {logits.shape}: "
      "the same shape is allowed"
    )
  return memory
