"""The only file that knows devices: how compiled steps are spread over them.

One program trains many runs. Everything that differs between runs is an array with a leading
axis of runs: state, labels, hyper-parameters, seeds. A `Layout` says where they go: either the
devices share every batch of one run (its gradients are averaged), or each device has runs of
its own, without any collective. Images are there once per device whatever the runs.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lsjax import augment, metrics, sampling, step
from lsjax import config as config_lib

Array = jax.Array

AXIS = "devices"

# (teacher, images as trained on [N, ...], which examples they are [N]) -> its logits [N, L]
TeacherFn = Callable[[Any, Array, Array], Array | None]

Packing = Literal["vmap", "sequential"]
# How the runs of one device are packed: each takes a function of one run's arrays and maps it
# over a leading axis. Which one is used is measured (benchmarks/packing.py).
_MAP: dict[Packing, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
  "vmap": jax.vmap,
  "sequential": lambda f: lambda *args: jax.lax.map(lambda a: f(*a), args),
}


def no_teacher(teacher: Any, images: Array, indices: Array) -> None:
  """The `TeacherFn` of an ordinary run."""
  del teacher, images, indices


def is_first_process() -> bool:
  """Whether this process writes what a job of several processes writes once."""
  return jax.process_index() == 0


def process() -> tuple[int, int]:
  """Returns (index of this process, how many there are)."""
  return jax.process_index(), jax.process_count()


def sum_over_processes(x: np.ndarray) -> np.ndarray:
  """Returns the sum of an array over all processes; all of them must ask."""
  if jax.process_count() == 1:
    return x
  return np.asarray(multihost_utils.process_allgather(x)).sum(0)


def any_process(flag: bool) -> bool:
  """Returns whether the flag is set in any process; all of them must ask."""
  if jax.process_count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.array(flag)).any())


def barrier(name: str) -> None:
  """Waits until every process of the job is here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def devices(num_devices: int) -> list[jax.Device]:
  """Returns the first devices of this process; 0 means all, of every process.

  Raises:
    config.ConfigError: if there are not as many, or for part of them in a job of several
      processes.
  """
  if jax.process_count() > 1:
    if num_devices:
      why = f"must be 0, all devices, in a job of {jax.process_count()} processes"
      config_lib.fail("train.num_devices", num_devices, why)
    return jax.devices()
  local = jax.local_devices()
  if num_devices > len(local):
    config_lib.fail("train.num_devices", num_devices, f"there are {len(local)} local devices")
  return local[: num_devices or len(local)]


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where runs go.

  In a job of several processes the devices are those of all of them and share each batch; every
  process has its own copy of what is replicated.

  Attributes:
    devices: that are used.
    shared: the devices share the batches of one run; otherwise each has runs of its own.
    width: runs per device.
    packing: of the runs of a device.
  """

  devices: tuple[jax.Device, ...]
  shared: bool = False
  width: int = 1
  packing: Packing = "sequential"

  @property
  def axis_name(self) -> str | None:
    """The axis over which a model's batches are spread."""
    return AXIS if self.shared else None

  @property
  def capacity(self) -> int:
    """How many runs train at once."""
    return self.width * (1 if self.shared else len(self.devices))

  @property
  def parts(self) -> int:
    """Into how many parts each batch is divided."""
    return len(self.devices) if self.shared else 1

  def replicate(self, tree: Any) -> Any:
    """Puts a copy of every array on each device."""
    return jax.device_put(tree, self._sharding(PartitionSpec()))

  def place(self, trees: Sequence[Any]) -> Any:
    """Stacks the arrays of `capacity` runs and puts each where its run is."""
    stacked = jax.tree.map(lambda *x: np.stack([np.asarray(v) for v in x]), *trees)
    if self.shared:
      return self.replicate(stacked)
    stacked = jax.tree.map(
      lambda x: x.reshape(len(self.devices), self.width, *x.shape[1:]), stacked
    )
    return jax.device_put(stacked, self._sharding(PartitionSpec(AXIS)))

  def fetch(self, tree: Any) -> Any:
    """Returns host arrays with one leading axis of runs: the inverse of `place`."""
    host = jax.device_get(tree)
    return host if self.shared else jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), host)

  def split(self, tree: Any) -> Any:
    """Divides this process's part of a batch over its devices: [n, ...] to [devices, ..., ...]."""
    count = len(self._local)
    return jax.tree.map(lambda x: x.reshape(count, len(x) // count, *x.shape[1:]), tree)

  @property
  def _local(self) -> list[tuple[int, jax.Device]]:
    """This process's devices with their places among all."""
    here = jax.process_index()
    return [(i, d) for i, d in enumerate(self.devices) if d.process_index == here]

  def _sharding(self, spec: PartitionSpec) -> NamedSharding:
    return NamedSharding(Mesh(np.array([d for _, d in self._local]), (AXIS,)), spec)

  def compile(
    self,
    f: Callable[..., Any],
    *,
    common: int,
    num_args: int,
    split: int = 0,
    donate: int | None = None,
  ) -> Callable[..., Any]:
    """Compiles f(part, *common arguments, *arguments of one run) for all runs at once.

    Args:
      f: of one run; part says which part of each batch is this device's.
      common: how many arguments after `part` are the same for all runs.
      num_args: of arguments after `part`.
      split: how many of the common arguments, the first of them, have a leading axis of this
        process's devices.
      donate: index, counted from `part`, of an argument whose memory is given to the result.

    Returns:
      A function of the arguments after `part`, those of runs as `place` returns them.
    """
    mapped = self._one if self.width == 1 else _MAP[self.packing]

    def on_device(part: Array, *args: Any) -> Any:
      return mapped(partial(f, part, *args[:common]))(*args[common:])

    axis = None if self.shared else 0
    compiled = jax.pmap(
      on_device,
      axis_name=AXIS,
      in_axes=(0,) * (1 + split) + (None,) * (common - split) + (axis,) * (num_args - common),
      out_axes=axis,
      donate_argnums=() if donate is None else donate,
      devices=self.devices,
    )
    places = [i if self.shared else 0 for i, _ in self._local]
    part = np.array(places)
    return lambda *args: compiled(part, *args)

  @staticmethod
  def _one(f: Callable[..., Any]) -> Callable[..., Any]:
    """Maps over a leading axis of length 1 without any loop in the program."""

    def only(*args: Any) -> Any:
      return jax.tree.map(lambda x: x[None], f(*jax.tree.map(lambda x: x[0], args)))

    return only


def packed_layout(on: Sequence[jax.Device], model_is_convolutional: bool) -> Layout:
  """Returns how a sweep packs its runs, by what was measured (benchmarks/packing.py).

  On a CPU one run after another is as fast as vmap for the small MLP and about twice as fast
  for convolutions. These get one place a device: a few more gain little, and idle places of a
  last pack would cost as much as runs. Accelerators have not been measured: there the choice
  for convolutions, one run per device, is the safe one.
  """
  width = 1 if model_is_convolutional else 8
  packing: Packing = "sequential" if jax.default_backend() == "cpu" else "vmap"
  return Layout(tuple(on), width=width, packing=packing)


def steps_per_call(model_is_convolutional: bool) -> int:
  """Returns how many steps one compiled call takes, unless the config says.

  Enough to hide the call's overhead, few enough that a stop signal is heeded within
  seconds (benchmarks/step_time.py shows what a step takes).
  """
  if jax.default_backend() == "cpu":
    return 4 if model_is_convolutional else 100
  return 200


# Compiled once for all packs of the same shape. Models are frozen dataclasses, so equal ones
# share a program.
_once = lru_cache(maxsize=64)


@_once
def make_train_call(
  model: nn.Module,
  data: config_lib.Data,
  layout: Layout,
  *,
  batch_size: int,
  num_steps: int,
  teacher_fn: TeacherFn = no_teacher,
) -> Callable[..., tuple[step.TrainState, step.Progress]]:
  """Compiles `num_steps` training steps of every run into one call.

  Args:
    model: with the layout's axis_name.
    data: the data section, for augmentation.
    layout: of the runs.
    batch_size: of a run, over all devices that share it, which divide it evenly.
    num_steps: in a call.
    teacher_fn: what the teacher says of a batch, from the call's last argument.

  Returns:
    call(images, state, examples, labels, hparams, teacher) -> (state, progress of the last
    log interval). `images` is common to the runs, of which `examples` says which ones a run
    trains on, with `labels`. The state given is used up (its memory becomes the new state's).
  """
  parts = layout.parts
  train_step = step.make_train_step(model, layout.axis_name)

  def call(
    part: Array,
    images: Array,
    state: step.TrainState,
    examples: Array,
    labels: Array,
    hparams: step.Hparams,
    teacher: Any,
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
        images[examples[mine]],
        crop_padding=data.crop_padding,
        random_flip=data.flip,
        part=part,
        parts=parts,
      )
      batch = step.Batch(batch_images, labels[mine], teacher_fn(teacher, batch_images, mine))
      return train_step(state, batch, hparams), None

    state, _ = jax.lax.scan(body, state, indices)
    return state, state.progress

  return layout.compile(call, common=1, num_args=6, donate=2)


@_once
def make_evaluate(
  model: nn.Module, layout: Layout, *, batch_size: int
) -> Callable[..., dict[str, np.ndarray]]:
  """Compiles the evaluation of a split of every run.

  Args:
    model: the network.
    layout: of the runs.
    batch_size: of a run, over all devices that share it, which divide it evenly; the last
      batch is masked.

  Returns:
    evaluate(images, variables, examples, labels, true_labels, teacher_logits) -> sums of
    `metrics.batch_sums` and, unless teacher_logits is None, `metrics.imitation_sums` over
    the whole split, in float64 on the host, with a leading axis of runs.
  """
  mine = batch_size // layout.parts

  def batch(
    part: Array, start: Array, images: Array, variables: Any, examples: Array, *of_examples: Any
  ) -> Any:
    index, where = _batch_part(start, part, mine, len(examples))
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
  model: nn.Module, layout: Layout
) -> Callable[..., tuple[step.TrainState, step.Progress]]:
  """Compiles a training step of one run on a batch that comes from the host.

  Returns:
    call((images, labels), state, hparams) -> (state, progress); the batch as `Layout.split` of
    this process's part of it, the rest as for `make_train_call`.
  """
  train_step = step.make_train_step(model, layout.axis_name)

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
    evaluate(batches, variables) -> sums of `metrics.batch_sums` over the whole split, in float64
    on the host, with a leading axis of one run. batches: an iterable of (images, labels, true
    labels, where), this process's part of each batch; every process has equally many.
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
      # One batch late, so that the device works while the next is read.
      total, before = _added(total, layout.fetch(before) if before is not None else None), sums
    return _added(total, layout.fetch(before))

  return evaluate


def _added(total: Any, sums: Any) -> Any:
  """Returns total + sums in float64; None is nothing yet."""
  if sums is None:
    return total
  sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
  return sums if total is None else jax.tree.map(np.add, total, sums)


@_once
def make_predict(
  apply: Callable[[Any, Array], Any], layout: Layout, *, batch_size: int
) -> Callable[[Array, Any, Array], Any]:
  """Compiles predict(images, variables, examples) -> what `apply` says of each example.

  Args:
    apply: (variables, images [n, ...]) -> array or tree of arrays [n, ...].
    layout: of the runs.
    batch_size: of a run, over all devices that share it, which divide it evenly.

  Returns:
    A function whose result is on the host: [runs, N, ...].
  """
  mine = batch_size // layout.parts

  def batch(part: Array, start: Array, images: Array, variables: Any, examples: Array) -> Any:
    index, _ = _batch_part(start, part, mine, len(examples))
    out = apply(variables, images[examples[index]])
    if layout.shared:  # the parts of a batch, one after another
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
def make_init(model: nn.Module, layout: Layout) -> Callable[..., step.TrainState]:
  """Compiles init(images, optimiser, seed) -> the states before the first step."""

  def init(part: Array, images: Array, optimiser: Any, seed: Array) -> step.TrainState:
    del part
    return step.init_state(model, images[:1], optimiser, seed)

  return layout.compile(init, common=1, num_args=3)


def _batch_part(start: Array, part: Array, size: int, count: int) -> tuple[Array, Array]:
  """Returns the examples of one device's part of a batch, and which of them are there."""
  index = start + part * size + jnp.arange(size)
  return jnp.minimum(index, count - 1), index < count
