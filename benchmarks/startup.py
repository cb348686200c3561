"""The seconds from the start of the digits job to its first training step, cold and warm.

    python -m benchmarks.startup --out=results/benchmarks/startup.json

Each repetition is a separate process. A cold start has an empty compilation cache, a warm start the
cache that a cold start has filled. The stages are those of `python -m lsjax.main`: the interpreter
and its imports; data and noise; the first compiled call of 100 steps with everything that it needs.
About two minutes on 2 cores.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from benchmarks import harness

TARGETS = {"cold": 8.0, "warm": 4.0}  # seconds on 2 cores


def child(started: float, cache: str) -> None:
  """Goes through the stages of main up to the first call; prints the seconds of each stage."""
  marks = [started]

  def mark() -> None:
    marks.append(time.time())

  import jax

  from benchmarks import step_time
  from lsjax import config as config_lib
  from lsjax import shipped
  from lsjax.training import devices, setup

  jax.config.update("jax_compilation_cache_dir", cache)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  config = config_lib.from_config_dict(shipped.load("digits_noisy"))
  mark()
  run = setup.prepare(config)
  mark()
  step_time.time_steps([run], devices.Layout(tuple(run.devices), shared=True), 1)
  mark()
  stages = [after - before for before, after in itertools.pairwise(marks)]
  memory = {"peak_host_mib": harness.peak_host_mib()}
  print(json.dumps(dict(zip(("imports", "data", "first_call"), stages)) | memory))


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Starts the processes; yields a row for cold starts and another for warm starts."""
  stages: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
  for _ in range(args.repetitions):
    with tempfile.TemporaryDirectory() as cache:
      for kind in stages:
        command = [sys.executable, "-m", "benchmarks.startup", "--child", cache]
        started = repr(time.time())
        done = subprocess.run([*command, started], capture_output=True, text=True, check=True)
        stages[kind].append(json.loads(done.stdout.splitlines()[-1]))
  for kind, repetitions in stages.items():
    memory = max(seconds.pop("peak_host_mib") for seconds in repetitions)
    yield harness.Row(
      name=f"first step of digits, {kind}",
      unit="s",
      values=[sum(seconds.values()) for seconds in repetitions],
      target=harness.Target("value", "at most", TARGETS[kind]),
      peak_host_mib=memory,
      details={
        stage: statistics.median(seconds[stage] for seconds in repetitions)
        for stage in repetitions[0]
      },
    )


if __name__ == "__main__":
  if sys.argv[1:2] == ["--child"]:
    child(float(sys.argv[3]), sys.argv[2])
  else:
    harness.run("startup", __doc__, measure)
