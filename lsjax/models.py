"""Networks in Flax Linen: raw images in, float32 logits out, penultimate features on request.

Every network normalises its input itself with the mean and standard deviation it was
built with, so that a checkpoint and raw images are enough to use it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsjax import config as config_lib
from lsjax import cpu_conv

# The paper's (blocks, filters, stride) of each stage (section 5 and appendix; secondary source).
RESNET_STAGES = {
  "resnet32": ((5, 16, 1), (5, 32, 2), (5, 64, 2)),
  "resnet56": ((9, 16, 1), (9, 32, 2), (9, 64, 2)),
}
# (blocks, inner filters, stride) of each stage of ResNet-50 (He et al., 2016, table 1).
RESNET_50_STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
CONVOLUTIONAL = ("small_cnn", *RESNET_STAGES, "resnet_v2_50")

_he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def _convolution() -> Callable[..., Any] | None:
  """Flax's convolution primitive for the current backend; None is XLA's own."""
  return cpu_conv.conv_general_dilated if jax.default_backend() == "cpu" else None


class _Network(nn.Module):
  """What all networks share: normalised input, a float32 classifier on features.

  Attributes:
    num_classes: L.
    mean: of the input, per last axis (channel or feature).
    std: likewise.
    dtype: of activations; parameters and logits stay float32.
    axis_name: of the devices whose batches share BatchNorm statistics, or None.
    sync_batch_norm: whether they do; otherwise each device normalises by its own batch.
    convolution: in place of `jax.lax.conv_general_dilated`; None is the backend's best.
  """

  num_classes: int
  mean: tuple[float, ...] = (0.0,)
  std: tuple[float, ...] = (1.0,)
  dtype: Any = jnp.float32
  axis_name: str | None = None
  sync_batch_norm: bool = True
  convolution: Callable[..., Any] | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False, features: bool = False) -> Any:
    """Returns logits, float32 [N, L]; with `features=True` (logits, penultimate [N, F]).

    Args:
      images: [N, H, W, C] or [N, D], uint8 or float, as stored (not normalised).
      train: use and update batch statistics (collection "batch_stats") instead of the
        running averages.
      features: also return the input of the last layer, in float32.
    """
    x = (images.astype(jnp.float32) - jnp.array(self.mean)) / jnp.array(self.std)
    x = self.body(x.astype(self.dtype), train).astype(jnp.float32)
    logits = nn.Dense(self.num_classes, kernel_init=self.head_init(), name="head")(x)
    return (logits, x) if features else logits

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    raise NotImplementedError

  def head_init(self) -> Any:
    return nn.initializers.lecun_normal()

  def norm(self, train: bool) -> Callable[[jax.Array], jax.Array]:
    return nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      dtype=self.dtype,
      axis_name=self.axis_name if self.sync_batch_norm else None,
    )

  def conv(self, features: int, stride: int = 1, size: int = 3) -> Callable[[jax.Array], jax.Array]:
    return nn.Conv(
      features,
      (size, size),
      strides=stride,
      use_bias=False,
      dtype=self.dtype,
      kernel_init=_he_normal,
      conv_general_dilated=self.convolution or _convolution(),
    )


class Linear(_Network):
  """Multinomial logistic regression on the flattened input, from W = 0."""

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    return x.reshape(len(x), -1)

  def head_init(self) -> Any:
    return nn.initializers.zeros_init()


class MLP(_Network):
  """One hidden ReLU layer.

  Attributes:
    hidden: its width.
  """

  hidden: int = 256

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    return nn.relu(nn.Dense(self.hidden, dtype=self.dtype)(x.reshape(len(x), -1)))


class SmallCNN(_Network):
  """Three 3x3 convolutions of 16, 32 and 64 filters (the last two strided), then a mean."""

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
      x = nn.relu(self.norm(train)(self.conv(filters, stride)(x)))
    return x.mean((1, 2))


class ResNet(_Network):
  """CIFAR ResNet of basic blocks with parameter-free shortcuts.

  Attributes:
    stages: (blocks, filters, stride) of each stage.

  References:
    He et al., "Deep residual learning", 2016, section 4.2 (option A shortcuts).
  """

  stages: tuple[tuple[int, int, int], ...] = RESNET_STAGES["resnet32"]

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    x = nn.relu(self.norm(train)(self.conv(self.stages[0][1])(x)))
    for blocks, filters, stage_stride in self.stages:
      for block in range(blocks):
        stride = stage_stride if block == 0 else 1
        y = nn.relu(self.norm(train)(self.conv(filters, stride)(x)))
        y = self.norm(train)(self.conv(filters)(y))
        widen = filters - x.shape[-1]
        shortcut = jnp.pad(
          x[:, ::stride, ::stride], ((0, 0),) * 3 + ((widen // 2, widen - widen // 2),)
        )
        x = nn.relu(shortcut + y)
    return x.mean((1, 2))


class ResNetV2(_Network):
  """ImageNet ResNet of pre-activation bottleneck blocks.

  Attributes:
    stages: (blocks, inner filters, stride of the first block) of each stage.

  References:
    He et al., "Identity mappings in deep residual networks", 2016; the stride is in the 3 x 3
    convolution.
  """

  stages: tuple[tuple[int, int, int], ...] = RESNET_50_STAGES

  def body(self, x: jax.Array, train: bool) -> jax.Array:
    x = self.conv(64, 2, size=7)(x)
    x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
    for blocks, filters, stage_stride in self.stages:
      for block in range(blocks):
        x = self._block(x, filters, stage_stride if block == 0 else 1, train)
    return nn.relu(self.norm(train)(x)).mean((1, 2))

  def _block(self, x: jax.Array, filters: int, stride: int, train: bool) -> jax.Array:
    y = nn.relu(self.norm(train)(x))
    same = x.shape[-1] == 4 * filters and stride == 1
    shortcut = x if same else self.conv(4 * filters, stride, size=1)(y)
    y = self.conv(filters, size=1)(y)
    y = self.conv(filters, stride)(nn.relu(self.norm(train)(y)))
    return shortcut + self.conv(4 * filters, size=1)(nn.relu(self.norm(train)(y)))


_NETWORKS: dict[str, Callable[..., _Network]] = {
  "linear": Linear,
  "mlp": MLP,
  "small_cnn": SmallCNN,
  **{name: partial(ResNet, stages=stages) for name, stages in RESNET_STAGES.items()},
  "resnet_v2_50": ResNetV2,
}


def create(
  config: config_lib.Model,
  *,
  num_classes: int,
  mean: tuple[float, ...],
  std: tuple[float, ...],
  axis_name: str | None = None,
) -> _Network:
  """Builds the network that a model section names.

  Args:
    config: the model section.
    num_classes: L.
    mean: of the raw input, per last axis.
    std: likewise; nowhere zero.
    axis_name: devices that share BatchNorm statistics, or None.

  Returns:
    A Linen module; `module.init(key, images)` gives its variables.
  """
  extra = {"hidden": config.hidden} if config.name == "mlp" else {}
  return _NETWORKS[config.name](
    num_classes=num_classes,
    mean=mean,
    std=std,
    dtype=jnp.dtype(config.dtype),
    axis_name=axis_name,
    sync_batch_norm=config.sync_batch_norm,
    **extra,
  )
