"""Frozen teachers: finished runs, loaded from their checkpoints."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lsjax import checkpoint, files, parallel
from lsjax import config as config_lib

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Teacher:
  """A finished run, to be imitated.

  Attributes:
    workdir: of the run, as it was named.
    config: of the run.
    step: of its last checkpoint.
    inputs: the "inputs" entry of its config.json.
    ids: [N], of its training images.
    noise_sha256: digest of its labels.
    test_accuracy: that its result.json states.
    model: to evaluate.
    variables: of the model, host arrays.
  """

  workdir: str
  config: config_lib.Config
  step: int
  inputs: dict[str, Any]
  ids: np.ndarray
  noise_sha256: str
  test_accuracy: float
  model: nn.Module
  variables: dict[str, Any]

  def check_accuracy(self, accuracy: float) -> None:
    """Raises `ConfigError` unless the test accuracy is the one that its result.json states."""
    if accuracy != self.test_accuracy:
      config_lib.fail(
        "teacher.workdir",
        self.workdir,
        f"has test accuracy {accuracy:.6f} on this data and device; its result.json says "
        f"{self.test_accuracy:.6f}",
      )

  def description(self) -> dict[str, Any]:
    """Returns what names this teacher in the files of a student."""
    return {
      "workdir": self.workdir,
      "config_hash": config_lib.config_hash(self.config),
      "step": self.step,
      "test_accuracy": self.test_accuracy,
    }


def load(workdir: str | os.PathLike[str]) -> Teacher:
  """Loads a teacher from the work directory of a finished run.

  Raises:
    config.ConfigError: one line, if there is no run, or none that has finished.
    checkpoint.CheckpointError: if the checkpoint of its last step is missing or unreadable.
  """
  workdir = files.path(workdir)

  def fail(why: str) -> Any:
    config_lib.fail("teacher.workdir", str(workdir), why)

  if not (workdir / "config.json").exists():
    fail("there is no run (no config.json)")
  if not (workdir / "result.json").exists():
    fail("is not finished (no result.json); run it to its end first")
  try:
    result = files.read_json(workdir / "result.json")
    description = files.read_json(workdir / "config.json")
    with (workdir / "noise.npz").open("rb") as f, np.load(f, allow_pickle=False) as noise:
      ids, sha256 = noise["ids"], str(noise["sha256"])
    if result["status"] != "finished":
      fail(f"did not finish well (status {result['status']})")
    step, test_accuracy = result["final"]["step"], result["final"]["test"]["accuracy"]
    inputs = description["inputs"]
  except (OSError, ValueError, KeyError, TypeError) as error:
    if isinstance(error, config_lib.ConfigError):
      raise
    fail(f"holds an unreadable file ({error})")
  config, model, variables = checkpoint.load_run(workdir, at_step=step)
  return Teacher(str(workdir), config, step, inputs, ids, sha256, test_accuracy, model, variables)


@lru_cache(maxsize=16)
def ensemble(models: tuple[nn.Module, ...]) -> Callable[[Any, Array], Array]:
  """Returns apply(variables of each, images) -> log of the mean probabilities, [N, L].

  They are valid logits: for one model they are its own, less a constant per image. Equal
  models give the same function, so that what is compiled with it is compiled once.
  """

  def apply(variables: Sequence[Any], images: Array) -> Array:
    outputs: Any = [m.apply(v, images) for m, v in zip(models, variables, strict=True)]
    log_p = jax.nn.log_softmax(jnp.stack(outputs))
    return jax.nn.logsumexp(log_p, axis=0) - jnp.log(len(models))

  return apply


@lru_cache(maxsize=16)
def from_images(apply: Callable[[Any, Array], Array]) -> parallel.TeacherFn:
  """Returns the `TeacherFn` that evaluates variables on the images as trained on."""
  return lambda variables, images, indices: apply(variables, images)


def from_table(logits: Any, images: Array, indices: Array) -> Array:
  """The `TeacherFn` that looks up logits [N, L], computed once on the plain images."""
  del images
  return logits[indices]
