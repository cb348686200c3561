"""The state of a run's newest checkpoint, and comparisons of states."""

import jax
import numpy as np

from lsjax.runs import checkpoints as checkpoints_lib
from lsjax.training import setup, step


def final_state(workdir, config):
  run = setup.prepare(config)
  checkpoints = checkpoints_lib.Checkpoints(workdir, keep=config.checkpoint.keep)
  shapes = step.state_shapes(run.model, config, run.spec, run.sizes["train"])
  state = checkpoints.restore(checkpoints.latest(), shapes)
  checkpoints.close()
  return state


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_close(a, b, **tolerance):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)
