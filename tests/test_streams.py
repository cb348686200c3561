"""Streamed images: crops, order, parts of several processes, and what cannot be read."""

import dataclasses
import io
import itertools
import os
import shutil

import jax
import numpy as np
import pytest
from imagenet_fixture import NUM_TEST, NUM_TRAIN, section
from PIL import Image

from lsjax import config as config_lib
from lsjax.data import streams


def test_random_box():
  rng = np.random.default_rng(0)
  boxes = np.array([streams.random_box(rng, 200, 100) for _ in range(2000)])
  left, top, right, bottom = boxes.T
  assert left.min() >= 0
  assert top.min() >= 0
  assert right.max() <= 200
  assert bottom.max() <= 100
  areas = (right - left) * (bottom - top) / 20_000
  assert 0.07 < areas.min() < 0.1
  assert areas.max() <= 1
  ratios = (right - left) / (bottom - top)
  fallback = (right - left == 100) & (bottom - top == 100)
  assert fallback.mean() < 0.05
  assert 0.7 < ratios[~fallback].min() < 0.8
  assert 1.25 < ratios[~fallback].max() < 1.45
  assert streams.random_box(rng, 5, 1000) == (0, 497, 5, 502)  # nothing fits
  assert streams.centre_box(256, 512) == (16, 144, 240, 368)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_crops_show_the_part_that_they_should(mode):
  """Of an image with a black left half, so large that the JPEG is decoded at a fraction."""
  array = np.zeros((640, 640), np.uint8)
  array[:, 320:] = 255
  buffer = io.BytesIO()
  Image.fromarray(array).convert(mode).save(buffer, "JPEG")
  example = {"image": buffer.getvalue(), "id": "x", "label": 3}
  result = streams.centre_crop(example, size=32, directory="")
  assert {key: result[key] for key in ("id", "label")} == {"id": "x", "label": 3}
  centred = result["image"]
  assert centred.shape == (32, 32, 3)
  assert centred[:, :15].max() < 30
  assert centred[:, 17:].min() > 225
  flipped = streams.resized(Image.open(buffer), (0, 0, 640, 640), 32, flipped=True)
  assert flipped[:, :15].min() > 225
  right = streams.resized(Image.open(buffer), (320, 0, 640, 320), 32)
  assert right[:, 1:].min() > 225


def test_random_crops_are_flipped_half_the_time():
  array = np.zeros((64, 64), np.uint8)
  array[:, 32:] = 255
  buffer = io.BytesIO()
  Image.fromarray(array).save(buffer, "PNG")
  example = {"image": buffer.getvalue(), "id": "x", "label": 3}

  def share_darker_on_the_right(flip):
    rng = np.random.default_rng(0)
    crops = [
      streams.random_crop(example, rng, size=8, flip=flip, directory="")["image"]
      for _ in range(400)
    ]
    slopes = [int(c[:, -1].sum()) - int(c[:, 0].sum()) for c in crops]
    return np.mean([s < 0 for s in slopes if s])

  assert share_darker_on_the_right(False) == 0
  assert 0.4 < share_darker_on_the_right(True) < 0.6


def test_labels_and_ids(imagenet_directory):
  source = streams.open_split(section(imagenet_directory), "train")
  assert len(source) == NUM_TRAIN
  assert source.num_classes == 1000
  indices = range(1, NUM_TRAIN, 3)
  ids, labels = source.labels(indices)
  assert labels.dtype == np.int64
  examples = [source[i] for i in indices]
  assert ids.tolist() == [e["id"] for e in examples]
  assert labels.tolist() == [e["label"] for e in examples]
  many = [*range(NUM_TRAIN)] * 50  # more than are read at once
  ids, labels = source.labels(many)
  assert ids.tolist() == [source[i]["id"] for i in range(NUM_TRAIN)] * 50
  assert labels.shape == (50 * NUM_TRAIN,)
  assert [array.shape for array in source.labels(range(0))] == [(0,), (0,)]


def first_batches(directory, count=7, start=0, processes=1, workers=0, batch_size=8):
  """Reads batches from step `start` on and joins the parts of all processes."""
  source = streams.open_split(section(directory), "train")
  parts = []
  for process in range(processes):
    batches = streams.Reader(process, processes, workers).train_batches(
      source, section(directory), seed=5, batch_size=batch_size, start=start
    )
    parts.append([next(batches) for _ in range(count)])
    batches.close()
  return [
    {key: np.stack([p[i][key] for p in parts], 1).reshape(-1, *parts[0][i][key].shape[1:])
     for key in parts[0][i]}
    for i in range(count)
  ]  # fmt: skip


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


class Grey:
  """Stands for a TFDS data source of 12 images, each of one grey that names it."""

  def __len__(self):
    return 12

  def __getitems__(self, indices):
    return [{"image": png(10 * i), "label": i % 4, "id": str(i).encode()} for i in indices]


def png(grey):
  buffer = io.BytesIO()
  Image.new("L", (20, 15), grey).save(buffer, "PNG")
  return buffer.getvalue()


class TestOrder:
  def test_every_epoch_has_every_example_in_another_order(self, imagenet_directory):
    batches = first_batches(imagenet_directory, 9)
    ids = np.concatenate([b["id"] for b in batches]).reshape(3, NUM_TRAIN)
    expected = sorted(f"n00000000_{i}.JPEG" for i in range(NUM_TRAIN))
    assert [sorted(epoch) for epoch in ids] == [expected] * 3
    assert (ids[0] != ids[1]).any()
    assert (ids[1] != ids[2]).any()

  def test_a_batch_over_the_end_of_an_epoch(self, imagenet_directory):
    ids = np.concatenate([b["id"] for b in first_batches(imagenet_directory, 5, batch_size=10)])
    assert len(set(ids[:NUM_TRAIN])) == len(set(ids[NUM_TRAIN : 2 * NUM_TRAIN])) == NUM_TRAIN

  def test_a_reader_may_start_at_any_step(self, imagenet_directory):
    whole = first_batches(imagenet_directory, 7)
    assert_same(first_batches(imagenet_directory, 3, start=4), whole[4:])

  def test_processes_together_read_the_batches_of_one(self, imagenet_directory):
    alone = first_batches(imagenet_directory, 4)
    assert_same(first_batches(imagenet_directory, 4, processes=2), alone)

  def test_worker_processes_change_nothing(self, imagenet_directory):
    alone = first_batches(imagenet_directory, 3, start=2)
    assert_same(first_batches(imagenet_directory, 3, start=2, workers=2), alone)

  def test_labels_and_images_belong_to_the_ids(self):
    source = streams.Source(Grey(), "memory", "id", 4)
    config = config_lib.Data(image_size=4, flip=True)
    batches = streams.Reader().train_batches(source, config, seed=1, batch_size=6, start=0)
    seen = []
    for batch in itertools.islice(batches, 2):
      indices = batch["id"].astype(int)
      np.testing.assert_array_equal(batch["label"], indices % 4)
      np.testing.assert_array_equal(batch["image"], np.tile(indices, (3, 4, 4, 1)).T * 10)
      seen += indices.tolist()
    batches.close()
    assert sorted(seen) == list(range(12))

  def test_augmentation_differs_between_epochs(self, imagenet_directory):
    images = {}
    for batch in first_batches(imagenet_directory, 6):
      for name, image in zip(batch["id"], batch["image"]):
        images.setdefault(name, []).append(image)
    assert np.mean([np.array_equal(*pair) for pair in images.values()]) < 0.1


@pytest.mark.parametrize("processes", [1, 3])
def test_evaluation_sees_every_image_once(imagenet_directory, processes):
  config = section(imagenet_directory)
  source = streams.open_split(config, "validation")
  readers = [streams.Reader(p, processes) for p in range(processes)]
  parts = [list(r.eval_batches(source, config, batch_size=6)) for r in readers]
  assert {len(part) for part in parts} == {2}
  examples = {source[i]["id"]: source[i] for i in range(NUM_TEST)}
  seen = []
  for batch in (b for part in parts for b in part):
    assert batch["where"].dtype == bool
    for i in np.flatnonzero(batch["where"]):
      name = batch["id"][i]
      expected = streams.centre_crop(examples[name], size=16, directory="")
      np.testing.assert_array_equal(batch["image"][i], expected["image"])
      assert batch["label"][i] == expected["label"]
      seen.append(name)
  assert sorted(seen) == sorted(f"n00000001_{i}.JPEG" for i in range(NUM_TEST))


def test_a_directory_without_the_data_set(tmp_path):
  with pytest.raises(ValueError, match="has no readable imagenet2012") as caught:
    streams.open_split(section(tmp_path), "train")
  assert "\n" not in str(caught.value)


def test_damaged_record(tmp_path, imagenet_directory):
  shutil.copytree(imagenet_directory, tmp_path / "tfds")
  path = next((tmp_path / "tfds").rglob("*train.array_record*"))
  content = path.read_bytes()
  path.write_bytes(content[:5000] + bytes(3000) + content[8000:])
  source = streams.open_split(section(tmp_path / "tfds"), "train")
  message = f"records in {tmp_path}/tfds/.* cannot be read"
  with pytest.raises(streams.DataError, match=message) as caught:
    source.labels(range(NUM_TRAIN))
  assert "\n" not in str(caught.value)


class Undecodable(streams.Source):
  def __getitem__(self, index):
    return super().__getitem__(index) | {"image": b"no JPEG"}


class Wrapped(streams.Source):
  def __getitem__(self, index):
    raise RuntimeError("a worker failed:\n  lsjax.data.streams.DataError: image 7 in /x\n")


class Killed(streams.Source):
  def __getitem__(self, index):
    os._exit(1)


@pytest.mark.parametrize(
  ("kind", "workers", "message"),
  [
    (Undecodable, 0, r"^image n0+_\d+\.JPEG in .*/imagenet2012/.* cannot be decoded \("),
    (Undecodable, 1, r"^image n0+_\d+\.JPEG in .*/imagenet2012/.* cannot be decoded \("),
    (Wrapped, 0, r"^image 7 in /x$"),
    (Killed, 1, r"^images in .*/imagenet2012/.* cannot be read \("),
  ],
)
def test_one_line_for_what_cannot_be_read(imagenet_directory, kind, workers, message):
  config: config_lib.Data = section(imagenet_directory)
  source = streams.open_split(config, "train")
  fields = {f.name: getattr(source, f.name) for f in dataclasses.fields(source)}
  batches = streams.Reader(workers=workers).train_batches(
    kind(**fields), config, seed=0, batch_size=NUM_TRAIN, start=0
  )
  with pytest.raises(streams.DataError, match=message) as caught:
    next(batches)
  assert "\n" not in str(caught.value)


def test_a_pipe_among_the_records(tmp_path, imagenet_directory):
  """TFDS would wait for ever for somebody to write into it."""
  shutil.copytree(imagenet_directory, tmp_path / "tfds")
  (path, *_) = (tmp_path / "tfds").rglob("*train.array_record*")
  path.unlink()
  os.mkfifo(path)
  section = config_lib.Data(name="imagenet2012", data_dir=str(tmp_path / "tfds"))
  with pytest.raises(ValueError, match=r"has no readable imagenet2012 .*array_record.*or a pipe"):
    streams.open_split(section, "train")
