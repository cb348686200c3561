"""Many runs at once on one device: run-steps/s by packing and by how many runs are packed.

    python -m benchmarks.packing --out=results/benchmarks/packing.json

One run-step is one training step of one run at batch 128, float32. Packings: one run after
another, vmap, and for convolutions vmap with every convolution as one (then batched) matrix
product. Images are random: speed does not depend on them. `parallel.packed_layout` follows
the winner. About six minutes on 2 cores.
"""

import argparse
import itertools
from collections.abc import Iterator

import jax

from benchmarks import record, step_time
from lsjax import cpu_conv, models, parallel

WIDTHS = (
  {"mlp": (1, 4, 16), "small_cnn": (1, 2, 4)}
  if jax.default_backend() == "cpu"
  else {"mlp": (1, 8, 64), "resnet32": (1, 2, 4, 8, 16, 32)}
)


def measure(args: argparse.Namespace) -> Iterator[record.Row]:
  """Times every packing of a model in turn."""
  on = tuple(parallel.devices(1))
  for name in args.models.split(","):
    convolutional = name in models.CONVOLUTIONAL
    steps = parallel.steps_per_call(convolutional)
    im2col = {"im2col + vmap": ("vmap", cpu_conv.im2col_conv_general_dilated)}
    packings = {"sequential": ("sequential", None), "vmap": ("vmap", None)} | (
      im2col if convolutional else {}
    )
    kinds = [
      (packing, width)
      for packing, width in itertools.product(packings, WIDTHS[name])
      if width > 1 or packing == "sequential"  # one run is the same program either way
    ]
    calls = []
    for packing, width in kinds:
      how, convolution = packings[packing]
      layout = parallel.Layout(on, width=width, packing=how)  # type: ignore[arg-type]
      calls.append(step_time.make_call(name, steps, layout=layout, convolution=convolution))
    timings = record.alternate(calls, repetitions=args.repetitions)
    rates = [timing.rates(width * steps) for (_, width), timing in zip(kinds, timings)]
    for (packing, width), rate, timing in zip(kinds, rates, timings):
      yield record.Row(
        name=f"{name} {packing} x {width}",
        unit="run-steps/s",
        values=rate,
        ratios=record.ratios(rate, rates[0]),
        ratio_to="one run",
        **timing.memory,
      )


if __name__ == "__main__":
  record.run(
    "packing",
    __doc__,
    measure,
    arguments=lambda parser: parser.add_argument("--models", default=",".join(WIDTHS)),
  )
