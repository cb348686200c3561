"""How long whole tables take: digits as a sweep packs them, and a scaled CIFAR table.

    python -m benchmarks.table_time --out=results/benchmarks/table_time.json

Digits: 8 cells (CE, LS, FC and BC at two noise rates) x 5 seeds x 1500 steps. The steps alone,
packed as `parallel.packed_layout` says; the same one run after another; and the whole sweep
with its evaluations, files and report, in a process of its own. CIFAR: as many run-steps of
the small CNN and of ResNet-32 as fit in a few seconds, on random images, scaled to table A's 4
methods x 5 seeds x 64k steps. About two minutes on 2 cores.
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

from benchmarks import record, step_time
from configs.sweeps import table_a_digits
from lsjax import cells, experiment, parallel, sweep, train

TABLE_A_RUN_STEPS = 4 * 5 * 64_000
STEPPING_TARGET = 25.0  # seconds on 2 cores


def digits_steps(repetitions: int) -> Iterator[record.Row]:
  """Times the training steps of the digits table."""
  planned = sweep.runs_of(cells.plan(table_a_digits.get_config()), pathlib.Path())
  runs = [experiment.prepare(run.config) for run in planned]
  on = parallel.devices(0)
  steps = runs[0].config.train.num_steps

  def through(layout: parallel.Layout) -> Callable[[], None]:
    size = layout.capacity
    packs = [runs[i : i + size] for i in range(0, len(runs), size)]

    def work() -> None:
      for pack in packs:
        train.time_steps(pack, layout, steps)

    return work

  layouts = {
    "one run after another": parallel.Layout(tuple(on[:1])),
    "packed": parallel.packed_layout(on, model_is_convolutional=False),
  }
  timings = record.alternate(
    [through(layout) for layout in layouts.values()], repetitions=repetitions, warm_up=1
  )
  for name, timing in zip(layouts, timings):
    yield record.Row(
      name=f"digits table, {len(runs)} runs x {steps} steps, {name}",
      unit="s",
      values=timing.seconds,
      ratios=record.ratios(timing.seconds, timings[0].seconds),
      ratio_to="one run after another",
      target=record.Target("value", "at most", STEPPING_TARGET) if name == "packed" else None,
      **timing.memory,
    )


def digits_sweep() -> record.Row:
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
  return record.Row("digits table, the whole command", "s", [seconds], peak_host_mib=peak)


def cifar(name: str, repetitions: int) -> record.Row:
  """Times packed steps on CIFAR-shaped data and scales them to table A."""
  steps = parallel.steps_per_call(True)
  layout = parallel.packed_layout(parallel.devices(0), model_is_convolutional=True)
  call = step_time.make_call(name, steps, layout=layout)
  (timing,) = record.alternate([call], repetitions=repetitions)
  run_steps = layout.capacity * steps
  return record.Row(
    name=f"table A scaled from {run_steps} run-steps of {name}",
    unit="h",
    values=[t / run_steps * TABLE_A_RUN_STEPS / 3600 for t in timing.seconds],
    **timing.memory,
  )


def measure(args: argparse.Namespace) -> Iterator[record.Row]:
  yield from digits_steps(args.repetitions)
  yield digits_sweep()
  for name in ("small_cnn", "resnet32"):
    yield cifar(name, args.repetitions)


if __name__ == "__main__":
  # As the sweep does: on a CPU each core is a device.
  jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
  record.run("table_time", __doc__, measure, repetitions=3)
