r"""Losses that know the noise: forward correction, backward correction, and both as data."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lsjax import transition as transition_lib
from lsjax.losses.inputs import floating, is_concrete, is_index, prepare, square
from lsjax.losses.logspace import as_distributions, of_mixture, pick, weighted
from lsjax.losses.smoothing import smearing

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "forward_correction",
  "backward_correction",
  "smeared_forward",
]


def forward_correction(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  transition: ArrayLike | None = None,
  columns: ArrayLike | None = None,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes forward correction, $-\log \sum_i p_i T_{iy}$.

  The predicted probabilities of the true classes pass through the noise before they are compared
  with the noisy label. The sum is scaled by the largest $p_i$ among the classes with $T_{iy} > 0$,
  so that it neither overflows nor vanishes. A label that T makes impossible, because its column
  holds zeros alone, has an infinite loss and a gradient of zero.

  Exactly one of two arguments provides T. With an integer label, the loss reads one column of T for
  each example. In an array `transition` the entries of a column lie far apart, so that a loss with
  thousands of classes mostly waits for memory. In `columns`, T transposed, they are neighbours.

  Args:
    logits: Unnormalised log-probabilities of the true classes, floating point of shape [..., L].
    labels: Noisy labels, integers of shape [...] in [0, L) or distributions of shape [..., L].
    transition: Transition matrix T[true, noisy] of shape [L, L]; its rows sum to 1, and its entries
      may be zero.
    columns: The same matrix as columns[noisy, true], such as `np.ascontiguousarray(T.T)`.
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...]. Beside the matrix, memory grows with L; time grows with L for an integer
    label and with the square of L for a distribution.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If both or neither of `transition` and `columns` are given, if the shapes of logits
      and labels do not agree, if a concrete label is outside its range, if the matrix does not have
      the shape [L, L], or if a concrete matrix is not a transition matrix. The entries of a traced
      matrix are not checked.

  References:
    Patrini et al., [Making deep neural networks robust to label noise: a loss correction
    approach](https://arxiv.org/abs/1609.03683), 2017, section 3; Lukasik et al., [Does label
    smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819), 2020, section 2.

  Examples:
    >>> t = jnp.array([[0.8, 0.2], [0.4, 0.6]])
    >>> x = jnp.log(jnp.array([[0.5, 0.5]]))
    >>> print(forward_correction(x, jnp.array([1]), transition=t).round(4))  # -log 0.4
    [0.9163]
    >>> print(forward_correction(x, jnp.array([1]), columns=t.T).round(4))
    [0.9163]
  """
  logits, labels, finish = prepare(logits, labels, where)
  matrix = _columns(transition, columns, logits)
  losses = _noisy_losses(logits, labels, matrix)
  return finish(losses if is_index(labels) else pick(losses, labels))


def backward_correction(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  transition: ArrayLike | None = None,
  inverse: ArrayLike | None = None,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes backward correction, $(T^{-1} \ell)_y$.

  The corrected loss is unbiased: its mean over the noisy labels of an example of true class i is
  the cross-entropy of the true label, $\sum_j T_{ij} (T^{-1} \ell)_j = \ell_i$. It is often
  negative and is not bounded from below, so that training needs gradient clipping or a warm-up
  with cross-entropy.

  Exactly one of two arguments provides the inverse of T:

  * `inverse` is the inverse itself, as `transition.inverse` computes it in float64, and is the
    argument to pass to a function under `jit`. It is rounded once, to the precision of the loss. A
    concrete matrix is checked to be finite, to have rows that sum to 1, and not to be a transition
    matrix that was passed by mistake. The entries of a traced matrix are not checked.
  * `transition` is T. A concrete matrix is checked and inverted in float64 on the host, in every
    call that is not traced. A traced matrix, such as an argument of a function under `jit`, is
    inverted on the device in its own precision and is not checked: in float32 the relative error
    of the inverse is about 1e-7 times the condition number of T, and a singular T gives values
    that mean nothing.

  Args:
    logits: Unnormalised log-probabilities of the true classes, floating point of shape [..., L].
    labels: Noisy labels, integers of shape [...] in [0, L) or distributions of shape [..., L].
    transition: Invertible transition matrix T[true, noisy] of shape [L, L]; its rows sum to 1.
    inverse: Inverse of the transition matrix, of shape [L, L].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If both or neither of `transition` and `inverse` are given, if the shapes of logits
      and labels do not agree, if a concrete label is outside its range, if the matrix does not have
      the shape [L, L], if a concrete `transition` is singular or not a transition matrix, or if a
      concrete `inverse` cannot be the inverse of one.

  References:
    Natarajan et al., Learning with noisy labels, 2013; Patrini et al., [Making deep neural networks
    robust to label noise: a loss correction approach](https://arxiv.org/abs/1609.03683), 2017,
    section 3; Lukasik et al., [Does label smoothing mitigate label
    noise?](https://arxiv.org/abs/2003.02819), 2020, section 2.

  Examples:
    >>> from lsjax import transition
    >>> t = np.array([[0.75, 0.25], [0.25, 0.75]])
    >>> x, y = jnp.array([[2.0, 0.0]]), jnp.array([0])
    >>> print(backward_correction(x, y, transition=t).round(4))
    [-0.8731]
    >>> inverse, condition = transition.inverse(t)
    >>> print(jax.jit(backward_correction)(x, y, inverse=inverse).round(4))
    [-0.8731]
  """
  floats = floating("logits", logits, where)
  if transition is not None and inverse is None:
    square("transition", transition, floats)
    if is_concrete(transition):
      matrix: ArrayLike = transition_lib.inverse(np.asarray(transition))[0]
    else:
      matrix = jnp.linalg.inv(transition)
  elif inverse is not None and transition is None:
    matrix = square("inverse", inverse, floats)
    if is_concrete(inverse):
      _check_inverse(np.asarray(inverse, np.float64))
  else:
    raise ValueError("exactly one of transition and inverse must be given")
  return smearing(logits, labels, matrix=matrix, where=where)


def smeared_forward(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  matrix: ArrayLike,
  transition: ArrayLike | None = None,
  columns: ArrayLike | None = None,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes $-\log (p^\top T)_y + ((M - I)\, \ell)_y$, which holds all losses above as data.

  If T is the identity matrix, this is smearing by M; if M is the identity matrix, it is forward
  correction by T; if both are, it is cross-entropy. A training step that is compiled with this
  loss changes its method when its arrays change, without another compilation. Exactly one of
  `transition` and `columns` provides T, as in `forward_correction`.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    matrix: Matrix M of shape [L, L] with any real entries.
    transition: Transition matrix T[true, noisy] of shape [L, L]; its rows sum to 1, and its entries
      may be zero.
    columns: The same matrix as columns[noisy, true].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...]. Time and memory grow as for `smearing` and `forward_correction`.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If both or neither of `transition` and `columns` are given, if the shapes of logits
      and labels do not agree, if a concrete label is outside its range, if one of the matrices does
      not have the shape [L, L], or if a concrete T is not a transition matrix.

  Examples:
    >>> x, y, eye = jnp.array([[2.0, 0.0]]), jnp.array([0]), jnp.eye(2)
    >>> print(smeared_forward(x, y, matrix=0.9 * eye + 0.05, transition=eye).round(4))
    [0.2269]
  """
  logits, labels, finish = prepare(logits, labels, where)
  matrix, columns = square("matrix", matrix, logits), _columns(transition, columns, logits)
  # The term of forward correction takes the place of the label's own loss, of which M - I takes
  # away one. Where both are infinite there is nothing to replace, and M alone counts.
  forward = _noisy_losses(logits, labels, columns)
  if is_index(labels):
    both = jnp.isinf(forward) & jnp.isneginf(pick(logits, labels))
    extra = matrix[labels] - jnp.where(both[..., None], 0, as_distributions(labels, logits))
    return finish(jnp.where(both, 0, forward) + weighted(logits, extra))
  both = jnp.isinf(forward) & jnp.isneginf(logits)
  extra = labels @ (matrix - jnp.eye(len(matrix))) + jnp.where(both, labels, 0)
  return finish(pick(jnp.where(both, 0, forward), labels) + weighted(logits, extra))


def _columns(transition: ArrayLike | None, columns: ArrayLike | None, logits: Array) -> Array:
  """Returns T transposed in the precision of the logits, from one of two forms.

  Raises:
    ValueError: If both or neither are given, or for a concrete one that is no transition matrix.
  """
  if columns is not None and transition is None:
    matrix = square("columns", columns, logits)
    if is_concrete(columns):
      transition_lib.validate(np.asarray(columns).T)
    return matrix
  if transition is not None and columns is None:
    matrix = square("transition", transition, logits)
    if is_concrete(transition):
      transition_lib.validate(np.asarray(transition))
    return matrix.T
  raise ValueError("exactly one of transition and columns must be given")


def _noisy_losses(logits: Array, labels: Array, columns: Array) -> Array:
  """Computes -log (p T)_y at integer labels y [...], or for every class y if labels are soft.

  Args:
    logits: Logits of shape [..., L].
    labels: Integers of shape [...] or distributions of shape [..., L].
    columns: T transposed, of shape [L, L].
  """
  if is_index(labels):
    return of_mixture(logits, columns[labels])
  # One column of T at a time: the batch never becomes an array of batch x L x L.
  of_column = lambda column: of_mixture(logits, jnp.broadcast_to(column, logits.shape))  # noqa: E731
  return jnp.moveaxis(jax.lax.map(of_column, columns), 0, -1)


def _check_inverse(matrix: np.ndarray) -> None:
  """Raises ValueError for a matrix that cannot be the inverse of a transition matrix."""
  if not np.isfinite(matrix).all():
    raise ValueError("inverse has entries that are not finite")
  sums = matrix.sum(axis=1)  # 1 each, because those of T are
  tolerance = transition_lib.ROW_SUM_TOLERANCE * max(1.0, np.abs(matrix).max())
  wrong = np.flatnonzero(np.abs(sums - 1) > tolerance)
  if wrong.size:
    row = int(wrong[0])
    raise ValueError(f"inverse row {row} sums to {sums[row]:g}, not 1 (rows are true classes)")
  # If no entry of row i is negative, the row mixes rows of T to the unit vector i. It can only do
  # so by picking one of them. A transition matrix passed by mistake is found by that.
  limit = 1 - transition_lib.ROW_SUM_TOLERANCE
  mixing = np.flatnonzero((matrix.min(axis=1) >= 0) & (matrix.max(axis=1) < limit))
  if mixing.size:
    raise ValueError(
      f"inverse row {mixing[0]} has no negative entries and is no unit vector, so this is not the "
      "inverse of a transition matrix; a transition matrix itself is passed as transition"
    )
