"""Many runs at once on one device: run-steps/s by packing and by how many runs are packed.

    python -m benchmarks.packing --out=results/benchmarks/packing.json

One run-step is one training step of one run at batch 128, float32. Images are random: speed
does not depend on them. `parallel.packed_layout` follows the winner. About four minutes on 2
cores.
"""

import argparse
import itertools
from typing import Any

import jax
import numpy as np

from benchmarks import record, step_time
from lsjax import config as config_lib
from lsjax import files, models, parallel, step

WIDTHS = {"mlp": (1, 4, 16), "small_cnn": (1, 2, 4)}


def make_call(name: str, layout: parallel.Layout, num_steps: int) -> Any:
  """Returns a function that trains every run `num_steps` steps and waits for them."""
  shape = step_time.SHAPES[name]
  section = config_lib.Model(name=name, hidden=32)  # type: ignore[arg-type]
  model = models.create(section, num_classes=10, mean=(127.0,), std=(64.0,))
  rng = np.random.default_rng(0)
  count, runs = step_time.NUM_EXAMPLES, range(layout.capacity)
  images = layout.replicate(rng.integers(0, 256, (count, *shape), dtype=np.uint8))
  labels = layout.place([rng.integers(0, 10, count).astype(np.int32) for _ in runs])
  examples = layout.place([np.arange(count, dtype=np.int32) for _ in runs])
  seeds = [config_lib.Config(seed=config_lib.Seeds(data=seed)) for seed in runs]
  every = layout.place([step.make_hparams(config, None, 10) for config in seeds])
  init = parallel.make_init(model, layout)
  state = init(images, every.optim, layout.place([np.uint32(seed) for seed in runs]))
  call = parallel.make_train_call(
    model,
    config_lib.Data(),
    layout,
    batch_size=step_time.BATCH_SIZE,
    num_steps=num_steps,
  )

  def train() -> None:
    nonlocal state
    state, progress = call(images, state, examples, labels, every, None)
    jax.block_until_ready(progress)

  return train


def measure(name: str, repetitions: int) -> list[dict[str, Any]]:
  """Times every packing of a model in turn; returns a row each."""
  num_steps = parallel.steps_per_call(name in models.CONVOLUTIONAL)
  packings: tuple[parallel.Packing, ...] = ("sequential", "vmap")
  kinds = [
    (packing, width)
    for packing, width in itertools.product(packings, WIDTHS[name])
    if width > 1 or packing == "sequential"  # one run is the same program either way
  ]
  on = tuple(parallel.devices(1))
  layouts = [parallel.Layout(on, width=width, packing=packing) for packing, width in kinds]
  calls = [make_call(name, layout, num_steps) for layout in layouts]
  seconds = record.alternate(calls, repetitions=repetitions)
  rates = [[width * num_steps / t for t in times] for (_, width), times in zip(kinds, seconds)]
  return [
    {
      "model": name,
      "packing": packing,
      "runs_at_once": width,
      "steps_per_call": num_steps,
      "run_steps_per_second": record.summary(rate),
      "ratio_to_one_run": record.summary((np.array(rate) / np.array(rates[0])).tolist()),
      "repetitions_run_steps_per_second": rate,
      "peak_host_mib": record.peak_host_mib(),
    }
    for (packing, width), rate in zip(kinds, rates)
  ]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", help="JSON file to write")
  parser.add_argument("--models", default=",".join(WIDTHS), help="comma-separated")
  parser.add_argument("--repetitions", type=int, default=5)
  args = parser.parse_args()
  rows = []
  print(f"{'model':10} {'packing':10} {'runs':>4} {'run-steps/s':>12} {'to one run':>11}")
  for name in args.models.split(","):
    for row in measure(name, args.repetitions):
      rows.append(row)
      print(
        f"{name:10} {row['packing']:10} {row['runs_at_once']:4} "
        f"{row['run_steps_per_second']['median']:12.1f} "
        f"{row['ratio_to_one_run']['median']:11.2f}",
        flush=True,
      )
  if args.out:
    result = {"benchmark": "packing", "environment": record.environment(), "rows": rows}
    files.write_json(args.out, result)


if __name__ == "__main__":
  main()
