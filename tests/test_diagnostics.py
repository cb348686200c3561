"""Margins, reliability and projections against their definitions."""

import numpy as np
import pytest

from lsjax import diagnostics, metrics


@pytest.fixture
def split():
  rng = np.random.default_rng(0)
  true = rng.integers(0, 4, 300)
  return {
    "logits": (rng.normal(size=(300, 4)) * 3).astype(np.float32),
    "features": rng.normal(size=(300, 6)).astype(np.float32),
    "labels": np.where(rng.random(300) < 0.3, (true + 1) % 4, true),
    "true_labels": true,
  }


def test_margins():
  logits = np.array([[1.0, 5.0, 2.0], [3.0, 0.0, 0.0]])
  np.testing.assert_allclose(diagnostics.margins(logits, np.array([2, 0])), [-3, 3])


def test_histogram_loses_nothing():
  counts = diagnostics.histogram(np.array([-1e9, -30, 0.0, 30, 1e9]))
  assert counts.sum() == 5
  assert counts[0] == 2
  assert counts[-1] == 2


def test_reliability_is_the_ece(split):
  examples, confidence, correct = diagnostics.reliability(split["logits"], split["labels"])
  assert examples.sum() == 300
  sums = metrics.batch_sums(split["logits"], split["labels"], split["labels"], np.ones(300, bool))
  ece = metrics.classification({k: np.asarray(v) for k, v in sums.items()})["ece"]
  assert np.abs(confidence - correct).sum() / 300 == pytest.approx(ece, rel=1e-5)


def test_projection_keeps_distances_between_templates():
  """The templates lie in their plane, so the projection keeps their distances."""
  templates = np.random.default_rng(1).normal(size=(3, 8))
  flat = diagnostics.template_plane(templates, templates)
  for i in range(3):
    expected = np.linalg.norm(templates - templates[i], axis=1)
    np.testing.assert_allclose(np.linalg.norm(flat - flat[i], axis=1), expected)
  np.testing.assert_allclose(flat.mean(0), 0, atol=1e-12)
  # A shift orthogonal to the plane changes nothing.
  normal = np.linalg.svd(templates - templates.mean(0))[2][-1]
  np.testing.assert_allclose(diagnostics.template_plane(templates + normal, templates), flat)


def test_collect(split):
  kernel, bias = np.random.default_rng(2).normal(size=(6, 4)), np.zeros(4)
  arrays = diagnostics.collect(split, split, kernel, bias)
  wrong = split["labels"] != split["true_labels"]
  assert arrays["margins_mislabelled"].sum() == wrong.sum()
  assert arrays["margins_clean"].sum() == (~wrong).sum()
  assert set(arrays["projection_train_labels"]) == {0, 1, 2}
  assert len(arrays["projection_train"]) == len(arrays["projection_train_given"])
  assert "kernel" not in arrays
  unknown = split | {"true_labels": np.full(300, -1)}
  arrays = diagnostics.collect(unknown, split, kernel[:2, :2], bias[:2])
  assert arrays["margins_clean"].sum() == arrays["margins_mislabelled"].sum() == 0
  assert arrays["kernel"].shape == (2, 2)
  assert "projection_train" not in arrays
