r"""Forward correction by a transition matrix that is trained together with the network."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lsjax.losses.corrections import forward_correction
from lsjax.losses.inputs import check_bounds, prepare
from lsjax.losses.logspace import mass, times

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "volume_minimization",
  "learned_transition",
  "initial_transition_weights",
]


def volume_minimization(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  weights: ArrayLike,
  volume: ArrayLike,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes forward correction by a trained T, $-\log (p^\top T)_y + \lambda \log |\det T|$.

  T is `learned_transition` of the weights, which are trained like the network's parameters. Many
  matrices explain the noisy labels; the second term prefers the one whose rows enclose the
  smallest volume, which is the true one if the examples of each class are spread enough. It is the
  same for every example.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    weights: Weights of T, of shape [L (L - 1)].
    volume: Weight $\lambda$ of the volume, at least 0; the authors use 1e-4.
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...]; one determinant costs time of the order of L cubed.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits, labels and weights do not agree, if a concrete label is
      outside its range, or if a concrete volume is negative.

  References:
    Li et al., [Provably end-to-end label-noise learning without anchor
    points](https://arxiv.org/abs/2102.02400), 2021, section 3.

  Examples:
    >>> x, y = jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([0])
    >>> w = jnp.full(2, -jnp.inf)  # T = I
    >>> print(volume_minimization(x, y, weights=w, volume=1e-4).round(4))
    [1.3863]
  """
  check_bounds("volume", volume, 0, np.inf)
  transition = learned_transition(weights, jnp.shape(logits)[-1])
  values = forward_correction(logits, labels, transition=transition, where=where)
  _, labels, finish = prepare(logits, labels, where)
  size = jnp.linalg.slogdet(transition)[1]
  return values + finish(times(volume, mass(labels) * jnp.ones_like(values) * size))


def learned_transition(weights: ArrayLike, num_classes: int) -> Array:
  r"""Computes the transition matrix of weights: the rows of $I + \sigma(W)$, divided by their sums.

  $\sigma$ is the logistic function, and W has no diagonal. Every entry on the diagonal is the
  largest of its row and column.

  Args:
    weights: Entries of W without its diagonal, row by row, of shape [L (L - 1)].
    num_classes: Number of classes L.

  Returns:
    Matrix T[true, noisy] of shape [L, L]; its rows sum to 1.

  Raises:
    ValueError: If the weights have another shape.

  References:
    Li et al., [Provably end-to-end label-noise learning without anchor
    points](https://arxiv.org/abs/2102.02400), 2021, section 3.

  Examples:
    >>> print(learned_transition(jnp.zeros(2), 2).round(4))
    [[0.6667 0.3333]
     [0.3333 0.6667]]
  """
  weights = jnp.asarray(weights)
  if weights.shape != (num_classes * (num_classes - 1),):
    raise ValueError(
      f"weights of shape {weights.shape} do not fit {num_classes} classes: "
      f"({num_classes * (num_classes - 1)},) is allowed"
    )
  # Row by row, the diagonal comes first and then after every L off-diagonal entries.
  between = jax.nn.sigmoid(weights).reshape(num_classes - 1, num_classes)
  ones = jnp.ones((num_classes - 1, 1), between.dtype)
  flat = jnp.append(jnp.concatenate([ones, between], axis=1), 1)
  matrix = flat.reshape(num_classes, num_classes)
  return matrix / matrix.sum(axis=1, keepdims=True)


def initial_transition_weights(num_classes: int) -> dict[str, Array]:
  r"""Returns the weights of `volume_minimization` before training.

  They are -2 up to 10 classes, as the authors have it for 10. For more classes they are such that
  the off-diagonal entries of $I + \sigma(W)$ have the same sum as there, which is -4.5 for 100
  classes, as the authors have it too.

  Args:
    num_classes: Number of classes L, at least 2.

  Returns:
    {"weights": array of shape [L (L - 1)]}.

  Examples:
    >>> print(initial_transition_weights(100)["weights"][:2].round(1))
    [-4.5 -4.5]
  """
  entry = min(1.0, 9 / (num_classes - 1)) / (1 + np.exp(2.0))
  return {"weights": jnp.full(num_classes * (num_classes - 1), np.log(entry / (1 - entry)))}
