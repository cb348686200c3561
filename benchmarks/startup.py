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
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import record
from lsjax import files

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
  train.first_call(run, parallel.Layout(tuple(run.devices), shared=True))
  mark()
  stages = [after - before for before, after in itertools.pairwise(marks)]
  print(json.dumps(dict(zip(("imports", "data", "first_call"), stages))))


def measure(repetitions: int) -> list[dict[str, Any]]:
  """Returns a row for cold and one for warm starts."""
  seconds: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
  for _ in range(repetitions):
    with tempfile.TemporaryDirectory() as cache:
      for kind in seconds:
        command = [sys.executable, "-m", "benchmarks.startup", "--child", cache]
        started = repr(time.time())
        done = subprocess.run([*command, started], capture_output=True, text=True, check=True)
        seconds[kind].append(json.loads(done.stdout.splitlines()[-1]))
  return [
    {
      "start": kind,
      "target_seconds": TARGETS[kind],
      "total": record.summary([sum(one.values()) for one in each]),
      **{stage: record.summary([one[stage] for one in each]) for stage in each[0]},
      "repetitions": each,
    }
    for kind, each in seconds.items()
  ]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", help="JSON file to write")
  parser.add_argument("--repetitions", type=int, default=5)
  parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    child(float(args.child[1]), args.child[0])
    return
  rows = measure(args.repetitions)
  print(f"{'start':5} {'total, s':>9} {'min':>6} {'max':>6} {'target':>7}   of which, s")
  for row in rows:
    total = row["total"]
    stages = ", ".join(f"{k} {row[k]['median']:.2f}" for k in ("imports", "data", "first_call"))
    print(
      f"{row['start']:5} {total['median']:9.2f} {total['min']:6.2f} {total['max']:6.2f} "
      f"{row['target_seconds']:7.1f}   {stages}"
    )
  if args.out:
    result = {"benchmark": "startup", "environment": record.environment(), "rows": rows}
    files.write_json(args.out, result)


if __name__ == "__main__":
  main()
