"""The least time that a training step of a network can take on this machine, and its real time.

    python -m benchmarks.floor --out=results/benchmarks/floor.json

A step at batch size 128 has three lower bounds: its floating-point operations, divided by the rate
of a large matrix product; the bytes that its convolutions must move, divided by the rate of a copy;
and the launch of a compiled call. A convolution and the gradients of its input and of its kernel
take the same number of operations each, and each of the three reads or writes as many bytes. One
minute on 2 cores.
"""

import argparse
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from benchmarks import harness, step_time
from lsjax import models
from lsjax.training import devices

BATCH_SIZE = step_time.BATCH_SIZE
# The side of the matrices in their product on a CPU and elsewhere, and the numbers that are copied.
CPU_SIDE, SIDE = 2048, 8192
COPIED = 2**26


def rates(repetitions: int, dtype: jnp.dtype) -> dict[str, harness.Row]:
  """Measures the rates of the three bounds, for matrices and copies of a type."""
  side = CPU_SIDE if jax.default_backend() == "cpu" else SIDE
  a = jax.random.normal(jax.random.key(0), (side, side), dtype)
  product, copy, launch = (
    jax.jit(lambda a: a @ a),
    jax.jit(lambda x: x + 1.0, donate_argnums=0),  # in place: no fresh pages
    jax.jit(lambda s: s + 1),
  )
  small, x = jnp.zeros(()), jnp.ones(COPIED, dtype)

  def copied() -> None:
    nonlocal x
    x = copy(x).block_until_ready()

  calls: list[Callable[[], object]] = [
    lambda: product(a).block_until_ready(),
    copied,
    lambda: launch(small).block_until_ready(),
  ]
  products, copies, launches = harness.alternate(calls, repetitions=repetitions)
  return {
    "matrix": harness.Row(
      f"matrix product of {side} x {side}, {dtype.name}",
      "GFLOP/s",
      products.rates(2 * side**3 / 1e9),
    ),
    "copy": harness.Row(
      "copy, read and written", "GB/s", copies.rates(2 * dtype.itemsize * COPIED / 1e9)
    ),
    "launch": harness.Row("launch of a compiled call", "us", [1e6 * t for t in launches.seconds]),
  }


def work(name: str, itemsize: int) -> tuple[float, float]:
  """Counts the floating-point operations and bytes of a step's convolutions and dense layers."""
  # With this convolution, each layer is a single operation of the program.
  model = step_time.make_network(name).clone(convolution=jax.lax.conv_general_dilated)
  images = jax.ShapeDtypeStruct((BATCH_SIZE, *step_time.SHAPES[name]), jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.key(0), images)
  jaxpr = jax.make_jaxpr(model.apply)(variables, images)
  flops = moved = 0.0
  for equation in jaxpr.jaxpr.eqns:
    if equation.primitive.name in ("conv_general_dilated", "dot_general"):
      (lhs, rhs), (out,) = [v.aval for v in equation.invars], [v.aval for v in equation.outvars]
      per_output = rhs.size / rhs.shape[-1]  # HWIO, or [in, out]
      flops += 3 * 2 * out.size * per_output
      moved += 3 * itemsize * (lhs.size + out.size)
  return flops, moved


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Measures the rates, then compares a step of each model with its bounds."""
  dtype = jnp.dtype(args.dtype)
  measured = rates(args.repetitions, dtype)
  yield from measured.values()
  matrix, copy = (max(measured[k].values) for k in ("matrix", "copy"))
  launch = min(measured["launch"].values)
  for name in args.models.split(","):
    flops, moved = work(name, dtype.itemsize)
    steps = devices.steps_per_call(name in models.CONVOLUTIONAL)
    call = step_time.make_call(name, steps, dtype=dtype.name)
    (timing,) = harness.alternate([call], repetitions=args.repetitions)
    floors = {
      "arithmetic_ms": flops / matrix / 1e6,
      "bytes_ms": moved / copy / 1e6,
      "launch_ms": launch / steps / 1e3,
    }
    milliseconds = [1e3 * t / steps for t in timing.seconds]
    yield harness.Row(
      name=f"{name} step, {dtype.name}",
      unit="ms",
      values=milliseconds,
      ratios=[t / max(floors.values()) for t in milliseconds],
      ratio_to="highest floor",
      **timing.memory,
      details=floors | {"gflop": flops / 1e9, "mib_moved": moved / 2**20},
    )


def arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the benchmark's own flags."""
  parser.add_argument("--models", default=step_time.DEFAULT_MODELS)
  parser.add_argument("--dtype", default="float32", help="the type of the activations")


if __name__ == "__main__":
  harness.run(
    "floor",
    __doc__,
    measure,
    arguments=arguments,
  )
