"""Training speed in images/s by the ordinary programs, with one step in a call or a scan of steps.

    python -m benchmarks.step_time --out=results/benchmarks/step_time.json

Every model is timed with both types of activations. Images are random, because the speed does not
depend on them. The batch size is 128; images of 32 x 32 are cropped and flipped. About five minutes
on 2 cores. --scans sets the numbers of steps in a call, such as --scans=1,100,400, and --only the
rows to measure.
"""

import argparse
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from benchmarks import harness
from lsjax import config as config_lib
from lsjax import models
from lsjax.models import batch_norm as lsjax_batch_norm
from lsjax.training import devices, loop, matrices, programs, setup, step

SHAPES = {
  "mlp": (8, 8, 1),
  "mlp_512": (128,),
  "small_cnn": (32, 32, 3),
  "resnet32": (32, 32, 3),
  "resnet56": (32, 32, 3),
}
# Networks by another name than their model's, with the width of their hidden layer.
_HIDDEN = {"mlp_512": ("mlp", 512)}
# Flax's, and the one with one reduction in each direction.
BATCH_NORMS = {"flax": nn.BatchNorm, "paired": lsjax_batch_norm.BatchNorm}
DEFAULT_MODELS = "mlp,small_cnn,resnet32"
BATCH_SIZE, NUM_EXAMPLES = 128, 2048


def make_network(
  name: str, *, num_classes: int = 10, dtype: str = "float32", axis_name: str | None = None
) -> models.Network:
  """Builds a network for random images of its shape in `SHAPES`."""
  model, hidden = _HIDDEN.get(name, (name, 32))
  section = config_lib.Model(name=model, hidden=hidden, dtype=dtype)  # type: ignore[arg-type]
  spec = models.InputSpec(num_classes, (127.0,), (64.0,), SHAPES[name], "uint8")
  return models.create(section, spec, axis_name=axis_name)


def make_program(
  name: str,
  num_steps: int,
  *,
  dtype: str = "float32",
  layout: devices.Layout,
  num_classes: int = 10,
  loss: config_lib.Loss = config_lib.Loss(),  # noqa: B008 (frozen)
  backend: str = "",
  batch_norm: str = "",
) -> tuple[Callable[..., Any], Callable[..., Any]]:
  """Makes the compiled functions that initialise and train the runs of a layout on random images.

  Args:
    name: the name of the model.
    num_steps: the number of steps of a compiled call.
    dtype: the type of the activations.
    layout: the layout of the runs.
    num_classes: the number of classes L.
    loss: the loss of every run.
    backend: the backend whose layers the network has; by default the current one.
    batch_norm: a name in `BATCH_NORMS`; by default what is fastest on the backend.

  Returns:
    `programs.make_init` and `programs.make_train_call`.
  """
  model: Any = make_network(name, num_classes=num_classes, dtype=dtype, axis_name=layout.axis_name)
  model = models.packed(model, layout.packing, layout.width, backend=backend)
  model = model.clone(batch_norm=BATCH_NORMS.get(batch_norm, model.batch_norm))
  augmented = SHAPES[name][0] == 32
  data = config_lib.Data(crop_padding=4 if augmented else 0, flip=augmented)
  program = config_lib.program_of(loss)
  init = programs.make_init(model, layout, program, NUM_EXAMPLES)
  train_call = programs.make_train_call(
    model, data, layout, program=program, batch_size=BATCH_SIZE, num_steps=num_steps
  )
  return init, train_call


def make_arrays(
  name: str,
  *,
  layout: devices.Layout,
  num_classes: int = 10,
  loss: config_lib.Loss = config_lib.Loss(),  # noqa: B008 (frozen)
  runs_of_seed: int = 1,
) -> tuple[Any, ...]:
  """Makes what the programs of `make_program` take beside the state.

  Args:
    name: the name of the model.
    layout: the layout of the runs.
    num_classes: the number of classes L.
    loss: the loss of every run.
    runs_of_seed: how many runs in a row have the same data seed.

  Returns:
    Images, the indices of the examples, labels and hyper-parameters of every run, and the seeds.
  """
  rng = np.random.default_rng(0)
  runs = range(layout.capacity)
  images = layout.replicate(rng.integers(0, 256, (NUM_EXAMPLES, *SHAPES[name]), dtype=np.uint8))
  labels = layout.place([rng.integers(0, num_classes, NUM_EXAMPLES).astype(np.int32) for _ in runs])
  examples = layout.place([np.arange(NUM_EXAMPLES, dtype=np.int32) for _ in runs])
  seeds = [config_lib.Seeds(data=run // runs_of_seed) for run in runs]
  configs = [config_lib.Config(loss=loss, seed=seed) for seed in seeds]
  arrays = matrices.method_arrays(loss, None, num_classes)
  hparams = layout.place([step.make_hparams(config, arrays) for config in configs])
  return images, examples, labels, hparams, layout.place([np.uint32(seed) for seed in runs])


def make_call(
  name: str,
  num_steps: int,
  *,
  num_calls: int = 1,
  dtype: str = "float32",
  layout: devices.Layout | None = None,
  num_classes: int = 10,
  loss: config_lib.Loss = config_lib.Loss(),  # noqa: B008 (frozen)
  runs_of_seed: int = 1,
  batch_norm: str = "",
) -> Callable[[], None]:
  """Makes a function that trains every run of a layout on random images and waits for the end.

  Args:
    name: the name of the model.
    num_steps: the number of steps of a compiled call.
    num_calls: the number of compiled calls before it waits.
    dtype: the type of the activations.
    layout: the layout of the runs; by default a single run on the first device.
    num_classes: the number of classes L.
    loss: the loss of every run.
    runs_of_seed: how many runs in a row have the same data seed.
    batch_norm: a name in `BATCH_NORMS`; by default what is fastest on the backend.
  """
  layout = layout or devices.Layout(tuple(devices.choose(1)), shared=True)
  init, train_call = make_program(
    name,
    num_steps,
    dtype=dtype,
    layout=layout,
    num_classes=num_classes,
    loss=loss,
    batch_norm=batch_norm,
  )
  images, examples, labels, hparams, seeds = make_arrays(
    name, layout=layout, num_classes=num_classes, loss=loss, runs_of_seed=runs_of_seed
  )
  state = init(images, hparams.optim, seeds)

  def call() -> None:
    nonlocal state
    for _ in range(num_calls):
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


def measure(args: argparse.Namespace) -> Iterator[harness.Row | harness.Failure]:
  """Times the variants of each model, each in turn with the first."""
  for name in args.models.split(","):
    scans = [int(n) for n in args.scans.split(",") if n]
    scans = scans or [1, devices.steps_per_call(name in models.CONVOLUTIONAL)]
    kinds = {
      f"{name} {dtype} {'plain' if steps == 1 else f'scan of {steps}'}": (dtype, steps)
      for dtype in ("float32", "bfloat16")
      for steps in scans
    }
    names = harness.chosen([*kinds], args.only)
    if not names:
      continue
    # A repetition has as many steps for each row, so that all wait for the device equally often.
    most = max(kinds[row][1] for row in names)
    makers, work = {}, {}
    for row in names:
      dtype, steps = kinds[row]
      makers[row] = functools.partial(make_call, name, steps, dtype=dtype, num_calls=most // steps)
      work[row] = most // steps * steps * BATCH_SIZE
    yield from harness.compare(makers, work, args, unit="images/s")


def arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the benchmark's own flags."""
  parser.add_argument("--models", default=DEFAULT_MODELS)
  parser.add_argument("--scans", default="", help="steps in a call: 1 and so many; 1,100,400")


if __name__ == "__main__":
  harness.run(
    "step_time",
    __doc__,
    measure,
    arguments=arguments,
  )
