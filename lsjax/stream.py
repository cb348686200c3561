"""Images too many for memory: read, decoded and cropped while training, by Grain. No JAX here.

A stream's batches are a pure function of (seed, step): epochs follow one another without a seam,
each a fresh shuffle of all examples. So a resumed run sees the batches that an uninterrupted one
sees, with any number of worker processes, and several hosts together see those of one. The
iterator's whole state is the step, which is in every checkpoint.
"""

import contextlib
import dataclasses
import io
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
from lsjax import data

# Of the usual ImageNet crops (Szegedy et al., 2015, section 6): area and aspect ratio drawn.
_AREA, _RATIO, _TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
_QUIET = "ignore:resource_tracker:UserWarning"
_CHUNK = 64  # most examples that a worker reads at once
# A centre crop takes this part of the shorter side (224 of 256).
_CENTRE = 0.875


@dataclasses.dataclass(frozen=True)
class Source:
  """A split on disk, read at random.

  Attributes:
    records: a TFDS data source whose images are not decoded.
    where: its directory, for messages.
    id_key: the feature that names an example.
    num_classes: L.
  """

  records: Any
  where: str
  id_key: str
  num_classes: int

  def __len__(self) -> int:
    return len(self.records)

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Returns {"image": encoded bytes, "label", "id"}.

    Raises:
      config.ConfigError: one line, if the record cannot be read.
    """
    (example,) = self.read([index])
    return example

  def read(self, indices: Sequence[int]) -> list[dict[str, Any]]:
    """Returns several examples; see `__getitem__`."""
    try:
      rows = self.records.__getitems__([int(i) for i in indices])
      return [
        {"image": r["image"], "label": int(r["label"]), "id": _text(r[self.id_key])} for r in rows
      ]
    except Exception as error:  # array_record and TFDS raise many kinds for a damaged file
      config_lib.fail(
        "data.data_dir",
        self.where,
        f"holds records that cannot be read ({config_lib.one_line(error)})",
      )

  def labels(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (ids, labels) of examples without decoding an image."""
    ids: list[str] = []
    labels: list[int] = []
    for start in range(0, len(indices), 1024):
      for example in self.read(indices[start : start + 1024]):
        ids.append(example["id"])
        labels.append(example["label"])
    return np.array(ids), np.array(labels, np.int64)


def _text(value: Any) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)


def open_split(config: config_lib.Data, split: str) -> Source:
  """Opens a split of the TFDS data set that a data section names.

  Raises:
    config.ConfigError: one line, for a directory that is missing or unreadable.
  """
  with data.quiet_tensorflow_datasets():
    import tensorflow_datasets as tfds

    try:
      builder = tfds.builder(config.name, data_dir=config.data_dir or None)
      where = str(builder.data_dir)
      if not builder.is_prepared():
        raise FileNotFoundError("not prepared there; TFDS's page of the data set says how")
      records = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    except Exception as error:  # TFDS raises many kinds
      config_lib.fail(
        "data.data_dir",
        config.data_dir,
        f"has no readable {config.name} ({config_lib.one_line(error)})",
      )
    features = builder.info.features
    id_key = "file_name" if "file_name" in features else "id"
    return Source(records, where, id_key, features["label"].num_classes)


@dataclasses.dataclass(frozen=True)
class _Augmented:
  """Decodes, cuts out a random part, resizes, mirrors."""

  size: int
  flip: bool

  def __call__(self, example: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    with _decoding(example) as image:
      box = random_box(rng, *image.size)
      flipped = self.flip and rng.random() < 0.5
      return example | {"image": _resized(image, box, self.size, flipped)}


@dataclasses.dataclass(frozen=True)
class _Centred:
  """Decodes, cuts out the centre, resizes."""

  size: int

  def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
    with _decoding(example) as image:
      return example | {"image": _resized(image, centre_box(*image.size), self.size, False)}


@contextlib.contextmanager
def _decoding(example: dict[str, Any]) -> Iterator[Any]:
  """Opens an example's image; what cannot be decoded is told with its id."""
  from PIL import Image

  try:
    with Image.open(io.BytesIO(example["image"])) as image:
      yield image
  except (OSError, ValueError, SyntaxError) as error:
    name = example["id"]
    raise config_lib.ConfigError(
      f"config.data: image {name} cannot be decoded ({error})"
    ) from error


def random_box(rng: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
  """Draws (left, top, right, bottom): area 8 to 100 % of the image, sides 3:4 to 4:3.

  After ten draws that do not fit it is the largest centred square.
  """
  for _ in range(_TRIES):
    area = rng.uniform(*_AREA) * width * height
    ratio = np.exp(rng.uniform(*np.log(_RATIO)))
    w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
    if 0 < w <= width and 0 < h <= height:
      left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
      return left, top, left + w, top + h
  return _centred(width, height, min(width, height))


def centre_box(width: int, height: int) -> tuple[int, int, int, int]:
  """Returns the centred square of 87.5 % of the shorter side."""
  return _centred(width, height, max(1, round(_CENTRE * min(width, height))))


def _centred(width: int, height: int, side: int) -> tuple[int, int, int, int]:
  left, top = (width - side) // 2, (height - side) // 2
  return left, top, left + side, top + side


def _resized(image: Any, box: tuple[int, int, int, int], size: int, flipped: bool) -> np.ndarray:
  """Returns a part of an image as uint8 [size, size, 3], filtered bilinearly."""
  from PIL import Image

  whole = image.size
  # A JPEG decodes to 1/2, 1/4 or 1/8 in less time, where that still is enough.
  shrink = min((box[2] - box[0]) / size, (box[3] - box[1]) / size)
  if shrink >= 2:
    image.draft("RGB", (int(whole[0] / shrink), int(whole[1] / shrink)))
  scaled = tuple(b * image.size[i % 2] / whole[i % 2] for i, b in enumerate(box))
  part = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=scaled)
  array = np.asarray(part, np.uint8)
  return array[:, ::-1] if flipped else array


@dataclasses.dataclass(frozen=True)
class Reader:
  """How this process reads.

  Attributes:
    process: its index.
    processes: how many there are; each reads its part of every batch.
    workers: of this process that decode; 0: threads.
  """

  process: int = 0
  processes: int = 1
  workers: int = 0

  def train_batches(
    self, source: Source, config: config_lib.Data, *, seed: int, batch_size: int, start: int
  ) -> Generator[dict[str, np.ndarray]]:
    """Yields this process's part of the batches of steps `start`, `start` + 1, ...

    Args:
      source: of the training images.
      config: the data section: image_size, flip.
      seed: of order and augmentation.
      batch_size: of all processes together, which divide it evenly.
      start: step.

    Yields:
      {"image": uint8 [batch_size / processes, S, S, 3], "label": int64 [...], "id": str [...]}.
    """
    import grain

    part = batch_size // self.processes
    examples = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    # Before the hosts part: what an example looks like is a matter of its place in the stream.
    examples = examples.random_map(_Augmented(config.image_size, config.flip))
    mine = examples[self.process :: self.processes]
    yield from self._read(mine[start * part :], part)

  def eval_batches(
    self, source: Source, config: config_lib.Data, *, batch_size: int
  ) -> Generator[dict[str, np.ndarray]]:
    """Yields this process's part of all examples once, centre crops, the last batches filled up.

    Yields:
      As `train_batches`, and "where": bool, False for what fills up. Every process yields
      equally many.
    """
    import grain

    part = batch_size // self.processes
    count = -(-len(source) // batch_size)
    places = np.arange(count * part) * self.processes + self.process
    examples = grain.MapDataset.source(_Padded(source, places)).map(_Centred(config.image_size))
    yield from self._read(examples, part)

  def _read(self, examples: Any, part: int) -> Generator[dict[str, np.ndarray]]:
    """Yields batches of `part` examples, put together from chunks that are read in parallel."""
    import grain
    from absl import flags

    # Small, because several are in memory for each worker; a batch of thousands is not.
    chunk = math.gcd(part, _CHUNK)
    chunks = examples.batch(chunk)
    if self.workers:
      if not flags.FLAGS.is_parsed():  # Grain asks for flags of its own, also within a library
        flags.FLAGS.mark_as_parsed()
      # What was read ahead is freed by Python's resource tracker at the end, which would warn.
      if _QUIET not in sys.warnoptions:
        sys.warnoptions.append(_QUIET)
      one = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
      options = grain.MultiprocessingOptions(num_workers=self.workers)
      read = iter(chunks.to_iter_dataset(one).mp_prefetch(options, _end_with_parent))
    else:
      read = iter(
        chunks.to_iter_dataset(grain.ReadOptions(num_threads=16, prefetch_buffer_size=16))
      )
    try:
      while together := list(itertools.islice(read, part // chunk)):
        yield {key: np.concatenate([c[key] for c in together]) for key in together[0]}
    except config_lib.ConfigError:
      raise
    except Exception as error:  # of a worker: Grain wraps what was raised there
      lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
      raise config_lib.ConfigError(
        f"config.data: images cannot be read ({lines[-1].strip()})"
      ) from error
    finally:
      read.close()


def _end_with_parent(index: int, count: int) -> None:
  """Lets a worker end when its parent is gone, killed for instance: it would wait for ever."""
  del index, count
  parent = os.getppid()

  def watch() -> None:
    while os.getppid() == parent:
      time.sleep(1)
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()


@dataclasses.dataclass(frozen=True)
class _Padded:
  """A source in a given order, places past its end filled by its last example."""

  source: Source
  places: np.ndarray

  def __len__(self) -> int:
    return len(self.places)

  def __getitem__(self, index: int) -> dict[str, Any]:
    place = int(self.places[index])
    example = self.source[min(place, len(self.source) - 1)]
    return example | {"where": place < len(self.source)}
