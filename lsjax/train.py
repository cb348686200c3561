"""The one training loop: from a config and a work directory to result.json."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from lsjax import checkpoint, experiment, files, metrics, models, parallel, step
from lsjax import config as config_lib
from lsjax import teacher as teacher_lib


class WorkdirError(Exception):
  """A work directory that belongs to another run or cannot be used, told in one line."""


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
    teachers: that a run with a student section imitates.
    workdir: a directory of this run alone. Afterwards it holds config.json, noise.npz,
      metrics.jsonl, TensorBoard events, checkpoints/ and result.json.

  Returns:
    The content of result.json. A finished run is not run again.

  Raises:
    config.ConfigError: if the config does not fit the data; nothing is written.
    WorkdirError: if the directory belongs to another config, or cannot be written.
    checkpoint.CheckpointError: if the newest checkpoint cannot be read.
    Stopped: after SIGTERM or SIGINT, once a checkpoint is written.
  """
  workdir = pathlib.Path(workdir)
  finished = finished_result(config, workdir)
  if finished is not None:
    return finished
  run = experiment.prepare(config, teachers)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    if (workdir / "config.json").exists():
      _check_teachers(run, workdir)
    else:
      files.write_json(workdir / "config.json", experiment.description(run))
    _write_noise(run, workdir)
  except OSError as error:
    raise WorkdirError(f"{workdir} cannot be written ({error})") from error
  with _stop_signals() as stop, _Loop(run, workdir, stop) as loop:
    result = loop.run()
  files.write_json(workdir / "result.json", result)
  return result


def finished_result(config: config_lib.Config, workdir: pathlib.Path) -> dict[str, Any] | None:
  """Returns the result of a finished run, None for one still to do.

  Raises:
    WorkdirError: naming the fields that differ, if another config made the directory.
  """
  if (workdir / "config.json").exists():
    try:
      there = config_lib.flatten(files.read_json(workdir / "config.json")["config"])
    except (OSError, ValueError, KeyError, AttributeError) as error:
      raise WorkdirError(f"{workdir / 'config.json'} cannot be read ({error})") from error
    here = config_lib.flatten(config_lib.to_dict(config))
    differing = [
      f"{k}: {there.get(k)!r} there, {here.get(k)!r} here"
      for k in {**there, **here}
      if there.get(k) != here.get(k)
    ]
    if differing:
      raise WorkdirError(f"{workdir} was made by another config ({'; '.join(differing)})")
    if (workdir / "result.json").exists():
      return files.read_json(workdir / "result.json")
  return None


def _check_teachers(run: experiment.Experiment, workdir: pathlib.Path) -> None:
  """Raises `WorkdirError` if a student would go on with another teacher than it began with."""
  there = files.read_json(workdir / "config.json").get("teachers", [])
  for old, new in zip(there, [t.description() for t in run.teachers], strict=True):
    for key in ("config_hash", "step", "test_accuracy"):
      if old[key] != new[key]:
        raise WorkdirError(
          f"{workdir} was begun with another teacher ({new['workdir']}: {key} {old[key]} then, "
          f"{new[key]} now)"
        )


def _write_noise(run: experiment.Experiment, workdir: pathlib.Path) -> None:
  """Writes noise.npz, or checks that the one there holds the same labels."""
  path = workdir / "noise.npz"
  if not path.exists():
    run.noise.save(path)
    return
  with np.load(path, allow_pickle=False) as arrays:
    saved = str(arrays["sha256"])
  if saved != run.noise.sha256():
    raise WorkdirError(f"{path} holds other labels than this config and data give")


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
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
  progress: step.Progress


class _Diverged(Exception):
  def __init__(self, at_step: int, loss: float):
    self.at_step, self.loss = at_step, loss


class _Loop:
  """One run in flight: device data, compiled calls, open files."""

  def __init__(self, run: experiment.Experiment, workdir: pathlib.Path, stop: list[int]):
    self.experiment, self.config, self.workdir, self.stop = run, run.config, workdir, stop
    self.rows: list[dict[str, Any]] = []
    self.pending: _Pending | None = None
    self.mark: tuple[int, float] | None = None  # step and time from which speed counts
    self.paused = 0.0  # seconds spent on evaluation

  def __enter__(self) -> "_Loop":
    run, config = self.experiment, self.config
    self.checkpoints = checkpoint.Checkpoints(self.workdir, keep=config.checkpoint.keep)
    latest = self.checkpoints.latest()
    self.step = latest or 0
    # Compiled as a whole: operation by operation it would take seconds on some backends.
    init = jax.jit(step.init_state, static_argnums=0)
    images = run.splits["train"].images[:1]
    state = init(run.model, images, run.hparams.optim, np.uint32(config.seed.init))
    if latest is not None:
      state = self.checkpoints.restore(latest, state)
      print(f"resuming {self.workdir} at step {latest}")
    self.state = parallel.replicate(state, run.devices)
    self.hparams = parallel.replicate(run.hparams, run.devices)
    self._place_teacher()
    self.splits = {
      name: parallel.replicate(
        (split.images, split.labels, split.true_labels, self.teacher_logits.get(name)),
        run.devices,
      )
      for name, split in run.splits.items()
    }
    self.call_steps = config.train.steps_per_call or parallel.steps_per_call(
      config.model.name in models.CONVOLUTIONAL
    )
    self.calls: dict[int, parallel.TrainCall] = {}
    self.evaluate = parallel.make_evaluate(
      run.model, batch_size=config.train.eval_batch_size, on=run.devices
    )
    self._open_logs()
    return self

  def _place_teacher(self) -> None:
    """Sets the teacher's logits of all plain images, and what a training call asks it for."""
    run, config = self.experiment, self.config
    self.teacher_fn: parallel.TeacherFn = parallel.no_teacher
    self.teacher: Any = None
    self.teacher_logits: dict[str, np.ndarray] = {}
    if config.teacher is None or config.student is None:
      return
    apply = teacher_lib.ensemble([t.model for t in run.teachers])
    variables = parallel.replicate(tuple(t.variables for t in run.teachers), run.devices)
    predict = parallel.make_predict(apply, batch_size=config.train.eval_batch_size, on=run.devices)
    self.teacher_logits = {
      name: predict(variables, parallel.replicate(split.images, run.devices))
      for name, split in run.splits.items()
    }
    if config.student.beta == 0:  # compared with the teacher, but trained as an ordinary run
      return
    if config.teacher.targets == "cached":
      self.teacher_fn = lambda logits, _, indices: logits[indices]
      self.teacher = parallel.replicate(self.teacher_logits["train"], run.devices)
    else:
      self.teacher_fn = lambda variables, images, _: apply(variables, images)
      self.teacher = variables

  def __exit__(self, *_: object) -> None:
    self.bar.close()
    self.metrics_file.close()
    self.events.close()
    self.checkpoints.close()

  def run(self) -> dict[str, Any]:
    """Trains from the current step to the last; returns the content of result.json."""
    train, checkpointing = self.config.train, self.config.checkpoint
    try:
      while self.step < train.num_steps:
        self._dispatch()
        if self.step == train.num_steps or self.step % train.eval_every == 0:
          self._flush()
          self._evaluate()
        if self.step == train.num_steps or self.step % checkpointing.every == 0:
          self._flush()
          self.checkpoints.save(self.step, self.state)
        if self.stop and self.step < train.num_steps:
          self._flush()
          self.checkpoints.save(self.step, self.state)
          raise Stopped(self.stop[0], self.step)
    except _Diverged as diverged:
      return self._result(
        status="diverged",
        diverged={
          "step": diverged.at_step,
          "loss": str(diverged.loss),  # JSON has no NaN
          "last_good_checkpoint": self.checkpoints.latest(),
        },
      )
    return self._result(status="finished")

  def _dispatch(self) -> None:
    """Starts the next call, then fetches the outcome of the one before."""
    train = self.config.train
    periods = (train.log_every, train.eval_every, self.config.checkpoint.every)
    boundary = min(train.num_steps, *(self.step - self.step % p + p for p in periods))
    num_steps = self.call_steps if boundary - self.step >= self.call_steps else 1
    if num_steps not in self.calls:
      self.calls[num_steps] = parallel.make_train_call(
        self.experiment.model,
        self.config.data,
        batch_size=train.batch_size,
        num_steps=num_steps,
        on=self.experiment.devices,
        teacher_fn=self.teacher_fn,
      )
    images, labels, *_ = self.splits["train"]
    self.state, progress = self.calls[num_steps](
      self.state, images, labels, self.hparams, self.teacher
    )
    self.step += num_steps
    before, self.pending = self.pending, _Pending(self.step, progress)
    self._report(before)

  def _flush(self) -> None:
    pending, self.pending = self.pending, None
    self._report(pending)

  def _report(self, call: _Pending | None) -> None:
    """Fetches a call's progress: the bar, a log row where one is due, divergence."""
    if call is None:
      return
    progress = jax.device_get(call.progress)
    if progress.bad_step >= 0:
      raise _Diverged(int(progress.bad_step), float(progress.bad_loss))
    loss = float(progress.loss / progress.examples)
    accuracy = float(progress.correct / progress.examples)
    self.bar.set_postfix(
      loss=f"{loss:.3f}", accuracy=f"{accuracy:.3f}", images_per_s=self._speed(call.at_step)
    )
    self.bar.update(call.at_step - self.bar.n)
    train = self.config.train
    if call.at_step % train.log_every == 0 or call.at_step == train.num_steps:
      self._log({"step": call.at_step, "split": "batches", "loss": loss, "accuracy": accuracy})

  def _speed(self, at_step: int) -> str:
    """Returns training images/s since the first report, which waited for compilation."""
    now = time.perf_counter() - self.paused
    if self.mark is None:
      self.mark = (at_step, now)
      return "-"
    first, start = self.mark
    return f"{(at_step - first) * self.config.train.batch_size / (now - start):.0f}"

  def _evaluate(self) -> None:
    """Evaluates every split at the current step and logs a row each."""
    started = time.perf_counter()
    self.bar.set_description("evaluating")
    for name, split in self.splits.items():
      sums = self.evaluate(self.state.variables, *split)
      values = metrics.denoising(sums) if name == "train" else metrics.classification(sums)
      values |= metrics.imitation(sums)
      if not math.isfinite(sums["nll"]):
        raise _Diverged(self.step, float(sums["nll"]))
      self._log({"step": self.step, "split": name, **values})
    self.bar.set_description("")
    self.paused += time.perf_counter() - started

  def _log(self, row: dict[str, Any]) -> None:
    self.rows.append(row)
    self.metrics_file.write(json.dumps(row, allow_nan=False) + "\n")
    self.metrics_file.flush()
    for key, value in row.items():
      if isinstance(value, float):
        self.events.add_scalar(f"{row['split']}/{key}", value, row["step"])

  def _open_logs(self) -> None:
    """Opens metrics.jsonl and the event file; rows past the restored step are dropped."""
    from tensorboardX import SummaryWriter

    path = self.workdir / "metrics.jsonl"
    if path.exists():
      self.rows = [row for row in read_rows(path) if row["step"] <= self.step]
    with files.replacing(path) as f:
      f.writelines((json.dumps(row) + "\n").encode() for row in self.rows)
    self.metrics_file = path.open("a")
    self.events = SummaryWriter(str(self.workdir), purge_step=self.step + 1)
    self.bar = tqdm(total=self.config.train.num_steps, initial=self.step, unit="step", leave=False)

  def _result(self, **status: Any) -> dict[str, Any]:
    """Returns the content of result.json, from the logged rows alone."""
    evaluations: dict[int, dict[str, Any]] = {}
    for row in self.rows:
      if row["split"] != "batches":
        values = {k: v for k, v in row.items() if k not in ("step", "split")}
        evaluations.setdefault(row["step"], {"step": row["step"]})[row["split"]] = values
    history = list(evaluations.values())
    validated = [row for row in history if "validation" in row]
    labels, noise, config = self.experiment.noise, self.experiment.noise_config, self.config
    return {
      **status,
      "config_hash": config_lib.config_hash(config),
      "final": history[-1] if status["status"] == "finished" else None,
      # The first of the best: max keeps the earliest among equals.
      "best": max(validated, key=lambda r: r["validation"]["accuracy"]) if validated else None,
      "noise": {
        "kind": noise.kind,
        "asked_rate": noise.rate,
        "includes_own_class": noise.includes_own_class,
        "realised_rate": labels.realised_rate,
        "sha256": labels.sha256(),
      },
      "num_train": len(self.experiment.splits["train"].labels),
      "num_test": len(self.experiment.splits["test"].labels),
      **experiment.teachers_entry(self.experiment.teachers),
    }


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """Returns the rows of a metrics.jsonl; a last line cut off by a kill is left out."""
  rows = []
  for line in pathlib.Path(path).read_text().splitlines():
    with contextlib.suppress(json.JSONDecodeError):
      rows.append(json.loads(line))
  return rows
