"""The gradient of a training step for each method, by hand in float64, with matrices that differ
from their transposes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsjax import config as config_lib
from lsjax import models
from lsjax.training import matrices, step

T = np.array([[0.7, 0.3, 0.0], [0.0, 0.9, 0.1], [0.2, 0.2, 0.6]])
M = np.array([[1.0, -0.5, 0.2], [0.3, 0.8, 0.0], [-1.0, 0.4, 2.0]])
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.normal(size=(6, 4)).astype(np.float32), np.array([0, 1, 2, 1, 0, 2])
KERNEL = RNG.normal(size=(4, 3)).astype(np.float32)


def weights_of_losses(weights):
  """Gradient of sum_j weights_j l_j by the logits."""
  return lambda p, y: p * weights[y].sum(1, keepdims=True) - weights[y]


def forward(p, y):
  """Gradient of -log (p T)_y: p minus the chances of the true classes, given the noisy label."""
  joint = p * T[:, y].T
  return p - joint / joint.sum(1, keepdims=True)


def smoothing(strength):
  return (1 - strength) * np.eye(3) + strength / 3


CASES = {
  "cross_entropy": ({}, weights_of_losses(np.eye(3))),
  "label_smoothing": ({"alpha": 0.3}, weights_of_losses(smoothing(0.3))),
  "forward_correction": ({"transition": "noise"}, forward),
  "backward_correction": ({"transition": "noise"}, weights_of_losses(np.linalg.inv(T))),
  "generalized_smoothing": ({"r": -0.8}, weights_of_losses(smoothing(-0.8))),
  "smearing": ({}, weights_of_losses(M)),
}


@pytest.fixture(scope="module")
def stepped():
  """stepped(hparams) -> (gradient of the kernel, mean loss) of one compiled step."""
  spec = models.InputSpec(3, (0.0,), (1.0,), (4,), "float32")
  model = models.create(config_lib.Model(name="linear"), spec)
  train_step = jax.jit(step.make_train_step(model))

  def once(hparams):
    state = step.init_state(model, IMAGES, hparams.optim, 0)
    params = {"head": {"kernel": jnp.array(KERNEL), "bias": jnp.zeros(3)}}
    batch = step.Batch(jnp.array(IMAGES), jnp.array(LABELS, jnp.int32))
    after = train_step(state.replace(params=params), batch, hparams)
    return KERNEL - np.asarray(after.params["head"]["kernel"])

  return once


@pytest.mark.parametrize("name", CASES)
def test_gradient_of_a_step(tmp_path, stepped, name):
  changes, of_logits = CASES[name]
  if name == "smearing":
    np.save(tmp_path / "m.npy", M)
    changes = {"matrix": str(tmp_path / "m.npy")}
  loss = config_lib.Loss(name=name, cross_entropy_steps=0, **changes)
  optim = config_lib.Optim(learning_rate=1.0, momentum=0.0, weight_decay=0.0)
  arrays = matrices.method_arrays(loss, T, 3)
  hparams = step.make_hparams(config_lib.Config(loss=loss, optim=optim), arrays)
  logits = IMAGES.astype(np.float64) @ KERNEL
  p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  expected = IMAGES.T @ of_logits(p, LABELS) / len(LABELS)
  np.testing.assert_allclose(stepped(hparams), expected, atol=1e-6)
