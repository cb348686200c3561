"""The one training loop. A single run and a pack of many go through the same code.

The runs of a pack share shapes and schedule; everything else about them is arrays with a leading
axis of slots (see `devices.Layout`). The loop knows no file: it tells a `Recorder` per run.
"""

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from tqdm import tqdm

from lsjax import concurrency, metrics, models
from lsjax import config as config_lib
from lsjax.training import devices, distributed, programs, step
from lsjax.training import inputs as inputs_lib
from lsjax.training.setup import PreparedRun

# So many call lengths are compiled as they come. Boundaries that ask for more of them are met by
# calls whose lengths are powers of four, so that no gap falls to single steps.
MAX_LENGTHS = 4
_SHORT_LENGTHS = (64, 16, 4, 1)
# A job of several processes agrees on whether to stop once in so many steps: agreeing is a
# collective that waits for the devices.
STOP_POLL_STEPS = 16


class Stopped(Exception):
  """A signal stopped a run after its state was saved.

  Attributes:
    signum: the number of the signal.
  """

  def __init__(self, signum: int, at_step: int):
    super().__init__(f"stopped by {signal.Signals(signum).name} at step {at_step}, saved")
    self.signum = signum


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
  """Yields a list that collects SIGTERM and SIGINT, which do not kill the process meanwhile.

  A second SIGINT interrupts as usual. Outside the main thread the list stays empty, because
  Python receives signals in the main thread alone.
  """
  received: list[int] = []
  if threading.current_thread() is not threading.main_thread():
    yield received
    return

  def receive(signum: int, _: Any) -> None:
    received.append(signum)
    signal.signal(signal.SIGINT, signal.default_int_handler)

  before = {s: signal.signal(s, receive) for s in (signal.SIGTERM, signal.SIGINT)}
  try:
    yield received
  finally:
    for signum, handler in before.items():
      signal.signal(signum, handler)


class Recorder(Protocol):
  """What a loop tells about one run while it trains.

  The recorders of several runs save and finish in several threads at once.
  """

  @property
  def has_ended(self) -> bool:
    """Whether the run has finished or diverged."""
    ...

  def log(self, row: dict[str, Any]) -> None:
    """Takes a row of metrics: its step, its split and values."""
    ...

  def save(self, at_step: int, state: step.TrainState) -> None:
    """Takes the state of a step, as host arrays."""
    ...

  def finish(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Ends the run successfully, with the diagnostics of its network."""
    ...

  def diverge(self, at_step: int, loss: float) -> None:
    """Ends the run at a loss that is not finite."""
    ...


class Pack:
  """Runs of the same shape on their devices.

  Attributes:
    runs: the runs.
    layout: the layout of the runs on devices.
    slots: the run of each slot; the last run fills the slots that no other run needs.
    inputs: the data of the runs.
    call_steps: the number of steps in a call that no boundary shortens.
  """

  def __init__(self, runs: Sequence[PreparedRun], layout: devices.Layout):
    """Puts the runs on the devices.

    Raises:
      ConfigError: if a teacher does not have the accuracy that its result.json states.
    """
    self.runs, self.layout = runs, layout
    self.config = runs[0].config  # all runs share what is read from it
    self.slots = [*runs, *[runs[-1]] * (layout.capacity - len(runs))]
    model = models.packed(runs[0].model, layout.packing, layout.width)
    self.model = model.clone(axis_name=layout.axis_name)
    self.inputs = inputs_lib.create(self.slots, layout, self.model)
    for run, accuracies in zip(runs, self.inputs.teacher_accuracies):
      for teacher, accuracy in zip(run.teachers, accuracies):
        teacher.check_accuracy(accuracy)
    self.call_steps = self.config.train.steps_per_call or self.inputs.steps_per_call

  def initial_state(self) -> step.TrainState:
    """Returns the state of every slot before the first step, on the devices."""
    program = config_lib.program_of(self.config.loss, self.config.train)
    init = programs.make_init(self.model, self.layout, program, self.runs[0].sizes["train"])
    optimizers = self.layout.place([r.hparams.optim for r in self.slots])
    seeds = self.layout.place([np.uint32(r.config.seed.init) for r in self.slots])
    return init(self.inputs.example_images, optimizers, seeds)

  def place(self, states: Sequence[step.TrainState]) -> step.TrainState:
    """Puts the states of the runs, host arrays, on the devices; the last one fills the slots."""
    filled = [*states, *[states[-1]] * (len(self.slots) - len(states))]
    return self.layout.place(filled)

  def fetch(self, state: step.TrainState) -> list[step.TrainState]:
    """Returns the state of each slot as host arrays."""
    host = self.layout.fetch(state)
    return [jax.tree.map(lambda x, i=i: x[i], host) for i in range(len(self.slots))]


@dataclasses.dataclass
class _Pending:
  """A dispatched call whose progress has not been fetched."""

  at_step: int
  num_steps: int
  progress: step.Progress


class Loop:
  """Runs in training.

  Attributes:
    pack: the runs.
    recorders: the recorder of each run.
    state: the state of every slot, on the devices.
    step: the number of steps done.
  """

  def __init__(
    self,
    pack: Pack,
    recorders: Sequence[Recorder],
    state: step.TrainState,
    at_step: int,
    *,
    stop: Sequence[int] = (),
    bar: "tqdm[Any] | None" = None,
    on_call: Callable[[int], None] | None = None,
  ):
    """Prepares to continue from a state; nothing is computed yet.

    Args:
      pack: the runs.
      recorders: the recorder of each run.
      state: the state of every slot, on the devices; the loop uses it up.
      at_step: the number of steps done in that state.
      stop: the signals received so far; the loop stops once there is one.
      bar: the progress bar, advanced by the steps of all runs together.
      on_call: a function that is called with the number of steps done after each call.
    """
    self.pack, self.recorders, self.state, self.step = pack, recorders, state, at_step
    self.stop, self.bar = stop, bar if bar is not None else tqdm(disable=True)
    self.on_call = on_call or (lambda at_step: None)
    self.train, self.checkpoint = pack.config.train, pack.config.checkpoint
    self._lengths: set[int] = set()
    self._pending: _Pending | None = None
    self._speed_start: tuple[int, float] | None = None  # step and time
    self._paused = 0.0  # seconds spent on evaluation

  @property
  def running(self) -> list[tuple[int, Recorder]]:
    """The slots and recorders of the runs that have not ended."""
    return [(i, r) for i, r in enumerate(self.recorders) if not r.has_ended]

  def run(self) -> None:
    """Trains from the current step to the last one and ends every run.

    Raises:
      Stopped: after a signal, once the state is saved.
    """
    last_step = self.train.num_steps
    while self.step < last_step and self.running:
      before = self.step
      self._dispatch()
      if self.step == last_step or self.step % self.train.eval_every == 0:
        self._flush()
        self.evaluate()
      if self.step == last_step or self.step % self.checkpoint.every == 0:
        self._flush()
        self.save()
      if self.step < last_step and self._must_stop(before):
        self._flush()
        self.save()
        raise Stopped(next(iter(self.stop), signal.SIGTERM), self.step)
    self.finish()

  def advance(self, num_steps: int) -> step.Progress:
    """Dispatches steps of all runs as one call; returns their progress, not yet fetched."""
    self.state, progress = self.pack.inputs.train(self.state, self.step, num_steps)
    self.step += num_steps
    return progress

  def evaluate(self) -> None:
    """Evaluates every split at the current step and logs a row for each."""
    started = time.perf_counter()
    for name in self.pack.inputs.evaluated:
      sums = self.pack.inputs.sums(name, self.state.variables)
      for i, recorder in self.running:
        of_run = {key: value[i] for key, value in sums.items()}
        if not math.isfinite(of_run["nll"]):
          recorder.diverge(self.step, float(of_run["nll"]))
          continue
        values: dict[str, Any] = dict(
          metrics.denoising(of_run) if name == "train" else metrics.classification(of_run)
        )
        recorder.log({"step": self.step, "split": name, **values, **metrics.imitation(of_run)})
    self._paused += time.perf_counter() - started

  def save(self) -> None:
    """Hands the state of every running run to its recorder."""
    states = self.pack.fetch(self.state)
    # The recorders of a pack mostly wait for the disk.
    concurrency.each(lambda run: run[1].save(self.step, states[run[0]]), self.running)

  def finish(self) -> None:
    """Ends the running runs with the diagnostics of their networks."""
    if not self.running:
      return
    arrays = self.pack.inputs.diagnostics(self.state, [i for i, _ in self.running])
    concurrency.each(lambda run: run[1].finish(arrays[run[0]]), self.running)

  def _must_stop(self, before: int) -> bool:
    """Returns whether to stop after a call that began at step `before`, on all processes alike."""
    if distributed.process()[1] == 1:
      return bool(self.stop)
    if before // STOP_POLL_STEPS == self.step // STOP_POLL_STEPS:
      return False
    return distributed.any_process(bool(self.stop))

  def _next_length(self) -> int:
    """Returns the number of steps of the next call, which ends at a boundary at the latest."""
    periods = (self.train.log_every, self.train.eval_every, self.checkpoint.every)
    boundary = min(self.train.num_steps, *(self.step - self.step % p + p for p in periods))
    steps_left = boundary - self.step
    wanted = min(self.pack.call_steps, steps_left)
    if wanted in self._lengths or len(self._lengths) < MAX_LENGTHS:
      self._lengths.add(wanted)
      return wanted
    return max(n for n in (*self._lengths, *_SHORT_LENGTHS) if n <= steps_left)

  def _dispatch(self) -> None:
    """Starts the next call, then reports the call before it."""
    num_steps = self._next_length()
    progress = self.advance(num_steps)
    previous, self._pending = self._pending, _Pending(self.step, num_steps, progress)
    self._report(previous)
    self.on_call(self.step)

  def _flush(self) -> None:
    """Reports the call that has not been reported yet."""
    pending, self._pending = self._pending, None
    self._report(pending)

  def _report(self, call: _Pending | None) -> None:
    """Fetches a call's progress: for the bar, for a log row where one is due, for divergence."""
    if call is None:
      return
    progress = self.pack.layout.fetch(call.progress)
    is_due = call.at_step % self.train.log_every == 0 or call.at_step == self.train.num_steps
    for i, recorder in self.running:
      if progress.bad_step[i] >= 0:
        recorder.diverge(int(progress.bad_step[i]), float(progress.bad_loss[i]))
        continue
      loss = float(progress.loss[i] / progress.examples[i])
      accuracy = float(progress.correct[i] / progress.examples[i])
      if is_due:
        row = {"step": call.at_step, "split": "batches", "loss": loss, "accuracy": accuracy}
        recorder.log(row)
      speed = self._speed(call.at_step)
      self.bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.3f}", images_per_s=speed)
    self.bar.update(call.num_steps * len(self.recorders))

  def _speed(self, at_step: int) -> str:
    """Returns training images/s since the first report, which waited for compilation."""
    now = time.perf_counter() - self._paused
    if self._speed_start is None:
      self._speed_start = (at_step, now)
      return "-"
    first, start = self._speed_start
    images = (at_step - first) * self.train.batch_size * len(self.recorders)
    return f"{images / max(now - start, 1e-9):.0f}"
