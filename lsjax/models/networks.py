"""Networks in Flax Linen that take raw images and return logits, and features on request.

Every network normalises its input with the mean and standard deviation that it was built with, so
that a checkpoint and raw images are enough to use it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lsjax import config as config_lib
from lsjax.models import batch_norm, cpu_conv, gpu_conv

Stage = tuple[int, int, int]
Layer = Callable[[jax.Array], jax.Array]

# (blocks, filters, stride) of each stage, from the paper (section 5 and appendix).
RESNET_STAGES: dict[str, tuple[Stage, ...]] = {
  "resnet32": ((5, 16, 1), (5, 32, 2), (5, 64, 2)),
  "resnet56": ((9, 16, 1), (9, 32, 2), (9, 64, 2)),
}
# (blocks, inner filters, stride) of each stage of ResNet-50 (He et al., 2016, table 1).
RESNET_50_STAGES: tuple[Stage, ...] = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
CONVOLUTIONAL = ("small_cnn", *RESNET_STAGES, "resnet_v2_50")

# The fastest convolution of a backend; other backends take JAX's own.
_CONVOLUTIONS = {
  "cpu": cpu_conv.conv_general_dilated,
  "gpu": gpu_conv.conv_general_dilated,
}

# The convolutions of runs that are packed in other ways than the backend's fastest. Under vmap over
# runs, JAX's own becomes a grouped convolution, and a product over patches a batched product.
PACKED_CONVOLUTIONS: dict[str, Callable[..., Any]] = {
  "grouped": jax.lax.conv_general_dilated,
  "im2col": cpu_conv.im2col_conv_general_dilated,
}

# Output i of a 3 x 3 convolution of stride 2 is then centred on input 2 i, as in the papers and as
# the shortcut beside it. "SAME" pads an even size at its end alone: the centre is then 2 i + 1.
_CENTRED = ((1, 1), (1, 1))

_he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


@dataclasses.dataclass(frozen=True)
class InputSpec:
  """The facts about a data set that a network is built from.

  Attributes:
    num_classes: number of classes L.
    mean: mean of the raw images per last axis (channel or feature), or one number for all.
    std: standard deviation of the raw images, likewise; nowhere zero.
    shape: shape of one image, (H, W, C) or (D,).
    dtype: NumPy name of the type of raw images, "uint8" or "float32".
  """

  num_classes: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  shape: tuple[int, ...]
  dtype: str

  def to_json(self) -> dict[str, Any]:
    """Returns the specification as JSON values, the "inputs" entry of config.json."""
    fields = dataclasses.asdict(self)
    return {key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> "InputSpec":
    """Builds a specification from what `to_json` returned.

    Raises:
      KeyError, TypeError, ValueError: if an entry is missing or is of another type.
    """
    return cls(
      num_classes=int(value["num_classes"]),
      mean=tuple(map(float, value["mean"])),
      std=tuple(map(float, value["std"])),
      shape=tuple(map(int, value["shape"])),
      dtype=np.dtype(value["dtype"]).name,
    )


class Network(nn.Module):
  """Normalises images, applies the layers of a subclass's `body`, and classifies the result.

  Attributes:
    num_classes: number of classes L.
    mean: mean of the raw images per last axis, or one number for all.
    std: standard deviation of the raw images, likewise.
    dtype: type of activations; parameters, BatchNorm statistics and logits are always float32, and
      on a CPU the results of convolutions are too, until the next layer rounds them.
    axis_name: mapped axis of the devices that share a batch, or None.
    sync_batch_norm: whether these devices share BatchNorm statistics; if not, each device
      normalises by its own part of the batch.
    convolution: replacement for `jax.lax.conv_general_dilated`; None stands for the fastest one
      on the current backend.
    batch_norm: `flax.linen.BatchNorm` or what replaces it.
  """

  num_classes: int
  mean: tuple[float, ...] = (0.0,)
  std: tuple[float, ...] = (1.0,)
  dtype: jax.typing.DTypeLike = jnp.float32
  axis_name: str | None = None
  sync_batch_norm: bool = True
  convolution: Callable[..., Any] | None = None
  batch_norm: Callable[..., Layer] = nn.BatchNorm

  @nn.compact
  def __call__(
    self, images: jax.Array, *, train: bool = False, features: bool = False
  ) -> jax.Array | tuple[jax.Array, jax.Array]:
    """Computes logits, and with `features=True` also the input of the last layer.

    Args:
      images: raw images [N, H, W, C] or [N, D], uint8 or float, not normalised.
      train: whether BatchNorm uses the statistics of the batch and updates the running averages
        (collection "batch_stats") instead of using these.
      features: whether to return the features too.

    Returns:
      Logits, float32 [N, L], or (logits, features) with features float32 [N, F].
    """
    x = (images.astype(jnp.float32) - jnp.array(self.mean)) / jnp.array(self.std)
    x = self.body(x.astype(self.dtype), train).astype(jnp.float32)
    logits = nn.Dense(self.num_classes, kernel_init=self.head_init(), name="head")(x)
    return (logits, x) if features else logits

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    """Computes features [N, F] of normalised images."""
    raise NotImplementedError

  def head_init(self) -> nn.initializers.Initializer:
    """Returns the initialiser of the last layer's kernel."""
    return nn.initializers.lecun_normal()

  def norm(self, train: bool) -> Layer:
    """Returns a BatchNorm layer."""
    return self.batch_norm(
      use_running_average=not train,
      momentum=0.9,
      dtype=self.dtype,
      axis_name=self.axis_name if self.sync_batch_norm else None,
    )

  def conv(
    self, filters: int, stride: int = 1, size: int = 3, *, padding: cpu_conv.Padding = "SAME"
  ) -> Layer:
    """Returns a convolution without bias, padded so that stride 1 keeps the image size."""
    return nn.Conv(
      filters,
      (size, size),
      strides=stride,
      padding=padding,
      use_bias=False,
      dtype=self.dtype,
      kernel_init=_he_normal,
      conv_general_dilated=self.convolution or _CONVOLUTIONS.get(jax.default_backend()),
    )


class Linear(Network):
  """Multinomial logistic regression on the flattened input; its kernel starts at 0."""

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    return x.reshape(len(x), -1)

  def head_init(self) -> nn.initializers.Initializer:
    return nn.initializers.zeros_init()


class MLP(Network):
  """A multi-layer perceptron with one hidden ReLU layer.

  Attributes:
    hidden: width of the hidden layer.
  """

  hidden: int = 256

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    return nn.relu(nn.Dense(self.hidden, dtype=self.dtype)(x.reshape(len(x), -1)))


class SmallCNN(Network):
  """Three 3 x 3 convolutions of 16, 32 and 64 filters, the last two of stride 2, and a mean."""

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
      x = nn.relu(self.norm(train)(self.conv(filters, stride)(x)))
    return x.mean((1, 2))


class ResNet(Network):
  """A CIFAR ResNet of basic blocks with parameter-free shortcuts.

  Attributes:
    stages: (blocks, filters, stride of the first block) of each stage.

  References:
    He et al., "Deep residual learning", 2016, section 4.2 (option A shortcuts).
  """

  stages: tuple[Stage, ...] = RESNET_STAGES["resnet32"]

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    x = nn.relu(self.norm(train)(self.conv(self.stages[0][1])(x)))
    for blocks, filters, stage_stride in self.stages:
      for block in range(blocks):
        x = self._block(x, filters, stage_stride if block == 0 else 1, train)
    return x.mean((1, 2))

  def _block(self, x: jax.Array, filters: int, stride: int, train: bool) -> jax.Array:
    y = nn.relu(self.norm(train)(self.conv(filters, stride, padding=_CENTRED)(x)))
    y = self.norm(train)(self.conv(filters)(y))
    widen = filters - x.shape[-1]
    channels = (widen // 2, widen - widen // 2)
    return nn.relu(jnp.pad(x[:, ::stride, ::stride], ((0, 0),) * 3 + (channels,)) + y)


class ResNetV2(Network):
  """An ImageNet ResNet of pre-activation bottleneck blocks with the stride in the 3 x 3 layer.

  Attributes:
    stages: (blocks, inner filters, stride of the first block) of each stage.

  References:
    He et al., "Identity mappings in deep residual networks", 2016.
  """

  stages: tuple[Stage, ...] = RESNET_50_STAGES

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    x = self.conv(64, 2, size=7)(x)
    x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
    for blocks, filters, stage_stride in self.stages:
      for block in range(blocks):
        x = self._block(x, filters, stage_stride if block == 0 else 1, train)
    return nn.relu(self.norm(train)(x)).mean((1, 2))

  def _block(self, x: jax.Array, filters: int, stride: int, train: bool) -> jax.Array:
    y = nn.relu(self.norm(train)(x))
    keeps_shape = x.shape[-1] == 4 * filters and stride == 1
    shortcut = x if keeps_shape else self.conv(4 * filters, stride, size=1)(y)
    y = self.conv(filters, size=1)(y)
    y = self.conv(filters, stride, padding=_CENTRED)(nn.relu(self.norm(train)(y)))
    return shortcut + self.conv(4 * filters, size=1)(nn.relu(self.norm(train)(y)))


NETWORKS: dict[str, Callable[..., Network]] = {
  "linear": Linear,
  "mlp": MLP,
  "small_cnn": SmallCNN,
  **{name: partial(ResNet, stages=stages) for name, stages in RESNET_STAGES.items()},
  "resnet_v2_50": ResNetV2,
}


def create(section: config_lib.Model, spec: InputSpec, *, axis_name: str | None = None) -> Network:
  """Builds the network that a model section names.

  Args:
    section: the model section of a config.
    spec: the specification of the images.
    axis_name: the mapped axis of the devices that share a batch, or None.

  Returns:
    A Linen module; `module.init(key, images)` returns its initial variables.
  """
  own = {"hidden": section.hidden} if section.name == "mlp" else {}
  return NETWORKS[section.name](
    num_classes=spec.num_classes,
    mean=spec.mean,
    std=spec.std,
    dtype=jnp.dtype(section.dtype),
    axis_name=axis_name,
    sync_batch_norm=section.sync_batch_norm,
    **own,
  )


def packed(network: nn.Module, packing: str, width: int, *, backend: str = "") -> nn.Module:
  """Returns a network with the layers that are fastest where runs are packed so.

  On a GPU `batch_norm.BatchNorm` makes four runs at once 1.07 times as fast. A single run is not
  faster with it (docs/performance.md).

  Args:
    network: a `Network`.
    packing: how a device trains several runs at once, one of `training.devices.PACKINGS`.
    width: the number of these runs.
    backend: JAX's name of the backend; by default the current one.
  """
  backend = backend or jax.default_backend()
  pays = backend == "gpu" and packing == "vmap" and width > 1
  return network.clone(
    convolution=PACKED_CONVOLUTIONS.get(packing) or _CONVOLUTIONS.get(backend),
    batch_norm=batch_norm.BatchNorm if pays else nn.BatchNorm,
  )
