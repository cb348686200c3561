"""The work directory of a run: everything that is written while it trains, and read back."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lsjax import checkpoint, diagnostics, experiment, files, step
from lsjax import config as config_lib


class WorkdirError(Exception):
  """A work directory that belongs to another run or cannot be used, told in one line."""


class InUseError(WorkdirError):
  """A work directory that another process is training in."""


def finished_result(
  config: config_lib.Config, workdir: str | os.PathLike[str]
) -> dict[str, Any] | None:
  """Returns the result of a finished run, None for one still to do.

  Raises:
    WorkdirError: naming the fields that differ, if another config made the directory.
  """
  workdir = pathlib.Path(workdir)
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
  if not (pathlib.Path(workdir) / "checkpoints").is_dir():
    return 0
  checkpoints = checkpoint.Checkpoints(workdir)
  try:
    return checkpoints.latest() or 0
  finally:
    checkpoints.close()


@contextlib.contextmanager
def claim(workdir: str | os.PathLike[str]) -> Iterator[None]:
  """Holds a work directory against other processes; the system lets go when this one dies.

  Raises:
    InUseError: if another process holds it.
    WorkdirError: if it cannot be made.
  """
  try:
    with files.locked(workdir) as mine:
      if not mine:
        raise InUseError(f"{workdir} is in use by another process")
      yield
  except OSError as error:
    raise WorkdirError(f"{workdir} cannot be written ({error})") from error


class Record:
  """A run in flight: config.json, noise.npz, metrics.jsonl, events, checkpoints, result.json.

  Attributes:
    experiment: the run.
    workdir: its directory.
    step: of the newest checkpoint when it was opened; 0 for none.
    result: the content of result.json once the run has ended, else None.
  """

  def __init__(self, run: experiment.Experiment, workdir: str | os.PathLike[str]):
    """Opens or begins the directory.

    Raises:
      WorkdirError: if it cannot be written, or holds other labels or another teacher.
    """
    self.experiment, self.workdir = run, pathlib.Path(workdir)
    self.result: dict[str, Any] | None = None
    try:
      self.workdir.mkdir(parents=True, exist_ok=True)
      if (self.workdir / "config.json").exists():
        self._check_teachers()
      else:
        files.write_json(self.workdir / "config.json", experiment.description(run))
      self._write_noise()
    except OSError as error:
      raise WorkdirError(f"{self.workdir} cannot be written ({error})") from error
    self.checkpoints = checkpoint.Checkpoints(self.workdir, keep=run.config.checkpoint.keep)
    self.step = self.checkpoints.latest() or 0
    self._open_logs()

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
    """Writes noise.npz, or checks that the one there holds the same labels."""
    path = self.workdir / "noise.npz"
    if not path.exists():
      self.experiment.noise.save(path)
      return
    with np.load(path, allow_pickle=False) as arrays:
      saved = str(arrays["sha256"])
    if saved != self.experiment.noise.sha256():
      raise WorkdirError(f"{path} holds other labels than this config and data give")

  def _open_logs(self) -> None:
    """Opens metrics.jsonl and the event file; rows past the checkpoint are dropped."""
    from tensorboardX import SummaryWriter

    path = self.workdir / "metrics.jsonl"
    self.rows: list[dict[str, Any]] = []
    if path.exists():
      self.rows = [row for row in files.read_rows(path) if row["step"] <= self.step]
    with files.replacing(path) as f:
      f.writelines((json.dumps(row) + "\n").encode() for row in self.rows)
    self.metrics_file = path.open("a")
    self.events = SummaryWriter(str(self.workdir), purge_step=self.step + 1)

  def log(self, row: dict[str, Any]) -> None:
    """Writes a row: step, split and values."""
    self.rows.append(row)
    self.metrics_file.write(json.dumps(row, allow_nan=False) + "\n")
    self.metrics_file.flush()
    for key, value in row.items():
      if isinstance(value, float):
        self.events.add_scalar(f"{row['split']}/{key}", value, row["step"])

  def save(self, at_step: int, state: step.TrainState) -> None:
    """Writes a checkpoint in the background; once per step."""
    self.checkpoints.save(at_step, state)

  def finish(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Ends the run well: waits for its checkpoints, writes diagnostics.npz and result.json."""
    self.checkpoints.wait()
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
        "realised_rate": run.noise.realised_rate,
        "sha256": run.noise.sha256(),
      },
      "num_train": len(run.splits["train"].labels),
      "num_test": len(run.splits["test"].labels),
      **experiment.teachers_entry(run.teachers),
    }
    files.write_json(self.workdir / "result.json", self.result)

  def close(self) -> None:
    """Closes the files; checkpoints are written by then."""
    self.metrics_file.close()
    self.events.close()
    self.checkpoints.close()
