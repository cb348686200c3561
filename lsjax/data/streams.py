"""Image splits too large for memory, which Grain reads, decodes and crops while a run trains.

A stream's batches are a pure function of (seed, step): epochs follow one another directly, and
each is a fresh shuffle of all examples. So a resumed run sees the batches of an uninterrupted
one whatever the number of worker processes, and several hosts together see the batches of one.
The step is the iterator's whole state. This module does not import JAX.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
import os
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

from lsjax import config as config_lib
from lsjax.data import decoding
from lsjax.data.tfds import check_files, explaining_errors, quiet_tensorflow_datasets
from lsjax.validation import UserError

Box = tuple[int, int, int, int]

# The random crops that are usual for ImageNet (Szegedy et al., 2015, section 6): the share of the
# image's area, width over height, and the number of attempts.
_AREA, _RATIO, _ATTEMPTS = (0.08, 1.0), (3 / 4, 4 / 3), 10
# The side of a centre crop over the shorter side of the image (224 of 256).
_CENTRE = 0.875
# The largest number of examples that a worker reads at once.
_CHUNK = 64
_QUIET = "ignore:resource_tracker:UserWarning"


class DataError(UserError, ValueError):
  """A record that cannot be read or an image that cannot be decoded; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Source:
  """A split of images on disk with random access.

  Attributes:
    records: a TFDS data source whose images are left encoded.
    directory: the directory of the data set, for messages.
    id_key: the name of the feature that identifies an example.
    num_classes: the number of classes L.
  """

  records: Any
  directory: str
  id_key: str
  num_classes: int

  def __len__(self) -> int:
    return len(self.records)

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Reads one example; see `read`."""
    (example,) = self.read([index])
    return example

  def read(self, indices: Sequence[int]) -> list[dict[str, Any]]:
    """Reads examples without decoding their images.

    Returns:
      A dictionary for each index: "image" (bytes of a file), "label" (int) and "id" (str).

    Raises:
      DataError: if a record cannot be read, or if its label is no class.
    """
    with explaining_errors(f"records in {self.directory} cannot be read", DataError):
      records = self.records.__getitems__([int(i) for i in indices])
      rows = [
        {"image": r["image"], "label": int(r["label"]), "id": _text(r[self.id_key])}
        for r in records
      ]
    for row in rows:
      if not 0 <= row["label"] < self.num_classes:
        raise DataError(
          f"label {row['label']} of {row['id']} in {self.directory} is outside "
          f"[0, {self.num_classes})"
        )
    return rows

  def labels(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Reads the ids and labels of examples; see `read` for errors.

    Returns:
      (ids, labels): strings [N] and int64 [N].
    """
    starts = range(0, len(indices), 1024)  # all at once, the encoded images would fill the memory
    rows = (row for start in starts for row in self.read(indices[start : start + 1024]))
    pairs = [(row["id"], row["label"]) for row in rows]
    return np.array([name for name, _ in pairs]), np.array([k for _, k in pairs], np.int64)


def _text(value: bytes | str | int) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)


def open_split(section: config_lib.Data, split: str) -> Source:
  """Opens a split of the TFDS data set that a data section names.

  Args:
    section: the data section of a config.
    split: "train" or "validation".

  Raises:
    ValueError: one line about section.data_dir, if the directory is missing or unreadable.
  """
  with quiet_tensorflow_datasets():
    import tensorflow_datasets as tfds

    with explaining_errors(f"has no readable {section.name}"):
      check_files(section.name, section.data_dir)
      builder = tfds.builder(section.name, data_dir=section.data_dir or None)
      if not builder.is_prepared():
        raise FileNotFoundError("not prepared there; TFDS's page of the data set says how")
      records = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    features = builder.info.features
    id_key = "file_name" if "file_name" in features else "id"
    return Source(records, str(builder.data_dir), id_key, features["label"].num_classes)


@dataclasses.dataclass(frozen=True)
class Reader:
  """Reads one process's part of every batch.

  Attributes:
    process: the index of the process.
    processes: the number of processes that share each batch.
    workers: the number of worker processes that decode for this process; 0 stands for threads.
  """

  process: int = 0
  processes: int = 1
  workers: int = 0

  def train_batches(
    self, source: Source, section: config_lib.Data, *, seed: int, batch_size: int, start: int
  ) -> Generator[dict[str, np.ndarray]]:
    """Yields this process's part of the batches of steps `start`, `start` + 1, ... without end.

    Args:
      source: the training split.
      section: the data section, for image_size (S) and flip.
      seed: the seed of order, crops and flips.
      batch_size: the size of a batch over all processes, divisible by their number.
      start: the first step, counted from 0.

    Yields:
      {"image": uint8 [N, S, S, 3], "label": int64 [N], "id": str [N]}, N = batch_size / processes.

    Raises:
      DataError: if a record cannot be read or an image cannot be decoded.
    """
    import grain

    size = batch_size // self.processes
    examples = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    # Cropped before the processes part, so that a crop depends on the place in the stream alone.
    examples = examples.random_map(
      functools.partial(
        random_crop, size=section.image_size, flip=section.flip, directory=source.directory
      )
    )
    examples = examples[self.process :: self.processes]
    yield from self._read(examples[start * size :], size, source.directory)

  def eval_batches(
    self, source: Source, section: config_lib.Data, *, batch_size: int
  ) -> Generator[dict[str, np.ndarray]]:
    """Yields this process's part of one pass over all examples, cut out at the centre.

    The last batch is filled up with copies of the last example, so that every process yields the
    same number of batches. The arguments and errors are those of `train_batches`.

    Yields:
      The dictionary of `train_batches` and "where", bool [N], which is False for such copies.
    """
    import grain

    size, last = batch_size // self.processes, len(source) - 1

    def example(index: int) -> dict[str, Any]:
      position = index * self.processes + self.process
      row = centre_crop(
        source[min(position, last)], size=section.image_size, directory=source.directory
      )
      return row | {"where": position <= last}

    count = math.ceil(len(source) / batch_size) * size
    yield from self._read(grain.MapDataset.range(count).map(example), size, source.directory)

  def _read(self, examples: Any, size: int, directory: str) -> Generator[dict[str, np.ndarray]]:
    """Yields batches of `size` examples, joined from chunks that are read in parallel."""
    import grain

    # Chunks are small, because several of them are in memory for each worker.
    chunk = math.gcd(size, _CHUNK)
    chunks = examples.batch(chunk)
    if self.workers:
      _prepare_for_workers()
      options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
      workers = grain.MultiprocessingOptions(num_workers=self.workers)
      iterator = iter(chunks.to_iter_dataset(options).mp_prefetch(workers, _end_with_parent))
    else:
      options = grain.ReadOptions(num_threads=16, prefetch_buffer_size=16)
      iterator = iter(chunks.to_iter_dataset(options))
    try:
      while parts := list(itertools.islice(iterator, size // chunk)):
        yield {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}
    except DataError:
      raise
    except Exception as error:  # Grain may wrap the error of a worker, and a worker may die
      last = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
      known = last[-1].partition(f"{DataError.__name__}: ")[2].strip()
      raise DataError(
        known or f"images in {directory} cannot be read ({last[-1].strip()})"
      ) from error
    finally:
      iterator.close()


def _prepare_for_workers() -> None:
  """Makes Grain's worker processes start without absl's flags and end without warnings."""
  from absl import flags

  if not flags.FLAGS.is_parsed():  # Grain reads its own flags also if a library calls it
    flags.FLAGS.mark_as_parsed()
  # Python's resource tracker frees what was read ahead, and would warn about it.
  if _QUIET not in sys.warnoptions:
    sys.warnoptions.append(_QUIET)


def _end_with_parent(index: int, count: int) -> None:
  """Ends a worker when its parent has been killed; otherwise it would wait for ever."""
  del index, count
  parent = os.getppid()

  def watch() -> None:
    while os.getppid() == parent:
      time.sleep(1)
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()


def random_crop(
  example: dict[str, Any], rng: np.random.Generator, *, size: int, flip: bool, directory: str
) -> dict[str, Any]:
  """Decodes an example's image, cuts out a random part, resizes it and perhaps mirrors it.

  Args:
    example: a dictionary that `Source.read` returns.
    rng: the generator of the random part.
    size: the side of the result in pixels.
    flip: whether to mirror the result with probability 1/2.
    directory: the directory of the data set, for messages.

  Returns:
    The example with "image" as uint8 [size, size, 3].

  Raises:
    DataError: if the image cannot be decoded.
  """
  with _decoding(example, directory) as image:
    box = random_box(rng, *image.size)
    flipped = flip and rng.random() < 0.5
    return example | {"image": resized(image, box, size, flipped=flipped)}


def centre_crop(example: dict[str, Any], *, size: int, directory: str) -> dict[str, Any]:
  """Decodes an example's image, cuts out its centre and resizes it; see `random_crop`."""
  with _decoding(example, directory) as image:
    return example | {"image": resized(image, centre_box(*image.size), size)}


@contextlib.contextmanager
def _decoding(example: dict[str, Any], directory: str) -> Iterator[Any]:
  """Opens an example's image; an error while it is open becomes a `DataError`."""
  problem = f"image {example['id']} in {directory} cannot be decoded"
  with explaining_errors(problem, DataError), decoding.opened(example["image"]) as image:
    yield image


def random_box(rng: np.random.Generator, width: int, height: int) -> Box:
  """Draws a part of an image: 8 to 100 % of its area, sides between 3:4 and 4:3.

  Returns:
    (left, top, right, bottom) in pixels: the largest centred square if ten draws do not fit.
  """
  for _ in range(_ATTEMPTS):
    area = rng.uniform(*_AREA) * width * height
    ratio = np.exp(rng.uniform(*np.log(_RATIO)))
    w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
    if 0 < w <= width and 0 < h <= height:
      left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
      return left, top, left + w, top + h
  return _centred_square(width, height, min(width, height))


def centre_box(width: int, height: int) -> Box:
  """Returns the centred square whose side is 87.5 % of the shorter side; see `random_box`."""
  return _centred_square(width, height, max(1, round(_CENTRE * min(width, height))))


def _centred_square(width: int, height: int, side: int) -> Box:
  left, top = (width - side) // 2, (height - side) // 2
  return left, top, left + side, top + side


def resized(image: Any, box: Box, size: int, *, flipped: bool = False) -> np.ndarray:
  """Resizes a part of a Pillow image bilinearly.

  Args:
    image: an image opened by Pillow; a JPEG must not be decoded yet.
    box: (left, top, right, bottom) of the part, in pixels.
    size: the side of the result.
    flipped: whether to mirror the result from left to right.

  Returns:
    uint8 [size, size, 3].
  """
  from PIL import Image

  whole = image.size
  # Decoding a JPEG at 1/2, 1/4 or 1/8 of its size takes less time and still is large enough.
  shrink = min((box[2] - box[0]) / size, (box[3] - box[1]) / size)
  if shrink >= 2:
    image.draft("RGB", (int(whole[0] / shrink), int(whole[1] / shrink)))
  scaled = tuple(b * image.size[i % 2] / whole[i % 2] for i, b in enumerate(box))
  array = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, scaled))
  return array[:, ::-1] if flipped else array
