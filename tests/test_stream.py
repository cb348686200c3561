"""Streamed images: crops, order, hosts, exact evaluation, and a run killed and resumed."""

import io
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from configs import imagenet_noisy
from lsjax import checkpoint, data, experiment, files, models, noise, optim, parallel, stream, train
from lsjax import config as config_lib

ROOT = pathlib.Path(__file__).parent.parent
NUM_TRAIN, NUM_TEST = 24, 10


def jpeg(rng):
  """A JPEG file of a smooth image, of any shape, some without colour."""
  small = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
  size = (int(rng.integers(20, 90)), int(rng.integers(20, 90)))
  image = Image.fromarray(small).resize(size)
  if rng.random() < 0.3:
    image = image.convert("L")
  buffer = io.BytesIO()
  image.save(buffer, "JPEG")
  buffer.seek(0)
  return buffer


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  """A TFDS directory with the features of imagenet2012."""
  with data.quiet_tensorflow_datasets():
    from tensorflow_datasets.datasets.imagenet2012 import imagenet2012_dataset_builder as real

    class Builder(real.Builder, skip_registration=True):
      VERSION, name = real.Builder.VERSION, "imagenet2012"
      pkg_dir_path = real.Builder._get_pkg_dir_path()

      def _split_generators(self, dl_manager):
        return {"train": self._examples(0, NUM_TRAIN), "validation": self._examples(1, NUM_TEST)}

      def _examples(self, seed, count):
        rng = np.random.default_rng(seed)
        for i in range(count):
          name = f"n{seed:08d}_{i}.JPEG"
          yield name, {"image": jpeg(rng), "label": int(rng.integers(0, 4)), "file_name": name}

    path = tmp_path_factory.mktemp("tfds")
    builder = Builder(data_dir=str(path), file_format="array_record")
    builder.download_and_prepare()
  return path


def section(directory, **changes):
  return config_lib.Data(
    name="imagenet2012", data_dir=str(directory), image_size=16, flip=True, **changes
  )


def small(directory, **changes):
  config = imagenet_noisy.get_config()
  fields = {
    "data.data_dir": str(directory),
    "data.image_size": 16,
    "data.workers": 0,
    "model.name": "small_cnn",
    "model.dtype": "float32",
    "optim.learning_rate": 1.0,
    "optim.warmup_steps": 1,
    "optim.polynomial_steps": 6,
    "train.num_steps": 6,
    "train.batch_size": 8,
    "train.eval_batch_size": 4,
    "train.log_every": 1,
    "train.eval_every": 3,
    "train.num_devices": 2,
    "checkpoint.every": 2,
  }
  config.update_from_flattened_dict(fields | changes)
  return config_lib.from_config_dict(config)


def test_the_paper_config():
  config = config_lib.from_config_dict(imagenet_noisy.get_config("forward"))
  assert config.train.num_steps == 28150
  assert config.loss.name == "forward_correction"


def test_random_box():
  rng = np.random.default_rng(0)
  boxes = np.array([stream.random_box(rng, 200, 100) for _ in range(2000)])
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
  assert stream.random_box(rng, 5, 1000) == (0, 497, 5, 502)  # nothing fits
  assert stream.centre_box(256, 512) == (16, 144, 240, 368)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_crops_show_the_part_that_they_should(mode):
  """A left half black, a right half white; large, so that the JPEG is decoded at a fraction."""
  array = np.zeros((640, 640), np.uint8)
  array[:, 320:] = 255
  buffer = io.BytesIO()
  Image.fromarray(array).convert(mode).save(buffer, "JPEG")
  centred = stream._Centred(32)({"image": buffer.getvalue()})["image"]
  assert centred.shape == (32, 32, 3)
  assert centred[:, :15].max() < 30
  assert centred[:, 17:].min() > 225
  flipped = stream._resized(Image.open(buffer), (0, 0, 640, 640), 32, True)
  assert flipped[:, :15].min() > 225
  right = stream._resized(Image.open(buffer), (320, 0, 640, 320), 32, False)
  assert right[:, 1:].min() > 225


def first_batches(directory, count=7, start=0, processes=1, workers=0, batch_size=8):
  """Batches of all processes put together, [count] dictionaries."""
  source = stream.open_split(section(directory), "train")
  parts = []
  for process in range(processes):
    batches = stream.Reader(process, processes, workers).train_batches(
      source, section(directory), seed=5, batch_size=batch_size, start=start
    )
    parts.append([next(batches) for _ in range(count)])
  return [
    {key: np.stack([p[i][key] for p in parts], 1).reshape(-1, *parts[0][i][key].shape[1:])
     for key in parts[0][i]}
    for i in range(count)
  ]  # fmt: skip


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


class TestOrder:
  def test_every_epoch_has_every_example_in_another_order(self, directory):
    ids = np.concatenate([b["id"] for b in first_batches(directory, 9)]).reshape(3, NUM_TRAIN)
    expected = sorted(f"n00000000_{i}.JPEG" for i in range(NUM_TRAIN))
    assert [sorted(epoch) for epoch in ids] == [expected] * 3
    assert (ids[0] != ids[1]).any()
    assert (ids[1] != ids[2]).any()

  def test_a_batch_over_the_end_of_an_epoch(self, directory):
    ids = np.concatenate([b["id"] for b in first_batches(directory, 5, batch_size=10)])
    assert len(set(ids[:NUM_TRAIN])) == len(set(ids[NUM_TRAIN : 2 * NUM_TRAIN])) == NUM_TRAIN

  def test_start_is_a_matter_of_the_step(self, directory):
    assert_same(first_batches(directory, 3, start=4), first_batches(directory, 7)[4:])

  def test_hosts_together_read_the_batches_of_one(self, directory):
    assert_same(first_batches(directory, 4, processes=2), first_batches(directory, 4))

  def test_augmentation_differs_between_epochs(self, directory):
    batches = first_batches(directory, 6)
    images = {}
    for batch in batches:
      for name, image in zip(batch["id"], batch["image"]):
        images.setdefault(name, []).append(image)
    assert np.mean([np.array_equal(*pair) for pair in images.values()]) < 0.1


@pytest.mark.parametrize("processes", [1, 3])
def test_evaluation_sees_every_image_once(directory, processes):
  source = stream.open_split(section(directory), "validation")
  readers = [stream.Reader(p, processes) for p in range(processes)]
  parts = [list(r.eval_batches(source, section(directory), batch_size=6)) for r in readers]
  assert len({len(part) for part in parts}) == 1
  ids = [i for part in parts for b in part for i, there in zip(b["id"], b["where"]) if there]
  assert sorted(ids) == sorted(f"n00000001_{i}.JPEG" for i in range(NUM_TEST))


def test_noise_is_that_of_the_ids(directory):
  """The same for whole and part, and what the labels of a batch become."""
  run = experiment.prepare(small(directory))
  source = run.sources["train"]
  ids, labels = source.labels(range(NUM_TRAIN))
  draw = noise.Draw(run.noise.transition, run.config.seed.noise)
  np.testing.assert_array_equal(draw(labels, ids), run.noise.labels)
  part_ids, part = source.labels(range(1, NUM_TRAIN, 3))
  np.testing.assert_array_equal(draw(part, part_ids), run.noise.labels[1::3])
  assert 0 < run.noise.changed.sum() < NUM_TRAIN / 2


def test_training_sees_the_noisy_labels(directory):
  run = experiment.prepare(small(directory, **{"noise.rate": 0.6}))
  layout = parallel.Layout(tuple(run.devices), shared=True)
  feed = train.feed_lib.create([run], layout, run.model)
  seen = []
  feed.call = lambda batch, state, hparams: seen.append(batch) or (state, None)
  for at_step in range(3):
    feed.train(None, at_step, 1)
  feed.close()
  labels = dict(zip(run.noise.ids.tolist(), run.noise.labels.tolist()))
  clean = dict(zip(run.noise.ids.tolist(), run.noise.clean.tolist()))
  batches = run.reader.train_batches(
    run.sources["train"], run.config.data, seed=run.config.seed.data, batch_size=8, start=0
  )
  for (images, given), batch in zip(seen, batches):
    np.testing.assert_array_equal(images.reshape(batch["image"].shape), batch["image"])
    assert given.reshape(-1).tolist() == [labels[i] for i in batch["id"]]
    assert given.reshape(-1).tolist() != [clean[i] for i in batch["id"]]
  batches.close()


def test_killed_and_resumed_is_the_same_run(tmp_path, directory, monkeypatch):
  """The next batch too: parameters are bitwise those of the uninterrupted run."""
  config = small(directory)
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  train.train_and_evaluate(config, whole)
  call = train._Loop._call

  def killed(self, num_steps):
    if self.step == 4:
      raise KeyboardInterrupt
    return call(self, num_steps)

  monkeypatch.setattr(train._Loop, "_call", killed)
  with pytest.raises(KeyboardInterrupt):
    train.train_and_evaluate(config, parts)
  monkeypatch.undo()
  result = train.train_and_evaluate(config, parts)
  for name in ("metrics.jsonl", "noise.npz", "result.json"):
    assert (parts / name).read_bytes() == (whole / name).read_bytes()
  assert_same(*(checkpoint.load_run(path)[2] for path in (parts, whole)))
  assert result["final"]["test"].keys() >= {"accuracy", "nll", "ece"}
  assert result["num_train"] == NUM_TRAIN
  rows = files.read_rows(whole / "metrics.jsonl")
  assert len([r for r in rows if r["split"] == "batches"]) == 6


@pytest.mark.slow
def test_two_processes_are_one_run(tmp_path, directory):
  """Each reads its part of every batch and writes the noise of its part."""
  config = small(directory, **{"train.num_devices": 0})
  train.train_and_evaluate(config, tmp_path / "one")  # four devices
  flags = [
    f"--config.{name}={value}"
    for name, value in config_lib.flatten(config_lib.to_dict(config)).items()
    if not isinstance(value, list | tuple)
  ]
  path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
  env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"PATH": path, "DEVICES": "2"}
  subprocess.run(
    [
      *("launch/local_processes.sh", "2", "--config=configs/imagenet_noisy.py", *flags),
      f"--workdir={tmp_path / 'two'}",
    ],
    cwd=ROOT,
    env=env,
    check=True,
    timeout=300,
  )
  results = [files.read_json(tmp_path / name / "result.json") for name in ("one", "two")]
  final = [result["final"]["test"]["nll"] for result in results]
  assert final[0] == pytest.approx(final[1], rel=1e-3)
  assert results[0]["noise"]["realised_rate"] == results[1]["noise"]["realised_rate"]
  labels = {}
  for i in range(2):
    with np.load(tmp_path / f"two/noise.{i:05d}-of-00002.npz") as part:
      labels |= dict(zip(part["ids"].tolist(), part["noisy_labels"].tolist()))
  with np.load(tmp_path / "one/noise.npz") as whole:
    assert labels == dict(zip(whole["ids"].tolist(), whole["noisy_labels"].tolist()))


def test_evaluation_is_exact_whatever_the_batch(tmp_path, directory):
  """Against the model applied to every image alone."""
  config = small(directory, **{"train.num_devices": 1})
  result = train.train_and_evaluate(config, tmp_path)
  _, model, variables = checkpoint.load_run(tmp_path)
  source = stream.open_split(config.data, "validation")
  apply = jax.jit(model.apply)
  nll = []
  for i in range(NUM_TEST):
    example = stream._Centred(16)(source[i])
    logits = np.asarray(apply(variables, example["image"][None]))[0].astype(np.float64)
    nll.append(
      np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[example["label"]]
    )
  assert result["final"]["test"]["nll"] == pytest.approx(np.mean(nll), rel=1e-5)
  for size in (2, 5, 7):
    feed = train.feed_lib.create(
      [
        experiment.prepare(
          small(directory, **{"train.eval_batch_size": size, "train.num_devices": 1})
        )
      ],
      parallel.Layout(tuple(jax.devices()[:1]), shared=True),
      model,
    )
    sums = feed.sums("test", jax.tree.map(lambda x: np.asarray(x)[None], variables))
    assert sums["examples"] == NUM_TEST
    assert sums["nll"] / NUM_TEST == pytest.approx(np.mean(nll), rel=1e-5)


def test_worker_processes_change_nothing(directory):
  assert_same(first_batches(directory, 3, start=2, workers=2), first_batches(directory, 3, start=2))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"data.validation_examples": 5}, "data.validation_examples = 5: must be 0"),
    ({"data.crop_padding": 4}, "data.crop_padding = 4: must be 0"),
    ({"noise.kind": "given", "noise.labels": "x"}, "must be drawn"),
    ({"train.steps_per_call": 2}, "must be 0 or 1"),
    ({"optim.warmup_steps": 6}, "polynomial_steps = 6: must be 0 or above"),
    ({"data.data_dir": "/absent"}, "data.data_dir = '/absent': has no readable imagenet2012"),
    ({"train.batch_size": 26}, "must be at most the 24 training images"),
  ],
)
def test_refused(directory, changes, message):
  with pytest.raises(config_lib.ConfigError, match=message) as caught:
    experiment.prepare(small(directory, **changes))
  assert "\n" not in str(caught.value)


def damaged(directory, tmp_path, replace):
  """A copy of the directory whose training file is changed."""
  shutil.copytree(directory, tmp_path / "tfds")
  path = next((tmp_path / "tfds").rglob("*train.array_record*"))
  path.write_bytes(replace(path.read_bytes()))
  return tmp_path / "tfds"


def test_damaged_record(tmp_path, directory):
  where = damaged(directory, tmp_path, lambda b: b[:5000] + bytes(3000) + b[8000:])
  with pytest.raises(config_lib.ConfigError, match="records that cannot be read") as caught:
    experiment.prepare(small(where))
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_image_that_cannot_be_decoded(directory, monkeypatch, workers):
  source = stream.open_split(section(directory), "train")
  broken = Broken(source.records, source.where, source.id_key, source.num_classes)
  batches = stream.Reader(workers=workers).train_batches(
    broken, section(directory), seed=0, batch_size=NUM_TRAIN, start=0
  )
  with pytest.raises(config_lib.ConfigError, match=r"config\.data: image") as caught:
    next(batches)
  assert "\n" not in str(caught.value)


class Broken(stream.Source):
  def __getitem__(self, index):
    return super().__getitem__(index) | {"image": b"no JPEG"}


def test_resnet_v2_50():
  section = config_lib.Model(name="resnet_v2_50", dtype="bfloat16")
  model = models.create(section, num_classes=1000, mean=(0.0,) * 3, std=(1.0,) * 3)
  image = jax.ShapeDtypeStruct((2, 224, 224, 3), np.uint8)
  shapes = jax.eval_shape(model.init, jax.random.key(0), image)
  # The published 25.5 million: torchvision's and timm's pre-activation ResNet-50.
  assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == 25_549_352
  logits, features = jax.eval_shape(lambda v, x: model.apply(v, x, features=True), shapes, image)
  assert (logits.shape, logits.dtype, features.shape) == ((2, 1000), np.float32, (2, 2048))


def test_lars_against_numpy():
  """Two steps, with and without trust ratio, from the published rule."""
  config = config_lib.Optim(
    name="lars", learning_rate=2.0, warmup_steps=2, momentum=0.5, weight_decay=0.1,
    polynomial_steps=6, power=2.0, trust_coefficient=0.01,
  )  # fmt: skip
  params = optim.from_config(config)
  rng = np.random.default_rng(0)
  w = {k: rng.normal(size=s).astype(np.float32) for k, s in (("kernel", (3, 2)), ("bias", 2))}
  state = optim.transformation(params, 0).init(w)
  velocity = {k: np.zeros_like(v) for k, v in w.items()}
  mine = dict(w)
  for at_step, rate in ((0, 1.0), (1, 2.0), (2, 2.0), (4, 2.0 * (1 - 2 / 4) ** 2)):
    assert float(optim.learning_rate(params, at_step)) == pytest.approx(rate)
    grads = {k: rng.normal(size=v.shape).astype(np.float32) for k, v in w.items()}
    updates, state = optim.transformation(params, at_step).update(grads, state, w)
    w = {k: w[k] + np.asarray(updates[k]) for k in w}
    for key, g in grads.items():
      ratio = 1.0
      if key == "kernel":
        g = g + 0.1 * mine[key]
        ratio = 0.01 * np.linalg.norm(mine[key]) / np.linalg.norm(g)
      velocity[key] = 0.5 * velocity[key] + rate * ratio * g
      mine[key] = mine[key] - velocity[key]
    for key in w:
      np.testing.assert_allclose(w[key], mine[key], rtol=1e-5)
  assert float(optim.learning_rate(params, 6)) == 0


def test_batch_norm_by_device(directory):
  """Its own batch's statistics on each device, unless they are synchronised."""
  images = np.random.default_rng(0).integers(0, 256, (2, 2, 8, 8, 3), dtype=np.uint8)
  outputs = {}
  for sync in (True, False):
    section = config_lib.Model(name="small_cnn", sync_batch_norm=sync)
    model = models.create(section, num_classes=3, mean=(0.0,) * 3, std=(9.0,) * 3, axis_name="d")
    alone = model.clone(axis_name=None)
    variables = alone.init(jax.random.key(0), images[0])

    def apply(m, x, variables=variables):
      return m.apply(variables, x, train=True, mutable=["batch_stats"])[0]

    both = jax.pmap(lambda x, m=model: apply(m, x), axis_name="d")(images)
    outputs[sync] = np.asarray(both)
    expected = (
      apply(alone, images.reshape(4, 8, 8, 3)).reshape(2, 2, 3)
      if sync
      else np.stack([apply(alone, x) for x in images])
    )
    np.testing.assert_allclose(both, expected, atol=1e-4)
  assert np.abs(outputs[True] - outputs[False]).max() > 1e-3
