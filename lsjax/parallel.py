"""The only file that knows devices: how compiled steps are spread over them.

State, data and hyper-parameters are replicated, without a leading device axis; each
device takes its part of every batch, and the gradients are averaged.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lsjax import augment, metrics, sampling, step
from lsjax import config as config_lib

Array = jax.Array

AXIS = "devices"

# (state, images, labels, hparams) -> (state, progress of the last log interval)
TrainCall = Callable[..., tuple[step.TrainState, step.Progress]]


def devices(num_devices: int) -> list[jax.Device]:
  """Returns the first devices of this process; 0 means all.

  Raises:
    config.ConfigError: if there are not as many.
  """
  local = jax.local_devices()
  if num_devices > len(local):
    config_lib.fail("train.num_devices", num_devices, f"there are {len(local)} local devices")
  return local[: num_devices or len(local)]


def replicate(tree: Any, on: list[jax.Device]) -> Any:
  """Puts a copy of every array on each device."""
  mesh = jax.sharding.Mesh(np.array(on), (AXIS,))
  return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def steps_per_call(model_is_convolutional: bool) -> int:
  """Returns how many steps one compiled call takes, unless the config says.

  Enough to hide the call's overhead, few enough that a stop signal is heeded within
  seconds (benchmarks/step_time.py shows what a step takes).
  """
  if jax.default_backend() == "cpu":
    return 4 if model_is_convolutional else 100
  return 200


def make_train_call(
  model: nn.Module, data: config_lib.Data, *, batch_size: int, num_steps: int, on: list[jax.Device]
) -> TrainCall:
  """Compiles `num_steps` training steps into one call.

  Args:
    model: with axis_name `AXIS`.
    data: the data section, for augmentation.
    batch_size: over all devices, which divide it evenly.
    num_steps: in a call.
    on: the devices.

  Returns:
    call(state, images, labels, hparams) -> (state, progress). The arguments are
    replicated; the state given is used up (its memory becomes the new state's).
  """
  parts = len(on)
  train_step = step.make_train_step(model, AXIS)

  def call(part: Array, state: Any, images: Array, labels: Array, hparams: step.Hparams) -> Any:
    indices = sampling.batch_indices(
      hparams.data_seed,
      state.step,
      num_steps=num_steps,
      batch_size=batch_size,
      num_examples=len(labels),
    ).reshape(num_steps, parts, batch_size // parts)[:, part]

    def body(state: step.TrainState, mine: Array) -> tuple[step.TrainState, None]:
      batch_images = augment.augment(
        sampling.augment_key(hparams.data_seed, state.step),
        images[mine],
        crop_padding=data.crop_padding,
        random_flip=data.flip,
        part=part,
        parts=parts,
      )
      return train_step(state, step.Batch(batch_images, labels[mine]), hparams), None

    state, _ = jax.lax.scan(body, state, indices)
    return state, state.progress

  compiled = jax.pmap(
    call,
    axis_name=AXIS,
    in_axes=(0, None, None, None, None),
    out_axes=None,
    donate_argnums=1,
    devices=on,
  )
  part = np.arange(parts)
  return lambda *args: compiled(part, *args)


def make_evaluate(
  model: nn.Module, *, batch_size: int, on: list[jax.Device]
) -> Callable[..., dict[str, np.ndarray]]:
  """Compiles the evaluation of a split.

  Args:
    model: the network.
    batch_size: over all devices, which divide it evenly; the last batch is masked.
    on: the devices.

  Returns:
    evaluate(state, images, labels, true_labels) -> sums of `metrics.batch_sums` over the
    whole split, in float64 on the host.
  """
  mine = batch_size // len(on)

  def batch(part: Array, start: Array, state: Any, images: Any, labels: Any, true: Any) -> Any:
    index = start + part * mine + jnp.arange(mine)
    where = index < len(labels)
    index = jnp.minimum(index, len(labels) - 1)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits: Any = model.apply(variables, images[index])
    return jax.lax.psum(metrics.batch_sums(logits, labels[index], true[index], where), AXIS)

  compiled = jax.pmap(batch, axis_name=AXIS, in_axes=(0,) + (None,) * 5, out_axes=None, devices=on)
  part = np.arange(len(on))

  def evaluate(state: Any, images: Array, labels: Array, true: Array) -> dict[str, np.ndarray]:
    starts = range(0, len(labels), batch_size)
    sums = [compiled(part, np.int32(start), state, images, labels, true) for start in starts]
    return jax.tree.map(lambda *x: np.sum(np.array(x, np.float64), axis=0), *jax.device_get(sums))

  return evaluate
