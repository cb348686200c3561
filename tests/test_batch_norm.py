"""BatchNorm for GPUs against Flax's and float64, on the CPU."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from lsjax import config as config_lib
from lsjax import models
from lsjax.models import batch_norm

KINDS = (batch_norm.BatchNorm, nn.BatchNorm)
SHAPE = (8, 5, 3, 4)


def make(kind, *, train=True, dtype=jnp.float32, axis_name=None):
  return kind(use_running_average=not train, momentum=0.9, dtype=dtype, axis_name=axis_name)


def arrays(seed=0, shape=SHAPE):
  """Returns an input, its cotangent, and variables away from their first values."""
  rng = np.random.default_rng(seed)
  x, grad = rng.normal(3, 2, shape), rng.normal(size=shape)
  channels = shape[-1:]
  variables = {
    "params": {"scale": rng.normal(1, 0.5, channels), "bias": rng.normal(size=channels)},
    "batch_stats": {"mean": rng.normal(size=channels), "var": rng.uniform(1, 2, channels)},
  }
  return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (x, grad, variables))


def step(layer, x, grad, variables):
  """Returns the output, the new averages, and the gradients of the input and the parameters."""

  def of(x, params):
    return layer.apply({**variables, "params": params}, x, mutable=["batch_stats"])

  y, pullback, updates = jax.vjp(of, x, variables["params"], has_aux=True)
  return y, updates["batch_stats"], pullback(grad.astype(y.dtype))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("bfloat16", 2e-2)])
def test_equals_that_of_flax(dtype, tolerance):
  x, grad, variables = arrays()
  x = x.astype(dtype)
  ours, theirs = (
    jax.jit(step, static_argnums=0)(make(k, dtype=dtype), x, grad, variables) for k in KINDS
  )
  assert jax.tree.map(lambda a: a.dtype, ours) == jax.tree.map(lambda a: a.dtype, theirs)
  for got, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    got, expected = (np.asarray(a, np.float32) for a in (got, expected))
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def test_equals_float64():
  x, grad, variables = arrays()
  x64, grad64 = (np.asarray(a, np.float64) for a in (x, grad))
  scale, bias = (np.asarray(variables["params"][k], np.float64) for k in ("scale", "bias"))
  mean, variance = x64.mean((0, 1, 2)), x64.var((0, 1, 2))
  inverse = 1 / np.sqrt(variance + 1e-5)
  normal = (x64 - mean) * inverse
  mean_grad, mean_product = grad64.mean((0, 1, 2)), (grad64 * normal).mean((0, 1, 2))
  of_x = scale * inverse * (grad64 - mean_grad - normal * mean_product)
  count = x.size // x.shape[-1]
  y, averages, (got_x, got) = step(make(batch_norm.BatchNorm), x, grad, variables)
  old = variables["batch_stats"]
  for found, expected in (
    (y, normal * scale + bias),
    (averages["mean"], 0.9 * old["mean"] + 0.1 * mean),
    (averages["var"], 0.9 * old["var"] + 0.1 * variance),
    (got["scale"], count * mean_product),
    (got["bias"], count * mean_grad),
    (got_x, of_x),
  ):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_channel_without_variance_stays_finite():
  x, grad, variables = arrays()
  y, averages, grads = step(make(batch_norm.BatchNorm), x.at[..., 0].set(0.5), grad, variables)
  np.testing.assert_allclose(y[..., 0], variables["params"]["bias"][0], atol=1e-6)
  assert all(np.isfinite(a).all() for a in jax.tree.leaves((averages, grads)))


def test_several_runs_are_normalised_apart():
  of_runs = [arrays(seed) for seed in range(3)]
  stacked = jax.tree.map(lambda *a: jnp.stack(a), *of_runs)
  layer = make(batch_norm.BatchNorm)
  together = jax.jit(jax.vmap(lambda *a: step(layer, *a)))(*stacked)
  for i, run in enumerate(of_runs):
    of_run = jax.tree.map(lambda a, i=i: a[i], together)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), of_run, step(layer, *run)
    )


def test_devices_share_statistics():
  x, grad, variables = arrays()
  mesh = Mesh(np.array(jax.devices()[:4]), ("devices",))
  replicated, split = PartitionSpec(), PartitionSpec("devices")

  def run(kind):
    layer = make(kind, axis_name="devices")

    def on_device(x, grad, variables):
      y, averages, (of_x, of_params) = step(layer, x, grad, variables)
      return y, averages, of_x, jax.lax.psum(of_params, "devices")

    out = (split, replicated, split, replicated)
    mapped = jax.shard_map(
      on_device, mesh=mesh, in_specs=(split, split, replicated), out_specs=out, check_vma=False
    )
    return jax.jit(mapped)(x, grad, variables)

  y, averages, of_x, of_params = run(batch_norm.BatchNorm)
  alone = step(make(batch_norm.BatchNorm), x, grad, variables)
  for others in (alone[:2] + alone[2], run(nn.BatchNorm)):
    for got, expected in zip(
      jax.tree.leaves((y, averages, of_x, of_params)), jax.tree.leaves(others), strict=True
    ):
      np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_averages_are_used_in_evaluation():
  x, _, variables = arrays()
  ours, theirs = (make(kind, train=False).apply(variables, x) for kind in KINDS)
  np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_networks_with_either_have_the_same_variables():
  section = config_lib.Model(name="small_cnn")
  inputs = models.InputSpec(10, (0.5,), (2.0,), (8, 8, 3), "uint8")
  images = jax.random.randint(jax.random.key(0), (4, 8, 8, 3), 0, 255, jnp.uint8)
  networks = [models.create(section, inputs).clone(batch_norm=kind) for kind in KINDS]
  ours, theirs = (network.init(jax.random.key(1), images) for network in networks)
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)
  logits = [
    network.apply(ours, images, train=True, mutable=["batch_stats"])[0] for network in networks
  ]
  np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-4)
