"""The speed of many runs at once on a device, by the kind of packing and the number of runs.

    python -m benchmarks.packing --out=results/benchmarks/packing.json

The unit is training steps of a run per second, at batch size 128 in float32. The packings are one
run after another, vmap, and for convolutions vmap with every convolution as a matrix product, which
vmap turns into a batched product. Images are random, because the speed does not depend on them.
`devices.packed_layout` chooses the fastest packing. About six minutes on 2 cores.
"""

import argparse
import itertools
from collections.abc import Iterator

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
    im2col = {"im2col + vmap": ("vmap", cpu_conv.im2col_conv_general_dilated)}
    packings = {"sequential": ("sequential", None), "vmap": ("vmap", None)} | (
      im2col if convolutional else {}
    )
    kinds = [
      (packing, width)
      for packing, width in itertools.product(packings, WIDTHS[name])
      if width > 1 or packing == "sequential"  # a single run is the same program either way
    ]
    calls = []
    for packing, width in kinds:
      how, convolution = packings[packing]
      layout = devices.Layout(on, width=width, packing=how)  # type: ignore[arg-type]
      calls.append(step_time.make_call(name, steps, layout=layout, convolution=convolution))
    timings = harness.alternate(calls, repetitions=args.repetitions)
    rates = [timing.rates(width * steps) for (_, width), timing in zip(kinds, timings)]
    for (packing, width), rate, timing in zip(kinds, rates, timings):
      yield harness.Row(
        name=f"{name} {packing} x {width}",
        unit="run-steps/s",
        values=rate,
        ratios=harness.ratios(rate, rates[0]),
        ratio_to="one run",
        **timing.memory,
      )


if __name__ == "__main__":
  harness.run(
    "packing",
    __doc__,
    measure,
    arguments=lambda parser: parser.add_argument("--models", default=",".join(WIDTHS)),
  )
