"""The Orbax checkpoints of a work directory."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from lsjax import files
from lsjax.training import distributed, step
from lsjax.validation import UserError, one_line

# An upper bound for what Orbax writes beside the arrays.
_METADATA_BYTES = 1 << 18


class CheckpointError(UserError):
  """A checkpoint that is missing, unreadable or cannot be written, told in one line."""


class Checkpoints:
  """The directory checkpoints/ of a run. Saving is asynchronous and atomic."""

  def __init__(self, workdir: str | os.PathLike[str], *, keep: int | None = None):
    """Opens the directory.

    Args:
      workdir: the work directory of the run.
      keep: how many of the last checkpoints to keep; None opens the directory to read it only.
    """
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
    """Copies a state and writes it in the background, unless its step is saved already.

    Raises:
      CheckpointError: if this one, or the one before, cannot be written.
    """
    if self._manager.latest_step() == at_step:
      return
    with self._writing():
      self._check_space(state)
      self._manager.save(at_step, args=ocp.args.StandardSave(state))

  def restore(self, at_step: int, template: step.TrainState) -> step.TrainState:
    """Returns the saved state of a step as host arrays.

    Args:
      at_step: the step of an existing checkpoint.
      template: a state, or the shapes of one, of the same structure.

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
        f"{self.directory / str(at_step)} cannot be read ({one_line(error)})"
      ) from error

  def restore_newest(self, template: step.TrainState) -> tuple[int, step.TrainState]:
    """Returns the step and state of the newest readable checkpoint, of at least one.

    Newer checkpoints that cannot be read are reported and moved to unreadable_checkpoints/, so
    that the run can save at their steps again.

    Raises:
      CheckpointError: if no checkpoint can be read, which is more than a damaged file.
    """
    errors: list[CheckpointError] = []
    for at_step in sorted(self._manager.all_steps(), reverse=True):
      try:
        state = self.restore(at_step, template)
      except CheckpointError as error:
        errors.append(error)
        continue
      for unreadable in errors:
        if distributed.is_first_process():
          print(f"{unreadable}; continuing from step {at_step}")
      self._set_aside([s for s in self._manager.all_steps() if s > at_step])
      return at_step, state
    raise errors[0]

  def _set_aside(self, steps: list[int]) -> None:
    """Moves unreadable checkpoints out of the way."""
    if not steps:
      return
    with self._writing():
      distributed.barrier("read")
      if distributed.is_first_process():
        aside = self.directory.parent / "unreadable_checkpoints"
        aside.mkdir(exist_ok=True)
        for at_step in steps:
          count = len(list(aside.iterdir()))
          (self.directory / str(at_step)).rename(aside / f"{at_step}-{count}")
      distributed.barrier("set aside")
      self._manager.reload()

  def wait(self) -> None:
    """Waits until everything is written; raises CheckpointError if it cannot be."""
    with self._writing():
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits until everything is written, then closes the directory."""
    try:
      self.wait()
    finally:
      with contextlib.suppress(Exception):  # `wait` has reported it already
        self._manager.close()

  def _check_space(self, state: step.TrainState) -> None:
    """Raises OSError if the disk is too full.

    A write that failed halfway would print tracebacks from Orbax's threads.
    """
    if not files.is_local(self.directory):
      return
    needed = sum(x.nbytes for x in jax.tree.leaves(state)) + _METADATA_BYTES
    free = shutil.disk_usage(self.directory).free
    if free < needed:
      raise OSError(errno.ENOSPC, f"{needed >> 10} KiB are needed, {free >> 10} KiB are free")

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    """Turns any error of the block into a `CheckpointError`."""
    try:
      yield
    except Exception as error:  # threads report a full disk by many kinds of error
      raise CheckpointError(f"{self.directory} cannot be written ({one_line(error)})") from error
