"""Loading finished runs as frozen teachers."""

import os

from lsjax import files, models
from lsjax.config import naming
from lsjax.runs import loading, reading
from lsjax.training.teachers import FrozenTeacher


def load(workdir: str | os.PathLike[str]) -> FrozenTeacher:
  """Loads a teacher from the work directory of a finished run.

  Raises:
    config.ConfigError: one line, if there is no run, or the run has not finished.
    checkpoints.CheckpointError: if the checkpoint of its last step is missing or unreadable.
  """
  workdir = files.path(workdir)
  with naming("teacher.workdir", str(workdir)):
    try:
      is_run = (workdir / "config.json").exists()
    except ImportError as error:  # of the package for a kind of bucket
      raise ValueError(f"cannot be reached ({error})") from error
    if not is_run:
      raise ValueError("there is no run (no config.json)")
    try:
      saved = reading.config_json(workdir)
      result = reading.result_json(workdir, saved["config_hash"])
      if result is None:
        raise ValueError("is not finished (no result.json); run it to its end first")
      if result["status"] != "finished":
        raise ValueError(f"did not finish well (status {result['status']})")
      labels = reading.noise_npz(workdir / "noise.npz")
      spec = models.InputSpec.from_json(saved["inputs"])
    except (reading.WorkdirError, KeyError, TypeError) as error:
      raise ValueError(f"holds an unreadable file ({error})") from error
    sha256 = labels.sha256()
    if result["noise"]["sha256"] != sha256:
      raise ValueError("holds another noise.npz than its result.json names")
  step, accuracy = result["final"]["step"], result["final"]["test"]["accuracy"]
  config, model, variables = loading.load_run(workdir, at_step=step)
  return FrozenTeacher(
    str(workdir), config, step, spec, labels.ids, sha256, accuracy, model, variables
  )
