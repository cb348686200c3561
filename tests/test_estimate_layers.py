"""The noise layer, draws of plausible matrices, likeness of classes, and tilted posteriors."""

import numpy as np
import pytest
from scipy import special

from lsjax import estimate, transition


def separable(seed, matrix, count=4000):
  """Logits that tell the class apart with few exceptions, noisy labels and true classes."""
  rng = np.random.default_rng(seed)
  true = rng.integers(0, len(matrix), count)
  logits = 3 * np.eye(len(matrix))[true] + rng.normal(size=(count, len(matrix)))
  labels = (rng.uniform(size=(count, 1)) > matrix[true].cumsum(axis=1)).sum(axis=1)
  return logits, labels.clip(0, len(matrix) - 1), true


@pytest.mark.parametrize("matrix", [transition.symmetric(4, 0.3), transition.pair(4, 0.3)])
def test_the_layer_finds_the_noise_behind_a_classifier(matrix):
  logits, labels, true = separable(0, matrix)
  found = estimate.noise_layer(logits, labels, matrix, seed=0)
  assert np.abs(found.transition - matrix).max() < 0.06
  assert abs(found.rate - 0.3) < 0.03
  assert (found.probabilities.argmax(axis=1) == true).mean() > 0.95
  likely = (found.probabilities * found.transition.T[labels]).sum(axis=1)
  assert found.log_likelihood == pytest.approx(np.log(likely).mean())
  some = estimate.noise_layer(logits, labels, matrix, seed=0, max_examples=2000)
  assert some.probabilities.shape == (4000, 4)
  assert np.abs(some.transition - matrix).max() < 0.08


def test_the_layer_refuses_what_does_not_fit():
  with pytest.raises(ValueError, match=r"logits have 3 classes, but start 2"):
    estimate.noise_layer(np.zeros((4, 3)), [0, 1, 2, 0], np.eye(2), seed=0)
  with pytest.raises(ValueError, match=r"labels\[0\] = 3"):
    estimate.noise_layer(np.zeros((4, 3)), [3, 1, 2, 0], np.eye(3), seed=0)


def test_draws_vary_like_counts():
  """Of sure examples, entry (0, 1) varies like a share of as many examples."""
  rng = np.random.default_rng(0)
  labels = (rng.uniform(size=500) < 0.2).astype(int)
  p = np.tile([1.0, 0.0], (500, 1))
  drawn = estimate.plausible_transitions(p, labels, np.eye(2) * 0.6 + 0.2, num=300, seed=0)
  share = labels.mean()
  assert drawn[:, 0, 1].mean() == pytest.approx(share, abs=0.005)
  assert drawn[:, 0, 1].std() == pytest.approx(np.sqrt(share * (1 - share) / 500), rel=0.15)
  fewer = estimate.plausible_transitions(
    np.tile(p, (4, 1)), np.tile(labels, 4), np.eye(2), num=300, seed=0, max_examples=500
  )
  assert fewer[:, 0, 1].std() == pytest.approx(drawn[:, 0, 1].std() / 2, rel=0.2)


def test_likeness_tells_mistakes_of_similar_classes_from_even_ones():
  rng = np.random.default_rng(1)
  z = 2 * np.eye(8)[np.arange(800) % 8]
  z[:, 1::2] += z[:, ::2]  # classes 2 k and 2 k + 1 overlap
  p = special.softmax(z + 0.1 * rng.normal(size=z.shape), axis=1)
  overlap = p.T @ p / len(p)
  alike = estimate.likeness(overlap, p, seed=0)
  even = estimate.likeness(np.full((8, 8), 1 / 64), p, seed=0)
  assert alike.correlation == pytest.approx(1)
  assert alike.share == pytest.approx(1)
  assert alike.p_value < 0.02
  assert (even.correlation, even.share, even.p_value) == (0, pytest.approx(0, abs=1e-9), 1)


def test_tilting_reaches_the_rate_and_keeps_the_other_classes():
  p = np.random.default_rng(2).dirichlet(np.ones(4), 300)
  labels = p.argmax(axis=1)
  found = estimate.tilt(p, labels, 0.1)
  rows = np.arange(300)
  assert 1 - found[rows, labels].mean() == pytest.approx(0.1, abs=1e-6)
  others = [np.delete(row, label) for row, label in zip(p, labels, strict=True)]
  after = [np.delete(row, label) for row, label in zip(found, labels, strict=True)]
  ratio = np.array(after) / np.array(others)
  np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(3), rtol=1e-5)
  with pytest.raises(ValueError, match=r"rate must be in \[0, 1\], not 1.5"):
    estimate.tilt(p, labels, 1.5)


def test_recalibration_moves_towards_what_was_found():
  rng = np.random.default_rng(3)
  p = np.tile([0.98, 0.01, 0.01], (2000, 1))
  labels = np.zeros(2000, int)
  true = np.where(rng.uniform(size=2000) < 0.3, 1, 0)
  found = estimate.recalibrate(p, labels, np.arange(400), true[:400], np.ones(400))
  assert 1 - found[:, 0].mean() == pytest.approx((true[:400] != 0).mean(), abs=0.02)
  few = estimate.recalibrate(p, labels, [0], [0], [1.0])
  assert abs(few[0, 0] - 0.98) < 0.02
