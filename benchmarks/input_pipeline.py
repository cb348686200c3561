"""Counts the ImageNet-like images that a core decodes, crops and resizes in a second.

    python -m benchmarks.input_pipeline --out=results/benchmarks/input_pipeline.json

The images are JPEG files of 500 x 375 pixels and about 110 kB, the usual size in ImageNet. They are
made at the start and kept in memory, so that the disk is not measured. As for training, a random
part of each is resized to 224 x 224 and perhaps flipped: by a single thread, then by
`streams.Reader` with threads and with worker processes. The last rows are the numbers of such
cores that keep some accelerators busy. One minute on 2 cores.
"""

import argparse
import io
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import harness
from lsjax import config as config_lib
from lsjax.data import streams

NUM_IMAGES, BATCH_SIZE = 64, 256
# The bfloat16 TFLOP/s of the data sheets, and the share of them that training is assumed to reach.
ACCELERATORS = {"TPU v3-8": (420, 0.4), "one H200": (989, 0.1)}
# A training step of ResNet-50 takes three times the operations of its forward pass, which are 4.1
# billion multiplications and additions for an image of 224 x 224.
GFLOP_PER_IMAGE = 3 * 2 * 4.1


class MemorySource:
  """Serves encoded images from memory as a TFDS data source does from disk."""

  def __init__(self, images: list[bytes]):
    """Takes the images as the contents of JPEG files."""
    self.images = images

  def __len__(self) -> int:
    return len(self.images)

  def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
    return [{"image": self.images[i], "label": i % 10, "file_name": f"{i}.JPEG"} for i in indices]


def jpegs() -> list[bytes]:
  """Makes the contents of JPEG files, with so much detail that each has about 110 kB."""
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


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Measures a thread, then the readers, and computes what accelerators need."""
  images = jpegs()
  source = streams.Source(MemorySource(images), "memory", "file_name", 10)
  section = config_lib.Data(name="imagenet2012", flip=True)
  cores = len(os.sched_getaffinity(0))
  rng = np.random.default_rng(0)

  def one_thread() -> None:
    for i in range(NUM_IMAGES):
      streams.random_crop(
        source[i], rng, size=section.image_size, flip=section.flip, directory="memory"
      )

  def reading(workers: int) -> Callable[[], object]:
    batches = streams.Reader(workers=workers).train_batches(
      source, section, seed=0, batch_size=BATCH_SIZE, start=0
    )
    return lambda: list(itertools.islice(batches, 8))

  (timing,) = harness.alternate([one_thread], repetitions=args.repetitions)
  per_core = timing.rates(NUM_IMAGES)
  size = sum(map(len, images)) / NUM_IMAGES / 1024
  yield harness.Row(
    "one thread", "images/s", per_core, **timing.memory, details={"kib_per_image": size}
  )
  kinds = {f"{cores} cores, threads": 0, f"{cores} cores, {cores} worker processes": cores}
  # The readers do not alternate, because a waiting reader would read ahead.
  for name, workers in kinds.items():
    (timing,) = harness.alternate([reading(workers)], repetitions=args.repetitions, warm_up=1)
    rate = timing.rates(8 * BATCH_SIZE)
    yield harness.Row(
      name=f"streams.Reader, {name}",
      unit="images/s",
      values=rate,
      ratios=harness.ratios(rate, per_core),
      ratio_to="one thread",
      **timing.memory,
    )
  for name, (teraflops, share) in ACCELERATORS.items():
    needed = 1000 * teraflops * share / GFLOP_PER_IMAGE
    yield harness.Row(
      name=f"cores that feed {name}",
      unit="cores",
      values=[needed / rate for rate in per_core],
      details={"images_per_second": needed, "share_of_peak_assumed": share},
    )


if __name__ == "__main__":
  harness.run("input_pipeline", __doc__, measure)
