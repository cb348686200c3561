"""The memory that configs/cifar_noisy.py takes with as many images as CIFAR-10.

    python -m benchmarks.memory --out=results/benchmarks/memory.json

A separate process trains a few steps, evaluates every image, saves a checkpoint and finishes. Its
60,000 images are random and come from an .npz file. About five minutes on 2 cores.
"""

import argparse
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import harness

TARGET_MIB = 3 * 1024.0
NUM_STEPS = 8


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Runs the job and asks the system for its largest resident size."""
  rng = np.random.default_rng(0)
  arrays: dict[str, Any] = {}
  for split, count in (("train", 50_000), ("test", 10_000)):
    arrays[f"{split}_images"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    arrays[f"{split}_labels"] = rng.integers(0, 10, count)
  peaks, seconds = [], []
  for _ in range(args.repetitions):
    with tempfile.TemporaryDirectory() as directory:
      np.savez(f"{directory}/images.npz", **arrays)
      start = time.perf_counter()
      subprocess.run(
        [
          *(sys.executable, "-m", "lsjax.main", "--config=configs/cifar_noisy.py"),
          *("--config.data.name=npz", f"--config.data.path={directory}/images.npz"),
          *(f"--config.train.num_steps={NUM_STEPS}", f"--workdir={directory}/run"),
        ],
        cwd=pathlib.Path(__file__).parent.parent,
        capture_output=True,
        check=True,
      )
      seconds.append(time.perf_counter() - start)
    peaks.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
  yield harness.Row(
    name="cifar_noisy, peak resident",
    unit="MiB",
    values=peaks,
    target=harness.Target("value", "at most", TARGET_MIB),
    peak_host_mib=max(peaks),
    details={"seconds": seconds, "steps": NUM_STEPS},
  )


if __name__ == "__main__":
  harness.run("memory", __doc__, measure, repetitions=1)
