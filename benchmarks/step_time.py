"""Training speed in images/s by the ordinary programs, with one step in a call or a scan of steps.

    python -m benchmarks.step_time --out=results/benchmarks/step_time.json

Every model is timed with both types of activations. Images are random, because the speed does not
depend on them. The batch size is 128; images of 32 x 32 are cropped and flipped. About five minutes
on 2 cores.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import harness
from lsjax import config as config_lib
from lsjax import methods, models
from lsjax.training import devices, loop, matrices, programs, setup, step

SHAPES = {"mlp": (8, 8, 1), "small_cnn": (32, 32, 3), "resnet32": (32, 32, 3)}
BATCH_SIZE, NUM_EXAMPLES = 128, 2048


def make_network(
  name: str, *, num_classes: int = 10, dtype: str = "float32", axis_name: str | None = None
) -> models.Network:
  """Builds a network for random images of its shape in `SHAPES`."""
  section = config_lib.Model(name=name, hidden=32, dtype=dtype)  # type: ignore[arg-type]
  spec = models.InputSpec(num_classes, (127.0,), (64.0,), SHAPES[name], "uint8")
  return models.create(section, spec, axis_name=axis_name)


def make_call(
  name: str,
  num_steps: int,
  *,
  dtype: str = "float32",
  layout: devices.Layout | None = None,
  num_classes: int = 10,
  loss: config_lib.Loss = config_lib.Loss(),  # noqa: B008 (frozen)
  convolution: Callable[..., Any] | None = None,
) -> Callable[[], None]:
  """Makes a function that trains every run of a layout on random images and waits for the end.

  Args:
    name: the name of the model.
    num_steps: the number of steps, all in one compiled call.
    dtype: the type of the activations.
    layout: the layout of the runs; by default a single run on the first device.
    num_classes: the number of classes L.
    loss: the loss of every run.
    convolution: the convolution of `models.Network`; by default the network's own.
  """
  shape = SHAPES[name]
  layout = layout or devices.Layout(tuple(devices.choose(1)), shared=True)
  model = make_network(name, num_classes=num_classes, dtype=dtype, axis_name=layout.axis_name)
  model = model.clone(convolution=convolution)
  augmented = shape[0] == 32
  data = config_lib.Data(crop_padding=4 if augmented else 0, flip=augmented)
  rng = np.random.default_rng(0)
  runs = range(layout.capacity)
  images = layout.replicate(rng.integers(0, 256, (NUM_EXAMPLES, *shape), dtype=np.uint8))
  labels = layout.place([rng.integers(0, num_classes, NUM_EXAMPLES).astype(np.int32) for _ in runs])
  examples = layout.place([np.arange(NUM_EXAMPLES, dtype=np.int32) for _ in runs])
  configs = [config_lib.Config(loss=loss, seed=config_lib.Seeds(data=seed)) for seed in runs]
  arrays = matrices.method_arrays(loss, None, num_classes)
  hparams = layout.place([step.make_hparams(config, arrays) for config in configs])
  init = programs.make_init(model, layout)
  state = init(images, hparams.optim, layout.place([np.uint32(seed) for seed in runs]))
  train_call = programs.make_train_call(
    model,
    data,
    layout,
    loss=methods.METHODS[loss.name].loss,
    batch_size=BATCH_SIZE,
    num_steps=num_steps,
  )

  def call() -> None:
    nonlocal state
    state, progress = train_call(images, state, examples, labels, hparams, None)
    jax.block_until_ready(progress)

  return call


def time_steps(runs: Sequence[setup.PreparedRun], layout: devices.Layout, num_steps: int) -> float:
  """Times the compiled steps of a pack of runs, without log rows, evaluations and files.

  Args:
    runs: runs that one program can train, at most `layout.capacity`.
    layout: the layout of the runs.
    num_steps: the number of steps, rounded up to whole calls.

  Returns:
    Seconds after the state is initialised. The first time includes compilation.
  """
  pack = loop.Pack(runs, layout)
  try:
    training = loop.Loop(pack, [], jax.block_until_ready(pack.initial_state()), 0)
    start = time.perf_counter()
    while training.step < num_steps:
      training.advance(pack.call_steps)
    jax.block_until_ready(training.state)
    return time.perf_counter() - start
  finally:
    pack.inputs.close()


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Times the variants of each model in turn."""
  for name in args.models.split(","):
    scanned = devices.steps_per_call(name in models.CONVOLUTIONAL)
    kinds = [(dtype, steps) for dtype in ("float32", "bfloat16") for steps in (1, scanned)]
    calls = [make_call(name, steps, dtype=dtype) for dtype, steps in kinds]
    timings = harness.alternate(calls, repetitions=args.repetitions)
    rates = [timing.rates(steps * BATCH_SIZE) for (_, steps), timing in zip(kinds, timings)]
    for (dtype, steps), rate, timing in zip(kinds, rates, timings):
      yield harness.Row(
        name=f"{name} {dtype} {'plain' if steps == 1 else f'scan of {steps}'}",
        unit="images/s",
        values=rate,
        ratios=harness.ratios(rate, rates[0]),
        ratio_to="float32 plain",
        **timing.memory,
      )


if __name__ == "__main__":
  harness.run(
    "step_time",
    __doc__,
    measure,
    arguments=lambda parser: parser.add_argument("--models", default=",".join(SHAPES)),
  )
