"""The only file that knows devices: how compiled functions are spread over them.

One program trains many runs. Everything that differs between runs is an array with a leading
axis of runs: state, labels, hyper-parameters, seeds. A `Layout` says where the runs are: either
the devices share every batch of one run and average its gradients, or each device has its own
runs and there is no communication. Each device holds one copy of the images for all of its runs.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Array = jax.Array

AXIS = "devices"

Packing = Literal["sequential", "vmap", "grouped", "im2col"]
# How a device processes its runs: each entry takes a function of one run's arrays and maps it
# over a leading axis. The last two are vmap with other convolutions (`models.PACKED_CONVOLUTIONS`).
# benchmarks/packing.py measures which one is fastest.
_MAP: dict[Packing, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
  "sequential": lambda f: lambda *args: jax.lax.map(lambda a: f(*a), args),
  "vmap": jax.vmap,
  "grouped": jax.vmap,
  "im2col": jax.vmap,
}
PACKINGS = tuple(_MAP)


@dataclasses.dataclass(frozen=True)
class SharedValue:
  """A value that runs have in common if some of their arrays are equal.

  A device computes it once for neighbours that share it.

  Attributes:
    key: a function of the arguments of a run that returns the arrays that the value depends on.
    value: a function of the arguments of a run that computes the value.
  """

  key: Callable[..., tuple[Array, ...]]
  value: Callable[..., Any]

  def of_all(self, args: Any) -> Any:
    """Returns the value of each run, with a leading axis of runs, as `args` have."""
    return self.in_turn(lambda *given: given[-1], args)

  def in_turn(self, f: Callable[..., Any], args: Any) -> Any:
    """Returns f(*arguments, value) of each run, like `jax.lax.map` over a leading axis of runs."""

    def of_run(kept: Any, given: Any) -> Any:
      position, own = given
      key = self.key(*own)
      is_kept = (position > 0) & jnp.array([jnp.array_equal(*x) for x in zip(key, kept[0])]).all()
      value = jax.lax.cond(is_kept, lambda: kept[1], lambda: self.value(*own))
      return (key, value), f(*own, value)

    first = jax.tree.map(lambda x: x[0], args)
    shape = jax.eval_shape(self.value, *first)
    nothing = self.key(*first), jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape)
    positions = jnp.arange(len(jax.tree.leaves(args)[0]))
    return jax.lax.scan(of_run, nothing, (positions, args))[1]


def choose(num_devices: int) -> list[jax.Device]:
  """Returns the first `num_devices` devices; 0 means all devices of all processes.

  Raises:
    ValueError: if there are fewer, or for a part of them in a job of several processes.
  """
  if jax.process_count() > 1:
    if num_devices:
      raise ValueError(f"must be 0, all devices, in a job of {jax.process_count()} processes")
    return jax.devices()
  local = jax.local_devices()
  if num_devices > len(local):
    raise ValueError(f"there are {len(local)} local devices")
  return local[: num_devices or len(local)]


@dataclasses.dataclass(frozen=True)
class Layout:
  """The places of runs on devices.

  In a job of several processes the devices of all processes share each batch, and every process
  has its own copy of replicated arrays.

  Attributes:
    devices: the devices in use.
    shared: whether the devices share the batches of one run; otherwise each has its own runs.
    width: the number of runs per device.
    packing: how a device processes its runs.
  """

  devices: tuple[jax.Device, ...]
  shared: bool = False
  width: int = 1
  packing: Packing = "sequential"

  @property
  def axis_name(self) -> str | None:
    """The name of the axis over which each batch is spread, or None."""
    return AXIS if self.shared else None

  @property
  def capacity(self) -> int:
    """The number of runs that train at once."""
    return self.width * (1 if self.shared else len(self.devices))

  @property
  def parts(self) -> int:
    """The number of parts into which each batch is divided."""
    return len(self.devices) if self.shared else 1

  @property
  def prefers_vectors(self) -> bool:
    """Whether few operations on long vectors are faster than many on the arrays of a tree.

    On a GPU every operation costs microseconds (docs/performance.md). On CPUs they cost less than
    the slices of such a vector, which made the steps of wide layers slower.
    """
    return self.devices[0].platform != "cpu"

  def replicate(self, tree: Any) -> Any:
    """Puts a copy of every array on each device."""
    return jax.device_put(tree, self._sharding(PartitionSpec()))

  def place(self, trees: Sequence[Any]) -> Any:
    """Stacks the arrays of `capacity` runs and puts each on the device of its run."""
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
    """This process's devices with their positions among all devices."""
    process = jax.process_index()
    return [(i, d) for i, d in enumerate(self.devices) if d.process_index == process]

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
    shared_value: SharedValue | None = None,
  ) -> Callable[..., Any]:
    """Compiles f(part, *common arguments, *arguments of one run) for all runs at once.

    Args:
      f: a function of one run; `part` is the index of the device's part of each batch.
      common: the number of arguments after `part` that all runs share.
      num_args: the number of arguments after `part`.
      split: the number of common arguments, the first ones, that have a leading axis of this
        process's devices.
      donate: the index, counted from `part`, of an argument whose memory the result may use.
      shared_value: what f takes as its last argument, beyond `num_args`; None for no such argument.

    Returns:
      A function of the arguments after `part`; it takes the arguments of runs as `place`
      returns them.
    """
    mapped = self._single if self.width == 1 else _MAP[self.packing]

    def on_device(part: Array, *args: Any) -> Any:
      of_run, of_runs = partial(f, part, *args[:common]), args[common:]
      if shared_value is None:
        return mapped(of_run)(*of_runs)
      if self.width == 1:
        return mapped(lambda *own: of_run(*own, shared_value.value(*own)))(*of_runs)
      if self.packing == "sequential":
        return shared_value.in_turn(of_run, of_runs)
      return mapped(of_run)(*of_runs, shared_value.of_all(of_runs))

    axis = None if self.shared else 0
    compiled = jax.pmap(
      on_device,
      axis_name=AXIS,
      in_axes=(0,) * (1 + split) + (None,) * (common - split) + (axis,) * (num_args - common),
      out_axes=axis,
      donate_argnums=() if donate is None else donate,
      devices=self.devices,
    )
    part = np.array([i if self.shared else 0 for i, _ in self._local])
    return partial(compiled, part)

  @staticmethod
  def _single(f: Callable[..., Any]) -> Callable[..., Any]:
    """Maps over a leading axis of length 1 without a loop in the program."""

    def only(*args: Any) -> Any:
      return jax.tree.map(lambda x: x[None], f(*jax.tree.map(lambda x: x[0], args)))

    return only


def packed_layout(on: Sequence[jax.Device], model_is_convolutional: bool) -> Layout:
  """Returns the layout in which a sweep packs its runs, as benchmarks/packing.py measured.

  On a CPU, training one run after another is faster than vmap for wide layers, three times as fast
  and more for convolutional networks, and a little slower for the smallest MLP
  (benchmarks/peer_torch_table.py). Convolutional networks get one slot per device: more slots gain
  little, and idle slots of the last pack cost as much as runs. On a GPU four runs of a
  convolutional network share dense convolutions (`models.gpu_conv`): 2.5 times as fast as one run
  after another for ResNet-32 in bfloat16 on one H100, and faster than 2, 8 or 16 runs at once
  (results/gpu/h100).
  """
  backend = jax.default_backend()
  convolutional = {"gpu": 4}.get(backend, 1)
  width = convolutional if model_is_convolutional else 8
  packing: Packing = "sequential" if backend == "cpu" else "vmap"
  return Layout(tuple(on), width=width, packing=packing)


def steps_per_call(model_is_convolutional: bool) -> int:
  """Returns the number of steps in one compiled call where the config leaves it open.

  It is large enough to hide the overhead of a call and small enough that a stop signal takes
  effect within seconds (benchmarks/step_time.py measures the time of a step).
  """
  if jax.default_backend() == "cpu":
    return 4 if model_is_convolutional else 100
  return 200
