"""Loading finished runs as frozen teachers."""

import os

import numpy as np

from lsjax import files, models
from lsjax.config import naming
from lsjax.runs import loading
from lsjax.training.teachers import FrozenTeacher


def load(workdir: str | os.PathLike[str]) -> FrozenTeacher:
  """Loads a teacher from the work directory of a finished run.

  Raises:
    config.ConfigError: one line, if there is no run, or the run has not finished.
    checkpoints.CheckpointError: if the checkpoint of its last step is missing or unreadable.
  """
  workdir = files.path(workdir)
  with naming("teacher.workdir", str(workdir)):
    if not (workdir / "config.json").exists():
      raise ValueError("there is no run (no config.json)")
    if not (workdir / "result.json").exists():
      raise ValueError("is not finished (no result.json); run it to its end first")
    try:
      result = files.read_json(workdir / "result.json")
      spec = models.InputSpec.from_json(files.read_json(workdir / "config.json")["inputs"])
      with (workdir / "noise.npz").open("rb") as f, np.load(f, allow_pickle=False) as labels:
        ids, sha256 = labels["ids"], str(labels["sha256"])
      status, final = result["status"], result["final"]
      step, accuracy = (final["step"], final["test"]["accuracy"]) if final else (0, 0.0)
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise ValueError(f"holds an unreadable file ({error})") from error
    if status != "finished":
      raise ValueError(f"did not finish well (status {status})")
  config, model, variables = loading.load_run(workdir, at_step=step)
  return FrozenTeacher(str(workdir), config, step, spec, ids, sha256, accuracy, model, variables)
