"""Training on streamed images: labels, exact evaluation, and a run killed and resumed."""

import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from imagenet_fixture import NUM_TEST, NUM_TRAIN

from lsjax import config as config_lib
from lsjax import files, noise, shipped
from lsjax.data import streams
from lsjax.runs import execution, loading
from lsjax.training import devices as devices_lib
from lsjax.training import inputs as inputs_lib
from lsjax.training import optimizer, setup

ROOT = pathlib.Path(__file__).parent.parent


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def small(directory, **changes):
  config = shipped.load("imagenet_noisy")
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
  config = config_lib.from_config_dict(shipped.load("imagenet_noisy", "forward"))
  assert config.train.num_steps == 28150
  assert config.loss.name == "forward_correction"


def test_noise_is_that_of_the_ids(imagenet_directory):
  """The same for whole and part, and what the labels of a batch become."""
  run = setup.prepare(small(imagenet_directory))
  source = run.sources["train"]
  ids, labels = source.labels(range(NUM_TRAIN))
  draw = noise.Draw(run.noisy_labels.transition, run.config.seed.noise)
  np.testing.assert_array_equal(draw(labels, ids), run.noisy_labels.labels)
  part_ids, part = source.labels(range(1, NUM_TRAIN, 3))
  np.testing.assert_array_equal(draw(part, part_ids), run.noisy_labels.labels[1::3])
  assert 0 < run.noisy_labels.changed.sum() < NUM_TRAIN / 2


def test_training_sees_the_noisy_labels(imagenet_directory):
  run = setup.prepare(small(imagenet_directory, **{"noise.rate": 0.6}))
  layout = devices_lib.Layout(tuple(run.devices), shared=True)
  inputs = inputs_lib.create([run], layout, run.model)
  seen = []
  inputs.call = lambda batch, state, hparams: seen.append(batch) or (state, None)
  for at_step in range(3):
    inputs.train(None, at_step, 1)
  inputs.close()
  labels = dict(zip(run.noisy_labels.ids.tolist(), run.noisy_labels.labels.tolist()))
  clean = dict(zip(run.noisy_labels.ids.tolist(), run.noisy_labels.clean.tolist()))
  batches = run.reader.train_batches(
    run.sources["train"], run.config.data, seed=run.config.seed.data, batch_size=8, start=0
  )
  for (images, given), batch in zip(seen, batches):
    np.testing.assert_array_equal(images.reshape(batch["image"].shape), batch["image"])
    assert given.reshape(-1).tolist() == [labels[i] for i in batch["id"]]
    assert given.reshape(-1).tolist() != [clean[i] for i in batch["id"]]
  batches.close()


def test_killed_and_resumed_is_the_same_run(tmp_path, imagenet_directory):
  """The next batch too: parameters are bitwise those of the uninterrupted run."""
  config = small(imagenet_directory)
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  execution.train_and_evaluate(config, whole)

  def killed(at_step):
    if at_step == 4:
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    execution.train_and_evaluate(config, parts, on_call=killed)
  result = execution.train_and_evaluate(config, parts)
  for name in ("metrics.jsonl", "noise.npz", "result.json"):
    assert (parts / name).read_bytes() == (whole / name).read_bytes()
  assert_same(*(loading.load_run(path)[2] for path in (parts, whole)))
  assert result["final"]["test"].keys() >= {"accuracy", "nll", "ece"}
  assert result["num_train"] == NUM_TRAIN
  rows = files.read_rows(whole / "metrics.jsonl")
  assert len([r for r in rows if r["split"] == "batches"]) == 6


@pytest.mark.slow
def test_two_processes_are_one_run(tmp_path, imagenet_directory):
  """Each reads its part of every batch and writes the noise of its part."""
  config = small(imagenet_directory, **{"train.num_devices": 0})
  execution.train_and_evaluate(config, tmp_path / "one")  # four devices
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


def test_evaluation_is_exact_whatever_the_batch(tmp_path, imagenet_directory):
  """Against the model applied to every image alone."""
  config = small(imagenet_directory, **{"train.num_devices": 1})
  result = execution.train_and_evaluate(config, tmp_path)
  _, model, variables = loading.load_run(tmp_path)
  source = streams.open_split(config.data, "validation")
  apply = jax.jit(model.apply)
  nll = []
  for i in range(NUM_TEST):
    example = streams.centre_crop(source[i], size=16, directory="")
    logits = np.asarray(apply(variables, example["image"][None]))[0].astype(np.float64)
    nll.append(
      np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[example["label"]]
    )
  assert result["final"]["test"]["nll"] == pytest.approx(np.mean(nll), rel=1e-5)
  for size in (2, 5, 7):
    inputs = inputs_lib.create(
      [
        setup.prepare(
          small(imagenet_directory, **{"train.eval_batch_size": size, "train.num_devices": 1})
        )
      ],
      devices_lib.Layout(tuple(jax.devices()[:1]), shared=True),
      model,
    )
    sums = inputs.sums("test", jax.tree.map(lambda x: np.asarray(x)[None], variables))
    assert sums["examples"] == NUM_TEST
    assert sums["nll"] / NUM_TEST == pytest.approx(np.mean(nll), rel=1e-5)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"data.validation_examples": 5}, "data.validation_examples = 5: must be 0"),
    ({"data.crop_padding": 4}, "data.crop_padding = 4: must be 0"),
    ({"noise.kind": "given", "noise.labels": "x"}, "must be drawn"),
    ({"noise.kind": "instance"}, "noise.kind = 'instance': must not depend on the images"),
    ({"train.steps_per_call": 2}, "must be 0 or 1"),
    ({"optim.warmup_steps": 6}, "polynomial_steps = 6: must be 0 or above"),
    ({"data.data_dir": "/absent"}, "data.data_dir = '/absent': has no readable imagenet2012"),
    ({"train.batch_size": 26}, "must be at most the 24 training images"),
  ],
)
def test_refused(imagenet_directory, changes, message):
  with pytest.raises(config_lib.ConfigError, match=message) as caught:
    setup.prepare(small(imagenet_directory, **changes))
  assert "\n" not in str(caught.value)


def damaged(directory, tmp_path, replace):
  """A copy of the directory whose training file is changed."""
  shutil.copytree(directory, tmp_path / "tfds")
  path = next((tmp_path / "tfds").rglob("*train.array_record*"))
  path.write_bytes(replace(path.read_bytes()))
  return tmp_path / "tfds"


def test_damaged_record(tmp_path, imagenet_directory):
  where = damaged(imagenet_directory, tmp_path, lambda b: b[:5000] + bytes(3000) + b[8000:])
  with pytest.raises(
    config_lib.ConfigError, match=r"config.data.data_dir = .*records in .* cannot be read"
  ) as caught:
    setup.prepare(small(where))
  assert "\n" not in str(caught.value)


def test_lars_against_numpy():
  """Two steps, with and without trust ratio, from the published rule."""
  config = config_lib.Optim(
    name="lars", learning_rate=2.0, warmup_steps=2, momentum=0.5, weight_decay=0.1,
    polynomial_steps=6, power=2.0, trust_coefficient=0.01,
  )  # fmt: skip
  params = optimizer.from_config(config)
  rng = np.random.default_rng(0)
  w = {k: rng.normal(size=s).astype(np.float32) for k, s in (("kernel", (3, 2)), ("bias", 2))}
  state = optimizer.transformation(params, 0).init(w)
  velocity = {k: np.zeros_like(v) for k, v in w.items()}
  mine = dict(w)
  for at_step, rate in ((0, 1.0), (1, 2.0), (2, 2.0), (4, 2.0 * (1 - 2 / 4) ** 2)):
    assert float(optimizer.learning_rate(params, at_step)) == pytest.approx(rate)
    grads = {k: rng.normal(size=v.shape).astype(np.float32) for k, v in w.items()}
    updates, state = optimizer.transformation(params, at_step).update(grads, state, w)
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
  assert float(optimizer.learning_rate(params, 6)) == 0
