"""Frozen teachers of a student: finished runs whose networks give logits while it trains."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lsjax import config as config_lib
from lsjax import models

Array = jax.Array

# A function (teacher, images as trained on [N, ...], their indices [N]) -> logits [N, L].
TeacherFn = Callable[[Any, Array, Array], Array | None]


@dataclasses.dataclass(frozen=True)
class FrozenTeacher:
  """A finished run that a student imitates.

  Attributes:
    workdir: the run's work directory, as the user named it.
    config: the run's config.
    step: the step of its last checkpoint.
    spec: the inputs that its model takes.
    ids: the ids of its training images, [N].
    noise_sha256: the digest of its training labels.
    test_accuracy: the final test accuracy in its result.json.
    model: its network, for evaluation.
    variables: the network's variables, as host arrays.
  """

  workdir: str
  config: config_lib.Config
  step: int
  spec: models.InputSpec
  ids: np.ndarray
  noise_sha256: str
  test_accuracy: float
  model: nn.Module
  variables: dict[str, Any]

  def check_accuracy(self, accuracy: float) -> None:
    """Raises `ConfigError` unless a test accuracy is the one that its result.json states."""
    if accuracy != self.test_accuracy:
      raise config_lib.ConfigError(
        "teacher.workdir",
        self.workdir,
        f"has test accuracy {accuracy:.6f} on this data and device; its result.json says "
        f"{self.test_accuracy:.6f}",
      )

  def probabilities(self, images: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Returns the predicted probabilities of images [N, ...] as the data set has them, [N, L]."""
    predict = _probabilities(self.model)
    parts = range(0, len(images), batch_size)
    return np.concatenate([predict(self.variables, images[i : i + batch_size]) for i in parts])

  def description(self) -> dict[str, Any]:
    """Returns what identifies this teacher in the files of a student."""
    return {
      "workdir": self.workdir,
      "config_hash": config_lib.config_hash(self.config),
      "step": self.step,
      "test_accuracy": self.test_accuracy,
    }


@lru_cache(maxsize=16)
def _probabilities(model: nn.Module) -> Callable[[Any, np.ndarray], Array]:
  """Compiles predict(variables, images) -> probabilities [N, L]."""

  def predict(variables: Any, images: np.ndarray) -> Array:
    logits: Any = model.apply(variables, images)
    return jax.nn.softmax(logits)

  return jax.jit(predict)


@lru_cache(maxsize=16)
def ensemble(members: tuple[nn.Module, ...]) -> Callable[[Any, Array], Array]:
  """Returns apply(variables of each, images) -> the log of the mean probabilities, [N, L].

  The results are valid logits: those of a single network differ from its own by a constant per
  image. Equal networks give the same function, so that a program that uses it is compiled once.
  """

  def apply(variables: Sequence[Any], images: Array) -> Array:
    outputs: Any = [m.apply(v, images) for m, v in zip(members, variables, strict=True)]
    log_p = jax.nn.log_softmax(jnp.stack(outputs))
    return jax.nn.logsumexp(log_p, axis=0) - jnp.log(len(members))

  return apply


def no_teacher(teacher: Any, images: Array, indices: Array) -> None:
  """The `TeacherFn` of an ordinary run."""
  del teacher, images, indices


@lru_cache(maxsize=16)
def from_images(apply: Callable[[Any, Array], Array]) -> TeacherFn:
  """Returns the `TeacherFn` that evaluates the teacher on the images as trained on."""
  return lambda variables, images, indices: apply(variables, images)


def from_table(logits: Any, images: Array, indices: Array) -> Array:
  """The `TeacherFn` that looks up logits [N, L], computed once on the plain images."""
  del images
  return logits[indices]
