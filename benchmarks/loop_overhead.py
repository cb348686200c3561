"""The time that the training loop adds to the compiled steps, and the time that devices wait.

    python -m benchmarks.loop_overhead --out=results/benchmarks/loop_overhead.json

2000 steps on digits by the ordinary loop, with a log row every 100 steps, are compared with the
same compiled calls alone. The time of the loop is that from the first fetched call to the last. An
evaluation, a checkpoint and the diagnostics follow, and another row has the time of the whole run.
A profile of such a loop then tells in which share of its time no step was running. One minute on 2
cores.
"""

import argparse
import glob
import gzip
import json
import tempfile
import time
from collections.abc import Callable, Iterator

import jax
from tqdm import tqdm

from benchmarks import harness, step_time
from lsjax import config as config_lib
from lsjax import shipped
from lsjax.runs import execution
from lsjax.runs.leases import Lease
from lsjax.training import devices, setup

NUM_STEPS = 2000


class _Bar(tqdm):
  """A silent progress bar that remembers when the progress of each call was fetched."""

  def __init__(self) -> None:
    """Starts without marks."""
    super().__init__(disable=True)
    self.marks: list[tuple[float, int]] = []

  def update(self, n: float | None = 1) -> bool | None:
    self.marks.append((time.perf_counter(), int(n or 0)))
    return None

  def seconds_per_step(self) -> float:
    """Returns the time of a step between the first fetched call and the last."""
    (start, _), (end, _) = self.marks[0], self.marks[-1]
    return (end - start) / sum(steps for _, steps in self.marks[1:])


def _by_the_loop(run: setup.PreparedRun, layout: devices.Layout) -> tuple[float, float]:
  """Returns the seconds of a step in the loop, and those of the whole run divided by its steps."""
  bar = _Bar()
  with tempfile.TemporaryDirectory() as workdir:
    start = time.perf_counter()
    execution.train_pack([run], [Lease(workdir)], layout, stop=[], bar=bar)
    return bar.seconds_per_step(), (time.perf_counter() - start) / NUM_STEPS


def idle_share(trace: str) -> float:
  """Returns the share of the time from the first training call to the last in which none ran.

  Args:
    trace: the directory that `jax.profiler` wrote.
  """
  (path,) = glob.glob(f"{trace}/**/*.trace.json.gz", recursive=True)
  with gzip.open(path) as f:
    events = json.load(f)["traceEvents"]
  calls = [
    (e["ts"], e["ts"] + e["dur"])
    for e in events
    if e.get("ph") == "X" and "ThunkExecutor::Execute (wait" in e["name"]
  ]
  # The training calls are by far the longest programs of this job.
  longest = max(end - start for start, end in calls)
  steps = sorted(call for call in calls if call[1] - call[0] > longest / 4)
  window = steps[-1][1] - steps[0][0]
  return 1 - sum(end - start for start, end in steps) / window


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Alternates the compiled calls with the loop, then profiles the loop."""
  section = shipped.load("digits_noisy")
  section.train.num_steps = section.train.eval_every = section.checkpoint.every = NUM_STEPS
  run = setup.prepare(config_lib.from_config_dict(section))
  layout = devices.Layout(tuple(run.devices), shared=True)
  loops: list[tuple[float, float]] = []
  bare: list[float] = []
  calls: list[Callable[[], object]] = [
    lambda: bare.append(step_time.time_steps([run], layout, NUM_STEPS) / NUM_STEPS),
    lambda: loops.append(_by_the_loop(run, layout)),
  ]
  timings = harness.alternate(calls, repetitions=args.repetitions, warm_up=1)
  bare, loops = bare[1:], loops[1:]
  yield harness.Row("digits step, compiled scan alone", "us", [1e6 * t for t in bare])
  for name, values, target in (
    ("through the loop", [t for t, _ in loops], harness.Target("ratio", "at most", 1.15)),
    ("whole run with evaluation and files", [t for _, t in loops], None),
  ):
    yield harness.Row(
      name=f"digits step, {name}",
      unit="us",
      values=[1e6 * t for t in values],
      ratios=harness.ratios(values, bare),
      ratio_to="compiled scan alone",
      target=target,
      **timings[1].memory,
    )
  if jax.default_backend() == "cpu":
    with tempfile.TemporaryDirectory() as trace:
      with jax.profiler.trace(trace):
        _by_the_loop(run, layout)
      idle = idle_share(trace)
    yield harness.Row("no step running, by profile", "%", [100 * idle])


if __name__ == "__main__":
  harness.run("loop_overhead", __doc__, measure, repetitions=7)
