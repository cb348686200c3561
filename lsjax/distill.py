"""Distillation in two stages that meet in a checkpoint: a teacher's run, then a student's."""

import os
import pathlib
from typing import Any

from lsjax import config as config_lib
from lsjax import experiment, files, record, teacher, train


def teacher_workdirs(
  config: config_lib.Config, workdir: str | os.PathLike[str]
) -> list[pathlib.Path]:
  """Returns where the teachers of a run are or will be; none for an ordinary run.

  Those that are named; or else one beside the student's directory, called by the hash of its
  own config: students that differ in their own fields share it.

  Args:
    config: of the run.
    workdir: of the run.
  """
  if config.teacher is None:
    return []
  named = [files.path(path) for path in config.teacher.workdir.split(",") if path]
  beside = files.path(workdir).parent
  return named or [beside / config_lib.config_hash(config_lib.teacher_run(config))]


def teach_and_train(
  config: config_lib.Config, workdir: str | os.PathLike[str]
) -> tuple[dict[str, Any], pathlib.Path]:
  """Trains the teacher unless it is there, then the student; resumes in the stage it was in.

  Without teacher.workdir the teacher is an ordinary run, in the directory that
  `teacher_workdirs` says.

  Args:
    config: with the sections teacher and student.
    workdir: of the student.

  Returns:
    (content of result.json, its work directory) of the student, or of a teacher that
    diverged: there is no student then.

  Raises:
    config.ConfigError: for what does not fit; the student is checked, as far as it can be,
      before the teacher is trained.
    Also what `train.train_and_evaluate` raises.

  References:
    Lukasik et al., 2020, section 6: distillation from teachers trained on noisy labels.
  """
  assert config.teacher is not None
  workdir = files.path(workdir)
  finished = record.finished_result(config, workdir)
  if finished is not None:
    return finished, workdir
  workdirs = teacher_workdirs(config, workdir)
  if not config.teacher.workdir:
    experiment.prepare(config)
    print(f"teacher: {workdirs[0]}", flush=True)
    try:
      result = train.train_and_evaluate(config_lib.teacher_run(config), workdirs[0])
    except config_lib.ConfigError as error:
      raise config_lib.in_teacher(error) from error
    if result["status"] != "finished":
      return result, workdirs[0]
  teachers = tuple(teacher.load(path) for path in workdirs)
  print(f"student: {workdir}", flush=True)
  return train.train_and_evaluate(config, workdir, teachers), workdir
