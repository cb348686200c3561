"""The time of whole tables: digits as a sweep packs them, and a scaled table of CIFAR.

    python -m benchmarks.table_time --out=results/benchmarks/table_time.json

The table on digits has 8 cells (CE, LS, FC and BC at two noise rates) with 5 seeds of 1500 steps.
Its steps alone are timed packed by `devices.packed_layout` and one run after another, and then the
whole sweep in a separate process, with its evaluations, files and report. For CIFAR, a few seconds
of training the small CNN and ResNet-32 on random images are scaled to table A of the paper, with 4
methods, 5 seeds and 64,000 steps. About two minutes on 2 cores.
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import jax

from benchmarks import harness, step_time
from lsjax import shipped
from lsjax.sweeps import plan
from lsjax.training import devices, setup

TABLE_A_RUN_STEPS = 4 * 5 * 64_000
STEPPING_TARGET = 25.0  # seconds on 2 cores


def digits_steps(repetitions: int) -> Iterator[harness.Row]:
  """Times the training steps of the digits table."""
  planned = plan.runs_of(plan.plan(shipped.load("table_a_digits")), pathlib.Path())
  runs = [setup.prepare(run.config) for run in planned]
  on = devices.choose(0)
  steps = runs[0].config.train.num_steps

  def training(layout: devices.Layout) -> Callable[[], None]:
    size = layout.capacity
    packs = [runs[i : i + size] for i in range(0, len(runs), size)]

    def work() -> None:
      for pack in packs:
        step_time.time_steps(pack, layout, steps)

    return work

  layouts = {
    "one run after another": devices.Layout(tuple(on[:1])),
    "packed": devices.packed_layout(on, model_is_convolutional=False),
  }
  timings = harness.alternate(
    [training(layout) for layout in layouts.values()], repetitions=repetitions, warm_up=1
  )
  for name, timing in zip(layouts, timings):
    yield harness.Row(
      name=f"digits table, {len(runs)} runs x {steps} steps, {name}",
      unit="s",
      values=timing.seconds,
      ratios=harness.ratios(timing.seconds, timings[0].seconds),
      ratio_to="one run after another",
      target=harness.Target("value", "at most", STEPPING_TARGET) if name == "packed" else None,
      **timing.memory,
    )


def digits_sweep() -> harness.Row:
  """Times the sweep command from start to report, once."""
  with tempfile.TemporaryDirectory() as workdir:
    start = time.perf_counter()
    subprocess.run(
      [
        *(sys.executable, "-m", "lsjax.sweep", "--config=configs/sweeps/table_a_digits.py"),
        f"--workdir={workdir}/sweep",
      ],
      cwd=pathlib.Path(__file__).parent.parent,
      capture_output=True,
      check=True,
    )
    seconds = time.perf_counter() - start
  peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
  return harness.Row("digits table, the whole command", "s", [seconds], peak_host_mib=peak)


def cifar(name: str, repetitions: int) -> harness.Row:
  """Times packed steps on images of CIFAR's shape and scales the time to table A."""
  steps = devices.steps_per_call(True)
  layout = devices.packed_layout(devices.choose(0), model_is_convolutional=True)
  call = step_time.make_call(name, steps, layout=layout)
  (timing,) = harness.alternate([call], repetitions=repetitions)
  run_steps = layout.capacity * steps
  return harness.Row(
    name=f"table A scaled from {run_steps} run-steps of {name}",
    unit="h",
    values=[t / run_steps * TABLE_A_RUN_STEPS / 3600 for t in timing.seconds],
    **timing.memory,
  )


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Times the table on digits, then the scaled table."""
  yield from digits_steps(args.repetitions)
  yield digits_sweep()
  for name in ("small_cnn", "resnet32"):
    yield cifar(name, args.repetitions)


if __name__ == "__main__":
  # On a CPU each core is a device, as in the sweep command.
  jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
  harness.run("table_time", __doc__, measure, repetitions=3)
