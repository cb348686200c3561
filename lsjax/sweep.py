"""Trains every cell of a sweep and writes its report.

    python -m lsjax.sweep --config=configs/sweeps/paper_digits.py

Runs that share shapes train as one compiled program, packed on each device and spread over
all of them. Each is an ordinary work directory, <config hash> in --workdir (by default
runs/<sweep config>): finished ones are skipped, and the same command resumes after a kill.
On a CPU each core is a device.

Job arrays: --shard=i/n takes the i-th of n parts, counted from 0. With --shard=n the index
comes from SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX; in a SLURM array no flag is needed.
Shards share the directory; whichever is last writes the report.

Exit status: 0 done (diverged cells are recorded, not fatal), 2 bad input, 143 stopped by
SIGTERM with everything saved.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
from absl import app, flags
from tqdm import tqdm

from lsjax import (
  cells,
  cli,
  data,
  distill,
  experiment,
  files,
  models,
  parallel,
  record,
  report,
  teacher,
  theory,
  train,
)
from lsjax import config as config_lib

FLAGS = flags.FLAGS
flags.DEFINE_string("shard", None, "Which part: i/n, or n with the index from the environment.")
flags.DEFINE_bool("dry_run", False, "Print cells, programs and an estimate of time; write nothing.")

# Seconds between looks at runs that another process is training.
_PATIENCE = 1.0


@dataclasses.dataclass(frozen=True)
class Run:
  """A run of the sweep: its config, and its directory in the pool, named by the config's hash."""

  config: config_lib.Config
  workdir: pathlib.Path

  @property
  def left(self) -> int:
    """Steps still to do."""
    if record.finished_result(self.config, self.workdir) is not None:
      return 0
    return self.config.train.num_steps - record.latest_step(self.workdir)


def runs_of(planned: Iterable[cells.Cell], pool: pathlib.Path) -> list[Run]:
  """Returns the distinct runs of all cells, in their order."""
  found: dict[str, Run] = {}
  for cell in planned:
    for config in cell.runs:
      name = config_lib.config_hash(config)
      found.setdefault(name, Run(config, pool / name))
  return list(found.values())


def teachers_of(runs: Iterable[Run]) -> list[Run]:
  """Returns the distinct runs that train the teachers of students."""
  found: dict[pathlib.Path, Run] = {}
  for run in runs:
    if run.config.teacher is not None and not run.config.teacher.workdir:
      (workdir,) = distill.teacher_workdirs(run.config, run.workdir)
      found.setdefault(workdir, Run(config_lib.teacher_run(run.config), workdir))
  return list(found.values())


class Sweep:
  """A pool of runs being trained by this process, and perhaps by others.

  Attributes:
    bar: the one progress display, in steps of all runs together.
  """

  def __init__(self, stop: list[int], bar: "tqdm[Any]"):
    self.stop, self.bar = stop, bar
    self._teachers: dict[str, teacher.Teacher] = {}
    self._dataset: tuple[Any, data.Dataset] | None = None

  def train(self, runs: Sequence[Run]) -> None:
    """Trains runs to their end; waits for those that other processes are training.

    Raises:
      config.ConfigError, train.Stopped: see `train.train_and_evaluate`.
    """
    while True:
      groups: dict[Any, list[Run]] = {}
      for run in runs:
        if record.finished_result(run.config, run.workdir) is None:
          start = record.latest_step(run.workdir)
          key = (start, train.pack_key(run.config), self._labels_of(run))
          groups.setdefault(key, []).append(run)
      if not groups:
        return
      trained = [self._train_group(group, start) for (start, *_), group in groups.items()]
      if not any(trained):
        time.sleep(_PATIENCE)

  def _train_group(self, group: Sequence[Run], start: int) -> bool:
    """Trains runs of one shape from one step, pack by pack; False if all are in other hands."""
    layout = _layout(group[0])
    any_free = False
    for i in range(0, len(group), layout.capacity):
      with contextlib.ExitStack() as claims:
        mine = []
        for run in group[i : i + layout.capacity]:
          with contextlib.suppress(record.InUseError):
            claims.enter_context(record.claim(run.workdir))
            # Another process may have trained it since it was looked at.
            if run.left == run.config.train.num_steps - start:
              mine.append(run)
        if mine:
          any_free = True
          experiments = [self._prepare(run) for run in mine]
          workdirs = [run.workdir for run in mine]
          # If steps differ after all, the next look groups the runs anew.
          with contextlib.suppress(record.StepsDifferError):
            train.train_runs(experiments, workdirs, layout, stop=self.stop, bar=self.bar)
    return any_free

  def _labels_of(self, run: Run) -> str:
    """Returns which labels the data set must bring: part of what a pack has in common."""
    return run.config.noise.labels if run.config.noise.kind == "given" else ""

  def _prepare(self, run: Run) -> experiment.Experiment:
    source = run.config.data
    key = (source.name, source.path, source.data_dir, self._labels_of(run))
    if self._dataset is None or self._dataset[0] != key:
      self._dataset = (key, experiment.load(run.config))
    teachers = [self._teacher(path) for path in distill.teacher_workdirs(run.config, run.workdir)]
    return experiment.prepare(run.config, teachers, self._dataset[1])

  def _teacher(self, workdir: str | os.PathLike[str]) -> teacher.Teacher:
    name = str(workdir)
    if name not in self._teachers:
      self._teachers[name] = teacher.load(name)
    return self._teachers[name]


def _layout(run: Run) -> parallel.Layout:
  return parallel.packed_layout(parallel.devices(0), run.config.model.name in models.CONVOLUTIONAL)


def shard_of(flag: str | None, environment: Mapping[str, str]) -> tuple[int, int]:
  """Returns (index, count) of this process's part.

  Args:
    flag: "i/n", "n" or None.
    environment: of the process, for job arrays.

  Raises:
    config.ConfigError: one line.
  """
  slurm, kubernetes = (environment.get(k) for k in ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"))
  index, count = None, None
  if flag is not None:
    if not re.fullmatch(r"(\d+/)?\d+", flag):
      raise config_lib.ConfigError(f"--shard = {flag!r}: must be i/n with 0 <= i < n, or n")
    first, _, second = flag.partition("/")
    index, count = (int(first), int(second)) if second else (None, int(first))
  elif slurm is not None and "SLURM_ARRAY_TASK_COUNT" in environment:
    count = int(environment["SLURM_ARRAY_TASK_COUNT"])
  elif slurm is not None or kubernetes is not None:
    raise config_lib.ConfigError("--shard: is missing; a job array needs --shard=<number of jobs>")
  if count is None:
    return 0, 1
  if index is None and slurm is not None:
    index = int(slurm) - int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
  elif index is None and kubernetes is not None:
    index = int(kubernetes)
  if index is None:
    raise config_lib.ConfigError(
      f"--shard = {flag!r}: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set; use i/n"
    )
  if not 0 <= index < count:
    raise config_lib.ConfigError(f"--shard: index {index} must be in [0, {count})")
  return index, count


def sweep(
  planned: Sequence[cells.Cell], pool: pathlib.Path, label: str, shard: tuple[int, int]
) -> None:
  """Trains this shard's part of all cells, then writes the report if no run is left.

  Students whose teacher diverged are left out; the report shows them as missing.
  """
  everything = runs_of(planned, pool)
  index, count = shard
  mine = everything[index::count]
  ordinary = [run for run in mine if run.config.teacher is None]
  students = [run for run in mine if run.config.teacher is not None]
  teachers = teachers_of(students)
  write_index(planned, pool, label)
  distinct = {run.workdir: run for run in [*mine, *teachers]}
  steps = sum(run.left for run in distinct.values() if _has_teacher(run))
  bar = tqdm(total=steps, unit="step", unit_scale=True, desc=pool.name, smoothing=0.1)
  with _timed(pool, shard, steps), bar, train.stop_signals() as stop:
    runner = Sweep(stop, bar)
    runner.train(ordinary)
    runner.train(teachers)
    runner.train([run for run in students if _has_teacher(run)])
  if index == 0:
    files.write_json(pool / "theory.json", theory.check())
  left = [run for run in everything if run.left and _has_teacher(run)]
  if left or not (pool / "theory.json").exists():
    print(f"{len(mine)} runs of this shard are done; {len(left)} of others are not yet")
  else:
    print(report.write(pool))


@contextlib.contextmanager
def _timed(pool: pathlib.Path, shard: tuple[int, int], steps: int) -> Iterator[None]:
  """Adds to sessions.jsonl that this process began to train and, unless killed, for how long."""

  def add(**row: Any) -> None:
    with (pool / "sessions.jsonl").open("a") as f:
      f.write(json.dumps({"date": time.strftime("%Y-%m-%d"), **row}) + "\n")

  if not steps:
    yield
    return
  start = time.perf_counter()
  add(shard=f"{shard[0]}/{shard[1]}", steps=steps)
  try:
    yield
  finally:
    add(shard=f"{shard[0]}/{shard[1]}", seconds=round(time.perf_counter() - start, 1))


def _has_teacher(run: Run) -> bool:
  """Returns whether a student's teachers have not diverged; True for an ordinary run."""
  for workdir in distill.teacher_workdirs(run.config, run.workdir):
    result = workdir / "result.json"
    if result.exists() and files.read_json(result)["status"] != "finished":
      return False
  return True


def write_index(planned: Sequence[cells.Cell], pool: pathlib.Path, label: str) -> None:
  """Writes sweep.json: what the report needs to know of the cells.

  Raises:
    record.WorkdirError: if it cannot be written.
  """
  index = {
    "name": pool.name,
    "label": label,
    "cells": [
      {
        "name": cell.name,
        "config": config_lib.to_dict(cell.runs[0]),
        "runs": [
          {"seed": seed, "workdir": config_lib.config_hash(config)}
          for seed, config in enumerate(cell.runs)
        ],
      }
      for cell in planned
    ],
  }
  try:
    files.write_json(pool / "sweep.json", index)
  except OSError as error:
    raise record.WorkdirError(f"{pool} cannot be written ({error})") from error


def dry_run(planned: Sequence[cells.Cell], pool: pathlib.Path, shard: tuple[int, int]) -> str:
  """Returns what a sweep would do: cells, programs, and time from steps timed here and now."""
  lines = []
  for cell in planned:
    runs = runs_of([cell], pool)
    done = sum(not run.left for run in runs)
    lines.append(f"{cell.name:48} {len(runs)} runs, {done} done")
  everything = runs_of(planned, pool)
  mine = everything[shard[0] :: shard[1]]
  distinct = {run.workdir: run for run in [*mine, *teachers_of(mine)]}
  programs: dict[Any, list[Run]] = {}
  for run in distinct.values():
    if run.left:
      programs.setdefault(train.pack_key(run.config), []).append(run)
  lines.append(
    f"{len(planned)} cells, {len(everything)} distinct runs; in shard {shard[0]}/{shard[1]} with "
    f"the teachers it needs {len(distinct)}, of which {sum(map(len, programs.values()))} are left"
  )
  total = 0.0
  for runs in programs.values():
    first = runs[0].config
    layout = _layout(runs[0])
    ordinary = dataclasses.replace(first, teacher=None, student=None)
    seconds = train.time_run(experiment.prepare(ordinary), layout)
    left = sum(run.left for run in runs) / first.train.num_steps
    work = -(-len(runs) // layout.capacity) * left / len(runs) * seconds.pack
    work += len(runs) * seconds.files
    total += seconds.compile + work
    kind = "students" if first.student else "ordinary"
    lines.append(
      f"program: {first.model.name} on {first.data.name}, {first.train.num_steps} steps, {kind}: "
      f"{len(runs)} runs, {layout.capacity} at once ({layout.packing}, {len(layout.devices)} "
      f"devices): {seconds.compile:.0f} s to compile, then about {work:.0f} s"
    )
  lines.append(
    f"estimate: {total:.0f} s on this machine, from one timed call, evaluation and set of files of "
    "each program; students were timed without a teacher, and the report is not counted"
  )
  return "\n".join(lines)


def _check_name(name: str) -> None:
  """Checks the name of an override: the config file's own fields, or base.section.field."""
  if name.startswith("base."):
    try:
      config_lib.check_field_name(name.removeprefix("base."))
    except config_lib.ConfigError as error:
      raise config_lib.ConfigError(str(error).replace("config.", "config.base.")) from None


def main(argv: Sequence[str]) -> None:
  del argv
  if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
  if "://" in (FLAGS.workdir or ""):
    why = "must be on a disk: the processes of a sweep share it by locks, which a bucket has not"
    cli.fail(cli.BAD_INPUT, f"--workdir = {FLAGS.workdir!r}: {why}")
  pool = pathlib.Path(FLAGS.workdir or f"runs/{cli.config_name()}")
  try:
    planned = cells.plan(FLAGS.config)
    shard = shard_of(FLAGS.shard, os.environ)
    with cli.jax_set_up():
      if FLAGS.dry_run:
        print(dry_run(planned, pool, shard))
      else:
        sweep(planned, pool, FLAGS.config.label, shard)
  except cli.bad_input() as error:
    cli.fail(cli.BAD_INPUT, str(error))
  except train.Stopped as stopped:
    cli.fail(128 + stopped.signum, f"{stopped}; the same command resumes the sweep")


if __name__ == "__main__":
  app.run(main, flags_parser=cli.parser(_check_name))
