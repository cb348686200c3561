"""Distillation in two stages that meet in a checkpoint: a teacher's run, then a student's."""

import os
import pathlib
from typing import Any

from lsjax import config as config_lib
from lsjax import experiment, record, teacher, train


def teach_and_train(
  config: config_lib.Config, workdir: str | os.PathLike[str]
) -> tuple[dict[str, Any], pathlib.Path]:
  """Trains the teacher unless it is there, then the student; resumes in the stage it was in.

  Without teacher.workdir the teacher is an ordinary run in a directory beside the student's,
  named by the hash of its config: students that differ in their own fields share it.

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
  workdir = pathlib.Path(workdir)
  finished = record.finished_result(config, workdir)
  if finished is not None:
    return finished, workdir
  workdirs = teacher.workdirs(config.teacher)
  if not workdirs:
    experiment.prepare(config)
    teacher_config = config_lib.teacher_run(config)
    own = workdir.parent / config_lib.config_hash(teacher_config)
    print(f"teacher: {own}", flush=True)
    try:
      result = train.train_and_evaluate(teacher_config, own)
    except config_lib.ConfigError as error:
      raise config_lib.in_teacher(error) from error
    if result["status"] != "finished":
      return result, own
    workdirs = [str(own)]
  teachers = tuple(teacher.load(path) for path in workdirs)
  print(f"student: {workdir}", flush=True)
  return train.train_and_evaluate(config, workdir, teachers), workdir
