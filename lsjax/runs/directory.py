"""The work directory of a run: opened, checked, written while the run trains."""

import contextlib
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from lsjax import config as config_lib
from lsjax import files, noise
from lsjax.runs import contents, digests, environment, integrity, outcome, reading
from lsjax.runs.checkpoints import CheckpointError, Checkpoints
from lsjax.runs.events import EventFile
from lsjax.runs.leases import Lease
from lsjax.runs.reading import WorkdirError
from lsjax.training import distributed, setup, step


class StepsDifferError(WorkdirError):
  """The runs of a pack would continue from different steps after a damaged checkpoint."""


def finished_result(
  config: config_lib.Config, workdir: str | os.PathLike[str]
) -> dict[str, Any] | None:
  """Returns the content of result.json of a run that has ended, None for a run still to do.

  Raises:
    WorkdirError: if another config made the directory, naming the fields that differ, if
      config.json or result.json is damaged, if a file that the run reads has changed since, or if
      the run is of a version that drew its data otherwise.
  """
  workdir = files.path(workdir)
  config_hash = config_lib.config_hash(config)
  if not (workdir / "config.json").exists():
    reading.result_json(workdir, config_hash)  # must not be of another config
    return None
  begun = reading.config_json(workdir)
  if begun["config_hash"] != config_hash:
    saved = config_lib.identity(begun["config"])
    asked = config_lib.identity(config_lib.to_dict(config))
    differing = [
      f"{name}: {saved.get(name)!r} there, {asked.get(name)!r} here"
      for name in {**saved, **asked}
      if saved.get(name) != asked.get(name)
    ]
    if differing:
      raise WorkdirError(f"{workdir} was made by another config ({'; '.join(differing)})")
  if config.data.name in config_lib.REDRAWN and "contents" not in begun:
    raise WorkdirError(
      f"{workdir} was made by an older lsjax, in which all seeds of {config.data.name} had "
      "the same training and test examples; choose another --workdir"
    )
  result = reading.result_json(workdir, config_hash)
  for file in (begun, result or {}):
    contents.check(workdir, config, file.get("contents", {}))
  return result


def latest_step(workdir: str | os.PathLike[str]) -> int:
  """Returns the step of a run's newest checkpoint, 0 if it has none."""
  if not (files.path(workdir) / "checkpoints").is_dir():
    return 0
  checkpoints = Checkpoints(workdir)
  try:
    return checkpoints.latest() or 0
  finally:
    checkpoints.close()


def save_labels(path: str | os.PathLike[str], noisy_labels: noise.NoisyLabels) -> None:
  """Writes noise.npz: the arrays of the labels, their SHA-256, and what else is known of them.

  The seed is -1 for given labels. The share of wrong labels and the chances by which they were
  drawn are left out where nobody knows them.
  """
  seed = -1 if noisy_labels.seed is None else noisy_labels.seed
  extra: dict[str, Any] = {"seed": np.int64(seed), "sha256": np.str_(noisy_labels.sha256())}
  if noisy_labels.realised_rate is not None:
    extra["realised_rate"] = np.float64(noisy_labels.realised_rate)
  if noisy_labels.flip_chances is not None:
    extra["flip_chances"] = noisy_labels.flip_chances
  with files.replacing(path) as f:
    np.savez_compressed(f, allow_pickle=False, **extra, **noisy_labels.arrays())


def save_diagnostics(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
  """Writes diagnostics.npz, with floats in single precision."""
  small = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}
  with files.replacing(path) as f:
    np.savez_compressed(f, allow_pickle=False, **small)


class RunDirectory:
  """The open work directory of a run in training; the `loop.Recorder` that writes its files.

  It holds config.json, noise.npz, metrics.jsonl, TensorBoard events, checkpoints/ and, at the
  end, diagnostics.npz and result.json. In a job of several processes the first process writes,
  and all processes take part in checkpoints.

  Attributes:
    run: the run.
    workdir: the directory.
    step: the step of the newest readable checkpoint when the directory was opened, or 0.
    state: the state of that checkpoint as host arrays, or None.
    result: the content of result.json once the run has ended, else None.
  """

  def __init__(self, run: setup.PreparedRun, lease: Lease):
    """Opens the directory or creates it.

    Args:
      run: the run.
      lease: the lease on the directory.

    Raises:
      WorkdirError: if it cannot be written, holds other labels, another teacher or checkpoints
        of another config, or has lost rows of metrics.jsonl.
      CheckpointError: if its checkpoints cannot be read or written.
      leases.LostError: if another process has taken the directory over. This is so too whenever
        something is about to be written that the other process would read.
    """
    self.run, self.workdir, self._lease = run, lease.directory, lease
    self.result: dict[str, Any] | None = None
    self.is_writer = distributed.is_first_process()
    with distributed.failing_together():
      lease.check()
      self._begin()
    saved = reading.config_json(self.workdir)
    self._contents = contents.digests_of(run.config)
    self._facts: dict[str, str | int] = {
      "config_hash": config_lib.config_hash(run.config),
      "inputs_sha256": digests.json_sha256(saved["inputs"]),
      **{f"{field} sha256": digest for field, digest in self._contents.items()},
    }
    self.checkpoints = Checkpoints(self.workdir, keep=run.config.checkpoint.keep)
    self.step, self.state = 0, None
    if self.checkpoints.latest() is not None:
      self._check_checkpoints()
      shapes = step.state_shapes(run.model, run.config, run.spec, run.sizes["train"])
      self.step, self.state = self.checkpoints.restore_newest(shapes)
    self._open_logs()

  @property
  def has_ended(self) -> bool:
    """Whether the run has finished or diverged."""
    return self.result is not None

  def _begin(self) -> None:
    """Creates the directory with its first files, or checks that it belongs to this run."""
    try:
      self.workdir.mkdir(parents=True, exist_ok=True)
      if self.is_writer and (self.workdir / "config.json").exists():
        self._check_teachers()
      elif self.is_writer:
        files.write_json(self.workdir / "config.json", environment.description(self.run))
      if self.is_writer or self.run.part[1] > 1:
        self._write_labels()
    except OSError as error:
      raise WorkdirError(f"{self.workdir} cannot be written ({error})") from error

  def _check_teachers(self) -> None:
    """Raises `WorkdirError` if a student would continue with another teacher."""
    saved = reading.config_json(self.workdir).get("teachers", [])
    for old, new in zip(saved, [t.description() for t in self.run.teachers], strict=True):
      for key in ("config_hash", "step", "test_accuracy"):
        if old[key] != new[key]:
          raise WorkdirError(
            f"{self.workdir} was begun with another teacher ({new['workdir']}: {key} {old[key]} "
            f"then, {new[key]} now)"
          )

  def _write_labels(self) -> None:
    """Writes noise.npz, or checks that the existing file holds the same labels.

    A process that reads only a part of the data writes the labels of that part.
    """
    index, count = self.run.part
    part = f".{index:05d}-of-{count:05d}" if count > 1 else ""
    path = self.workdir / f"noise{part}.npz"
    if not path.exists():
      save_labels(path, self.run.noisy_labels)
      return
    if reading.noise_npz(path).sha256() != self.run.noisy_labels.sha256():
      raise WorkdirError(f"{path} holds other labels than this config and data give")

  def _check_checkpoints(self) -> None:
    """Raises `WorkdirError` if a checkpoint is of another run; a damaged one says nothing."""
    num_steps = self.run.config.train.num_steps
    for at_step in self.checkpoints.steps():
      path = self.checkpoints.directory / str(at_step)
      if at_step > num_steps:
        raise WorkdirError(f"{path} is of another config: this one has {num_steps} steps")
      facts: integrity.Facts = {}
      with contextlib.suppress(CheckpointError):
        facts = self.checkpoints.facts(at_step) or {}
      for name, own in self._facts.items():
        if facts.get(name, own) != own:
          raise WorkdirError(
            f"{path} was not made by {self.workdir / 'config.json'}: {name} {facts[name]!r} there, "
            f"{own!r} here"
          )

  def _open_logs(self) -> None:
    """Opens metrics.jsonl and the event file; rows after the checkpoint are dropped."""
    path = self.workdir / "metrics.jsonl"
    self.rows: list[dict[str, Any]] = []
    with distributed.failing_together():  # nor does the first process write before all have read
      self._lease.check()
      if path.exists():
        try:
          self.rows = [row for row in files.read_rows(path) if row["step"] <= self.step]
        except (ValueError, KeyError) as error:
          raise WorkdirError(f"{path} is damaged ({error})") from error
      self._check_rows(path)
    if not self.is_writer:
      return
    self.metrics_file = files.Rows(path, self.rows)
    self.events: EventFile | None = None
    if not files.is_local(self.workdir):
      return  # TensorBoard appends to its files, which a bucket does not allow
    self.events = EventFile(self.workdir, first_step=self.step + 1)

  def _check_rows(self, path: os.PathLike[str]) -> None:
    """Raises `WorkdirError` unless the rows up to the checkpoint are those that it counted."""
    self._rows_digest = hashlib.sha256("".join(map(files.line, self.rows)).encode())
    facts = self.checkpoints.facts(self.step) if self.step else None
    if facts is None:
      return
    if facts.get("num_rows") != len(self.rows):
      raise WorkdirError(
        f"{path} holds {len(self.rows)} of the {facts.get('num_rows')} rows up to the checkpoint "
        f"of step {self.step}; put them back, or remove {self.workdir} to train anew"
      )
    if facts.get("rows_sha256") != self._rows_digest.hexdigest():
      raise WorkdirError(f"{path} is damaged: its rows are not those of step {self.step}")

  def log(self, row: dict[str, Any]) -> None:
    """Writes a row of metrics: its step, its split and values."""
    self.rows.append(row)
    line = files.line(row)
    self._rows_digest.update(line.encode())
    if not self.is_writer:
      return
    self.metrics_file.add(line)
    if self.events is not None:
      self.events.add(row)

  def save(self, at_step: int, state: step.TrainState) -> None:
    """Writes a checkpoint in the background, unless its step is saved already.

    The rows that it counts are on the disk before.
    """
    self._check_lease()
    if self.is_writer:
      self.metrics_file.sync()
    facts = self._facts | {
      "num_rows": len(self.rows),
      "rows_sha256": self._rows_digest.hexdigest(),
    }
    self.checkpoints.save(at_step, state, facts)

  def finish(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Ends the run successfully once its checkpoints are written.

    Args:
      arrays: the content of diagnostics.npz; no such file is written if it is empty.
    """
    self._settle()
    if self.is_writer and arrays:
      save_diagnostics(self.workdir / "diagnostics.npz", arrays)
    self._end(status="finished")

  def diverge(self, at_step: int, loss: float) -> None:
    """Ends the run at a loss that is not finite."""
    self._settle()
    self._end(
      status="diverged",
      diverged={
        "step": at_step,
        "loss": str(loss),  # JSON has no NaN
        "last_good_checkpoint": self.checkpoints.latest(),
      },
    )

  def _settle(self) -> None:
    """Waits for the checkpoints of a run that is about to end."""
    self._check_lease()
    self.checkpoints.wait()
    self._check_lease()

  def _check_lease(self) -> None:
    with distributed.failing_together():
      self._lease.check()

  def _end(self, **status: Any) -> None:
    """Writes result.json from the logged rows alone."""
    is_finished = status["status"] == "finished"
    found = outcome.content(self.run, self.rows, self._realised_rate(), is_finished=is_finished)
    self.result = digests.sealed({**status, **found, "contents": self._contents})
    if self.is_writer:
      files.write_json(self.workdir / "result.json", self.result)
    distributed.barrier("result written")

  def _realised_rate(self) -> float | None:
    """Returns the share of wrong labels over the parts of all processes."""
    labels = self.run.noisy_labels
    if self.run.part[1] == 1 or labels.changed is None:
      return labels.realised_rate
    counts = np.array([labels.changed.sum(), labels.changed.size], np.int32)
    wrong, count = distributed.sum_over_processes(counts).tolist()
    return wrong / count

  def close(self) -> None:
    """Waits for the checkpoints and closes the files."""
    for file in (self.metrics_file, self.events) if self.is_writer else ():
      with contextlib.suppress(OSError):  # every row is flushed; a full disk was reported then
        if file is not None:
          file.close()
    self.checkpoints.close()
