"""Training speed in images/s, through the ordinary path: one step per call, or a scan.

    python -m benchmarks.step_time --out=results/benchmarks/step_time.json

Images are random: speed does not depend on them. Batch
128, float32, crop and flip for 32 x 32 images. About two minutes on 2 cores.
"""

import argparse
import json
from typing import Any

import jax
import numpy as np

from benchmarks import record
from lsjax import config as config_lib
from lsjax import files, models, parallel, step

SHAPES = {"mlp": (8, 8, 1), "small_cnn": (32, 32, 3), "resnet32": (32, 32, 3)}
BATCH_SIZE, NUM_EXAMPLES = 128, 2048


def make_call(name: str, num_steps: int) -> Any:
  """Returns a function that trains `num_steps` steps and waits for them."""
  shape = SHAPES[name]
  layout = parallel.Layout(tuple(parallel.devices(1)), shared=True)
  section = config_lib.Model(name=name, hidden=32)  # type: ignore[arg-type]
  model = models.create(
    section, num_classes=10, mean=(127.0,), std=(64.0,), axis_name=layout.axis_name
  )
  augmented = len(shape) == 3 and shape[0] == 32
  data = config_lib.Data(crop_padding=4 if augmented else 0, flip=augmented)
  rng = np.random.default_rng(0)
  hparams = step.make_hparams(config_lib.Config(), None, 10)
  images = layout.replicate(rng.integers(0, 256, (NUM_EXAMPLES, *shape), dtype=np.uint8))
  labels = rng.integers(0, 10, NUM_EXAMPLES).astype(np.int32)
  init = parallel.make_init(model, layout)
  state = init(images, layout.place([hparams.optim]), layout.place([np.uint32(0)]))
  examples = np.arange(NUM_EXAMPLES, dtype=np.int32)
  of_run = [layout.place([x]) for x in (examples, labels, hparams)]
  train_call = parallel.make_train_call(
    model, data, layout, batch_size=BATCH_SIZE, num_steps=num_steps
  )

  def call() -> None:
    nonlocal state
    state, progress = train_call(images, state, *of_run, None)
    jax.block_until_ready(progress)

  return call


def measure(name: str, repetitions: int) -> list[dict[str, Any]]:
  """Times a model's variants in turn; returns a row each."""
  scanned = parallel.steps_per_call(name in models.CONVOLUTIONAL)
  variants = {"plain": make_call(name, 1), "scan": make_call(name, scanned)}
  steps = {"plain": 1, "scan": scanned}
  seconds = record.alternate(list(variants.values()), repetitions=repetitions)
  rates = {
    variant: [steps[variant] * BATCH_SIZE / t for t in times]
    for variant, times in zip(variants, seconds)
  }
  plain = np.array(rates["plain"])
  return [
    {
      "model": name,
      "variant": variant,
      "steps_per_call": steps[variant],
      "images_per_second": record.summary(values),
      "ratio_to_plain": record.summary((np.array(values) / plain).tolist()),
      "repetitions_images_per_second": values,
      "peak_host_mib": record.peak_host_mib(),
    }
    for variant, values in rates.items()
  ]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", help="JSON file to write")
  parser.add_argument("--models", default=",".join(SHAPES), help="comma-separated")
  parser.add_argument("--repetitions", type=int, default=5)
  args = parser.parse_args()
  rows = []
  print(f"{'model':10} {'variant':7} {'images/s':>9} {'min':>8} {'max':>8} {'to plain':>9}")
  for name in args.models.split(","):
    for row in measure(name, args.repetitions):
      rows.append(row)
      rate, ratio = row["images_per_second"], row["ratio_to_plain"]["median"]
      print(
        f"{name:10} {row['variant']:7} {rate['median']:9.0f} {rate['min']:8.0f} "
        f"{rate['max']:8.0f} {ratio:9.2f}",
        flush=True,
      )
  result = {"benchmark": "step_time", "environment": record.environment(), "rows": rows}
  if args.out:
    files.write_json(args.out, result)
  else:
    print(json.dumps(result["environment"]))


if __name__ == "__main__":
  main()
