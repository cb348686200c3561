"""Data parallelism simulated: how far the run of many devices is from that of one.

    python -m benchmarks.scaling --out=results/benchmarks/scaling.json

300 steps of the digits job with each batch divided over 1, 4 and 8 simulated devices of this CPU,
and over 2 processes of 2 devices that speak over loopback: the largest difference of a trained
parameter from those of one device, and the seconds of the whole command (they share the same
cores: no speed-up is to be seen). Then how long a checkpoint of ResNet-v2-50 with its optimiser
takes, and how large it is. Two minutes on 2 cores.
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

from benchmarks import record
from configs import imagenet_noisy
from lsjax import checkpoint
from lsjax import config as config_lib

ROOT = pathlib.Path(__file__).parent.parent
# (processes, devices of each)
LAYOUTS = ((1, 1), (1, 4), (1, 8), (2, 2))


def run(workdir: str, processes: int, devices: int) -> float:
  """Runs the digits job; returns the seconds of the command."""
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


def simulated() -> Iterator[record.Row]:
  """Compares the layouts with one device."""
  reference: list[np.ndarray] = []
  with tempfile.TemporaryDirectory() as directory:
    for processes, devices in LAYOUTS:
      workdir = f"{directory}/{processes}x{devices}"
      seconds = run(workdir, processes, devices)
      leaves = [np.asarray(x) for x in jax.tree.leaves(checkpoint.load_run(workdir)[2])]
      reference = reference or leaves
      difference = max(float(np.abs(a - b).max()) for a, b in zip(leaves, reference, strict=True))
      yield record.Row(
        name=f"{processes} process(es) x {devices} device(s), largest difference",
        unit="",
        values=[difference],
        details={"seconds": seconds},
      )


def checkpoints(repetitions: int) -> Iterator[record.Row]:
  """Times checkpoints of ResNet-v2-50 on this machine's disk."""
  config = config_lib.from_config_dict(imagenet_noisy.get_config())
  inputs = {
    "num_classes": 1000,
    "mean": (0.0,) * 3,
    "std": (1.0,) * 3,
    "shape": (224, 224, 3),
    "dtype": "uint8",
  }
  model = checkpoint.build_model(config, inputs)
  shapes = checkpoint.state_shapes(model, config, inputs)
  rng = np.random.default_rng(0)
  state = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)
  blocking, whole, reading = [], [], []
  with tempfile.TemporaryDirectory() as directory:
    writer = checkpoint.Checkpoints(directory, keep=1)
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
  yield record.Row("checkpoint of ResNet-v2-50 with LARS, on disk", "MB", [size / 1e6])
  for name, values in (
    ("training waits for", blocking),
    ("written after", whole),
    ("read in", reading),
  ):
    yield record.Row(f"checkpoint of ResNet-v2-50 with LARS, {name}", "s", values)


def measure(args: argparse.Namespace) -> Iterator[record.Row]:
  yield from simulated()
  yield from checkpoints(args.repetitions)


if __name__ == "__main__":
  record.run("scaling", __doc__, measure)
