r"""Losses for noisy labels: pure functions of arrays that compute one loss for each example.

Every loss takes logits of shape [..., L] for L classes and labels that are either integers of
shape [...] or distributions over the classes of shape [..., L], and returns losses of shape [...],
in nats. Nothing is reduced, so that the caller decides between a sum and a mean. All losses work
in log space and under `jit`, `vmap`, `grad` and `pmap`, also with traced hyper-parameters.
Logits in half precision are computed in float32. Integer labels outside [0, L) are not found under
`jit`; `noise.check_labels` checks labels beforehand.

With $\ell_j = -\log p_j$, the cross-entropy of the possible label j, most of the losses belong to
one family: smearing by a matrix M is $(M \ell)_y$, and label smoothing, cross-entropy and backward
correction are smearing by particular matrices. Forward correction by a transition matrix T is
$-\log (p^\top T)_y$.

Every loss takes `where`, a mask that broadcasts to [...]. Examples outside the mask have loss 0 and
gradient 0, even if their logits are not finite.
"""

# The losses stay in one module, longer than most, because they are one family and one namespace;
# two thirds of it are docstrings.

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lsjax import transition as transition_lib

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "cross_entropy",
  "label_smoothing",
  "generalized_smoothing",
  "smearing",
  "forward_correction",
  "backward_correction",
  "smeared_forward",
  "distillation",
  "distillation_temperatures",
  "tempered_cross_entropy",
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
    ValueError: If the shapes of logits and labels do not agree.

  Examples:
    >>> print(cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3])).round(4))
    [1.3863 1.3863]
  """
  logits, labels = _prepare(logits, labels, where)
  return _masked(_pick(-jax.nn.log_softmax(logits), labels), where)


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
    ValueError: If the shapes of logits and labels do not agree, or if a concrete alpha is outside
      [0, 1]. A traced alpha is not checked.

  References:
    Szegedy et al., [Rethinking the Inception architecture](https://arxiv.org/abs/1512.00567), 2016,
    section 7; Lukasik et al., [Does label smoothing mitigate label
    noise?](https://arxiv.org/abs/2003.02819), 2020, section 3.

  Examples:
    >>> print(label_smoothing(jnp.array([[2.0, 0.0]]), jnp.array([0]), alpha=0.1).round(4))
    [0.2269]
  """
  _check_bounds("alpha", alpha, 0, 1)
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
    ValueError: If the shapes of logits and labels do not agree, or if a concrete r is above 1 or
      not finite. A traced r is not checked.

  References:
    Wei et al., [To smooth or not? When label smoothing meets noisy
    labels](https://arxiv.org/abs/2106.04149), 2022; Lukasik et al., [Does label smoothing mitigate
    label noise?](https://arxiv.org/abs/2003.02819), 2020, section 3.

  Examples:
    >>> print(f"{generalized_smoothing(jnp.array([2.0, 0.0]), jnp.array(0), r=-0.5):.4f}")
    -0.3731
  """
  _check_bounds("r", r, -np.inf, 1)
  logits, labels = _prepare(logits, labels, where)
  losses = -jax.nn.log_softmax(logits)
  label_loss, mean_loss = _pick(losses, labels), losses.mean(-1)
  if not _is_index(labels):
    # A distribution keeps its own mass, which is not 1 if the caller chose another.
    mean_loss *= labels.sum(-1)
  r = jnp.asarray(r, logits.dtype)
  return _masked((1 - r) * label_loss + r * mean_loss, where)


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
    ValueError: If the shapes of logits and labels do not agree, or if the matrix does not have the
      shape [L, L].

  References:
    Lukasik et al., [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819),
    2020, section 3.

  Examples:
    >>> m = 0.9 * jnp.eye(2) + 0.05
    >>> print(smearing(jnp.array([[2.0, 0.0]]), jnp.array([0]), matrix=m).round(4))
    [0.2269]
  """
  logits, labels = _prepare(logits, labels, where)
  matrix = _square("matrix", matrix, logits)
  weights = matrix[labels] if _is_index(labels) else labels @ matrix
  return _weighted(logits, weights, where)


def forward_correction(
  logits: ArrayLike, labels: ArrayLike, *, transition: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes forward correction, $-\log \sum_i p_i T_{iy}$.

  The predicted probabilities of the true classes pass through the noise before they are compared
  with the noisy label. The sum is computed in log space, from $\log p_i + \log T_{iy}$. A label
  that T makes impossible, because its column holds zeros alone, has an infinite loss and a
  gradient of zero.

  Args:
    logits: Unnormalised log-probabilities of the true classes, floating point of shape [..., L].
    labels: Noisy labels, integers of shape [...] in [0, L) or distributions of shape [..., L].
    transition: Transition matrix T[true, noisy] of shape [L, L]; its rows sum to 1, and its entries
      may be zero.
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...]. Beside the matrix, memory grows with L; time grows with L for an integer
    label and with the square of L for a distribution.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if the matrix does not have the
      shape [L, L], or if a concrete matrix is not a transition matrix. The entries of a traced
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
  """
  logits, labels = _prepare(logits, labels, where)
  matrix = _square("transition", transition, logits)
  if not _is_traced(transition):
    transition_lib.validate(np.asarray(transition))
  log_p = jax.nn.log_softmax(logits)
  if _is_index(labels):
    # Columns first: the logarithm of the whole matrix would be an L x L array more.
    return _masked(-_logsumexp(log_p + _log(matrix.T[labels])), where)
  # One column of T at a time: the batch never becomes an array of batch x L x L.
  log_noisy = jax.lax.map(lambda column: _logsumexp(log_p + _log(column)), matrix.T)
  noisy_losses = -jnp.moveaxis(log_noisy, 0, -1)
  # A label of weight zero costs nothing, also where 0 * inf would be NaN.
  return _masked((labels * jnp.where(labels != 0, noisy_losses, 0)).sum(-1), where)


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
      and labels do not agree, if the matrix does not have the shape [L, L], if a concrete
      `transition` is singular or not a transition matrix, or if a concrete `inverse` cannot be the
      inverse of one.

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
  prepared, _ = _prepare(logits, labels, where)
  if transition is not None and inverse is None:
    _square("transition", transition, prepared)
    if _is_traced(transition):
      matrix: ArrayLike = jnp.linalg.inv(transition)
    else:
      matrix, _ = transition_lib.inverse(np.asarray(transition))
  elif inverse is not None and transition is None:
    matrix = _square("inverse", inverse, prepared)
    if not _is_traced(inverse):
      _check_inverse(np.asarray(inverse, np.float64))
  else:
    raise ValueError("exactly one of transition and inverse must be given")
  return smearing(logits, labels, matrix=matrix, where=where)


def smeared_forward(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  matrix: ArrayLike,
  transition: ArrayLike,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes $-\log (p^\top T)_y + ((M - I)\, \ell)_y$, which holds all losses above as data.

  If T is the identity matrix, this is smearing by M; if M is the identity matrix, it is forward
  correction by T; if both are, it is cross-entropy. A training step that is compiled with this
  loss changes its method when its arrays change, without another compilation.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    matrix: Matrix M of shape [L, L] with any real entries.
    transition: Transition matrix T[true, noisy] of shape [L, L]; its rows sum to 1, and its entries
      may be zero.
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...]. Time and memory grow as for `smearing` and `forward_correction`.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if one of the matrices does not
      have the shape [L, L], or if a concrete `transition` is not a transition matrix.

  Examples:
    >>> x, y, eye = jnp.array([[2.0, 0.0]]), jnp.array([0]), jnp.eye(2)
    >>> print(smeared_forward(x, y, matrix=0.9 * eye + 0.05, transition=eye).round(4))
    [0.2269]
  """
  forward = forward_correction(logits, labels, transition=transition, where=where)
  logits, labels = _prepare(logits, labels, where)
  matrix = _square("matrix", matrix, logits)
  if _is_index(labels):
    extra = matrix[labels] - jax.nn.one_hot(labels, len(matrix))
  else:
    extra = labels @ (matrix - jnp.eye(len(matrix)))
  return forward + _weighted(logits, extra, where)


def distillation(
  logits: ArrayLike,
  teacher_logits: ArrayLike,
  *,
  temperature: ArrayLike,
  convention: Literal["teacher_only", "both_t_squared"],
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes cross-entropy against a teacher's softened probabilities.

  With the student's logits z, the teacher's logits $z^t$, the softmax $\sigma$ and the
  cross-entropy $H(q, p) = -\sum_j q_j \log p_j$, the conventions for the temperature T are

  * `teacher_only`: $H(\sigma(z^t / T), \sigma(z))$. The student learns to predict the teacher's
    softened probabilities.
  * `both_t_squared`: $T^2 H(\sigma(z^t / T), \sigma(z / T))$. The student learns the teacher's
    logits, up to a constant.

  Both are the same if T is 1. Distillation mixes with any loss of labels as
  $(1 - \beta)\,\mathrm{label\ loss} + \beta\,\mathrm{distillation}$.

  Args:
    logits: Student's unnormalised log-probabilities, floating point of shape [..., L].
    teacher_logits: Teacher's unnormalised log-probabilities, floating point of shape [..., L]. No
      gradient flows to them.
    temperature: Temperature T > 0, a scalar or an array that broadcasts to [...].
    convention: What the temperature softens.
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...]. The least value is the entropy of the teacher's softened probabilities,
    times $T^2$ for `both_t_squared`; the gradient is zero where it is reached.

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If student's and teacher's logits differ in shape, if the convention is unknown, or
      if a concrete temperature is not positive.

  References:
    Hinton et al., [Distilling the knowledge in a neural
    network](https://arxiv.org/abs/1503.02531), 2015, section 2, for `both_t_squared`. Müller et
    al., [When does label smoothing help?](https://arxiv.org/abs/1906.02629), 2019, section 4, are
    quoted by others as softening both without the factor $T^2$. The convention of Lukasik et al.,
    [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819), 2020, section 6,
    is not known.

  Examples:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[2.0, 0.0]])
    >>> losses = distillation(student, teacher, temperature=2.0, convention="both_t_squared")
    >>> print(losses.round(4))
    [2.7726]
  """
  teacher_temperature, student_temperature = distillation_temperatures(temperature, convention)
  return tempered_cross_entropy(
    logits,
    teacher_logits,
    teacher_temperature=teacher_temperature,
    student_temperature=student_temperature,
    where=where,
  )


def distillation_temperatures(
  temperature: ArrayLike, convention: Literal["teacher_only", "both_t_squared"]
) -> tuple[ArrayLike, ArrayLike]:
  """Returns the temperatures of teacher and student that a convention of `distillation` implies.

  Args:
    temperature: Temperature T > 0, a scalar or an array.
    convention: `teacher_only`, which leaves the student at temperature 1, or `both_t_squared`.

  Returns:
    The teacher's temperature and the student's.

  Raises:
    ValueError: If the convention is unknown, or if a concrete temperature is not positive.

  Examples:
    >>> distillation_temperatures(4.0, "teacher_only")
    (4.0, 1.0)
  """
  if convention not in ("teacher_only", "both_t_squared"):
    raise ValueError(f"convention must be teacher_only or both_t_squared, not {convention!r}")
  if not _is_traced(temperature) and not (np.asarray(temperature) > 0).all():
    raise ValueError(f"temperature must be greater than 0, not {temperature}")
  return temperature, (1.0 if convention == "teacher_only" else temperature)


def tempered_cross_entropy(
  logits: ArrayLike,
  teacher_logits: ArrayLike,
  *,
  teacher_temperature: ArrayLike,
  student_temperature: ArrayLike,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes $T_s^2\, H(\sigma(z^t / T_t), \sigma(z / T_s))$, distillation with two temperatures.

  The notation is that of `distillation`, and `distillation_temperatures` translates the conventions
  into the two temperatures. A training step that is compiled with this loss changes its convention
  when its arrays change, without another compilation.

  Args:
    logits: Student's unnormalised log-probabilities, floating point of shape [..., L].
    teacher_logits: Teacher's unnormalised log-probabilities, floating point of shape [..., L]. No
      gradient flows to them.
    teacher_temperature: $T_t > 0$, a scalar or an array that broadcasts to [...].
    student_temperature: $T_s > 0$, a scalar or an array that broadcasts to [...].
    where: Mask that broadcasts to [...], or None to include every example.

  Returns:
    Losses of shape [...].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If student's and teacher's logits differ in shape.

  Examples:
    >>> x = jnp.array([[0.0, 0.0]])
    >>> print(tempered_cross_entropy(x, x, teacher_temperature=3, student_temperature=1).round(4))
    [0.6931]
  """
  logits, teacher_logits = jnp.asarray(logits), jnp.asarray(teacher_logits)
  if teacher_logits.shape != logits.shape:
    raise ValueError(f"teacher_logits {teacher_logits.shape} and logits {logits.shape} differ")
  logits, _ = _prepare(logits, logits, where)
  teacher_logits, _ = _prepare(teacher_logits, teacher_logits, where)

  def per_class(temperature: ArrayLike) -> Array:
    return jnp.asarray(temperature, logits.dtype)[..., None]

  targets = jax.nn.softmax(jax.lax.stop_gradient(teacher_logits) / per_class(teacher_temperature))
  losses = cross_entropy(logits / per_class(student_temperature), targets)
  return _masked(jnp.square(jnp.asarray(student_temperature, logits.dtype)) * losses, where)


def _prepare(logits: ArrayLike, labels: ArrayLike, where: ArrayLike | None) -> tuple[Array, Array]:
  """Returns logits and labels as arrays of agreeing shapes, with zeros for masked logits."""
  logits, labels = jnp.asarray(logits), jnp.asarray(labels)
  if not jnp.issubdtype(logits.dtype, jnp.floating):
    raise TypeError(f"logits must be floating point, not {logits.dtype}")
  expected = logits.shape[:-1] if _is_index(labels) else logits.shape
  if logits.ndim == 0 or labels.shape != expected:
    raise ValueError(
      f"labels of shape {labels.shape} do not fit logits of shape {logits.shape}: "
      "integers [...] or distributions [..., L] are allowed"
    )
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  if where is not None:
    # Before the loss, not only after it: 0 * NaN would come back through the gradient.
    logits = jnp.where(jnp.asarray(where)[..., None], logits, 0)
  return logits, labels


def _is_index(labels: Array) -> bool:
  return bool(jnp.issubdtype(labels.dtype, jnp.integer))


def _is_traced(value: ArrayLike) -> bool:
  """Tells whether the entries of an array are unknown, because JAX is tracing a function."""
  return isinstance(value, jax.core.Tracer)


def _pick(losses: Array, labels: Array) -> Array:
  """Returns losses [..., L] at integer labels, or their means under distributions."""
  if _is_index(labels):
    return jnp.take_along_axis(losses, labels[..., None], axis=-1)[..., 0]
  return (losses * labels).sum(-1)


def _weighted(logits: Array, weights: Array, where: ArrayLike | None) -> Array:
  """Returns the weighted sum over all possible labels of their cross-entropies."""
  return _masked((weights * -jax.nn.log_softmax(logits)).sum(-1), where)


def _log(x: Array) -> Array:
  """Computes the logarithm; that of 0 is -inf, with a gradient of zero instead of NaN."""
  positive = x > 0
  return jnp.where(positive, jnp.log(jnp.where(positive, x, 1)), -jnp.inf)


def _logsumexp(x: Array) -> Array:
  """Computes logsumexp over the last axis; that of -inf alone has a gradient of zero, not NaN."""
  possible = jnp.any(x > -jnp.inf, axis=-1)
  safe = jnp.where(possible[..., None], x, 0)
  return jnp.where(possible, jax.nn.logsumexp(safe, axis=-1), -jnp.inf)


def _masked(losses: Array, where: ArrayLike | None) -> Array:
  return losses if where is None else jnp.where(where, losses, 0)


def _square(name: str, matrix: ArrayLike, logits: Array) -> Array:
  array = jnp.asarray(matrix, logits.dtype)
  if array.shape != (logits.shape[-1],) * 2:
    raise ValueError(
      f"{name} of shape {array.shape} does not fit logits with {logits.shape[-1]} classes: "
      f"[L, L] is allowed"
    )
  return array


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


def _check_bounds(name: str, value: ArrayLike, low: float, high: float) -> None:
  if _is_traced(value):
    return
  value = np.asarray(value)
  if not (np.isfinite(value).all() and (value >= low).all() and (value <= high).all()):
    raise ValueError(f"{name} must be in [{low:g}, {high:g}] and finite, not {value}")
