"""The least a training step of a network can take on this machine, and what it takes.

    python -m benchmarks.floor --out=results/benchmarks/floor.json

Three floors of a step at batch 128: its floating-point operations over the rate of a large
matrix product; the bytes its convolutions must move over the rate of a copy; and one launch of
a compiled call. A convolution's output is used for its input's and its kernel's gradient, which
have as many operations each, and read its input and output once more each. One minute on 2
cores.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import record, step_time
from lsjax import config as config_lib
from lsjax import models, parallel

BATCH_SIZE = step_time.BATCH_SIZE
SIDE = {"cpu": 2048}  # of the matrices
COPIED = 2**26  # numbers


def rates(repetitions: int) -> dict[str, record.Row]:
  """Measures the three rates."""
  side = SIDE.get(jax.default_backend(), 8192)
  a = jnp.ones((side, side))
  product, copy, launch = (
    jax.jit(lambda a: a @ a),
    jax.jit(lambda x: x + 1.0, donate_argnums=0),  # in place: no fresh pages
    jax.jit(lambda s: s + 1),
  )
  small, x = jnp.zeros(()), jnp.ones(COPIED)

  def copied() -> None:
    nonlocal x
    x = copy(x).block_until_ready()

  calls: list[Callable[[], Any]] = [
    lambda: product(a).block_until_ready(),
    copied,
    lambda: launch(small).block_until_ready(),
  ]
  products, copies, launches = record.alternate(calls, repetitions=repetitions)
  return {
    "matrix": record.Row(
      f"matrix product of {side} x {side}", "GFLOP/s", products.rates(2 * side**3 / 1e9)
    ),
    "copy": record.Row("copy, read and written", "GB/s", copies.rates(2 * 4 * COPIED / 1e9)),
    "launch": record.Row("launch of a compiled call", "us", [1e6 * t for t in launches.seconds]),
  }


def work(name: str) -> tuple[float, float]:
  """Returns floating-point operations and bytes of a step's convolutions and dense layers."""
  section = config_lib.Model(name=name, hidden=32)  # type: ignore[arg-type]
  model = models.create(section, num_classes=10, mean=(0.0,), std=(1.0,))
  model = model.clone(convolution=jax.lax.conv_general_dilated)  # one operation each
  images = jax.ShapeDtypeStruct((BATCH_SIZE, *step_time.SHAPES[name]), jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.key(0), images)
  jaxpr = jax.make_jaxpr(model.apply)(variables, images)
  flops = moved = 0.0
  for equation in jaxpr.jaxpr.eqns:
    if equation.primitive.name in ("conv_general_dilated", "dot_general"):
      (lhs, rhs), (out,) = [v.aval for v in equation.invars], [v.aval for v in equation.outvars]
      per_output = rhs.size / rhs.shape[-1]  # HWIO, or [in, out]
      flops += 3 * 2 * out.size * per_output
      moved += 3 * 4 * (lhs.size + out.size)
  return flops, moved


def measure(args: argparse.Namespace) -> Iterator[record.Row]:
  of = rates(args.repetitions)
  yield from of.values()
  matrix, copy = (max(of[k].values) for k in ("matrix", "copy"))
  launch = min(of["launch"].values)
  for name in args.models.split(","):
    flops, moved = work(name)
    steps = parallel.steps_per_call(name in models.CONVOLUTIONAL)
    (timing,) = record.alternate([step_time.make_call(name, steps)], repetitions=args.repetitions)
    floors = {
      "arithmetic_ms": flops / matrix / 1e6,
      "bytes_ms": moved / copy / 1e6,
      "launch_ms": launch / steps / 1e3,
    }
    milliseconds = [1e3 * t / steps for t in timing.seconds]
    yield record.Row(
      name=f"{name} step",
      unit="ms",
      values=milliseconds,
      ratios=[t / max(floors.values()) for t in milliseconds],
      ratio_to="highest floor",
      **timing.memory,
      details=floors | {"gflop": flops / 1e9, "mib_moved": moved / 2**20},
    )


if __name__ == "__main__":
  record.run(
    "floor",
    __doc__,
    measure,
    arguments=lambda parser: parser.add_argument("--models", default=",".join(step_time.SHAPES)),
  )
