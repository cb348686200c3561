"""Distillation in two stages: a teacher is trained to its end, then a student."""

import os
import pathlib
from collections.abc import Callable
from typing import Any

from lsjax import config as config_lib
from lsjax import files
from lsjax.distillation import teachers
from lsjax.runs import directory, environment, execution
from lsjax.training import setup


def teacher_workdirs(
  config: config_lib.Config, workdir: str | os.PathLike[str]
) -> list[pathlib.Path]:
  """Returns the work directories of a run's teachers; none for an ordinary run.

  They are those that the config names. If it names none, the teacher's directory lies beside the
  student's and is named by the hash of the teacher's config, so that students share a teacher if
  they differ in their own fields alone.

  Args:
    config: the run's config.
    workdir: the run's work directory.

  Raises:
    ConfigError: if one of the names is that of no directory.
  """
  if config.teacher is None:
    return []
  with config_lib.naming("teacher.workdir", config.teacher.workdir):
    named = [files.path(path) for path in config.teacher.workdir.split(",") if path]
  beside = files.path(workdir).parent
  return named or [beside / config_lib.config_hash(config_lib.teacher_run(config))]


def teach_and_train(
  config: config_lib.Config,
  workdir: str | os.PathLike[str],
  *,
  on_call: Callable[[int], None] | None = None,
) -> tuple[dict[str, Any], pathlib.Path]:
  """Trains the teacher unless it has finished, then the student; resumes in either stage.

  Without teacher.workdir the teacher is an ordinary run in the directory that
  `teacher_workdirs` returns.

  Args:
    config: a config with the sections teacher and student.
    workdir: the work directory of the student.
    on_call: a function that is called with the number of steps done after each compiled call.

  Returns:
    The content of result.json and the work directory of the student, or of a teacher that
    diverged: no student is trained then.

  Raises:
    config.ConfigError: for a config that does not fit; the student is checked as far as
      possible before the teacher is trained. Also the errors of `execution.train_and_evaluate`.

  References:
    Lukasik et al., 2020, section 6: distillation from teachers trained on noisy labels.
  """
  assert config.teacher is not None
  workdir = files.path(workdir)
  environment.check_processes(config, workdir)
  finished = directory.finished_result(config, workdir)
  if finished is not None:
    return finished, workdir
  workdirs = teacher_workdirs(config, workdir)
  if not config.teacher.workdir:
    setup.prepare(config)
    print(f"teacher: {workdirs[0]}", flush=True)
    try:
      result = execution.train_and_evaluate(
        config_lib.teacher_run(config), workdirs[0], on_call=on_call
      )
    except config_lib.ConfigError as error:
      raise config_lib.in_teacher(error) from error
    if result["status"] != "finished":
      return result, workdirs[0]
  loaded = tuple(teachers.load(path) for path in workdirs)
  print(f"student: {workdir}", flush=True)
  return execution.train_and_evaluate(config, workdir, loaded, on_call=on_call), workdir
