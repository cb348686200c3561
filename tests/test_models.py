"""Networks: sizes as published, the CPU's convolution against XLA's own."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lsjax import config as config_lib
from lsjax import models
from lsjax.models import batch_norm, cpu_conv, gpu_conv


def spec(classes=10, shape=(32, 32, 3), mean=(0.0,), std=(1.0,)):
  return models.InputSpec(classes, mean, std, shape, "uint8")


def build(name, shape=(32, 32, 3), **kwargs):
  section = config_lib.Model(name=name, **kwargs)
  model = models.create(section, spec(shape=shape, mean=(0.5,), std=(2.0,)))
  images = jnp.ones((2, *shape), jnp.uint8)
  return model, images, jax.jit(model.init)(jax.random.key(0), images)


def count(variables):
  return sum(p.size for p in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(("name", "published"), [("resnet32", 0.46e6), ("resnet56", 0.85e6)])
def test_resnet_sizes(name, published):
  """He et al., 2016, table 6."""
  model = models.create(config_lib.Model(name=name), spec())
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


def test_resnet_v2_50():
  section = config_lib.Model(name="resnet_v2_50", dtype="bfloat16")
  model = models.create(section, spec(1000))
  image = jax.ShapeDtypeStruct((2, 224, 224, 3), np.uint8)
  shapes = jax.eval_shape(model.init, jax.random.key(0), image)
  # The published 25.5 million: torchvision's and timm's pre-activation ResNet-50.
  assert count(shapes) == 25_549_352
  logits, features = jax.eval_shape(lambda v, x: model.apply(v, x, features=True), shapes, image)
  assert (logits.shape, logits.dtype, features.shape) == ((2, 1000), np.float32, (2, 2048))


@pytest.mark.parametrize(
  ("name", "size"), [("resnet32", 32), ("resnet32", 45), ("resnet_v2_50", 64)]
)
def test_strided_layers_are_centred_where_their_shortcut_is(name, size):
  """A kernel that passes on its centre gives what the shortcut takes: every other pixel."""
  strided = []

  def convolution(lhs, rhs, strides, padding, **options):
    if tuple(strides) == (2, 2) and rhs.shape[0] == 3:
      strided.append((lhs.shape[1:], padding))
    return lax.conv_general_dilated(lhs, rhs, strides, padding, **options)

  model = models.create(config_lib.Model(name=name), spec()).clone(convolution=convolution)
  jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, size, size, 3)))
  assert len(strided) == {"resnet_v2_50": 3}.get(name, 2)
  for (height, width, _), padding in strided:
    x = jax.random.normal(jax.random.key(0), (1, height, width, 2))
    centre = jnp.zeros((3, 3, 2, 2)).at[1, 1].set(jnp.eye(2))
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    for module in (lax, cpu_conv, gpu_conv):
      got = module.conv_general_dilated(x, centre, (2, 2), padding, **options)
      np.testing.assert_allclose(got, x[:, ::2, ::2])


def tree(name, shape):
  """Returns {path: shape} of a network's parameters and BatchNorm statistics."""
  model = models.create(config_lib.Model(name=name, hidden=12), spec(shape=shape))
  shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, *shape)))
  leaves = jax.tree_util.tree_flatten_with_path(shapes)[0]
  return {"/".join(k.key for k in path): leaf.shape for path, leaf in leaves}


def test_parameter_names_are_those_of_old_checkpoints():
  head = {"params/head/bias": (10,)}
  assert tree("linear", (4,)) == head | {"params/head/kernel": (4, 10)}
  dense = {"params/Dense_0/bias": (12,), "params/Dense_0/kernel": (4, 12)}
  assert tree("mlp", (4,)) == head | dense | {"params/head/kernel": (12, 10)}
  norms = {
    f"{kind}_{i}/{leaf}": (filters,)
    for i, filters in enumerate((16, 32, 64))
    for kind, leaves in (("params/BatchNorm", "bias scale"), ("batch_stats/BatchNorm", "mean var"))
    for leaf in leaves.split()
  }
  sizes = ((3, 16), (16, 32), (32, 64))
  kernels = {f"params/Conv_{i}/kernel": (3, 3, *size) for i, size in enumerate(sizes)}
  convolutional = head | norms | kernels | {"params/head/kernel": (64, 10)}
  assert tree("small_cnn", (8, 8, 3)) == convolutional
  deep = tree("resnet32", (32, 32, 3))
  assert {key: deep[key] for key in norms | head} == {key: (16,) for key in norms} | head
  assert deep["params/Conv_30/kernel"] == (3, 3, 64, 64)
  assert len(deep) == 31 * 5 + 2


def test_first_parameters_do_not_change():
  """Of a seed: a change would alter every result."""
  _, _, variables = build("small_cnn", shape=(8, 8, 3))
  kernel = np.asarray(variables["params"]["Conv_1"]["kernel"])
  first = [-0.01028987392783165, 0.01575661450624466, 0.037434302270412445]
  np.testing.assert_allclose(kernel[0, 0, 0, :3], first, rtol=1e-6)


def test_batch_norm_keeps_nine_tenths_of_its_averages():
  model, _, variables = build("small_cnn", shape=(8, 8, 3))
  images = jax.random.randint(jax.random.key(1), (6, 8, 8, 3), 0, 256).astype(jnp.uint8)
  update = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"])[1])
  updates = update(variables, images)
  x = (np.asarray(images, np.float32) - 0.5) / 2
  kernel = variables["params"]["Conv_0"]["kernel"]
  first = lax.conv_general_dilated(
    x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  got = updates["batch_stats"]["BatchNorm_0"]
  mean, variance = first.mean((0, 1, 2)), first.var((0, 1, 2))
  np.testing.assert_allclose(got["mean"], 0.1 * mean, rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(got["var"], 0.9 + 0.1 * variance, rtol=1e-3)


@pytest.fixture(scope="module")
def small_resnet():
  """(model, images, variables) of a ResNet that widens and halves once."""
  model = models.networks.ResNet(
    num_classes=4, mean=(0.5,), std=(2.0,), stages=((1, 16, 1), (2, 64, 2))
  )
  images = jax.random.randint(jax.random.key(1), (2, 8, 8, 3), 0, 9).astype(jnp.uint8)
  return model, images, jax.jit(model.init)(jax.random.key(0), images)


def test_kernels_begin_with_the_variance_of_he(small_resnet):
  """2 / fan_out: kernel size times the number of OUTPUT channels, which differ from the inputs."""
  params = small_resnet[2]["params"]
  for i, outputs in enumerate((16, 16, 16, 64, 64, 64, 64)):
    kernel = np.asarray(params[f"Conv_{i}"]["kernel"])
    assert kernel.shape[3] == outputs
    tolerance = 5 / np.sqrt(2 * kernel.size)  # five standard deviations of an estimate
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * outputs)), rtol=tolerance)


def by_hand(params, x, stages):
  """A CIFAR ResNet in evaluation, with fresh BatchNorm statistics, of stages (blocks, stride)."""
  kernels = iter(params[f"Conv_{i}"]["kernel"] for i in range(len(params)) if f"Conv_{i}" in params)

  def layer(x, stride=1):
    out = lax.conv_general_dilated(
      x,
      next(kernels),
      (stride, stride),
      ((1, 1), (1, 1)),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return out / np.sqrt(1 + 1e-5)

  x = jnp.maximum(layer(x), 0)
  for blocks, stage_stride in stages:
    for block in range(blocks):
      stride = stage_stride if block == 0 else 1
      y = layer(jnp.maximum(layer(x, stride), 0))
      shortcut = x[:, ::stride, ::stride]
      extra = y.shape[3] - x.shape[3]
      zeros = jnp.zeros((*shortcut.shape[:3], extra // 2))
      x = jnp.maximum(jnp.concatenate([zeros, shortcut, zeros], -1) + y, 0)
  features = x.mean((1, 2))
  return features @ params["head"]["kernel"] + params["head"]["bias"]


def test_a_small_resnet_by_hand(small_resnet):
  """Order of layers, where ReLU stands, and the place of the shortcut in pixels and channels."""
  model, images, variables = small_resnet
  x = (images.astype(jnp.float32) - 0.5) / 2
  expected = jax.jit(lambda p, x: by_hand(p, x, ((1, 1), (2, 2))))(variables["params"], x)
  got = jax.jit(model.apply)(variables, images)
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_batch_norm_by_device():
  """Each device normalises by its own part of the batch unless statistics are synchronised."""
  images = np.random.default_rng(0).integers(0, 256, (2, 2, 8, 8, 3), dtype=np.uint8)
  outputs = {}
  for sync in (True, False):
    section = config_lib.Model(name="small_cnn", sync_batch_norm=sync)
    inputs = spec(3, (8, 8, 3), mean=(0.0,) * 3, std=(9.0,) * 3)
    model, alone = models.create(section, inputs, axis_name="d"), models.create(section, inputs)
    variables = alone.init(jax.random.key(0), images[0])

    def apply(m, x, variables=variables):
      return m.apply(variables, x, train=True, mutable=["batch_stats"])[0]

    both = jax.pmap(lambda x, m=model: apply(m, x), axis_name="d")(images)
    outputs[sync] = np.asarray(both)
    expected = (
      apply(alone, images.reshape(4, 8, 8, 3)).reshape(2, 2, 3)
      if sync
      else np.stack([apply(alone, x) for x in images])
    )
    np.testing.assert_allclose(both, expected, atol=1e-4)
  assert np.abs(outputs[True] - outputs[False]).max() > 1e-3


class TestInputSpec:
  INPUTS = {  # noqa: RUF012
    "num_classes": 10, "mean": [0.25, 3.5], "std": [1.0, 2.0], "shape": [8, 8, 2],
    "dtype": "float32",
  }  # fmt: skip

  def test_json(self):
    given = models.InputSpec.from_json(self.INPUTS)
    assert given == models.InputSpec(10, (0.25, 3.5), (1.0, 2.0), (8, 8, 2), "float32")
    assert given.to_json() == json.loads(json.dumps(given.to_json())) == self.INPUTS
    assert hash(given) == hash(models.InputSpec.from_json(given.to_json()))

  @pytest.mark.parametrize(
    ("changes", "error"),
    [
      ({"num_classes": "many"}, ValueError),
      ({"mean": 3.0}, TypeError),
      ({"shape": [8, None]}, TypeError),
      ({"dtype": "unit8"}, TypeError),
    ],
  )
  def test_wrong_json(self, changes, error):
    with pytest.raises(error):
      models.InputSpec.from_json(self.INPUTS | changes)
    with pytest.raises(KeyError):
      models.InputSpec.from_json({k: v for k, v in self.INPUTS.items() if k not in changes})


@pytest.mark.parametrize(
  ("kernel", "strides", "padding"),
  [
    ((3, 3), (1, 1), "SAME"),
    ((3, 3), (2, 2), "SAME"),
    ((3, 3), (1, 1), "VALID"),
    ((1, 1), (2, 2), "SAME"),
    ((2, 3), (1, 1), ((1, 0), (0, 2))),
    ((2, 3), (1, 2), ((1, 0), (0, 2))),
    ((3, 3), (2, 2), ((1, 1), (1, 1))),
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


def test_cpu_convolution_of_bfloat16_computes_in_float32():
  keys = jax.random.split(jax.random.key(0), 3)
  x = jax.random.normal(keys[0], (3, 8, 8, 4), jnp.bfloat16)
  w = jax.random.normal(keys[1], (3, 3, 4, 5), jnp.bfloat16)
  grad = jax.random.normal(keys[2], (3, 4, 4, 5))

  def both(x, w):
    y, pull = jax.vjp(lambda x, w: cpu_conv.conv_general_dilated(x, w, (2, 2), "SAME"), x, w)
    return y, pull(grad)

  got, gradients = both(x, w)
  exact, exact_gradients = both(x.astype("float32"), w.astype("float32"))
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, exact, rtol=1e-6, atol=1e-6)
  for a, b in zip(gradients, exact_gradients, strict=True):
    assert a.dtype == jnp.bfloat16
    np.testing.assert_allclose(a.astype("float32"), b, rtol=2**-7, atol=1e-3)


def test_cpu_convolution_refuses_what_it_does_not_do():
  x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
  with pytest.raises(NotImplementedError):
    cpu_conv.conv_general_dilated(x, w, (1, 1), "SAME", rhs_dilation=(2, 2))


@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
@pytest.mark.parametrize("padding", ["SAME", ((1, 0), (0, 2))])
@pytest.mark.parametrize("shared", ["nothing", "images", "kernel"])
def test_gpu_convolution_of_several_runs_equals_stock(strides, padding, shared):
  """Values and both gradients of each run under vmap, also where all runs share an argument."""
  keys = jax.random.split(jax.random.key(0), 3)
  x = jax.random.normal(keys[0], (3, 2, 8, 7, 4))
  w = jax.random.normal(keys[1], (3, 3, 2, 4, 5))
  x, w = x[0] if shared == "images" else x, w[0] if shared == "kernel" else w
  axes = (None if shared == "images" else 0, None if shared == "kernel" else 0)
  layouts = ("NHWC", "HWIO", "NHWC")

  def of_runs(convolution):
    def one(x, w):
      f = lambda x, w: convolution(x, w, strides, padding, dimension_numbers=layouts)  # noqa: E731
      out, pull = jax.vjp(f, x, w)
      return out, pull(jax.random.normal(keys[2], out.shape))

    return jax.jit(jax.vmap(one, axes))(x, w)

  ours, stock = map(of_runs, (gpu_conv.conv_general_dilated, lax.conv_general_dilated))
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(stock), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_gpu_convolution_of_one_run_is_the_stock_one():
  x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
  text = str(jax.make_jaxpr(lambda x, w: gpu_conv.conv_general_dilated(x, w, (1, 1), "SAME"))(x, w))
  assert text.count("conv_general_dilated[") == 1
  assert "f32[1,4,4,2]" in text
  with pytest.raises(NotImplementedError):
    gpu_conv.conv_general_dilated(x, w, (1, 1), "SAME", feature_group_count=2)


def test_network_gradient_equals_stock():
  model, images, variables = build("small_cnn", shape=(8, 8, 3))
  images = jax.random.uniform(jax.random.key(1), (4, 8, 8, 3))

  def gradient(model):
    def loss(params):
      logits, _ = model.apply(
        {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
      )
      return (logits**2).sum()

    return jax.jit(jax.grad(loss))(variables["params"])

  strides = []

  def stock_convolution(lhs, rhs, window_strides, *args, **kwargs):
    strides.append(window_strides)
    return lax.conv_general_dilated(lhs, rhs, window_strides, *args, **kwargs)

  ours, stock = gradient(model), gradient(model.clone(convolution=stock_convolution))
  assert strides == [(1, 1), (2, 2), (2, 2)]  # once for each layer, by the second gradient
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(stock)):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
  ("backend", "packing", "width", "expected"),
  [
    ("gpu", "vmap", 4, batch_norm.BatchNorm),
    ("gpu", "vmap", 1, nn.BatchNorm),
    ("gpu", "sequential", 4, nn.BatchNorm),
    ("cpu", "vmap", 4, nn.BatchNorm),
  ],
)
def test_several_runs_on_a_gpu_have_their_own_batch_norm(backend, packing, width, expected):
  network = models.create(config_lib.Model(name="small_cnn"), spec())
  packed = models.packed(network, packing, width, backend=backend)
  assert packed.batch_norm is expected
  of_backend = {"gpu": gpu_conv.conv_general_dilated, "cpu": cpu_conv.conv_general_dilated}
  assert packed.convolution is of_backend[backend]
