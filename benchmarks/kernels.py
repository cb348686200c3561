"""The kernels of a training step, counted in the compiled program.

    python -m benchmarks.kernels --out=kernels.json --hlo=hlo --dtype=bfloat16 --packings=vmap:4
"""

import argparse
import gzip
import pathlib
from collections.abc import Iterator

import jax

from benchmarks import harness, step_time
from lsjax.sweeps import execution
from lsjax.training import devices


def compiled_text(model: str, dtype: str, packing: str, steps: int) -> str:
  """Returns the compiled HLO of the program that trains so many steps of a pack of runs."""
  kind, width = execution.packing_of(packing)
  layout = devices.Layout(tuple(devices.choose(1)), width=width, packing=kind)
  client = jax.local_devices()[0].client
  before = {id(p) for p in client.live_executables()}
  call = step_time.make_call(model, steps, dtype=dtype, layout=layout)
  call()
  texts = [
    module.to_string()
    for program in client.live_executables()
    if id(program) not in before
    for module in program.hlo_modules()
  ]
  return max(texts, key=len)


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  for packing in args.packings.split(","):
    text = compiled_text(args.model, args.dtype, packing, args.steps)
    if args.hlo:
      args.hlo.mkdir(parents=True, exist_ok=True)
      name = f"{args.model}_{args.dtype}_{packing.replace(':', '_')}.txt.gz"
      (args.hlo / name).write_bytes(gzip.compress(text.encode()))
    yield harness.Row(name=f"{args.model} {args.dtype} {packing}", unit="characters", values=[len(text)])


def arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the benchmark's own flags."""
  parser.add_argument("--model", default="resnet32")
  parser.add_argument("--dtype", default="float32", help="the type of the activations")
  parser.add_argument("--packings", default="sequential:1", help="as for lsjax.sweep, by commas")
  parser.add_argument("--steps", type=int, default=200, help="of a call")
  parser.add_argument("--hlo", type=pathlib.Path, help="a directory for the compiled programs")


if __name__ == "__main__":
  harness.run("kernels", __doc__, measure, repetitions=1, arguments=arguments)
