"""Training runs in their work directories."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from lsjax import concurrency
from lsjax import config as config_lib
from lsjax.runs import directory, environment, leases
from lsjax.runs.checkpoints import CheckpointError
from lsjax.training import devices, distributed, loop, setup
from lsjax.training.teachers import FrozenTeacher


def train_and_evaluate(
  config: config_lib.Config,
  workdir: str | os.PathLike[str],
  teachers: Sequence[FrozenTeacher] = (),
  *,
  on_call: Callable[[int], None] | None = None,
) -> dict[str, Any]:
  """Trains a run to its end, resuming from the checkpoints in its work directory.

  Args:
    config: the run's config.
    workdir: a directory for this run alone. Afterwards it holds config.json, noise.npz,
      metrics.jsonl, TensorBoard events, checkpoints/, diagnostics.npz and result.json.
    teachers: the teachers that a run with a student section imitates.
    on_call: a function that is called with the number of steps done after each compiled call.

  Returns:
    The content of result.json. A finished run is not trained again.

  Raises:
    config.ConfigError: if the config does not fit the data; nothing is written.
    directory.WorkdirError: if the directory belongs to another config, is in use by another
      process (or was taken over by one that did not see this one live), or cannot be written.
    checkpoints.CheckpointError: if no checkpoint of several can be read, or one not written.
    loop.Stopped: after SIGTERM or SIGINT, once a checkpoint is written.
  """
  environment.check_processes(config, workdir)
  with distributed.failing_together():
    finished = directory.finished_result(config, workdir)
    run = setup.prepare(config, teachers) if finished is None else None
  if run is None:
    assert finished is not None
    return finished
  environment.check_data(run)
  # Before anything is written: a teacher of another accuracy is refused here.
  pack = loop.Pack([run], devices.Layout(tuple(run.devices), shared=True))
  is_first = distributed.is_first_process()
  with (
    _claim_together(workdir) as lease,
    tqdm(total=config.train.num_steps, unit="step", leave=False, disable=not is_first) as bar,
    loop.stop_signals() as stop,
    _open(pack, [lease], stop, bar, on_call) as (training, directories),
  ):
    if training.step and is_first:
      print(f"resuming {workdir} at step {training.step}")
      bar.initial = bar.n = training.step
    training.run()
    (result,) = _results(directories)
  return result


def train_pack(
  runs: Sequence[setup.PreparedRun],
  claimed: Sequence[leases.Lease],
  layout: devices.Layout,
  *,
  stop: Sequence[int],
  bar: "tqdm[Any]",
  on_call: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
  """Trains runs of the same shape together, from the step of their newest checkpoints.

  Args:
    runs: at most `layout.capacity` runs on the same data set that one program can train; none
      has ended, and their newest checkpoints are of the same step.
    claimed: the lease on the work directory of each run.
    layout: the layout of the runs.
    stop: the signals received so far; training stops once there is one.
    bar: the progress bar, advanced by the steps of all runs together.
    on_call: a function that is called with the number of steps done after each compiled call.

  Returns:
    The content of each result.json.

  Raises:
    directory.StepsDifferError: if the newest readable checkpoints are of different steps; the
      unreadable ones have been moved away then. Also the errors of `train_and_evaluate`.
  """
  pack = loop.Pack(runs, layout)
  with _open(pack, claimed, stop, bar, on_call) as (training, directories):
    training.run()
    return _results(directories)


@contextlib.contextmanager
def _claim_together(workdir: str | os.PathLike[str]) -> Iterator[leases.Lease]:
  """Reserves a work directory for all processes of the job; see `leases.claim`."""
  with contextlib.ExitStack() as stack:
    with distributed.failing_together():
      lease = stack.enter_context(leases.claim(workdir))
    yield lease


def _results(directories: Sequence[directory.RunDirectory]) -> list[dict[str, Any]]:
  return [d.result for d in directories if d.result is not None]


@contextlib.contextmanager
def _open(
  pack: loop.Pack,
  claimed: Sequence[leases.Lease],
  stop: Sequence[int],
  bar: "tqdm[Any]",
  on_call: Callable[[int], None] | None,
) -> Iterator[tuple[loop.Loop, list[directory.RunDirectory]]]:
  """Opens the directories of a pack's runs and yields the loop that continues them."""
  opened: dict[int, directory.RunDirectory] = {}

  def open_directory(i: int) -> directory.RunDirectory:
    opened[i] = directory.RunDirectory(pack.runs[i], claimed[i])
    return opened[i]

  is_orderly = False
  try:
    directories = concurrency.each(open_directory, range(len(pack.runs)))
    steps = sorted({d.step for d in directories})
    if len(steps) > 1:
      raise directory.StepsDifferError(f"a pack would continue from steps {steps}")
    saved = [d.state for d in directories if d.state is not None]
    state = pack.place(saved) if saved else pack.initial_state()
    training = loop.Loop(pack, directories, state, steps[0], stop=stop, bar=bar, on_call=on_call)
    try:
      yield training, directories
    except loop.Stopped:
      is_orderly = True
      raise
    is_orderly = True
  finally:
    pack.inputs.close()
    # After an error, closing would wait for the other processes, of which one may be gone.
    if is_orderly or distributed.process()[1] == 1:
      for each in opened.values():
        # An error of the block is told, and not what follows from it.
        with contextlib.suppress(*() if is_orderly else (CheckpointError,)):
          each.close()
