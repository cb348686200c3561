"""The Orbax checkpoints of a work directory."""

import contextlib
import dataclasses
import errno
import functools
import os
import shutil
import sys
import tempfile
import types
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from lsjax import files
from lsjax.runs import integrity
from lsjax.training import distributed, step
from lsjax.validation import UserError, one_line

_METADATA_FILE = "_CHECKPOINT_METADATA"
# Upper bounds for what Orbax writes beside the arrays, and for its files and directories.
_METADATA_BYTES = 1 << 18
_INODES = 32


class CheckpointError(UserError):
  """A checkpoint that is missing, unreadable or cannot be written, told in one line."""


class Checkpoints:
  """The directory checkpoints/ of a run. Saving is asynchronous and atomic.

  Every checkpoint carries digests of its content, which are compared whenever it is restored. One
  without digests, from before they were written, is accepted with a printed line, unless an
  earlier checkpoint in the directory has them.
  """

  def __init__(self, workdir: str | os.PathLike[str], *, keep: int | None = None):
    """Opens the directory.

    Args:
      workdir: the work directory of the run.
      keep: how many of the last checkpoints to keep; None opens the directory to read it only.

    Raises:
      CheckpointError: if the directory is to be written and cannot be.
    """
    absolute = os.path.abspath(workdir) if files.is_local(workdir) else workdir
    self.directory, self._keep = files.path(absolute) / "checkpoints", keep
    if keep is None:
      self._manager = self._open()
      return
    with self._writing():
      self._try_writing()
      self._manager = self._open()

  def _open(self) -> ocp.CheckpointManager:
    _drop_late_callbacks()
    options = ocp.CheckpointManagerOptions(
      max_to_keep=self._keep,
      create=self._keep is not None,
      # Else one damaged metadata file would keep all checkpoints from being opened.
      lightweight_initialize=True,
      # Threads that wait for a directory would outlive the error of its creation by minutes, and
      # the process with them.
      async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
    )
    return ocp.CheckpointManager(self.directory, options=options)

  def latest(self) -> int | None:
    """Returns the step of the newest finished checkpoint, or None."""
    return self._manager.latest_step()

  def steps(self) -> list[int]:
    """Returns the steps of all finished checkpoints, in order."""
    return sorted(self._manager.all_steps())

  def save(
    self, at_step: int, state: step.TrainState, facts: integrity.Facts | None = None
  ) -> None:
    """Copies a state and writes it in the background, unless its step is saved already.

    Args:
      at_step: the step of the state.
      state: the state, as arrays that this process holds as a whole.
      facts: what else the checkpoint should say about its run; `facts` returns it.

    Raises:
      CheckpointError: if this one, or the one before, cannot be written.
    """
    if self._manager.latest_step() == at_step:
      return
    with self._writing():
      self._check_space(state)
      self._manager.save(
        at_step,
        args=ocp.args.StandardSave(_saved(state)),
        custom_metadata=integrity.seal(state, facts or {}),
      )

  def facts(self, at_step: int) -> integrity.Facts | None:
    """Returns what a checkpoint says about its run; None if it has no digests.

    Raises:
      CheckpointError: if its digests are damaged or lost.
    """
    with self._reading(at_step):
      seal = self._seal(at_step)
      return None if seal is None else seal[0]

  def restore(self, at_step: int, template: step.TrainState) -> step.TrainState:
    """Returns the saved state of a step as host arrays.

    Args:
      at_step: the step of an existing checkpoint.
      template: a state, or the shapes of one, of the same structure.

    Raises:
      CheckpointError: if it cannot be read, or is not what was saved.
    """

    def shape(x: Any) -> np.ndarray:
      return np.empty(x.shape, x.dtype)

    with self._reading(at_step):
      seal = self._seal(at_step)
      saved = self._manager.restore(
        at_step, args=ocp.args.StandardRestore(_saved(jax.tree.map(shape, template)))
      )
      is_state = isinstance(template, step.TrainState)
      state = dataclasses.replace(template, **saved) if is_state else saved
      if seal is not None and integrity.arrays_sha256(state) != seal[1]:
        raise ValueError("its arrays are not those that were saved")
    if seal is None and distributed.is_first_process():
      print(f"{self.directory / str(at_step)} has no digests, so that it cannot be verified")
    return state

  def restore_newest(self, template: step.TrainState) -> tuple[int, step.TrainState]:
    """Returns the step and state of the newest readable checkpoint, of at least one.

    Newer checkpoints that cannot be read are reported and moved to unreadable_checkpoints/, so
    that the run can save at their steps again. A checkpoint that is not what was saved counts as
    one that cannot be read. All processes of a job take the same checkpoint.

    Raises:
      CheckpointError: if no checkpoint can be read, which is more than a damaged file.
    """
    errors: list[CheckpointError] = []
    for at_step in reversed(self.steps()):
      state, error = None, None
      try:
        state = self.restore(at_step, template)
      except CheckpointError as caught:
        error = caught
      if distributed.any_process(error is not None) or state is None:
        path = self.directory / str(at_step)
        errors.append(error or CheckpointError(f"{path} cannot be read (by another process)"))
        continue
      for unreadable in errors:
        if distributed.is_first_process():
          print(f"{unreadable}; continuing from step {at_step}")
      self._set_aside([s for s in self.steps() if s > at_step])
      return at_step, state
    raise errors[0]

  def _seal(self, at_step: int) -> tuple[integrity.Facts, str] | None:
    """Returns the facts and the arrays' digest of a checkpoint, None if it was made without."""
    if at_step not in self._manager.all_steps():
      raise ValueError("there is no such checkpoint")
    content = self._sealed(at_step)
    if content:
      return integrity.open_seal(content)
    for earlier in self.steps():
      with contextlib.suppress(OSError, ValueError):
        if earlier < at_step and self._sealed(earlier):
          break
    else:
      return None
    raise ValueError(f"its digests are lost; checkpoint {earlier} has them")

  def _sealed(self, at_step: int) -> dict[str, Any]:
    """Returns the custom metadata of a checkpoint, empty if it was made without digests."""
    # Orbax's own reader takes a damaged file for an empty one, and warns about the arrays.
    content = files.read_json(self.directory / str(at_step) / _METADATA_FILE)
    if not isinstance(content, dict) or not isinstance(content.get("custom_metadata"), dict):
      raise ValueError("its metadata are damaged")
    return content["custom_metadata"]

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
      self._manager.close()
      self._manager = self._open()

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
    """Raises OSError if the disk is too full, in bytes or in files.

    A write that failed halfway would print tracebacks from Orbax's threads.
    """
    if not files.is_local(self.directory):
      return
    needed = sum(x.nbytes for x in jax.tree.leaves(state)) + _METADATA_BYTES
    free = shutil.disk_usage(self.directory).free
    if free < needed:
      raise OSError(errno.ENOSPC, f"{needed >> 10} KiB are needed, {free >> 10} KiB are free")
    status = os.statvfs(self.directory)
    if status.f_files and status.f_favail < _INODES:  # some file systems do not count them
      raise OSError(
        errno.ENOSPC, f"{_INODES} files and directories are needed, {status.f_favail} are free"
      )

  def _try_writing(self) -> None:
    """Raises OSError before anything is trained if no checkpoint could be written."""
    if files.is_local(self.directory):
      self.directory.mkdir(parents=True, exist_ok=True)
      with tempfile.TemporaryFile(dir=self.directory):
        pass

  @contextlib.contextmanager
  def _reading(self, at_step: int) -> Iterator[None]:
    """Turns an error of the block into a `CheckpointError` about a checkpoint, or a lost peer."""
    try:
      yield
    except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged file
      _check_peers(error)
      raise CheckpointError(
        f"{self.directory / str(at_step)} cannot be read ({one_line(error)})"
      ) from error

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    """Turns an error of the block into a `CheckpointError`, or that of a lost peer."""
    try:
      yield
    except Exception as error:  # threads report a full disk by many kinds of error
      _check_peers(error)
      raise CheckpointError(f"{self.directory} cannot be written ({one_line(error)})") from error


def _saved(state: Any) -> Any:
  """Returns what is saved of a state, its fields by name; another tree is saved as it is.

  An empty memory is left out: it is not in the checkpoints of versions that had none.
  """
  if not isinstance(state, step.TrainState):
    return state
  fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
  return {name: value for name, value in fields.items() if name != "memory" or value}


def _check_peers(error: Exception) -> None:
  """Raises `PeerLostError` for an error of a barrier at which another process did not arrive."""
  if distributed.is_peer_lost(error):
    why = f"another process of the job was lost ({one_line(error)})"
    raise distributed.PeerLostError(why) from error


@functools.cache
def _drop_late_callbacks() -> None:
  """Keeps tracebacks of what is left of a failed read or write off the screen.

  Orbax ends its event loop at the first error of many. For each of the others a thread of
  TensorStore calls the loop in vain, at any later time, and prints that it is closed. Nothing
  else has `call_soon_threadsafe` as its outermost function.
  """

  def is_late(error: object, traceback: types.TracebackType | None) -> bool:
    outermost = traceback.tb_frame.f_code.co_name if traceback else ""
    return isinstance(error, RuntimeError) and outermost == "call_soon_threadsafe"

  print_error, print_unraisable = sys.excepthook, sys.unraisablehook

  def excepthook(kind: Any, error: BaseException, traceback: types.TracebackType | None) -> None:
    if not is_late(error, traceback):
      print_error(kind, error, traceback)

  def unraisablehook(unraisable: "sys.UnraisableHookArgs") -> None:
    if not is_late(unraisable.exc_value, unraisable.exc_traceback):
      print_unraisable(unraisable)

  sys.excepthook, sys.unraisablehook = excepthook, unraisablehook
