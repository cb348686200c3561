"""The kernels of a training step on a GPU, counted in the program that XLA compiles for it.

    pip install "jax[cuda12]"     # its compiler; no GPU is needed
    python -m benchmarks.kernels --out=results/benchmarks/kernels.json

XLA compiles for a GPU that is only described, and chooses without timing kernels. The step is the
body of the program's longest loop. Each of its instructions that is more than a name for a buffer
counts as one kernel. Bytes are what a kernel reads and writes, where one that takes a slice of an
array reads the slice alone; operations are those of the convolutions. They make a prediction,

    time of a step = sum over kernels of COST + max(bytes / bandwidth, operations / rate),

in which COST is the one number that was fitted: it gives the 3.00 ms that were measured on an H100
for one run of ResNet-32 in bfloat16 with an optimizer on trees, 697 kernels (42,737 images/s in
results/gpu/h100/peer_torch_max_autotune.json). About a minute for each program, on 2 cores.
"""

import argparse
import collections
import dataclasses
import functools
import itertools
import math
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The CUDA plugin would look for a driver.
os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")

import jax
from jax.experimental import topologies

from benchmarks import harness, step_time
from benchmarks.step_profile import PARTS, REST
from lsjax.sweeps import execution
from lsjax.training import devices


@dataclasses.dataclass(frozen=True)
class Gpu:
  """A GPU as its maker describes it.

  Attributes:
    name: its name.
    bandwidth: bytes/s of its memory.
    memory: bytes of its memory.
    rate: operations/s of its matrix units in bfloat16, without sparsity.
  """

  name: str
  bandwidth: float
  memory: int
  rate: float


GPUS = {
  "h100": Gpu("NVIDIA H100 80GB HBM3", 3.35e12, 84_942_979_072, 0.99e15),
  "h200": Gpu("NVIDIA H200 141GB HBM3e", 4.8e12, 151_397_597_184, 0.99e15),
}
# Seconds of a kernel beside those of its bytes or operations.
COST = 3.7e-6
# Both GPUs have the same processor (compute capability 9.0, 132 multiprocessors).
_DESCRIPTION = """
gpu_device_info {{
  cuda_compute_capability {{ major: 9 }} core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536 l2_cache_size: 52428800
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  memory_bandwidth: {bandwidth} device_memory_size: {memory}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }} runtime_version {{ major: 12 minor: 8 }}
device_description_str: "{name}"
"""


def described(gpu: Gpu) -> jax.Device:
  """Returns a device for which XLA can compile; nothing can run on it.

  Raises:
    SystemExit: if the plugin for CUDA is not installed.
  """
  text = _DESCRIPTION.format(name=gpu.name, bandwidth=int(gpu.bandwidth), memory=gpu.memory)
  try:
    found = topologies.get_topology_desc(
      gpu.name, platform="cuda", topology="1x1x1", target_config=text
    )
  except NotImplementedError:
    sys.exit('benchmarks.kernels: XLA\'s compiler for GPUs is missing: pip install "jax[cuda12]"')
  return found.devices[0]


def compiled(gpu: Gpu, model: str, dtype: str, packing: str) -> tuple[str, str]:
  """Compiles the program that trains a pack of runs for as many steps as on a GPU.

  Args:
    gpu: the GPU.
    model: the name of the model.
    dtype: the type of the activations.
    packing: as for lsjax.sweep; with "+flax" or "+paired" behind it that BatchNorm, and with
      "+trees" Flax's and an optimizer that works on trees.

  Returns:
    The instructions of the program, and its thunks, which are what the host launches.
  """
  packing, _, variant = packing.partition("+")
  on_trees, norm = variant == "trees", "flax" if variant == "trees" else variant
  kind, width = execution.packing_of(packing)
  here = devices.Layout(tuple(devices.choose(1)), width=width, packing=kind)
  there = (_OnTrees if on_trees else devices.Layout)((described(gpu),), width=width, packing=kind)
  program = functools.partial(
    step_time.make_program, model, 200, dtype=dtype, backend="gpu", batch_norm=norm
  )
  init, _ = program(layout=here)
  images, examples, labels, hparams, seeds = step_time.make_arrays(model, layout=here)
  state = jax.eval_shape(init, images, hparams.optim, seeds)
  args = (images, state, examples, labels, hparams)
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args)
  train_call: Any = program(layout=there)[1]
  lowered = train_call.func.lower(*train_call.args, *shapes, None)
  with tempfile.TemporaryDirectory() as place:
    options = {"xla_dump_to": place, "xla_dump_hlo_as_text": True}
    text = lowered.compile(compiler_options=options).as_text()
    (thunks,) = pathlib.Path(place).glob("*.thunk_sequence_after_thunk_passes.txt")
    return text, thunks.read_text()


class _OnTrees(devices.Layout):
  """A layout whose optimizer works on trees, as on a CPU."""

  prefers_vectors = False


_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%([\w.-]+) = (.*?) ([\w-]+)\((.*)$")
_SHAPE = re.compile(r"\b(pred|[a-z]+\d+)\[([\d,]*)\]")
# Instructions that name or bundle buffers.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
_SLICES = {"slice", "dynamic-slice", "gather"}


@dataclasses.dataclass(frozen=True)
class Instruction:
  """An instruction of a compiled program."""

  name: str
  shape: str
  operation: str
  rest: str

  @property
  def operands(self) -> list[str]:
    """The names of the instructions that it takes."""
    return re.findall(r"%([\w.-]+)", self.rest.partition(")")[0])

  @property
  def source(self) -> str:
    """JAX's name of the operation."""
    found = re.search(r'op_name="([^"]*)"', self.rest)
    return found[1] if found else ""

  @property
  def size(self) -> int:
    """The bytes of its result."""
    total = 0
    for dtype, dimensions in _SHAPE.findall(self.shape):
      bits = int(re.sub(r"\D", "", dtype) or 8)
      total += max(bits // 8, 1) * math.prod(int(n) for n in dimensions.split(",") if n)
    return total


def computations(text: str) -> dict[str, dict[str, Instruction]]:
  """Returns the instructions of each computation of a compiled program by their names."""
  found: dict[str, dict[str, Instruction]] = {}
  inside: dict[str, Instruction] | None = None
  for line in text.splitlines():
    if start := _COMPUTATION.match(line):
      inside = found.setdefault(start[1], {})
    elif line.startswith("}"):
      inside = None
    elif inside is not None and (match := _INSTRUCTION.match(line)):
      inside[match[1]] = Instruction(*match.groups())
  return found


def body_of(text: str, found: dict[str, dict[str, Instruction]]) -> dict[str, Instruction]:
  """Returns the body of the longest loop of a program: a training step."""
  bodies = [found[name] for name in re.findall(r"body=%([\w.-]+)", text)]
  return max(bodies, key=len)


def launches(thunks: str) -> int:
  """Returns how often the host launches something in a step, a CUDA graph counting once.

  Args:
    thunks: the thunks of a program; those of a graph stand below it, indented.
  """
  block = max(map(_block, thunks.split("body:\n")[1:]), key=len)
  return sum(_indent(line) == _indent(block[0]) for line in block)


def _block(text: str) -> list[str]:
  """Returns the lines at the beginning of a text that are indented at least like the first."""
  lines = [line for line in text.splitlines() if line]
  return list(itertools.takewhile(lambda line: _indent(line) >= _indent(lines[0]), lines))


def _indent(line: str) -> int:
  return len(line) - len(line.lstrip())


def kernels(body: dict[str, Instruction]) -> list[Instruction]:
  """Returns the instructions of a step that are kernels."""
  return [each for each in body.values() if each.operation not in _FREE]


def bytes_of(
  kernel: Instruction,
  body: dict[str, Instruction],
  found: dict[str, dict[str, Instruction]],
) -> int:
  """Returns the bytes that a kernel reads and writes."""
  called = re.search(r"calls=%([\w.-]+)", kernel.rest)
  inner = found[called[1]] if called else {}
  parameters = {
    int(each.rest.partition(")")[0]): each.name
    for each in inner.values()
    if each.operation == "parameter"
  }
  total = kernel.size
  for i, name in enumerate(kernel.operands):
    readers = [each for each in inner.values() if parameters.get(i) in each.operands]
    sliced = bool(readers) and all(each.operation in _SLICES for each in readers)
    total += sum(each.size for each in readers) if sliced else body[name].size
  return total


def part_of(kernel: Instruction) -> str:
  """Returns the part of the step that a kernel belongs to."""
  if "__cudnn$conv" in kernel.rest:
    return "convolution"
  matching = (part for part, pattern in PARTS.items() if re.search(pattern, kernel.source))
  part = next(matching, REST)
  return "preparing convolutions" if part == "convolution" else part


def operations_of(kernel: Instruction, body: dict[str, Instruction]) -> int:
  """Returns the floating-point operations of a kernel, if it is a convolution of 3 x 3; else 0."""
  if "__cudnn$conv" not in kernel.rest:
    return 0
  arrays = [body[name].shape for name in kernel.operands] + [kernel.shape]
  found = [tuple(map(int, _SHAPE.findall(shape)[0][1].split(","))) for shape in arrays]
  (weights,) = [shape for shape in found if shape[1:3] == (3, 3)]
  positions = min(math.prod(shape[:3]) for shape in found if shape is not weights)
  return 2 * math.prod(weights) * positions


@dataclasses.dataclass(frozen=True)
class Step:
  """What a step does.

  Attributes:
    parts: the number of kernels of each part.
    work: (bytes, operations) of each kernel.
  """

  parts: dict[str, int]
  work: list[tuple[int, int]]

  @classmethod
  def of(cls, text: str) -> "Step":
    """Reads the step of a compiled program."""
    found = computations(text)
    body = body_of(text, found)
    counted = kernels(body)
    return cls(
      dict(sorted(collections.Counter(map(part_of, counted)).items())),
      [(bytes_of(kernel, body, found), operations_of(kernel, body)) for kernel in counted],
    )

  def seconds(self, gpu: Gpu) -> float:
    """Returns the predicted time of the step."""
    return sum(COST + max(moved / gpu.bandwidth, done / gpu.rate) for moved, done in self.work)


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Compiles the step for each packing and counts its kernels."""
  asked = [f"{args.model} {args.dtype} {packing}" for packing in args.packings.split(",")]
  for name in harness.chosen(asked, args.only):
    packing = name.split()[-1]
    text, thunks = compiled(GPUS["h100"], args.model, args.dtype, packing)
    if args.programs:
      args.programs.mkdir(parents=True, exist_ok=True)
      (args.programs / f"{name.replace(' ', '_').replace(':', '_')}.txt").write_text(text)
    runs = execution.packing_of(packing.partition("+")[0])[1]
    yield row(name, Step.of(text), runs, launches(thunks))


def row(name: str, step: Step, runs: int, launched: int) -> harness.Row:
  """Returns the row of a step of so many runs."""
  moved, done = (sum(each[i] for each in step.work) for i in (0, 1))
  details: dict[str, float] = {f"kernels, {part}": count for part, count in step.parts.items()}
  details |= {"launches": launched, "mib": moved / 2**20, "gflop": done / 1e9}
  for key, gpu in GPUS.items():
    details[f"predicted ms, {key}"] = 1e3 * step.seconds(gpu)
    details[f"predicted run-steps/s, {key}"] = runs / step.seconds(gpu)
  return harness.Row(name=name, unit="kernels a step", values=[len(step.work)], details=details)


def arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the benchmark's own flags."""
  parser.add_argument("--model", default="resnet32")
  parser.add_argument("--dtype", default="bfloat16", help="the type of the activations")
  packings = (
    "sequential:1+trees,vmap:4+trees,sequential:1,sequential:1+paired,vmap:4+flax,"
    "vmap:2,vmap:4,vmap:8,vmap:16,vmap:32"
  )
  help = "as for lsjax.sweep, by commas; with +flax, +paired or +trees: see compiled()"
  parser.add_argument("--packings", default=packings, help=help)
  parser.add_argument("--programs", type=pathlib.Path, help="directory for the compiled programs")


if __name__ == "__main__":
  harness.run("kernels", __doc__, measure, repetitions=1, arguments=arguments)
