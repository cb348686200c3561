"""From a sweep's config to its runs: which there are, where they live, which share a program."""

import collections
import copy
import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_collections

from lsjax import config as config_lib
from lsjax import files, methods
from lsjax.config import ConfigError, UserError
from lsjax.distillation import stages
from lsjax.runs import directory as run_directory
from lsjax.runs import reading
from lsjax.sweeps import checking

# A student starts from other parameters than the teacher of the same seed.
STUDENT_SEED_OFFSET = 1000


@dataclasses.dataclass(frozen=True)
class PlannedCell:
  """A named cell of a sweep.

  Attributes:
    name: the cell's name.
    runs: the configs of its runs, one per seed.
    candidate_of: the name of the cell for which this one is another point of a grid of
      hyper-parameters; None for a cell of its own.
  """

  name: str
  runs: tuple[config_lib.Config, ...]
  candidate_of: str | None = None


@dataclasses.dataclass(frozen=True)
class PlannedRun:
  """A run of a sweep.

  Attributes:
    config: the run's config.
    workdir: its work directory in the sweep's directory, named by the config's hash.
  """

  config: config_lib.Config
  workdir: pathlib.Path

  @property
  def has_ended(self) -> bool:
    """Whether the run has a result."""
    return run_directory.finished_result(self.config, self.workdir) is not None

  @property
  def steps_left(self) -> int:
    """The number of steps still to do."""
    return 0 if self.has_ended else self.steps_to_end

  @property
  def steps_to_end(self) -> int:
    """The number of steps from the newest checkpoint to the end, for a run without a result."""
    return self.config.train.num_steps - run_directory.latest_step(self.workdir)


def plan(sweep: ml_collections.ConfigDict) -> list[PlannedCell]:
  """Returns the checked cells of a sweep with the configs of their runs.

  Raises:
    UserError: one line that names the cell or the field of the sweep.
  """
  base, cells = checking.check(sweep)
  planned: list[PlannedCell] = []
  for entry in cells:
    try:
      runs = tuple(_run(base, entry["changes"], seed) for seed in range(entry["seeds"]))
    except ConfigError as error:
      raise UserError(f"cell {entry['name']!r}: {error}") from None
    planned.append(PlannedCell(entry["name"], runs, entry["candidate_of"]))
  counts = collections.Counter(cell.name for cell in planned)
  twice = [name for name, count in counts.items() if count > 1]
  if twice:
    raise ConfigError("cells", twice[0], "occurs twice; names must be distinct")
  _check_candidates(planned)
  for cell in planned:
    for run in cell.runs:
      if run.train.num_devices != 1:
        why = "must be 1: a sweep gives each run one device"
        raise ConfigError("base.train.num_devices", run.train.num_devices, why)
  return planned


def _check_candidates(planned: Sequence[PlannedCell]) -> None:
  """Raises `UserError` unless every candidate can be compared with the cell that it names."""
  of_their_own = {cell.name: cell for cell in planned if cell.candidate_of is None}
  for cell in planned:
    named, what = cell.candidate_of, f"cell {cell.name!r}: "
    if named is None:
      continue
    if named not in of_their_own:
      raise UserError(
        f"{what}candidate_of = {named!r}: must be the name of a cell that is no candidate itself"
      )
    if not all(run.data.holds_out for run in (*cell.runs, *of_their_own[named].runs)):
      why = "must be above 0: candidates are compared on the validation set"
      raise UserError(f"{what}{ConfigError('data.validation_examples', 0, why)}")


def _run(base: Mapping[str, Any], changes: Mapping[str, Any], seed: int) -> config_lib.Config:
  """Returns the config of a cell's run; data, init and noise share its seed."""
  seeds = {f"seed.{name}": seed for name in ("data", "init", "noise")}
  nested = copy.deepcopy(dict(base))
  if any(key.startswith(("teacher.", "student.")) for key in changes):
    ordinary = ml_collections.ConfigDict(base)
    nested = config_lib.with_teacher(ordinary, ordinary).to_dict()
    seeds |= {f"teacher.{key}": value for key, value in seeds.items()}
    seeds["seed.init"] = seed + STUDENT_SEED_OFFSET
  for key, value in {**changes, **seeds}.items():
    *sections, name = key.split(".")
    holder = nested
    for section in sections:
      holder = holder.setdefault(section, {})
    holder[name] = value
  return config_lib.from_config_dict(nested)


def runs_of(planned: Iterable[PlannedCell], directory: pathlib.Path) -> list[PlannedRun]:
  """Returns the distinct runs of all cells: the first seed of every cell, then the second one.

  A sweep that is interrupted has thus trained all cells on the same seeds, or nearly.
  """
  found: dict[str, PlannedRun] = {}
  for of_seed in itertools.zip_longest(*(cell.runs for cell in planned)):
    for config in of_seed:
      if config is not None:
        name = config_lib.config_hash(config)
        found.setdefault(name, PlannedRun(config, directory / name))
  return list(found.values())


def teachers_of(runs: Iterable[PlannedRun]) -> list[PlannedRun]:
  """Returns the distinct runs that train the teachers of students."""
  found: dict[pathlib.Path, PlannedRun] = {}
  for run in runs:
    if run.config.teacher is not None and not run.config.teacher.workdir:
      (workdir,) = stages.teacher_workdirs(run.config, run.workdir)
      found.setdefault(workdir, PlannedRun(config_lib.teacher_run(run.config), workdir))
  return list(found.values())


def has_teacher(run: PlannedRun) -> bool:
  """Returns whether a student's teachers have not diverged; True for an ordinary run."""
  for workdir in stages.teacher_workdirs(run.config, run.workdir):
    result = reading.result_json(workdir)
    if result is not None and result["status"] != "finished":
      return False
  return True


def dataset_seed(config: config_lib.Config) -> int:
  """Returns the data seed of a run whose data set depends on it; 0 for every other run."""
  return config.seed.data if config.data.is_redrawn else 0


def pack_key(config: config_lib.Config) -> tuple[Any, ...]:
  """Returns what runs must have in common to train at once: a program and the data set."""
  return (*program_key(config), dataset_seed(config))


def program_key(config: config_lib.Config) -> tuple[config_lib.Config, methods.Program]:
  """Returns what runs must have in common for one program to train them.

  It is what is compiled of the method, and the config without the fields that only change arrays:
  seeds, the fold, noise, strengths of the loss, numbers of the optimizer, and how a teacher of the
  same model was trained.
  """
  optim = config_lib.Optim(
    name=config.optim.name, boundaries=tuple(range(len(config.optim.boundaries)))
  )
  key = dataclasses.replace(
    config,
    data=dataclasses.replace(config.data, fold=0),
    noise=config_lib.Noise(),
    loss=config_lib.Loss(),
    optim=optim,
    seed=config_lib.Seeds(),
  )
  if config.teacher is not None and config.student is not None:
    teacher = config_lib.Teacher(
      workdir=config.teacher.workdir, targets=config.teacher.targets, model=config.teacher.model
    )
    student = config_lib.Student(beta=float(config.student.beta > 0))
    key = dataclasses.replace(key, teacher=teacher, student=student)
  return key, config_lib.program_of(config.loss, config.train)


def write_index(planned: Sequence[PlannedCell], directory: pathlib.Path, label: str) -> None:
  """Writes sweep.json, which tells the report the cells and where their runs are.

  Raises:
    directory.WorkdirError: if it cannot be written.
  """
  index = {
    "name": directory.name,
    "label": label,
    "cells": [
      {
        "name": cell.name,
        "candidate_of": cell.candidate_of,
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
    files.write_json(directory / "sweep.json", index)
  except OSError as error:
    raise run_directory.WorkdirError(f"{directory} cannot be written ({error})") from error
