"""Networks: sizes as published, the CPU's convolution against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lsjax import config as config_lib
from lsjax import cpu_conv, models


def build(name, shape=(32, 32, 3), classes=10, **kwargs):
  model = models.create(
    config_lib.Model(name=name, **kwargs), num_classes=classes, mean=(0.5,), std=(2.0,)
  )
  images = jnp.ones((2, *shape), jnp.uint8)
  return model, images, jax.jit(model.init)(jax.random.key(0), images)


def count(variables):
  return sum(p.size for p in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(("name", "published"), [("resnet32", 0.46e6), ("resnet56", 0.85e6)])
def test_resnet_sizes(name, published):
  """He et al., 2016, table 6."""
  model = models.create(config_lib.Model(name=name), num_classes=10, mean=(0.0,), std=(1.0,))
  variables = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 32, 32, 3)))
  assert count(variables) == pytest.approx(published, rel=0.01)
  kernels = [p for p in jax.tree.leaves(variables["params"]) if p.ndim == 4]
  assert len(kernels) == {"resnet32": 31, "resnet56": 55}[name]


@pytest.mark.parametrize("name", ["linear", "mlp", "small_cnn"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_outputs(name, dtype):
  model, images, variables = build(name, dtype=dtype, hidden=12)
  logits, features = jax.jit(lambda v, x: model.apply(v, x, features=True))(variables, images)
  assert logits.shape == (2, 10)
  assert logits.dtype == features.dtype == jnp.float32
  assert features.shape == (2, {"linear": 3072, "mlp": 12, "small_cnn": 64}[name])
  assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))
  head = variables["params"]["head"]
  np.testing.assert_allclose(features @ head["kernel"] + head["bias"], logits, atol=1e-5)


def test_normalises_its_input():
  model, images, variables = build("linear", shape=(4,))
  variables["params"]["head"]["kernel"] += 1.0
  np.testing.assert_allclose(model.apply(variables, images), np.full((2, 10), 4 * 0.25), rtol=1e-6)


@pytest.mark.parametrize(
  ("kernel", "strides", "padding"),
  [
    ((3, 3), (1, 1), "SAME"),
    ((3, 3), (2, 2), "SAME"),
    ((3, 3), (1, 1), "VALID"),
    ((1, 1), (2, 2), "SAME"),
    ((2, 3), (1, 1), ((1, 0), (0, 2))),
    ((2, 3), (1, 2), ((1, 0), (0, 2))),
  ],
)
@pytest.mark.parametrize(("size", "channels"), [((8, 8), 4), ((7, 6), 4), ((8, 8), 32)])
def test_cpu_convolution_equals_stock(kernel, strides, padding, size, channels):
  """Values and both gradients, for even and odd sizes."""
  keys = jax.random.split(jax.random.key(0), 3)
  x = jax.random.normal(keys[0], (3, *size, channels))
  w = jax.random.normal(keys[1], (*kernel, channels, 5))

  @jax.jit
  def both(x, w):
    expected, pull = jax.vjp(
      lambda x, w: lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
      ),
      x,
      w,
    )
    got, our_pull = jax.vjp(
      lambda x, w: cpu_conv.conv_general_dilated(x, w, strides, padding), x, w
    )
    grad = jax.random.normal(keys[2], expected.shape)
    return (got, our_pull(grad)), (expected, pull(grad))

  patches = cpu_conv.im2col_conv_general_dilated(x, w, strides, padding)
  ours, stock = both(x, w)
  np.testing.assert_allclose(patches, stock[0], rtol=1e-4, atol=1e-4)
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(stock)):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_cpu_convolution_refuses_what_it_does_not_do():
  x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
  with pytest.raises(NotImplementedError):
    cpu_conv.conv_general_dilated(x, w, (1, 1), "SAME", rhs_dilation=(2, 2))


def test_network_gradient_equals_stock(monkeypatch):
  model, images, variables = build("small_cnn", shape=(8, 8, 3))
  images = jax.random.uniform(jax.random.key(1), (4, 8, 8, 3))

  def gradient():
    def loss(params):
      logits, _ = model.apply(
        {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
      )
      return (logits**2).sum()

    return jax.jit(jax.grad(loss))(variables["params"])

  ours = gradient()
  monkeypatch.setattr(models, "_convolution", lambda: None)
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(gradient())):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
