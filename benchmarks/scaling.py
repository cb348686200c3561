"""Simulated data parallelism: the difference between a run on many devices and a run on one.

    python -m benchmarks.scaling --out=results/benchmarks/scaling.json

300 steps of configs/digits_noisy.py are trained with each batch divided over 1, 4 and 8 simulated
devices of this CPU, and over 2 processes with 2 devices each that communicate over loopback. The
rows have the largest difference of a trained parameter from the run on one device, and the seconds
of the whole command, which cannot fall because the devices share the same cores. Further rows have
the size of a checkpoint of ResNet-v2-50 with its optimizer, and the time that it takes. Two minutes
on 2 cores.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import jax
import numpy as np

from benchmarks import harness
from lsjax import config as config_lib
from lsjax import models, shipped
from lsjax.runs import loading
from lsjax.runs.checkpoints import Checkpoints
from lsjax.training import step

ROOT = pathlib.Path(__file__).parent.parent
# Pairs of the number of processes and the number of devices that each has.
LAYOUTS = ((1, 1), (1, 4), (1, 8), (2, 2))


def run(workdir: str, processes: int, devices: int) -> float:
  """Trains the digits job; returns the seconds of the command."""
  path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
  start = time.perf_counter()
  subprocess.run(
    [
      *("launch/local_processes.sh", str(processes), "--config=configs/digits_noisy.py"),
      *(
        "--config.train.num_steps=300",
        "--config.train.num_devices=0",
        "--config.train.eval_batch_size=400",
        f"--workdir={workdir}",
      ),
    ],
    cwd=ROOT,
    env=os.environ | {"PATH": path, "DEVICES": str(devices)},
    capture_output=True,
    check=True,
  )
  return time.perf_counter() - start


def simulated() -> Iterator[harness.Row]:
  """Compares the parameters of each layout with those of one device."""
  reference: list[np.ndarray] = []
  with tempfile.TemporaryDirectory() as directory:
    for processes, devices in LAYOUTS:
      workdir = f"{directory}/{processes}x{devices}"
      seconds = run(workdir, processes, devices)
      leaves = [np.asarray(x) for x in jax.tree.leaves(loading.load_run(workdir)[2])]
      reference = reference or leaves
      difference = max(float(np.abs(a - b).max()) for a, b in zip(leaves, reference, strict=True))
      yield harness.Row(
        name=f"{processes} process(es) x {devices} device(s), largest difference",
        unit="",
        values=[difference],
        details={"seconds": seconds},
      )


def checkpoints(repetitions: int) -> Iterator[harness.Row]:
  """Times checkpoints of ResNet-v2-50 on the disk of this machine."""
  config = config_lib.from_config_dict(shipped.load("imagenet_noisy"))
  spec = models.InputSpec(1000, (0.0,) * 3, (1.0,) * 3, (224, 224, 3), "uint8")
  shapes = step.state_shapes(models.create(config.model, spec), config, spec, 0)
  rng = np.random.default_rng(0)
  state = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)
  blocking, whole, reading = [], [], []
  with tempfile.TemporaryDirectory() as directory:
    writer = Checkpoints(directory, keep=1)
    for at_step in range(1, repetitions + 1):
      start = time.perf_counter()
      writer.save(at_step, state)
      blocking.append(time.perf_counter() - start)
      writer.wait()
      whole.append(time.perf_counter() - start)
      start = time.perf_counter()
      writer.restore(at_step, shapes)
      reading.append(time.perf_counter() - start)
    size = sum(p.stat().st_size for p in pathlib.Path(directory).rglob("*") if p.is_file())
    writer.close()
  yield harness.Row("checkpoint of ResNet-v2-50 with LARS, on disk", "MB", [size / 1e6])
  for name, values in (
    ("training waits for", blocking),
    ("written after", whole),
    ("read in", reading),
  ):
    yield harness.Row(f"checkpoint of ResNet-v2-50 with LARS, {name}", "s", values)


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Measures the differences, then the checkpoints."""
  yield from simulated()
  yield from checkpoints(args.repetitions)


if __name__ == "__main__":
  harness.run("scaling", __doc__, measure)
