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

# (state, images, labels, hparams, teacher) -> (state, progress of the last log interval)
TrainCall = Callable[..., tuple[step.TrainState, step.Progress]]

# (teacher, images as trained on [N, ...], which examples they are [N]) -> its logits [N, L]
TeacherFn = Callable[[Any, Array, Array], Array | None]


def no_teacher(teacher: Any, images: Array, indices: Array) -> None:
  """The `TeacherFn` of an ordinary run."""
  del teacher, images, indices


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
  model: nn.Module,
  data: config_lib.Data,
  *,
  batch_size: int,
  num_steps: int,
  on: list[jax.Device],
  teacher_fn: TeacherFn = no_teacher,
) -> TrainCall:
  """Compiles `num_steps` training steps into one call.

  Args:
    model: with axis_name `AXIS`.
    data: the data section, for augmentation.
    batch_size: over all devices, which divide it evenly.
    num_steps: in a call.
    on: the devices.
    teacher_fn: what the teacher says of a batch, from the call's last argument.

  Returns:
    call(state, images, labels, hparams, teacher) -> (state, progress). The arguments are
    replicated; the state given is used up (its memory becomes the new state's).
  """
  parts = len(on)
  train_step = step.make_train_step(model, AXIS)

  def call(
    part: Array, state: Any, images: Array, labels: Array, hparams: step.Hparams, teacher: Any
  ) -> Any:
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
      batch = step.Batch(batch_images, labels[mine], teacher_fn(teacher, batch_images, mine))
      return train_step(state, batch, hparams), None

    state, _ = jax.lax.scan(body, state, indices)
    return state, state.progress

  compiled = jax.pmap(
    call,
    axis_name=AXIS,
    in_axes=(0,) + (None,) * 5,
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
    evaluate(variables, images, labels, true_labels, teacher_logits) -> sums of
    `metrics.batch_sums` and, unless teacher_logits is None, `metrics.imitation_sums` over
    the whole split, in float64 on the host.
  """
  mine = batch_size // len(on)

  def batch(part: Array, start: Array, variables: Any, *split: Any) -> Any:
    index, where = _batch_part(start, part, mine, len(split[0]))
    images, labels, true, teacher_logits = jax.tree.map(lambda x: x[index], split)
    logits: Any = model.apply(variables, images)
    sums = metrics.batch_sums(logits, labels, true, where)
    if teacher_logits is not None:
      sums |= metrics.imitation_sums(logits, teacher_logits, labels, true, where)
    return jax.lax.psum(sums, AXIS)

  compiled = jax.pmap(batch, axis_name=AXIS, in_axes=(0,) + (None,) * 6, out_axes=None, devices=on)
  part = np.arange(len(on))

  def evaluate(variables: Any, images: Array, *of_examples: Any) -> dict[str, np.ndarray]:
    starts = range(0, len(images), batch_size)
    sums = [compiled(part, np.int32(start), variables, images, *of_examples) for start in starts]
    return jax.tree.map(lambda *x: np.sum(np.array(x, np.float64), axis=0), *jax.device_get(sums))

  return evaluate


def make_predict(
  apply: Callable[[Any, Array], Array], *, batch_size: int, on: list[jax.Device]
) -> Callable[[Any, Array], np.ndarray]:
  """Compiles predict(variables, images) -> logits [N, L], float32 on the host.

  Args:
    apply: (variables, images [n, ...]) -> logits [n, L].
    batch_size: over all devices, which divide it evenly.
    on: the devices.
  """
  mine = batch_size // len(on)

  def batch(part: Array, start: Array, variables: Any, images: Array) -> Array:
    index, _ = _batch_part(start, part, mine, len(images))
    return apply(variables, images[index])

  compiled = jax.pmap(batch, axis_name=AXIS, in_axes=(0, None, None, None), devices=on)
  part = np.arange(len(on))

  def predict(variables: Any, images: Array) -> np.ndarray:
    starts = range(0, len(images), batch_size)
    parts = [compiled(part, np.int32(start), variables, images) for start in starts]
    return np.concatenate([x.reshape(-1, x.shape[-1]) for x in jax.device_get(parts)])[
      : len(images)
    ]

  return predict


def _batch_part(start: Array, part: Array, size: int, count: int) -> tuple[Array, Array]:
  """Returns the examples of one device's part of a batch, and which of them are there."""
  index = start + part * size + jnp.arange(size)
  return jnp.minimum(index, count - 1), index < count
