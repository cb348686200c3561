"""Losses that compare a student with a teacher."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lsjax.losses.inputs import floating, is_concrete, masked
from lsjax.losses.logspace import weighted

__all__ = [
  "distillation",
  "distillation_temperatures",
  "tempered_cross_entropy",
]


def distillation(
  logits: ArrayLike,
  teacher_logits: ArrayLike,
  *,
  temperature: ArrayLike,
  convention: Literal["teacher_only", "both", "both_t_squared"],
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes cross-entropy against a teacher's softened probabilities.

  With the student's logits z, the teacher's logits $z^t$, the softmax $\sigma$ and the
  cross-entropy $H(q, p) = -\sum_j q_j \log p_j$, the conventions for the temperature T are

  * `teacher_only`: $H(\sigma(z^t / T), \sigma(z))$. The student learns to predict the teacher's
    softened probabilities.
  * `both`: $H(\sigma(z^t / T), \sigma(z / T))$. The student learns the teacher's logits, up to a
    constant, by gradients that shrink as T grows.
  * `both_t_squared`: $T^2 H(\sigma(z^t / T), \sigma(z / T))$. The factor makes up for that.

  All are the same if T is 1. Distillation mixes with any loss of labels as
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
    al., [When does label smoothing help?](https://arxiv.org/abs/1906.02629), 2019, section 4, for
    `both`, as others quote them. The convention of Lukasik et al., [Does label smoothing mitigate
    label noise?](https://arxiv.org/abs/2003.02819), 2020, section 6, is not known.

  Examples:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[2.0, 0.0]])
    >>> losses = distillation(student, teacher, temperature=2.0, convention="both_t_squared")
    >>> print(losses.round(4))
    [2.7726]
  """
  of_teacher, of_student, factor = distillation_temperatures(temperature, convention)
  return tempered_cross_entropy(
    logits,
    teacher_logits,
    teacher_temperature=of_teacher,
    student_temperature=of_student,
    factor=factor,
    where=where,
  )


def distillation_temperatures(
  temperature: ArrayLike, convention: Literal["teacher_only", "both", "both_t_squared"]
) -> tuple[ArrayLike, ArrayLike, ArrayLike]:
  """Returns the temperatures and the factor that a convention of `distillation` implies.

  Args:
    temperature: Temperature T > 0, a scalar or an array.
    convention: `teacher_only`, which leaves the student at temperature 1, `both`, or
      `both_t_squared`, whose factor is $T^2$ instead of 1.

  Returns:
    The teacher's temperature, the student's temperature and the factor of the loss.

  Raises:
    ValueError: If the convention is unknown, or if a concrete temperature is not positive.

  Examples:
    >>> distillation_temperatures(4.0, "teacher_only")
    (4.0, 1.0, 1.0)
    >>> distillation_temperatures(4.0, "both_t_squared")
    (4.0, 4.0, 16.0)
  """
  conventions = ("teacher_only", "both", "both_t_squared")
  if convention not in conventions:
    raise ValueError(f"convention must be one of {', '.join(conventions)}, not {convention!r}")
  if is_concrete(temperature) and not (np.asarray(temperature) > 0).all():
    raise ValueError(f"temperature must be greater than 0, not {temperature}")
  student_temperature = 1.0 if convention == "teacher_only" else temperature
  factor = temperature**2 if convention == "both_t_squared" else 1.0
  return temperature, student_temperature, factor


def tempered_cross_entropy(
  logits: ArrayLike,
  teacher_logits: ArrayLike,
  *,
  teacher_temperature: ArrayLike,
  student_temperature: ArrayLike,
  factor: ArrayLike = 1.0,
  where: ArrayLike | None = None,
) -> Array:
  r"""Computes $c\, H(\sigma(z^t / T_t), \sigma(z / T_s))$, distillation with two temperatures.

  The notation is that of `distillation`, and `distillation_temperatures` translates the conventions
  into temperatures and factor. A training step that is compiled with this loss changes its
  convention when its arrays change, without another compilation.

  Args:
    logits: Student's unnormalised log-probabilities, floating point of shape [..., L].
    teacher_logits: Teacher's unnormalised log-probabilities, floating point of shape [..., L]. No
      gradient flows to them.
    teacher_temperature: $T_t > 0$, a scalar or an array that broadcasts to [...].
    student_temperature: $T_s > 0$, a scalar or an array that broadcasts to [...].
    factor: c, a scalar or an array that broadcasts to [...].
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
  student = floating("logits", logits, where)
  teacher = floating("teacher_logits", teacher_logits, where)
  if teacher.shape != student.shape:
    raise ValueError(f"teacher_logits {teacher.shape} and logits {student.shape} differ")

  def per_class(temperature: ArrayLike) -> Array:
    return jnp.asarray(temperature, student.dtype)[..., None]

  targets = jax.nn.softmax(jax.lax.stop_gradient(teacher) / per_class(teacher_temperature))
  losses = weighted(student / per_class(student_temperature), targets)
  return masked(jnp.asarray(factor, student.dtype) * losses, where)
