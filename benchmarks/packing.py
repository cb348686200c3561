"""The speed of many runs at once on a device, by the kind of packing and the number of runs.

    python -m benchmarks.packing --out=results/benchmarks/packing.json

The unit is training steps of a run per second, at batch size 128. The packings are one run after
another and vmap; for convolutions also vmap with JAX's own convolution, which becomes a grouped
one, and with every convolution as a matrix product, which becomes a batched product. Images are
random, because the speed does not depend on them. `devices.packed_layout` chooses the fastest
packing. About six minutes on 2 cores.
"""

import argparse
import itertools
from collections.abc import Iterator
from typing import Any

import jax

from benchmarks import harness, step_time
from lsjax import models
from lsjax.models import cpu_conv
from lsjax.training import devices

WIDTHS = (
  {"mlp": (1, 4, 16), "small_cnn": (1, 2, 4)}
  if jax.default_backend() == "cpu"
  else {"mlp": (1, 8, 64), "resnet32": (1, 2, 4, 8, 16, 32)}
)


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Times the packings of each model in turn."""
  on = tuple(devices.choose(1))
  for name in args.models.split(","):
    convolutional = name in models.CONVOLUTIONAL
    steps = devices.steps_per_call(convolutional)
    packings: dict[str, tuple[str, Any]] = {
      "sequential": ("sequential", None),
      "vmap": ("vmap", None),
    }
    if convolutional:
      packings |= {
        "vmap, grouped convolutions": ("vmap", jax.lax.conv_general_dilated),
        "vmap, im2col": ("vmap", cpu_conv.im2col_conv_general_dilated),
      }
    kinds = {
      f"{name} {args.dtype} {packing} x {width}": (packing, width)
      for packing, width in itertools.product(packings, WIDTHS[name])
      if width > 1 or packing == "sequential"  # a single run is the same program either way
    }
    names = harness.chosen([*kinds], args.only)
    calls = []
    for packing, width in map(kinds.__getitem__, names):
      how, convolution = packings[packing]
      layout = devices.Layout(on, width=width, packing=how)  # type: ignore[arg-type]
      calls.append(
        step_time.make_call(name, steps, dtype=args.dtype, layout=layout, convolution=convolution)
      )
    timings = harness.alternate(calls, repetitions=args.repetitions)
    rates = [timing.rates(kinds[row][1] * steps) for row, timing in zip(names, timings)]
    for row, rate, timing in zip(names, rates, timings):
      yield harness.Row(
        name=row,
        unit="run-steps/s",
        values=rate,
        ratios=harness.ratios(rate, rates[0]),
        ratio_to=names[0].removeprefix(f"{name} "),
        **timing.memory,
      )


def arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the benchmark's own flags."""
  parser.add_argument("--models", default=",".join(WIDTHS))
  parser.add_argument("--dtype", default="float32", help="the type of the activations")


if __name__ == "__main__":
  harness.run("packing", __doc__, measure, arguments=arguments)
