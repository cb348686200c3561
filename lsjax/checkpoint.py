"""Orbax checkpoints of a work directory, and loading a run back."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import orbax.checkpoint as ocp

from lsjax import config as config_lib
from lsjax import files, models, optim, parallel, step

# What Orbax writes beside the arrays, with room to spare.
_METADATA_BYTES = 1 << 18


class CheckpointError(Exception):
  """A checkpoint that is missing or unreadable, told in one line."""


class Checkpoints:
  """The checkpoints/ directory of a run: asynchronous, atomic, the last few kept."""

  def __init__(self, workdir: str | os.PathLike[str], *, keep: int | None = None):
    """Opens the directory: to keep the last `keep` of what is saved, or to read alone."""
    absolute = os.path.abspath(workdir) if files.is_local(workdir) else workdir
    self.directory = files.path(absolute) / "checkpoints"
    options = ocp.CheckpointManagerOptions(create=False)
    if keep is not None:
      options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
    self._manager = ocp.CheckpointManager(self.directory, options=options)

  def latest(self) -> int | None:
    """Returns the step of the newest finished checkpoint, or None."""
    return self._manager.latest_step()

  def save(self, at_step: int, state: step.TrainState) -> None:
    """Copies the state off the device and writes it in the background; once per step.

    Raises:
      CheckpointError: if this one, or the one before, cannot be written.
    """
    if self._manager.latest_step() == at_step:
      return
    with self._writing():
      self._check_space(state)
      self._manager.save(at_step, args=ocp.args.StandardSave(state))

  def restore(self, at_step: int, template: step.TrainState) -> step.TrainState:
    """Returns the state of a step as host arrays.

    Args:
      at_step: of a checkpoint that is there.
      template: a state (or its shapes) of the same structure.

    Raises:
      CheckpointError: if it cannot be read.
    """

    def shape(x: Any) -> np.ndarray:
      return np.empty(x.shape, x.dtype)

    try:
      return self._manager.restore(
        at_step, args=ocp.args.StandardRestore(jax.tree.map(shape, template))
      )
    except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged file
      raise CheckpointError(
        f"{self.directory / str(at_step)} cannot be read ({config_lib.one_line(error)})"
      ) from error

  def restore_newest(self, template: step.TrainState) -> tuple[int, step.TrainState]:
    """Returns (step, state) of the newest checkpoint that can be read; there is one at least.

    Newer ones that cannot be read are said and moved to unreadable_checkpoints/, so that the
    run may save at their steps again.

    Raises:
      CheckpointError: if none can be read: then it is not one file's damage.
    """
    errors: list[CheckpointError] = []
    for at_step in sorted(self._manager.all_steps(), reverse=True):
      try:
        state = self.restore(at_step, template)
      except CheckpointError as error:
        errors.append(error)
        continue
      for unreadable in errors:
        if parallel.is_first_process():
          print(f"{unreadable}; going on from step {at_step}")
      self._set_aside([s for s in self._manager.all_steps() if s > at_step])
      return at_step, state
    raise errors[0]

  def _set_aside(self, steps: list[int]) -> None:
    if not steps:
      return
    with self._writing():
      parallel.barrier("read")
      if parallel.is_first_process():
        aside = self.directory.parent / "unreadable_checkpoints"
        aside.mkdir(exist_ok=True)
        for at_step in steps:
          count = len(list(aside.iterdir()))
          (self.directory / str(at_step)).rename(aside / f"{at_step}-{count}")
      parallel.barrier("set aside")
      self._manager.reload()

  def wait(self) -> None:
    """Waits until everything is written; CheckpointError if it cannot be."""
    with self._writing():
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits until everything is written, then lets go of the directory."""
    try:
      self.wait()
    finally:
      with contextlib.suppress(Exception):  # told by `wait` already
        self._manager.close()

  def _check_space(self, state: step.TrainState) -> None:
    """Raises OSError if the disk is too full: halfway, background threads print tracebacks."""
    if not files.is_local(self.directory):
      return
    needed = sum(x.nbytes for x in jax.tree.leaves(state)) + _METADATA_BYTES
    free = shutil.disk_usage(self.directory).free
    if free < needed:
      raise OSError(errno.ENOSPC, f"{needed >> 10} KiB are needed, {free >> 10} KiB are free")

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:  # a full disk comes back from a thread as many kinds
      raise CheckpointError(
        f"{self.directory} cannot be written ({config_lib.one_line(error)})"
      ) from error


def build_model(config: config_lib.Config, inputs: dict[str, Any]) -> nn.Module:
  """Builds the network of a run.

  Args:
    config: of the run.
    inputs: the "inputs" entry of config.json: num_classes, mean, std, shape, dtype.
  """
  return models.create(
    config.model,
    num_classes=inputs["num_classes"],
    mean=tuple(inputs["mean"]),
    std=tuple(inputs["std"]),
  )


def state_shapes(model: nn.Module, config: config_lib.Config, inputs: dict[str, Any]) -> Any:
  """Returns the shapes of a run's `step.TrainState`."""
  image = jax.ShapeDtypeStruct((1, *inputs["shape"]), inputs["dtype"])
  optimiser = optim.from_config(config.optim)
  return jax.eval_shape(lambda x: step.init_state(model, x, optimiser, 0), image)


def load_run(
  workdir: str | os.PathLike[str], *, at_step: int | None = None
) -> tuple[config_lib.Config, nn.Module, dict[str, Any]]:
  """Loads a run back from its work directory.

  Args:
    workdir: as given to `python -m lsjax.main`.
    at_step: of the checkpoint; the newest when absent.

  Returns:
    (config, model, variables): `model.apply(variables, images)` gives float32 logits
    [N, L] for raw images, uint8 or float, as they were stored: the model normalises them.

  Raises:
    CheckpointError: one line, if there is no run, no such checkpoint, or none readable.
    config.ConfigError: if config.json does not hold a valid config.

  ```
  config, model, variables = load_run("runs/digits_noisy/0a1b2c3d")
  logits = model.apply(variables, images)
  ```
  """
  workdir = files.path(workdir)
  try:
    saved = files.read_json(workdir / "config.json")
    config = config_lib.from_config_dict(saved["config"])
    inputs = saved["inputs"]
  except (OSError, KeyError, ValueError) as error:
    if isinstance(error, config_lib.ConfigError):
      raise
    raise CheckpointError(f"{workdir} holds no readable config.json ({error})") from error
  if not (workdir / "checkpoints").is_dir():
    raise CheckpointError(f"{workdir} has no checkpoints")
  model = build_model(config, inputs)
  checkpoints = Checkpoints(workdir)
  try:
    at_step = checkpoints.latest() if at_step is None else at_step
    if at_step is None:
      raise CheckpointError(f"{workdir} has no finished checkpoint")
    state = checkpoints.restore(at_step, state_shapes(model, config, inputs))
  finally:
    checkpoints.close()
  return config, model, state.variables
