"""Intervals by the bootstrap, and temperatures."""

import math

import numpy as np
import pytest
from scipy import optimize, special

from lsjax import estimate, noise, transition


def counted(clean, noisy):
  """The estimate from pairs of labels, which has no bias and whose spread is known."""
  matrix = transition.estimate(clean, noisy, 3)
  return estimate.Estimate(matrix, np.bincount(clean, minlength=3) / len(clean))


def pairs(seed, n, matrix):
  clean = np.random.default_rng(seed).integers(0, 3, n)
  return clean, noise.corrupt(clean, matrix, seed=seed).labels


def test_intervals_are_as_wide_as_binomial_ones():
  matrix = transition.symmetric(3, 0.3)
  clean, noisy = pairs(0, 3000, matrix)
  for level, z in ((0.95, 1.96), (0.5, 0.674)):
    found = estimate.bootstrap(counted, (clean, noisy), num=2000, seed=0, level=level)
    rate = np.mean(clean != noisy)
    assert found.estimate.rate == pytest.approx(rate, abs=1e-12)
    width = 2 * z * math.sqrt(rate * (1 - rate) / 3000)
    assert found.rate_high - found.rate_low == pytest.approx(width, rel=0.1)
    assert found.rate_low + found.rate_high == pytest.approx(2 * rate, abs=0.2 * width)
    m = found.estimate.transition
    widths = 2 * z * np.sqrt(m * (1 - m) / np.bincount(clean)[:, None])
    np.testing.assert_allclose(found.transition_high - found.transition_low, widths, rtol=0.12)
    assert (found.transition_low < m).all()
    assert (m < found.transition_high).all()


def test_coverage():
  """Of 120 intervals of level 0.9 the share that holds the truth, within three standard errors."""
  matrix = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.0, 0.3, 0.7]])
  inside, entries = 0, np.zeros((3, 3))
  for seed in range(120):
    found = estimate.bootstrap(counted, pairs(seed, 400, matrix), num=150, seed=seed, level=0.9)
    inside += found.rate_low <= 1 - matrix.diagonal().mean() <= found.rate_high
    entries += (found.transition_low <= matrix) & (matrix <= found.transition_high)
  print(inside / 120, entries / 120)
  assert 0.82 < inside / 120 < 0.97
  assert (entries / 120 > 0.8).all()
  assert entries[2, 0] == 120  # an entry of 0 is always counted as 0
  assert (np.delete(entries.ravel(), 6) / 120 < 0.98).all()


def test_examples_are_drawn_together_and_by_the_seed():
  matrix = transition.pair(3, 0.4)
  clean, noisy = pairs(1, 200, matrix)
  seen = []

  def watched(clean, noisy):
    seen.append(clean * 3 + noisy)
    return counted(clean, noisy)

  copies = clean.copy(), noisy.copy()
  found = [estimate.bootstrap(watched, (clean, noisy), num=20, seed=s) for s in (0, 0, 1)]
  np.testing.assert_array_equal(clean, copies[0])
  np.testing.assert_array_equal(noisy, copies[1])
  possible = {*(clean * 3 + noisy)}
  assert all({*sample} <= possible and len(sample) == 200 for sample in seen)
  np.testing.assert_array_equal(found[0].transition_low, found[1].transition_low)
  assert (found[0].transition_low != found[2].transition_low).any()
  assert len(seen) == 63
  np.testing.assert_array_equal(seen[0], clean * 3 + noisy)


def test_any_estimator():
  """Triples, votes and probabilities; the interval lies around the estimate."""
  rng = np.random.default_rng(0)
  clean = rng.integers(0, 3, 2000)
  matrix = transition.symmetric(3, 0.3)
  votes = np.stack([noise.corrupt(clean, matrix, seed=s).labels for s in range(3)], axis=1)
  q = special.softmax(3 * np.eye(3)[clean] + rng.normal(size=(2000, 3)), axis=1)
  estimators = {
    "hoc": (lambda found: estimate.fit_triples(found, 3), (votes,)),
    "votes": (lambda found: estimate.votes(found, 3, tolerance=1e-6), (votes,)),
    "confident_joint": (estimate.confident_joint, (q, votes[:, 0])),
    "dual_t": (lambda q, y: estimate.from_labels(estimate.dual_t(q, y), y), (q, votes[:, 0])),
  }
  for name, (estimator, arrays) in estimators.items():
    found = estimate.bootstrap(estimator, arrays, num=20, seed=0)
    assert found.rate_low <= found.estimate.rate <= found.rate_high, name
    assert 0.005 < found.rate_high - found.rate_low < 0.15, name


def test_from_labels():
  matrix = transition.one_sided(2, 0.5)
  found = estimate.from_labels(matrix, [0, 1, 1, 1])
  np.testing.assert_allclose(found.prior, [0.5, 0.5], atol=1e-12)
  assert found.rate == pytest.approx(0.25)


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5, 20.0])
def test_temperature_of_labels_drawn_at_one(true):
  """Within 5 % of it from 20,000 labels; the gradient of SciPy's minimum agrees."""
  rng = np.random.default_rng(0)
  logits = 3 * true * rng.normal(size=(20_000, 4))
  chances = special.softmax(logits / true, axis=1)
  labels = (rng.random((20_000, 1)) > chances.cumsum(1)).sum(1).clip(max=3)

  def mean(t):
    return -special.log_softmax(logits / t, axis=1)[np.arange(20_000), labels].mean()

  found = estimate.temperature(logits, labels)
  assert found == pytest.approx(true, rel=0.05)
  best = optimize.minimize_scalar(mean, bounds=(0.05, 50), method="bounded")
  assert found == pytest.approx(best.x, rel=1e-4)
  assert mean(found) <= best.fun + 1e-15
  assert mean(found) <= min(mean(found * 1.001), mean(found / 1.001))
  shifted = logits + rng.normal(size=(20_000, 1))
  assert estimate.temperature(shifted, labels) == pytest.approx(found, rel=1e-9)
  assert estimate.temperature(2 * logits, labels) == pytest.approx(2 * found, rel=1e-9)


def test_temperatures_without_a_best_one():
  logits = np.array([[2.0, 0.0], [0.0, 3.0]])
  assert estimate.temperature(logits, [0, 1]) == 0.01
  assert estimate.temperature(logits, [1, 0]) == 100
  assert estimate.temperature(np.ones((3, 2)), [0, 1, 0]) == 1
  assert estimate.temperature(1e6 * logits, [0, 1]) == 0.01
  logits.flags.writeable = False
  assert estimate.temperature(logits, [1, 1]) > 1


def refuse_later(sample):
  if len({*sample}) < len(sample):
    raise ValueError("a class is missing")
  return estimate.Estimate(np.eye(2), np.ones(2) / 2)


PAIR = (np.array([0, 1, 2]), np.array([0, 1, 2]))
REFUSED = {
  "num": (lambda: estimate.bootstrap(counted, PAIR, num=1, seed=0), "num must be at least 2, not"),
  "level": (
    lambda: estimate.bootstrap(counted, PAIR, num=9, seed=0, level=95),
    r"level must be in \(0, 1\), not 95",
  ),
  "sizes": (
    lambda: estimate.bootstrap(counted, ([0, 1], [0]), num=9, seed=0),
    r"arrays must have as many examples each, at least 1, not \[2, 1\]",
  ),
  "none": (lambda: estimate.bootstrap(counted, (), num=9, seed=0), r"at least 1, not \[\]"),
  "resample": (
    lambda: estimate.bootstrap(refuse_later, (range(30),), num=9, seed=0),
    "arrays, resample 0 of 9: a class is missing",
  ),
  "logits": (lambda: estimate.temperature([[0, -np.inf]], [0]), r"logits\[0, 1\] = -inf is not f"),
  "vector": (lambda: estimate.temperature([0.0], [0]), r"logits must have shape \[N, L\]"),
  "label": (lambda: estimate.temperature([[0, 1]], [2]), r"labels\[0\] = 2 is outside \[0, 2\)"),
  "number": (
    lambda: estimate.temperature([[0, 1]], [1, 1]),
    "labels has 2 examples, but logits has 1",
  ),
  "no labels": (lambda: estimate.from_labels(np.eye(2), []), "labels has no example"),
  "labels": (lambda: estimate.from_labels(np.eye(2), [0, 3]), r"labels\[1\] = 3 is outside"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
  call, message = REFUSED[name]
  with pytest.raises(ValueError, match=message) as caught:
    call()
  assert "\n" not in str(caught.value)
