"""Seconds from starting the digits job to its first training step, cold and warm.

    python -m benchmarks.startup --out=results/benchmarks/startup.json

Each repetition is a process of its own. Cold: with an empty compilation cache; warm: with the
one that such a process has left. The stages are those of `python -m lsjax.main`: interpreter
and imports, data and noise, and the first compiled call (100 steps) with what it needs. About
two minutes on 2 cores.
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

from benchmarks import record

TARGETS = {"cold": 8.0, "warm": 4.0}  # seconds on 2 cores


def child(started: float, cache: str) -> None:
  """Does what main does up to the first step; prints the seconds of each stage."""
  marks = [started]

  def mark() -> None:
    marks.append(time.time())

  import jax

  from configs import digits_noisy
  from lsjax import config as config_lib
  from lsjax import experiment, parallel, train

  jax.config.update("jax_compilation_cache_dir", cache)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  config = config_lib.from_config_dict(digits_noisy.get_config())
  mark()
  run = experiment.prepare(config)
  mark()
  train.time_steps([run], parallel.Layout(tuple(run.devices), shared=True), 1)
  mark()
  stages = [after - before for before, after in itertools.pairwise(marks)]
  memory = {"peak_host_mib": record.peak_host_mib()}
  print(json.dumps(dict(zip(("imports", "data", "first_call"), stages)) | memory))


def measure(args: argparse.Namespace) -> Iterator[record.Row]:
  """Starts processes; a row for cold and one for warm starts."""
  stages: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
  for _ in range(args.repetitions):
    with tempfile.TemporaryDirectory() as cache:
      for kind in stages:
        command = [sys.executable, "-m", "benchmarks.startup", "--child", cache]
        started = repr(time.time())
        done = subprocess.run([*command, started], capture_output=True, text=True, check=True)
        stages[kind].append(json.loads(done.stdout.splitlines()[-1]))
  for kind, each in stages.items():
    memory = max(one.pop("peak_host_mib") for one in each)
    yield record.Row(
      name=f"first step of digits, {kind}",
      unit="s",
      values=[sum(one.values()) for one in each],
      target=record.Target("value", "at most", TARGETS[kind]),
      peak_host_mib=memory,
      details={stage: statistics.median(one[stage] for one in each) for stage in each[0]},
    )


if __name__ == "__main__":
  if sys.argv[1:2] == ["--child"]:
    child(float(sys.argv[3]), sys.argv[2])
  else:
    record.run("startup", __doc__, measure)
