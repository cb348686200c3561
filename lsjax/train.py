"""The one training loop: from a config and a work directory to result.json.

A single run and a pack of many are the same loop. The runs of a pack share shapes and
schedule; all else about them is arrays with a leading axis of runs (see `parallel`).
"""

import contextlib
import dataclasses
import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from lsjax import config as config_lib
from lsjax import experiment, metrics, parallel, record, step
from lsjax import feed as feed_lib
from lsjax import teacher as teacher_lib


class Stopped(Exception):
  """A signal asked the run to stop; its state is saved.

  Attributes:
    signum: the signal's number.
  """

  def __init__(self, signum: int, at_step: int):
    super().__init__(f"stopped by {signal.Signals(signum).name} at step {at_step}, saved")
    self.signum = signum


def train_and_evaluate(
  config: config_lib.Config,
  workdir: str | os.PathLike[str],
  teachers: Sequence[teacher_lib.Teacher] = (),
) -> dict[str, Any]:
  """Trains to the end, resuming what the work directory holds.

  Args:
    config: of the run.
    workdir: a directory of this run alone. Afterwards it holds config.json, noise.npz,
      metrics.jsonl, TensorBoard events, checkpoints/, diagnostics.npz and result.json.
    teachers: that a run with a student section imitates.

  Returns:
    The content of result.json. A finished run is not run again.

  Raises:
    config.ConfigError: if the config does not fit the data; nothing is written.
    record.WorkdirError: if the directory belongs to another config, is in use by another
      process, or cannot be written.
    checkpoint.CheckpointError: if no checkpoint of several can be read, or one not written.
    Stopped: after SIGTERM or SIGINT, once a checkpoint is written.
  """
  finished = record.finished_result(config, workdir)
  if finished is not None:
    return finished
  run = experiment.prepare(config, teachers)
  layout = parallel.Layout(tuple(run.devices), shared=True)
  first = parallel.is_first_process()
  with (
    record.claim(workdir),
    tqdm(total=config.train.num_steps, unit="step", leave=False, disable=not first) as bar,
    stop_signals() as stop,
    _Loop([run], layout, stop, bar) as loop,
  ):
    loop.open([workdir])
    if loop.step and first:
      print(f"resuming {workdir} at step {loop.step}")
      bar.initial = bar.n = loop.step
    loop.run()
    (result,) = loop.results
  return result


def train_runs(
  runs: Sequence[experiment.Experiment],
  workdirs: Sequence[str | os.PathLike[str]],
  layout: parallel.Layout,
  *,
  stop: list[int],
  bar: "tqdm[Any]",
) -> list[dict[str, Any]]:
  """Trains runs of the same shape at once, from the step that their checkpoints share.

  Args:
    runs: at most `layout.capacity`, on the same data set, with equal `pack_key`; none has
      ended, and their newest checkpoints are of the same step.
    workdirs: of each.
    layout: where they go.
    stop: signals that arrived; one more ends the loop.
    bar: advanced by the steps of all runs together.

  Returns:
    The content of each result.json.

  Raises:
    record.StepsDifferError: if the newest readable checkpoints are not of one step after all;
      what could not be read is out of the way then. Else as `train_and_evaluate`.
  """
  with _Loop(runs, layout, stop, bar) as loop:
    loop.open(workdirs)
    loop.run()
    return loop.results


@dataclasses.dataclass(frozen=True)
class Timing:
  """Seconds: to compile a program; to train and evaluate a pack with it; for a run's files."""

  compile: float
  pack: float
  files: float


def time_run(run: experiment.Experiment, layout: parallel.Layout) -> Timing:
  """Times a call, an evaluation and the files of such runs, in a temporary directory."""
  train = run.config.train

  def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start

  def write(loop: _Loop) -> None:
    with tempfile.TemporaryDirectory() as workdir:
      loop.records = [record.Record(run, workdir)]
      loop._evaluate()
      loop._save()
      loop._finish()
      loop.records.pop().close()

  with _Loop([run], layout, [], tqdm(disable=True)) as loop:
    loop.step, loop.state = 0, loop._initial_state()
    steps = min(loop.call_steps, train.num_steps)
    # Each twice: the first time compiles.
    calls = [seconds(lambda: loop._call(steps)) for _ in range(2)]
    evaluations = [seconds(loop.evaluate) for _ in range(2)]
    writes = [seconds(lambda: write(loop)) for _ in range(2)]
  times = -(-train.num_steps // train.eval_every)
  return Timing(
    compile=sum(max(first - second, 0.0) for first, second in (calls, evaluations, writes)),
    pack=train.num_steps / steps * calls[1] + times * evaluations[1],
    files=max(writes[1] - evaluations[1], 0.0),
  )


def time_steps(
  runs: Sequence[experiment.Experiment], layout: parallel.Layout, num_steps: int
) -> float:
  """Trains a pack for so many steps, at least a call, and nothing else; returns the seconds.

  The bare compiled calls: no log rows, no evaluation, no files. The first time compiles.
  """
  with _Loop(runs, layout, [], tqdm(disable=True)) as loop:
    loop.step, loop.state = 0, jax.block_until_ready(loop._initial_state())
    start = time.perf_counter()
    while loop.step < num_steps:
      progress = loop._call(loop.call_steps)
    jax.block_until_ready(progress)
    return time.perf_counter() - start


def pack_key(config: config_lib.Config) -> config_lib.Config:
  """Returns what runs must have in common to train as one program: all else is arrays.

  That is the config with everything at its default that only changes arrays: seeds, noise,
  losses, numbers of the optimiser, and how a teacher of the same model was trained.
  """
  boundaries = tuple(range(len(config.optim.boundaries)))
  same = dataclasses.replace(
    config,
    noise=config_lib.Noise(),
    loss=config_lib.Loss(),
    optim=config_lib.Optim(boundaries=boundaries),
    seed=config_lib.Seeds(),
  )
  if config.teacher is None or config.student is None:
    return same
  teacher = config_lib.Teacher(
    workdir=config.teacher.workdir, targets=config.teacher.targets, model=config.teacher.model
  )
  student = config_lib.Student(beta=float(config.student.beta > 0))
  return dataclasses.replace(same, teacher=teacher, student=student)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
  """Yields a list to which SIGTERM and SIGINT add themselves instead of killing the process.

  A second SIGINT interrupts as usual. Outside the main thread the list stays empty:
  Python hears signals nowhere else.
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


@dataclasses.dataclass
class _Pending:
  """A dispatched call whose outcome has not been fetched."""

  at_step: int
  num_steps: int
  progress: step.Progress


class _Loop:
  """Runs in flight: device data, compiled calls, open work directories."""

  def __init__(
    self,
    runs: Sequence[experiment.Experiment],
    layout: parallel.Layout,
    stop: list[int],
    bar: "tqdm[Any]",
  ):
    """Puts the runs on the devices and checks their teachers; writes nothing."""
    self.layout, self.stop, self.bar = layout, stop, bar
    self.runs = runs
    # Of what is read here the runs share all; idle places repeat the last run.
    self.config, self.lanes = runs[0].config, [*runs, *[runs[-1]] * (layout.capacity - len(runs))]
    self.model = runs[0].model.clone(axis_name=layout.axis_name)
    self.records: list[record.Record] = []
    self.pending: _Pending | None = None
    self.mark: tuple[int, float] | None = None  # step and time from which speed counts
    self.paused = 0.0  # seconds spent on evaluation
    self.feed = feed_lib.create(self.lanes, layout, self.model)
    self.call_steps = self.config.train.steps_per_call or self.feed.steps_per_call

  def open(self, workdirs: Sequence[str | os.PathLike[str]]) -> None:
    """Opens the work directories and sets the state: initial, or of their checkpoints."""
    for run, workdir in zip(self.runs, workdirs, strict=True):
      self.records.append(record.Record(run, workdir))
    steps = sorted({r.step for r in self.records})
    if len(steps) > 1:
      raise record.StepsDifferError(f"a pack would go on from steps {steps}")
    (self.step,) = steps
    self.state = self._initial_state()
    restored = [r.state for r in self.records if r.state is not None]
    if restored:
      idle = len(self.lanes) - len(restored)
      self.state = self.layout.place([*restored, *[restored[-1]] * idle])

  def _initial_state(self) -> step.TrainState:
    init = parallel.make_init(self.model, self.layout)
    optimisers = self.layout.place([r.hparams.optim for r in self.lanes])
    seeds = self.layout.place([np.uint32(r.config.seed.init) for r in self.lanes])
    return init(self.feed.an_image, optimisers, seeds)

  def _states(self) -> list[step.TrainState]:
    """Returns the state of each run, and of idle places, on the host."""
    host = self.layout.fetch(self.state)
    return [jax.tree.map(lambda x, i=i: x[i], host) for i in range(len(self.lanes))]

  def __enter__(self) -> "_Loop":
    return self

  def __exit__(self, kind: type | None, *_: object) -> None:
    self.feed.close()
    if kind not in (None, Stopped) and parallel.process()[1] > 1:
      return  # to close is to wait for the other processes, of which one may be gone
    for one in self.records:
      one.close()

  @property
  def live(self) -> list[tuple[int, record.Record]]:
    """Runs that have not ended, with their places."""
    return [(i, r) for i, r in enumerate(self.records) if r.result is None]

  @property
  def results(self) -> list[dict[str, Any]]:
    """The content of each result.json that is written."""
    return [r.result for r in self.records if r.result is not None]

  def run(self) -> None:
    """Trains from the current step to the last and ends every run."""
    train, checkpointing = self.config.train, self.config.checkpoint
    while self.step < train.num_steps and self.live:
      self._dispatch()
      last = self.step == train.num_steps
      if last or self.step % train.eval_every == 0:
        self._flush()
        self._evaluate()
      if last or self.step % checkpointing.every == 0:
        self._flush()
        self._save()
      if not last and parallel.any_process(bool(self.stop)):
        self._flush()
        self._save()
        raise Stopped(next(iter(self.stop), signal.SIGTERM), self.step)
    self._finish()

  def _dispatch(self) -> None:
    """Starts the next call, then fetches the outcome of the one before."""
    train = self.config.train
    periods = (train.log_every, train.eval_every, self.config.checkpoint.every)
    boundary = min(train.num_steps, *(self.step - self.step % p + p for p in periods))
    num_steps = self.call_steps if boundary - self.step >= self.call_steps else 1
    progress = self._call(num_steps)
    before, self.pending = self.pending, _Pending(self.step, num_steps, progress)
    self._report(before)

  def _call(self, num_steps: int) -> step.Progress:
    """Dispatches steps of all runs; returns their progress, not yet fetched."""
    self.state, progress = self.feed.train(self.state, self.step, num_steps)
    self.step += num_steps
    return progress

  def _flush(self) -> None:
    pending, self.pending = self.pending, None
    self._report(pending)

  def _report(self, call: _Pending | None) -> None:
    """Fetches a call's progress: the bar, a log row where one is due, divergence."""
    if call is None:
      return
    progress = self.layout.fetch(call.progress)
    train = self.config.train
    due = call.at_step % train.log_every == 0 or call.at_step == train.num_steps
    for i, one in self.live:
      if progress.bad_step[i] >= 0:
        one.diverge(int(progress.bad_step[i]), float(progress.bad_loss[i]))
        continue
      loss = float(progress.loss[i] / progress.examples[i])
      accuracy = float(progress.correct[i] / progress.examples[i])
      if due:
        one.log({"step": call.at_step, "split": "batches", "loss": loss, "accuracy": accuracy})
      speed = self._speed(call.at_step)
      self.bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.3f}", images_per_s=speed)
    self.bar.update(call.num_steps * len(self.records))

  def _speed(self, at_step: int) -> str:
    """Returns training images/s since the first report, which waited for compilation."""
    now = time.perf_counter() - self.paused
    if self.mark is None:
      self.mark = (at_step, now)
      return "-"
    first, start = self.mark
    images = (at_step - first) * self.config.train.batch_size * len(self.records)
    return f"{images / max(now - start, 1e-9):.0f}"

  def _evaluate(self) -> None:
    """Evaluates every split at the current step and logs a row each."""
    started = time.perf_counter()
    for name in self.feed.evaluated:
      sums = self.feed.sums(name, self.state.variables)
      for i, one in self.live:
        mine = {key: value[i] for key, value in sums.items()}
        if not math.isfinite(mine["nll"]):
          one.diverge(self.step, float(mine["nll"]))
          continue
        values = metrics.denoising(mine) if name == "train" else metrics.classification(mine)
        one.log({"step": self.step, "split": name, **values, **metrics.imitation(mine)})
    self.paused += time.perf_counter() - started

  def evaluate(self) -> list[dict[str, np.ndarray]]:
    """Returns the metrics' sums of every split."""
    return [self.feed.sums(name, self.state.variables) for name in self.feed.evaluated]

  def _save(self) -> None:
    states = self._states()
    for i, one in self.live:
      one.save(self.step, states[i])

  def _finish(self) -> None:
    """Ends the runs that are still there, with what their networks say of the data."""
    if not self.live:
      return
    said = self.feed.diagnostics(self.state, [i for i, _ in self.live])
    for i, one in self.live:
      one.finish(said[i])
