"""What the training loop adds to the compiled steps: logging, and how long devices wait.

    python -m benchmarks.loop_overhead --out=results/benchmarks/loop_overhead.json

2000 steps on digits through the ordinary loop (`train.train_runs`: a log row every 100 steps,
metrics fetched one call late) against the same compiled calls alone. Timed from the first
fetched call to the last, because what follows is one evaluation, one checkpoint and the
diagnostics; the whole is a row of its own. Then a profile of such a loop: which part of that
time no step was running. One minute on 2 cores.
"""

import argparse
import glob
import gzip
import json
import pathlib
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import jax
from tqdm import tqdm

from benchmarks import record
from configs import digits_noisy
from lsjax import config as config_lib
from lsjax import experiment, parallel, train

NUM_STEPS = 2000


class _Bar(tqdm):
  """A silent progress bar that remembers when the steps of each call were fetched."""

  def __init__(self) -> None:
    super().__init__(disable=True)
    self.marks: list[tuple[float, int]] = []

  def update(self, n: float | None = 1) -> bool | None:
    self.marks.append((time.perf_counter(), int(n or 0)))
    return None

  def seconds_per_step(self) -> float:
    """From the first fetched call to the last."""
    (start, _), (end, _) = self.marks[0], self.marks[-1]
    return (end - start) / sum(steps for _, steps in self.marks[1:])


def _through_loop(run: experiment.Experiment, layout: parallel.Layout) -> tuple[float, float]:
  """Returns seconds a step between the first and last fetch, and of the whole."""
  bar = _Bar()
  with tempfile.TemporaryDirectory() as workdir:
    start = time.perf_counter()
    train.train_runs([run], [workdir], layout, stop=[], bar=bar)
    return bar.seconds_per_step(), (time.perf_counter() - start) / NUM_STEPS


def idle_share(trace: str) -> float:
  """Returns the part of the time between the first and last training call without one.

  Args:
    trace: directory that `jax.profiler` wrote.
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


def measure(args: argparse.Namespace) -> Iterator[record.Row]:
  section = digits_noisy.get_config()
  section.train.num_steps = section.train.eval_every = section.checkpoint.every = NUM_STEPS
  run = experiment.prepare(config_lib.from_config_dict(section))
  layout = parallel.Layout(tuple(run.devices), shared=True)
  loops: list[tuple[float, float]] = []
  bare: list[float] = []
  calls: list[Any] = [
    lambda: bare.append(train.time_steps([run], layout, NUM_STEPS) / NUM_STEPS),
    lambda: loops.append(_through_loop(run, layout)),
  ]
  timings = record.alternate(calls, repetitions=args.repetitions, warm_up=1)
  bare, loops = bare[1:], loops[1:]
  yield record.Row("digits step, compiled scan alone", "us", [1e6 * t for t in bare])
  for name, values, target in (
    ("through the loop", [t for t, _ in loops], record.Target("ratio", "at most", 1.15)),
    ("whole run with evaluation and files", [t for _, t in loops], None),
  ):
    yield record.Row(
      name=f"digits step, {name}",
      unit="us",
      values=[1e6 * t for t in values],
      ratios=record.ratios(values, bare),
      ratio_to="compiled scan alone",
      target=target,
      **timings[1].memory,
    )
  if jax.default_backend() == "cpu":
    with tempfile.TemporaryDirectory() as trace:
      with jax.profiler.trace(trace):
        _through_loop(run, layout)
      idle = idle_share(str(pathlib.Path(trace)))
    yield record.Row("no step running, by profile", "%", [100 * idle])


if __name__ == "__main__":
  record.run("loop_overhead", __doc__, measure, repetitions=7)
