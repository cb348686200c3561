r"""Losses for noisy labels: pure, per example, in log space.

All take `(logits, labels, *, ..., where=None)` and reduce nothing: logits are floating
[..., L], labels are integers [...] or distributions [..., L], the result is [...]. They
run under jit, vmap, grad and pmap; alpha, r and matrices may be traced. Integer logits
raise TypeError. bfloat16 and float16 logits are computed in float32.

`where` is a mask that broadcasts to [...]: examples outside get loss 0 and gradient 0,
whatever their logits are, so a masked sum equals the sum over the subset.

With :math:`\ell_j = -\log p_j` for each possible label j, one family holds them all:
smearing is :math:`(M \ell)_y`; label smoothing, cross-entropy and backward correction
are its members; forward correction is :math:`-\log (p^\top T)_y`.
T[true, noisy] has rows that sum to 1.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from lsjax import transition as transition_lib

Array = jax.Array
ArrayLike = jax.typing.ArrayLike


def cross_entropy(logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None) -> Array:
  r"""Computes softmax cross-entropy: :math:`\ell_y = -\log p_y`.

  Args:
    logits: floating [..., L].
    labels: integers [...] or distributions [..., L].
    where: mask that broadcasts to [...], or None.

  Returns:
    Losses [...].

  Raises:
    TypeError: for integer logits. ValueError: for labels of another shape.

  >>> print(cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3])).round(4))
  [1.3863 1.3863]
  """
  logits, labels = _prepare(logits, labels, where)
  return _masked(_pick(-jax.nn.log_softmax(logits), labels), where)


def label_smoothing(
  logits: ArrayLike, labels: ArrayLike, *, alpha: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes label smoothing: :math:`(1-\alpha)\,\ell_y + \frac{\alpha}{L} \sum_j \ell_j`.

  Cross-entropy against the targets (1 - alpha) onehot + alpha / L.

  Args:
    logits: floating [..., L].
    labels: integers [...] or distributions [..., L].
    alpha: scalar in [0, 1], or an array that broadcasts to [...]; the a/L convention (the
      true class keeps 1 - alpha + alpha / L).
    where: mask that broadcasts to [...], or None.

  Returns:
    Losses [...].

  Raises:
    TypeError: for integer logits. ValueError: for labels of another shape, or a concrete
      alpha outside [0, 1].

  References:
    Szegedy et al., 2016, section 7; Lukasik et al., 2020, section 3.

  >>> print(label_smoothing(jnp.array([[2.0, 0.0]]), jnp.array([0]), alpha=0.1).round(4))
  [0.2269]
  """
  _check_bounds("alpha", alpha, 0, 1)
  return generalized_smoothing(logits, labels, r=alpha, where=where)


def generalized_smoothing(
  logits: ArrayLike, labels: ArrayLike, *, r: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes smoothing of any sign: :math:`(1-r)\,\ell_y + \frac{r}{L} \sum_j \ell_j`.

  r in (0, 1] is label smoothing, 0 cross-entropy, and r = -a/(1-a) backward correction of
  symmetric noise (1-a) I + (a/L) J. Unbounded below for r < 0.

  Args:
    logits: floating [..., L].
    labels: integers [...] or distributions [..., L].
    r: in (-inf, 1], scalar or broadcasting to [...].
    where: mask that broadcasts to [...], or None.

  Returns:
    Losses [...].

  Raises:
    TypeError: for integer logits. ValueError: for labels of another shape, or a concrete r
      above 1 or not finite.

  References:
    Wei et al., 2022 (negative label smoothing); Lukasik et al., 2020, section 3.

  >>> print(f"{generalized_smoothing(jnp.array([2.0, 0.0]), jnp.array(0), r=-0.5):.4f}")
  -0.3731
  """
  _check_bounds("r", r, -np.inf, 1)
  logits, labels = _prepare(logits, labels, where)
  losses = -jax.nn.log_softmax(logits)
  label_loss, mean_loss = _pick(losses, labels), losses.mean(-1)
  if not _is_index(labels):  # a distribution keeps its own mass: 1 unless the caller says not
    mean_loss *= labels.sum(-1)
  r = jnp.asarray(r, logits.dtype)
  return _masked((1 - r) * label_loss + r * mean_loss, where)


def smearing(
  logits: ArrayLike, labels: ArrayLike, *, matrix: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes the smeared loss :math:`(M \ell)_y = \sum_j M_{yj}\, \ell_j`.

  M = I is cross-entropy, (1-a) I + (a/L) J label smoothing, T^-1 backward correction.

  Args:
    logits: floating [..., L].
    labels: integers [...] or distributions [..., L].
    matrix: M, [L, L]; any real entries.
    where: mask that broadcasts to [...], or None.

  Returns:
    Losses [...]; O(L) each for integer labels.

  Raises:
    TypeError: for integer logits. ValueError: for labels of another shape, or a matrix
      that is not L x L.

  References:
    Lukasik et al., 2020, section 3 (label smearing).

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
  r"""Computes forward correction: :math:`-\log \sum_i p_i T_{iy}`.

  The model's probabilities are carried through the noise before they meet the noisy
  label, by logsumexp over log p_i + log T_iy. A label that T makes impossible (a column
  of zeros) has loss infinity and gradient zero.

  Args:
    logits: floating [..., L].
    labels: integers [...] or distributions [..., L], of noisy labels.
    transition: T[true, noisy], [L, L], rows that sum to 1; zeros are allowed.
    where: mask that broadcasts to [...], or None.

  Returns:
    Losses [...]. O(L) time and memory each for integer labels; O(L^2) time and O(L)
    memory for distributions.

  Raises:
    TypeError: for integer logits. ValueError: for labels of another shape, a matrix that
      is not L x L, or a concrete one that is no transition matrix.

  References:
    Patrini et al., 2017, section 3 (forward correction); Lukasik et al., 2020, section 2.

  >>> t = jnp.array([[0.8, 0.2], [0.4, 0.6]])
  >>> x = jnp.log(jnp.array([[0.5, 0.5]]))
  >>> print(forward_correction(x, jnp.array([1]), transition=t).round(4))  # -log 0.4
  [0.9163]
  """
  logits, labels = _prepare(logits, labels, where)
  matrix = _square("transition", transition, logits)
  _check_transition(transition)
  log_p = jax.nn.log_softmax(logits)
  if _is_index(labels):  # columns first: the logarithm of the whole matrix would be L x L more
    return _masked(-_logsumexp(log_p + _log(matrix.T[labels])), where)
  # One column of T at a time: never an array of batch x L x L.
  log_noisy = jax.lax.map(lambda column: _logsumexp(log_p + _log(column)), matrix.T)
  noisy_losses = -jnp.moveaxis(log_noisy, 0, -1)
  present = labels != 0  # 0 * inf: a label of weight zero costs nothing
  return _masked((labels * jnp.where(present, noisy_losses, 0)).sum(-1), where)


def backward_correction(
  logits: ArrayLike, labels: ArrayLike, *, transition: ArrayLike, where: ArrayLike | None = None
) -> Array:
  r"""Computes backward correction: :math:`(T^{-1} \ell)_y`.

  Unbiased: :math:`\sum_j T_{ij}\, \ell_{BC}(j) = \ell_i`. Unbounded below and often
  negative; train with gradient clipping or a cross-entropy warm-up.

  Args:
    logits: floating [..., L].
    labels: integers [...] or distributions [..., L], of noisy labels.
    transition: T[true, noisy], [L, L], rows that sum to 1, invertible. A concrete matrix
      is inverted in float64 on the host, a traced one in its own precision.
    where: mask that broadcasts to [...], or None.

  Returns:
    Losses [...].

  Raises:
    TypeError: for integer logits. ValueError: for labels of another shape, a matrix that
      is not L x L, or a concrete one that is singular or no transition matrix.

  References:
    Natarajan et al., 2013; Patrini et al., 2017, section 3; Lukasik et al., 2020, section 2.

  >>> t = jnp.array([[0.75, 0.25], [0.25, 0.75]])
  >>> print(backward_correction(jnp.array([[2.0, 0.0]]), jnp.array([0]), transition=t).round(4))
  [-0.8731]
  """
  array, _ = _prepare(logits, labels, where)
  _square("transition", transition, array)
  if isinstance(transition, jax.core.Tracer):
    matrix = jnp.linalg.inv(transition)
  else:
    matrix = transition_lib.inverse(np.asarray(transition))[0]
  return smearing(logits, labels, matrix=matrix, where=where)


def smeared_forward(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  matrix: ArrayLike,
  transition: ArrayLike,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes :math:`-\log (p^\top T)_y + ((M - I) \ell)_y`: every loss above as data.

  With T = I it is smearing by M, with M = I forward correction by T, with both
  cross-entropy. A training step compiled with this loss changes method by changing
  arrays.

  Args, Returns and Raises: as `smearing` and `forward_correction`.

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


def distillation_temperatures(
  temperature: ArrayLike, convention: Literal["teacher_only", "both_t_squared"]
) -> tuple[ArrayLike, ArrayLike]:
  """Returns the temperatures of (teacher, student) that a convention stands for.

  Raises:
    ValueError: for another convention, or a concrete temperature that is not positive.

  >>> distillation_temperatures(4.0, "teacher_only")
  (4.0, 1.0)
  """
  if convention not in ("teacher_only", "both_t_squared"):
    raise ValueError(f"convention must be teacher_only or both_t_squared, not {convention!r}")
  _check_positive("temperature", temperature)
  return temperature, (1.0 if convention == "teacher_only" else temperature)


def distillation(
  logits: ArrayLike,
  teacher_logits: ArrayLike,
  *,
  temperature: ArrayLike,
  convention: Literal["teacher_only", "both_t_squared"],
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes cross-entropy against a teacher's softened probabilities.

  teacher_only: :math:`H(\sigma(z^t / T), \sigma(z))` (Mueller et al.): the student learns to
  give the softened probabilities. both_t_squared: :math:`T^2 H(\sigma(z^t / T), \sigma(z / T))`
  (Hinton et al.): it learns the teacher's logits, up to a constant. With T = 1 they are one.

  Mix it with any label loss: (1 - beta) * label_loss + beta * distillation.

  Args:
    logits: the student's, floating [..., L].
    teacher_logits: floating [..., L]; log-probabilities will do. No gradient flows to them.
    temperature: T > 0, scalar or broadcasting to [...].
    convention: what T softens.
    where: mask that broadcasts to [...], or None.

  Returns:
    Losses [...]. At least :math:`T^2` (or 1) times the entropy of the teacher's softened
    probabilities, reached with gradient zero where the student's (softened) ones equal them.

  Raises:
    TypeError: for integer logits. ValueError: for teacher logits of another shape, a
      convention that is neither, or a concrete temperature that is not positive.

  References:
    Mueller et al., "When does label smoothing help?", 2019, section 4; Hinton et al.,
    "Distilling the knowledge in a neural network", 2015, section 2. Which of the two
    Lukasik et al., 2020, section 6, used is not known.

  >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[2.0, 0.0]])
  >>> print(distillation(student, teacher, temperature=2.0, convention="both_t_squared").round(4))
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


def tempered_cross_entropy(
  logits: ArrayLike,
  teacher_logits: ArrayLike,
  *,
  teacher_temperature: ArrayLike,
  student_temperature: ArrayLike,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes :math:`T_s^2 H(\sigma(z^t / T_t), \sigma(z / T_s))`: both conventions as data.

  See `distillation` for arguments and errors and `distillation_temperatures` for the two
  temperatures. A training step compiled with this loss changes convention by changing arrays.

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
  """Returns (logits, labels) as arrays of agreeing shapes, masked logits replaced by zeros."""
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
    # Before the loss, not only after: 0 * NaN would come back through the gradient.
    logits = jnp.where(jnp.asarray(where)[..., None], logits, 0)
  return logits, labels


def _is_index(labels: Array) -> bool:
  return bool(jnp.issubdtype(labels.dtype, jnp.integer))


def _pick(losses: Array, labels: Array) -> Array:
  """Returns losses [..., L] at integer labels, or weighted by distributions."""
  if _is_index(labels):
    return jnp.take_along_axis(losses, labels[..., None], axis=-1)[..., 0]
  return (losses * labels).sum(-1)


def _weighted(logits: Array, weights: Array, where: ArrayLike | None) -> Array:
  """Returns the losses of every label, weighted and summed."""
  return _masked((weights * -jax.nn.log_softmax(logits)).sum(-1), where)


def _log(x: Array) -> Array:
  """log with log 0 = -inf and gradient zero there, not NaN."""
  positive = x > 0
  return jnp.where(positive, jnp.log(jnp.where(positive, x, 1)), -jnp.inf)


def _masked(losses: Array, where: ArrayLike | None) -> Array:
  return losses if where is None else jnp.where(where, losses, 0)


def _logsumexp(x: Array) -> Array:
  """logsumexp over the last axis; all entries -inf gives -inf with gradient zero, not NaN."""
  possible = jnp.any(x > -jnp.inf, axis=-1)
  safe = jnp.where(possible[..., None], x, 0)
  return jnp.where(possible, jax.nn.logsumexp(safe, axis=-1), -jnp.inf)


def _square(name: str, matrix: ArrayLike, logits: Array) -> Array:
  array = jnp.asarray(matrix, logits.dtype)
  if array.shape != (logits.shape[-1],) * 2:
    raise ValueError(
      f"{name} of shape {array.shape} does not fit logits with {logits.shape[-1]} classes: "
      f"[L, L] is allowed"
    )
  return array


def _check_transition(matrix: ArrayLike) -> None:
  if not isinstance(matrix, jax.core.Tracer):
    transition_lib.validate(np.asarray(matrix))


def _check_bounds(name: str, value: ArrayLike, low: float, high: float) -> None:
  if isinstance(value, jax.core.Tracer):
    return
  value = np.asarray(value)
  if not (np.isfinite(value).all() and (value >= low).all() and (value <= high).all()):
    raise ValueError(f"{name} must be in [{low:g}, {high:g}] and finite, not {value}")


def _check_positive(name: str, value: ArrayLike) -> None:
  if not isinstance(value, jax.core.Tracer) and not (np.asarray(value) > 0).all():
    raise ValueError(f"{name} must be greater than 0, not {value}")
