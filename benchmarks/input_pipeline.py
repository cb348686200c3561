"""How many ImageNet-like images a core decodes, crops and resizes in a second.

    python -m benchmarks.input_pipeline --out=results/benchmarks/input_pipeline.json

JPEG files of 500 x 375 pixels and about 110 kB (ImageNet's usual size), made on the spot and kept
in memory: the disk is not measured. Training: a random-resized crop of 224 and a flip. One thread,
then `stream.Reader` with threads and with worker processes, and what feeding stated accelerators
takes at the rate of one core. One minute on 2 cores.
"""

import argparse
import io
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import record
from lsjax import config as config_lib
from lsjax import stream

NUM_IMAGES, BATCH_SIZE = 64, 256
# bfloat16 TFLOP/s of the data sheets, and the share of them that is assumed to be reached.
ACCELERATORS = {"TPU v3-8": (420, 0.4), "one H200": (989, 0.1)}
# Operations of a training step of ResNet-50 per image at 224: three times 4.1 GMAC forward.
GFLOP_PER_IMAGE = 3 * 2 * 4.1


class Records:
  """Stands for a TFDS data source: encoded images in memory."""

  def __init__(self, images: list[bytes]):
    self.images = images

  def __len__(self) -> int:
    return len(self.images)

  def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
    return [{"image": self.images[i], "label": i % 10, "file_name": f"{i}.JPEG"} for i in indices]


def jpegs() -> list[bytes]:
  """Makes images with detail enough that they take about 110 kB at quality 95."""
  rng = np.random.default_rng(0)
  found = []
  for _ in range(NUM_IMAGES):
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.int16)
    noise = np.asarray(
      Image.fromarray(rng.integers(0, 256, (188, 250), dtype=np.uint8)).resize((500, 375)), np.int16
    )
    array = np.clip(smooth + (noise[..., None] - 128) // 4, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=95)
    found.append(buffer.getvalue())
  return found


def measure(args: argparse.Namespace) -> Iterator[record.Row]:
  images = jpegs()
  source = stream.Source(Records(images), "memory", "file_name", 10)
  section = config_lib.Data(name="imagenet2012", flip=True)
  cores = len(os.sched_getaffinity(0))
  transform = stream._Augmented(section.image_size, section.flip)
  rng = np.random.default_rng(0)

  def one_thread() -> None:
    for i in range(NUM_IMAGES):
      transform(source[i], rng)

  def reading(workers: int) -> Callable[[], Any]:
    batches = stream.Reader(workers=workers).train_batches(
      source, section, seed=0, batch_size=BATCH_SIZE, start=0
    )
    return lambda: list(itertools.islice(batches, 8))

  one = record.alternate([one_thread], repetitions=args.repetitions)[0]
  per_core = one.rates(NUM_IMAGES)
  size = sum(map(len, images)) / NUM_IMAGES / 1024
  yield record.Row(
    "one thread", "images/s", per_core, **one.memory, details={"kib_per_image": size}
  )
  kinds = {f"{cores} cores, threads": 0, f"{cores} cores, {cores} worker processes": cores}
  # One after another: readers that wait for their turn would read ahead meanwhile.
  for name, workers in kinds.items():
    (timing,) = record.alternate([reading(workers)], repetitions=args.repetitions, warm_up=1)
    rate = timing.rates(8 * BATCH_SIZE)
    yield record.Row(
      name=f"stream.Reader, {name}",
      unit="images/s",
      values=rate,
      ratios=record.ratios(rate, per_core),
      ratio_to="one thread",
      **timing.memory,
    )
  for name, (teraflops, share) in ACCELERATORS.items():
    needed = 1000 * teraflops * share / GFLOP_PER_IMAGE
    yield record.Row(
      name=f"cores that feed {name}",
      unit="cores",
      values=[needed / rate for rate in per_core],
      details={"images_per_second": needed, "share_of_peak_assumed": share},
    )


if __name__ == "__main__":
  record.run("input_pipeline", __doc__, measure)
