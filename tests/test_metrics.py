"""Metrics against plain NumPy."""

import itertools

import jax
import numpy as np
import pytest

from lsjax import metrics


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


def test_sums_of_batches_add_up(sample):
  logits, noisy, true = sample
  teacher = logits[::-1]

  def sums(part, where=None):
    where = np.ones(200, bool)[part] if where is None else where
    labels = (noisy[part], true[part], where)
    sums = metrics.batch_sums(logits[part], *labels)
    return sums | metrics.imitation_sums(logits[part], teacher[part], *labels)

  whole = sums(slice(None))
  parts = [sums(slice(0, 70)), sums(slice(70, 200))]
  added = {name: parts[0][name] + parts[1][name] for name in whole}
  for name, value in whole.items():
    np.testing.assert_allclose(added[name], value, rtol=1e-5)
  # Masked examples count nowhere.
  masked = sums(slice(None), where=np.arange(200) < 70)
  for name, value in parts[0].items():
    np.testing.assert_allclose(masked[name], value, rtol=1e-5)


def test_imitation_of_oneself(sample):
  logits, noisy, true = sample
  where = np.ones(200, bool)
  sums = metrics.batch_sums(logits, noisy, true, where)
  assert metrics.imitation(sums) == {}
  got = metrics.imitation(sums | metrics.imitation_sums(logits, logits, noisy, true, where))
  assert got["teacher_agreement"] == 1
  assert got["teacher_kl"] == 0
  assert got["mislabelled_accuracy_teacher_right"] == 1
  assert got["mislabelled_accuracy_teacher_wrong"] == 0
  assert got["mislabelled_teacher_memorisation"] == metrics.denoising(sums)["memorisation"]


def test_unknown_true_labels(sample):
  logits, noisy, _ = sample
  sums = metrics.batch_sums(logits, noisy, np.full(200, -1), np.ones(200, bool))
  got = metrics.denoising(jax.tree.map(np.asarray, sums))
  assert got["label_accuracy"] is not None
  assert {v for k, v in got.items() if k != "label_accuracy"} == {None}


def all_sums(logits, teacher, labels, true, where):
  sums = metrics.batch_sums(logits, labels, true, where)
  return sums | metrics.imitation_sums(logits, teacher, labels, true, where)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("jit", [False, True])
def test_masked_rows_poison_nothing(sample, poison, jit):
  """Whatever stands in them: logits of student or teacher that are not finite, or no labels."""
  logits, noisy, true = sample
  where = np.arange(200) < 170
  function = jax.jit(all_sums) if jit else all_sums
  expected = function(logits, logits[::-1], noisy, true, where)
  spoilt = [np.where(where[:, None], x, poison) for x in (logits, logits[::-1])]
  got = function(*spoilt, *(np.where(where, y, -9) for y in (noisy, true)), where)
  for name, value in expected.items():
    np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_classes_of_probability_zero():
  """A logit of minus infinity leaves every metric as if the class did not exist."""
  ruled_out = np.array([[1.0, -np.inf, 0.5], [-np.inf, 0.2, 3.0]], np.float32)
  labels, where = np.array([0, 2]), np.ones(2, bool)
  got = all_sums(ruled_out, ruled_out + 1, labels, labels, where)
  assert all(np.isfinite(value).all() for value in got.values())
  p = np.exp(1) / (np.exp(1) + np.exp(0.5)), np.exp(3) / (np.exp(3) + np.exp(0.2))
  got = metrics.classification(got) | metrics.imitation(got)
  assert got["nll"] == pytest.approx(-np.log(p).mean())
  assert got["brier"] == pytest.approx(np.mean([2 * (1 - q) ** 2 for q in p]))
  assert got["teacher_kl"] == pytest.approx(0, abs=1e-6)
  # The label's own class is ruled out; the teacher rules out what the student does not.
  assert metrics.batch_sums(ruled_out, np.array([1, 2]), labels, where)["nll"] == np.inf
  finite = np.array([[1.0, 0.0, 0.5], [0.0, 0.2, 3.0]], np.float32)
  assert np.isfinite(metrics.imitation_sums(finite, ruled_out, labels, labels, where)["teacher_kl"])
  assert metrics.imitation_sums(ruled_out, finite, labels, labels, where)["teacher_kl"] == np.inf


@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_that_is_no_class_is_not_taken_for_another(sample, label):
  logits, noisy, true = sample
  got = metrics.batch_sums(logits, np.where(np.arange(200) == 7, label, noisy), true, noisy >= 0)
  assert np.isnan(got["nll"])
  assert np.isnan(got["brier"])
