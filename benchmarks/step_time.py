"""Training speed in images/s, through the ordinary path: one step per call, or a scan.

    python -m benchmarks.step_time --out=results/benchmarks/step_time.json

Models by activations' type by plain/scan. Images are random: speed does not depend on them.
Batch 128, crop and flip for 32 x 32 images. About five minutes on 2 cores.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from benchmarks import record
from lsjax import config as config_lib
from lsjax import models, parallel, step

SHAPES = {"mlp": (8, 8, 1), "small_cnn": (32, 32, 3), "resnet32": (32, 32, 3)}
BATCH_SIZE, NUM_EXAMPLES = 128, 2048


def make_call(
  name: str,
  num_steps: int,
  *,
  dtype: str = "float32",
  layout: parallel.Layout | None = None,
  num_classes: int = 10,
  loss: config_lib.Loss = config_lib.Loss(),  # noqa: B008 (frozen)
  convolution: Any = None,
) -> Callable[[], None]:
  """Returns a function that trains every run of a layout `num_steps` steps and waits for them.

  Args:
    name: of the model.
    num_steps: in the one compiled call.
    dtype: of activations.
    layout: of the runs; None is one run on the first device.
    num_classes: L.
    loss: of every run.
    convolution: see `models`.
  """
  shape = SHAPES[name]
  layout = layout or parallel.Layout(tuple(parallel.devices(1)), shared=True)
  section = config_lib.Model(name=name, hidden=32, dtype=dtype)  # type: ignore[arg-type]
  model = models.create(
    section, num_classes=num_classes, mean=(127.0,), std=(64.0,), axis_name=layout.axis_name
  ).clone(convolution=convolution)
  augmented = shape[0] == 32
  data = config_lib.Data(crop_padding=4 if augmented else 0, flip=augmented)
  rng = np.random.default_rng(0)
  runs = range(layout.capacity)
  images = layout.replicate(rng.integers(0, 256, (NUM_EXAMPLES, *shape), dtype=np.uint8))
  labels = layout.place([rng.integers(0, num_classes, NUM_EXAMPLES).astype(np.int32) for _ in runs])
  examples = layout.place([np.arange(NUM_EXAMPLES, dtype=np.int32) for _ in runs])
  configs = [config_lib.Config(loss=loss, seed=config_lib.Seeds(data=seed)) for seed in runs]
  hparams = layout.place([step.make_hparams(config, None, num_classes) for config in configs])
  init = parallel.make_init(model, layout)
  state = init(images, hparams.optim, layout.place([np.uint32(seed) for seed in runs]))
  train_call = parallel.make_train_call(
    model, data, layout, batch_size=BATCH_SIZE, num_steps=num_steps
  )

  def call() -> None:
    nonlocal state
    state, progress = train_call(images, state, examples, labels, hparams, None)
    jax.block_until_ready(progress)

  return call


def measure(args: argparse.Namespace) -> Iterator[record.Row]:
  """Times a model's variants in turn."""
  for name in args.models.split(","):
    scanned = parallel.steps_per_call(name in models.CONVOLUTIONAL)
    kinds = [(dtype, steps) for dtype in ("float32", "bfloat16") for steps in (1, scanned)]
    calls = [make_call(name, steps, dtype=dtype) for dtype, steps in kinds]
    timings = record.alternate(calls, repetitions=args.repetitions)
    rates = [timing.rates(steps * BATCH_SIZE) for (_, steps), timing in zip(kinds, timings)]
    for (dtype, steps), rate, timing in zip(kinds, rates, timings):
      yield record.Row(
        name=f"{name} {dtype} {'plain' if steps == 1 else f'scan of {steps}'}",
        unit="images/s",
        values=rate,
        ratios=record.ratios(rate, rates[0]),
        ratio_to="float32 plain",
        **timing.memory,
      )


if __name__ == "__main__":
  record.run(
    "step_time",
    __doc__,
    measure,
    arguments=lambda parser: parser.add_argument("--models", default=",".join(SHAPES)),
  )
