"""The speed of many runs at once on a device, by the kind of packing and the number of runs.

    python -m benchmarks.packing --out=results/benchmarks/packing.json

The unit is training steps of a run per second, at batch size 128. The packings are those of
`lsjax.sweep --packing`: one run after another and vmap; for convolutions also vmap with JAX's own
convolution, which becomes a grouped one, and with every convolution as a matrix product (im2col),
which becomes a batched product. Images are random, because the speed does not depend on them.
`devices.packed_layout` has the fastest packing of a backend. About ten minutes on 2 cores.
"""

import argparse
import functools
import itertools
from collections.abc import Iterator

import jax

from benchmarks import harness, step_time
from lsjax import models
from lsjax.training import devices

WIDTHS = (
  {"mlp": (1, 4, 16), "small_cnn": (1, 2, 4)}
  if jax.default_backend() == "cpu"
  else {"mlp": (1, 8, 64), "resnet32": (1, 2, 4, 8, 16, 32)}
)


def measure(args: argparse.Namespace) -> Iterator[harness.Row | harness.Failure]:
  """Times the packings of each model, each in turn with a single run."""
  on = tuple(devices.choose(1))
  for name in args.models.split(","):
    convolutional = name in models.CONVOLUTIONAL
    steps = args.steps or devices.steps_per_call(convolutional)
    kinds = {
      " ".join(filter(None, (name, args.dtype, packing, f"x {width}", norm))): (
        packing,
        width,
        norm,
      )
      for norm in args.batch_norms.split(",")
      for packing, width in itertools.product(devices.PACKINGS, WIDTHS[name])
      if (width > 1 or packing == "sequential")  # a single run is the same program either way
      and (convolutional or packing not in models.PACKED_CONVOLUTIONS)
    }
    names = harness.chosen([*kinds], args.only)
    layouts = {row: devices.Layout(on, width=kinds[row][1], packing=kinds[row][0]) for row in names}
    yield from harness.compare(
      {
        row: functools.partial(
          step_time.make_call,
          name,
          steps,
          dtype=args.dtype,
          layout=layout,
          batch_norm=kinds[row][2],
        )
        for row, layout in layouts.items()
      },
      {row: layout.width * steps for row, layout in layouts.items()},
      args,
      unit="run-steps/s",
      details={row: {"packing": ":".join(map(str, kinds[row][:2]))} for row in names},
    )


def arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the benchmark's own flags."""
  parser.add_argument("--models", default=",".join(WIDTHS))
  parser.add_argument("--steps", type=int, default=0, help="of a call; 0: as many as in training")
  help = "rows for each, by commas: flax, paired, or nothing for the backend's fastest"
  parser.add_argument("--batch_norms", default="", help=help)
  parser.add_argument("--dtype", default="float32", help="the type of the activations")


if __name__ == "__main__":
  harness.run("packing", __doc__, measure, arguments=arguments)
