"""The work directory of a run: everything that is written while it trains, and read back."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lsjax import checkpoint, diagnostics, experiment, files, parallel, step
from lsjax import config as config_lib


class WorkdirError(Exception):
  """A work directory that belongs to another run or cannot be used, told in one line."""


class InUseError(WorkdirError):
  """A work directory that another process is training in."""


class StepsDifferError(WorkdirError):
  """The runs of a pack go on from different steps, because a checkpoint could not be read."""


def finished_result(
  config: config_lib.Config, workdir: str | os.PathLike[str]
) -> dict[str, Any] | None:
  """Returns the result of a finished run, None for one still to do.

  Raises:
    WorkdirError: naming the fields that differ, if another config made the directory.
  """
  workdir = files.path(workdir)
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


def latest_step(workdir: str | os.PathLike[str]) -> int:
  """Returns the step of a run's newest checkpoint, 0 where there is none."""
  if not (files.path(workdir) / "checkpoints").is_dir():
    return 0
  checkpoints = checkpoint.Checkpoints(workdir)
  try:
    return checkpoints.latest() or 0
  finally:
    checkpoints.close()


@contextlib.contextmanager
def claim(workdir: str | os.PathLike[str]) -> Iterator[None]:
  """Holds a work directory against other processes; the system lets go when this one dies.

  In a job of several processes the first one holds it for all.

  Raises:
    InUseError: if another process holds it.
    WorkdirError: if it cannot be made.
  """
  if not parallel.is_first_process():
    yield
    return
  try:
    with files.locked(workdir) as mine:
      if not mine:
        raise InUseError(f"{workdir} is in use by another process")
      yield
  except OSError as error:
    raise WorkdirError(f"{workdir} cannot be written ({error})") from error


class Record:
  """A run in flight: config.json, noise.npz, metrics.jsonl, events, checkpoints, result.json.

  In a job of several processes the first one writes, and all take part in checkpoints.

  Attributes:
    experiment: the run.
    workdir: its directory.
    step: of the newest readable checkpoint when it was opened; 0 for none.
    state: of that checkpoint, on the host; None for none.
    result: the content of result.json once the run has ended, else None.
  """

  def __init__(self, run: experiment.Experiment, workdir: str | os.PathLike[str]):
    """Opens or begins the directory.

    Raises:
      WorkdirError: if it cannot be written, or holds other labels or another teacher.
    """
    self.experiment, self.workdir = run, files.path(workdir)
    self.result: dict[str, Any] | None = None
    self.writes = parallel.is_first_process()
    self._begin()
    parallel.barrier("begun")
    self.checkpoints = checkpoint.Checkpoints(self.workdir, keep=run.config.checkpoint.keep)
    self.step, self.state = 0, None
    if self.checkpoints.latest() is not None:
      shapes = checkpoint.state_shapes(run.model, run.config, run.inputs)
      self.step, self.state = self.checkpoints.restore_newest(shapes)
    self._open_logs()

  def _begin(self) -> None:
    """Makes the directory and what it starts with, or checks that it is this run's."""
    try:
      self.workdir.mkdir(parents=True, exist_ok=True)
      if self.writes and (self.workdir / "config.json").exists():
        self._check_teachers()
      elif self.writes:
        description = experiment.description(self.experiment)
        files.write_json(self.workdir / "config.json", description)
      if self.writes or self.experiment.reader.processes > 1:
        self._write_noise()
    except OSError as error:
      raise WorkdirError(f"{self.workdir} cannot be written ({error})") from error

  def _check_teachers(self) -> None:
    """Raises `WorkdirError` if a student would go on with another teacher than it began with."""
    there = files.read_json(self.workdir / "config.json").get("teachers", [])
    for old, new in zip(there, [t.description() for t in self.experiment.teachers], strict=True):
      for key in ("config_hash", "step", "test_accuracy"):
        if old[key] != new[key]:
          raise WorkdirError(
            f"{self.workdir} was begun with another teacher ({new['workdir']}: {key} {old[key]} "
            f"then, {new[key]} now)"
          )

  def _write_noise(self) -> None:
    """Writes noise.npz, or checks that the one there holds the same labels.

    Where every process reads its part of the data, it writes the labels of that part.
    """
    reader = self.experiment.reader
    part = f".{reader.process:05d}-of-{reader.processes:05d}" if reader.processes > 1 else ""
    path = self.workdir / f"noise{part}.npz"
    if not path.exists():
      self.experiment.noise.save(path)
      return
    with path.open("rb") as f, np.load(f, allow_pickle=False) as arrays:
      saved = str(arrays["sha256"])
    if saved != self.experiment.noise.sha256():
      raise WorkdirError(f"{path} holds other labels than this config and data give")

  def _open_logs(self) -> None:
    """Opens metrics.jsonl and the event file; rows past the checkpoint are dropped."""
    # The writer alone: SummaryWriter has a thread whose errors nobody hears.
    from tensorboardX import event_file_writer
    from tensorboardX.proto import event_pb2

    path = self.workdir / "metrics.jsonl"
    self.rows: list[dict[str, Any]] = []
    if path.exists():
      self.rows = [row for row in files.read_rows(path) if row["step"] <= self.step]
    parallel.barrier("logs read")
    if not self.writes:
      return
    self.metrics_file = files.Rows(path, self.rows)
    self.events = None
    if not files.is_local(self.workdir):
      return  # TensorBoard's files only grow, which a bucket's cannot
    self.events = event_file_writer.EventsWriter(str(self.workdir / "events"))
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._add_event(step=self.step + 1, session_log=start)  # later rows of before do not count

  def _add_event(self, **content: Any) -> None:
    from tensorboardX.proto import event_pb2

    assert self.events is not None
    self.events.write_event(event_pb2.Event(wall_time=time.time(), **content))

  def log(self, row: dict[str, Any]) -> None:
    """Writes a row: step, split and values."""
    self.rows.append(row)
    if not self.writes:
      return
    self.metrics_file.add(row)
    if self.events is None:
      return
    from tensorboardX import summary

    for key, value in row.items():
      if isinstance(value, float):
        scalar = summary.scalar(f"{row['split']}/{key}", value)
        self._add_event(step=row["step"], summary=scalar)
    self.events.flush()

  def save(self, at_step: int, state: step.TrainState) -> None:
    """Writes a checkpoint in the background; once per step."""
    self.checkpoints.save(at_step, state)

  def finish(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Ends the run well: waits for its checkpoints, writes result.json and, unless there are
    none, diagnostics.npz."""
    self.checkpoints.wait()
    if self.writes and arrays:
      diagnostics.save(self.workdir / "diagnostics.npz", arrays)
    self._end(status="finished")

  def diverge(self, at_step: int, loss: float) -> None:
    """Ends the run at a loss that is not finite."""
    self.checkpoints.wait()
    self._end(
      status="diverged",
      diverged={
        "step": at_step,
        "loss": str(loss),  # JSON has no NaN
        "last_good_checkpoint": self.checkpoints.latest(),
      },
    )

  def _end(self, **status: Any) -> None:
    """Writes result.json, from the logged rows alone."""
    evaluations: dict[int, dict[str, Any]] = {}
    for row in self.rows:
      if row["split"] != "batches":
        values = {k: v for k, v in row.items() if k not in ("step", "split")}
        evaluations.setdefault(row["step"], {"step": row["step"]})[row["split"]] = values
    history = list(evaluations.values())
    validated = [row for row in history if "validation" in row]
    run = self.experiment
    self.result = {
      **status,
      "config_hash": config_lib.config_hash(run.config),
      "final": history[-1] if status["status"] == "finished" else None,
      # The first of the best: max keeps the earliest among equals.
      "best": max(validated, key=lambda r: r["validation"]["accuracy"]) if validated else None,
      "noise": {
        "kind": run.noise_config.kind,
        "asked_rate": run.noise_config.rate,
        "includes_own_class": run.noise_config.includes_own_class,
        "realised_rate": self._realised_rate(),
        "sha256": run.noise.sha256(),
      },
      "num_train": run.sizes["train"],
      "num_test": run.sizes["test"],
      **experiment.teachers_entry(run.teachers),
    }
    if self.writes:
      files.write_json(self.workdir / "result.json", self.result)
    parallel.barrier("result written")

  def _realised_rate(self) -> float | None:
    """Returns the share of wrong labels, over the parts of all processes."""
    noise = self.experiment.noise
    if self.experiment.reader.processes == 1 or noise.changed is None:
      return noise.realised_rate
    counts = np.array([noise.changed.sum(), noise.changed.size], np.int32)
    wrong, count = parallel.sum_over_processes(counts).tolist()
    return wrong / count

  def close(self) -> None:
    """Closes the files; checkpoints are written by then."""
    for file in (self.metrics_file, self.events) if self.writes else ():
      with contextlib.suppress(OSError):  # every row is flushed, and a full disk has been told
        if file is not None:
          file.close()
    self.checkpoints.close()
