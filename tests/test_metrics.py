"""Metrics against plain NumPy, and independent of how examples are batched."""

import itertools

import jax
import numpy as np
import pytest

from lsjax import experiment, metrics, parallel, step


@pytest.fixture
def sample():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(200, 5)).astype(np.float32) * 2
  true = rng.integers(0, 5, 200)
  noisy = np.where(rng.random(200) < 0.4, (true + 1) % 5, true)
  return logits, noisy, true


def test_against_numpy(sample):
  logits, noisy, true = sample
  where = np.arange(200) < 170
  sums = jax.tree.map(np.asarray, metrics.batch_sums(logits, noisy, true, where))
  x, y, t = (a[where] for a in (logits.astype(np.float64), noisy, true))
  p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
  predicted, confidence = p.argmax(1), p.max(1)
  got = metrics.classification(sums)
  assert got["accuracy"] == pytest.approx((predicted == y).mean())
  assert got["nll"] == pytest.approx(-np.log(p[np.arange(170), y]).mean(), rel=1e-5)
  assert got["brier"] == pytest.approx(((p - np.eye(5)[y]) ** 2).sum(1).mean(), rel=1e-5)
  edges = np.linspace(0, 1, 16)
  ece = 0.0
  for low, high in itertools.pairwise(edges):
    inside = (confidence > low) & (confidence <= high)
    if inside.any():
      gap = abs((predicted == y)[inside].mean() - confidence[inside].mean())
      ece += inside.mean() * gap
  assert got["ece"] == pytest.approx(ece, rel=1e-4)
  wrong = y != t
  assert metrics.denoising(sums) == pytest.approx(
    {
      "label_accuracy": (predicted == y).mean(),
      "true_accuracy": (predicted == t).mean(),
      "clean_accuracy": (predicted == t)[~wrong].mean(),
      "mislabelled_accuracy": (predicted == t)[wrong].mean(),
      "memorisation": (predicted == y)[wrong].mean(),
    }
  )


def test_unknown_true_labels(sample):
  logits, noisy, _ = sample
  sums = metrics.batch_sums(logits, noisy, np.full(200, -1), np.ones(200, bool))
  got = metrics.denoising(jax.tree.map(np.asarray, sums))
  assert got["label_accuracy"] is not None
  assert {v for k, v in got.items() if k != "label_accuracy"} == {None}


def test_batch_size_and_devices_do_not_matter(make_config):
  run = experiment.prepare(make_config())
  split = run.splits["train"]
  state = step.init_state(run.model, split.images[:1], run.hparams.optim, 0)
  results = []
  for batch_size, num_devices in ((64, 1), (1000, 4), (1437 * 4, 4)):
    layout = parallel.Layout(tuple(parallel.devices(num_devices)), shared=True)
    evaluate = parallel.make_evaluate(run.model, layout, batch_size=batch_size)
    sums = evaluate(
      layout.replicate(split.source),
      layout.place([state.variables]),
      *layout.place([split.arrays]),
      None,
    )
    sums = {name: value[0] for name, value in sums.items()}
    assert sums["examples"] == 1437
    results.append(metrics.classification(sums) | metrics.denoising(sums))
  assert results[0] == pytest.approx(results[1], rel=1e-5)
  assert results[0] == pytest.approx(results[2], rel=1e-5)
