"""The compiled programs of a training loop: steps, evaluation, prediction, initial states."""

import dataclasses
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lsjax import config as config_lib
from lsjax import methods, metrics
from lsjax.data import augmentation, sampling
from lsjax.training import optimizer, step, teachers
from lsjax.training.devices import AXIS, Layout, SharedValue

Array = jax.Array

# Each program is compiled once for all packs of the same shape. Models are frozen dataclasses,
# so equal models share a program.
_once = lru_cache(maxsize=64)


@_once
def make_train_call(
  model: nn.Module,
  data: config_lib.Data,
  layout: Layout,
  *,
  program: methods.Program,
  batch_size: int,
  num_steps: int,
  teacher_fn: teachers.TeacherFn = teachers.no_teacher,
) -> Callable[..., tuple[step.TrainState, step.Progress]]:
  """Compiles `num_steps` training steps of every run into one call.

  Args:
    model: the network, with the layout's axis_name.
    data: the data section, for augmentation.
    layout: the layout of the runs.
    program: what is compiled of the method.
    batch_size: the batch size of a run over all devices that share it; they divide it evenly.
    num_steps: the number of steps in a call.
    teacher_fn: the function that gives the teacher's logits of a batch, or None.

  Returns:
    call(images, state, examples, labels, hparams, teacher) -> (state, progress). All runs share
    `images`; `examples` holds the indices of those that a run trains on. The call uses up the
    given state, whose memory becomes the new state's.
  """
  parts = layout.parts
  train_step = step.make_train_step(model, program, layout.axis_name)

  def call(
    part: Array,
    images: Array,
    state: step.TrainState,
    examples: Array,
    labels: Array,
    hparams: step.Hparams,
    teacher: Any,
    indices: Array,
  ) -> Any:
    indices = indices.reshape(num_steps, parts, batch_size // parts)[:, part]

    def body(state: step.TrainState, batch: Array) -> tuple[step.TrainState, None]:
      with jax.named_scope("input"):  # benchmarks/step_profile.py finds its operations by it
        batch_images = augmentation.augment(
          sampling.augment_key(hparams.data_seed, state.step),
          images[examples[batch]],
          crop_padding=data.crop_padding,
          random_flip=data.flip,
          part=part,
          parts=parts,
        )
      teacher_logits = teacher_fn(teacher, batch_images, batch)
      of_batch = step.Batch(batch_images, labels[batch], teacher_logits, batch)
      return train_step(state, of_batch, hparams), None

    params, opt_state = state.params, state.opt_state
    if layout.prefers_vectors:
      params, opt_state = optimizer.flatten(params, opt_state, hparams.optim.name)
    state, _ = jax.lax.scan(
      body, dataclasses.replace(state, params=params, opt_state=opt_state), indices
    )
    params, opt_state = optimizer.unflatten(state.params, state.opt_state)
    return dataclasses.replace(state, params=params, opt_state=opt_state), state.progress

  def order(
    state: step.TrainState, examples: Array, labels: Array, hparams: step.Hparams, *_: Any
  ) -> Array:
    return sampling.batch_indices(
      hparams.data_seed,
      state.step,
      num_steps=num_steps,
      batch_size=batch_size,
      num_examples=len(labels),
    )

  # Shuffling takes a third of the time of a small network's step, and runs of one seed share it.
  shared = SharedValue(
    lambda state, examples, labels, hparams, *_: (hparams.data_seed, state.step), order
  )
  return layout.compile(call, common=1, num_args=6, donate=2, shared_value=shared)


@_once
def make_evaluate(
  model: nn.Module, layout: Layout, *, batch_size: int
) -> Callable[..., dict[str, np.ndarray]]:
  """Compiles the evaluation of a split of every run.

  Args:
    model: the network.
    layout: the layout of the runs.
    batch_size: the batch size of a run over all devices that share it; they divide it evenly,
      and the last batch is masked.

  Returns:
    evaluate(images, variables, examples, labels, true_labels, teacher_logits) -> the sums of
    `metrics.batch_sums` and, unless teacher_logits is None, `metrics.imitation_sums` over
    the whole split, in float64 on the host, with a leading axis of runs.
  """
  part_size = batch_size // layout.parts

  def batch(
    part: Array, start: Array, images: Array, variables: Any, examples: Array, *of_examples: Any
  ) -> Any:
    index, where = _batch_part(start, part, part_size, len(examples))
    labels, true, teacher_logits = jax.tree.map(lambda x: x[index], of_examples)
    logits: Any = model.apply(variables, images[examples[index]])
    sums = metrics.batch_sums(logits, labels, true, where)
    if teacher_logits is not None:
      sums |= metrics.imitation_sums(logits, teacher_logits, labels, true, where)
    return jax.lax.psum(sums, AXIS) if layout.shared else sums

  compiled = layout.compile(batch, common=2, num_args=7)

  def evaluate(
    images: Array, variables: Any, examples: Array, *of_examples: Any
  ) -> dict[str, np.ndarray]:
    starts = range(0, examples.shape[-1], batch_size)
    sums = [compiled(np.int32(s), images, variables, examples, *of_examples) for s in starts]
    fetched = [layout.fetch(s) for s in sums]
    return jax.tree.map(lambda *x: np.sum(np.array(x, np.float64), axis=0), *fetched)

  return evaluate


@_once
def make_streamed_train_call(
  model: nn.Module, layout: Layout, program: methods.Program
) -> Callable[..., tuple[step.TrainState, step.Progress]]:
  """Compiles a training step of one run on a batch that comes from the host.

  Returns:
    call((images, labels), state, hparams) -> (state, progress). The batch is this process's
    part, divided by `Layout.split`; state, hparams and progress are those of
    `make_train_call`.
  """
  train_step = step.make_train_step(model, program, layout.axis_name)

  def call(part: Array, batch: Any, state: step.TrainState, hparams: step.Hparams) -> Any:
    del part
    images, labels = batch
    state = train_step(state, step.Batch(images, labels), hparams)
    return state, state.progress

  return layout.compile(call, common=1, split=1, num_args=3, donate=2)


@_once
def make_streamed_evaluate(
  model: nn.Module, layout: Layout
) -> Callable[..., dict[str, np.ndarray]]:
  """Compiles the evaluation of a split that is streamed.

  Returns:
    evaluate(batches, variables) -> the sums of `metrics.batch_sums` over the whole split, in
    float64 on the host, with a leading axis of one run. `batches` is an iterable of (images,
    labels, true labels, where), this process's part of each batch; all processes have equally
    many batches.
  """

  def batch(part: Array, arrays: Any, variables: Any) -> Any:
    del part
    images, labels, true, where = arrays
    logits: Any = model.apply(variables, images)
    return jax.lax.psum(metrics.batch_sums(logits, labels, true, where), AXIS)

  compiled = layout.compile(batch, common=1, split=1, num_args=2)

  def evaluate(batches: Iterable[Any], variables: Any) -> dict[str, np.ndarray]:
    total: Any = None
    before: Any = None
    for arrays in batches:
      sums = compiled(layout.split(arrays), variables)
      # Fetched one batch late, so that the device works while the next batch is read.
      total, before = _added(total, layout.fetch(before) if before is not None else None), sums
    return _added(total, layout.fetch(before))

  return evaluate


def _added(total: Any, sums: Any) -> Any:
  """Returns total + sums in float64; either may be None."""
  if sums is None:
    return total
  sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
  return sums if total is None else jax.tree.map(np.add, total, sums)


@_once
def make_predict(
  apply: Callable[[Any, Array], Any], layout: Layout, *, batch_size: int
) -> Callable[[Array, Any, Array], Any]:
  """Compiles predict(images, variables, examples) -> the outputs of `apply` for each example.

  Args:
    apply: a function (variables, images [n, ...]) -> array or tree of arrays [n, ...].
    layout: the layout of the runs.
    batch_size: the batch size of a run over all devices that share it; they divide it evenly.

  Returns:
    A function whose result is on the host: [runs, N, ...].
  """
  part_size = batch_size // layout.parts

  def batch(part: Array, start: Array, images: Array, variables: Any, examples: Array) -> Any:
    index, _ = _batch_part(start, part, part_size, len(examples))
    out = apply(variables, images[examples[index]])
    if layout.shared:  # the parts of a batch in their order
      out = jax.lax.all_gather(out, AXIS, tiled=True)
    return out

  compiled = layout.compile(batch, common=2, num_args=4)

  def predict(images: Array, variables: Any, examples: Array) -> Any:
    count = examples.shape[-1]
    starts = range(0, count, batch_size)
    parts = [layout.fetch(compiled(np.int32(s), images, variables, examples)) for s in starts]
    return jax.tree.map(lambda *x: np.concatenate(x, axis=1)[:, :count], *parts)

  return predict


@_once
def make_init(
  model: nn.Module, layout: Layout, program: methods.Program, num_examples: int
) -> Callable[..., step.TrainState]:
  """Compiles init(images, optimizer, seed) -> the states before the first step.

  Args:
    model: the network.
    layout: the layout of the runs.
    program: what is compiled of the method.
    num_examples: the number of training examples of a run.
  """

  def init(part: Array, images: Array, optimizer: Any, seed: Array) -> step.TrainState:
    del part
    return step.init_state(model, images[:1], optimizer, seed, program, num_examples)

  return layout.compile(init, common=1, num_args=3)


def _batch_part(start: Array, part: Array, size: int, count: int) -> tuple[Array, Array]:
  """Returns the indices of one device's part of a batch, and which of them exist."""
  index = start + part * size + jnp.arange(size)
  return jnp.minimum(index, count - 1), index < count
