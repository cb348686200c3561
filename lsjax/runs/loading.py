"""Loading a run back as a model."""

import os
from typing import Any

import flax.linen as nn

from lsjax import config as config_lib
from lsjax import files, models
from lsjax.runs import digests, reading
from lsjax.runs.checkpoints import CheckpointError, Checkpoints
from lsjax.training import step


def load_run(
  workdir: str | os.PathLike[str], *, at_step: int | None = None
) -> tuple[config_lib.Config, nn.Module, dict[str, Any]]:
  """Loads a run back from its work directory.

  Args:
    workdir: the directory given to `lsjax train`.
    at_step: the step of the checkpoint to load; the newest checkpoint when absent.

  Returns:
    (config, model, variables). `model.apply(variables, images)` gives float32 logits [N, L] for
    raw images, uint8 or float, as they were stored: the model normalises them.

  Raises:
    CheckpointError: one line, if there is no run, no such checkpoint, or it cannot be read or is
      not what was saved.
    config.ConfigError: if config.json does not hold a valid config.

  ```
  config, model, variables = load_run("runs/digits_noisy/0a1b2c3d")
  logits = model.apply(variables, images)
  ```
  """
  workdir = files.path(workdir)
  try:
    saved = reading.config_json(workdir)
    config = config_lib.from_config_dict(saved["config"])
    spec = models.InputSpec.from_json(saved["inputs"])
  except config_lib.ConfigError:
    raise
  except (reading.WorkdirError, KeyError, TypeError, ValueError) as error:
    raise CheckpointError(f"{workdir} holds no readable config.json ({error})") from error
  if not (workdir / "checkpoints").is_dir():
    raise CheckpointError(f"{workdir} has no checkpoints")
  model = models.create(config.model, spec)
  checkpoints = Checkpoints(workdir)
  try:
    at_step = checkpoints.latest() if at_step is None else at_step
    if at_step is None:
      raise CheckpointError(f"{workdir} has no finished checkpoint")
    num_examples = 0
    if config_lib.program_of(config.loss, config.train).keeps_examples:
      labels = reading.noise_npz(workdir / "noise.npz").labels
      num_examples = len(labels) - config.data.num_held_out(len(labels))
    shapes = step.state_shapes(model, config, spec, num_examples)
    state = checkpoints.restore(at_step, shapes)
    facts = checkpoints.facts(at_step) or {}
  finally:
    checkpoints.close()
  own = (saved["config_hash"], digests.json_sha256(saved["inputs"]))
  if (facts.get("config_hash", own[0]), facts.get("inputs_sha256", own[1])) != own:
    raise CheckpointError(f"{workdir / 'config.json'} is not that of checkpoint {at_step}")
  return config, model, state.variables
