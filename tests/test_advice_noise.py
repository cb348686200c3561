"""What is found of the noise: limits, bounds on Gaussian classes, and what checked labels add."""

import dataclasses

import numpy as np
import pytest
from scipy import special

from lsjax import estimate, transition
from lsjax.advice import noise
from lsjax.advice.noise import joints
from lsjax.advice.problem import UNKNOWN, Problem


def draw(rng, p):
  """A class for every row of probabilities."""
  return (rng.uniform(size=(len(p), 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, p.shape[1] - 1)


def problem(labels, num_classes, **changes):
  count = len(labels)
  empty = Problem(
    name="drawn",
    inputs=np.random.default_rng(9).normal(size=(count, 3)).astype(np.float32),
    labels=np.asarray(labels, np.int32),
    ids=np.arange(count),
    classes=tuple(range(num_classes)),
    true_labels=np.full(count, UNKNOWN, np.int32),
    chances=np.full(count, np.nan),
  )
  return dataclasses.replace(empty, **changes)


def world(seed, matrix, count=3000, distance=4.0):
  """Gaussian classes around the axes: logits of the noisy label, labels and true classes."""
  rng = np.random.default_rng(seed)
  true = rng.integers(0, len(matrix), count)
  x = distance * np.eye(len(matrix))[true] + rng.normal(size=(count, len(matrix)))
  q = special.softmax(distance * x, axis=1) @ matrix
  logits = np.log(np.maximum(q, 1e-4)) + 0.1 * rng.normal(size=q.shape)
  return logits, draw(rng, matrix[true]), true


def checked(found, true, count, seed):
  """The changes to a problem of which a person checked examples that were suspicious."""
  sample = estimate.to_check(found.wrong, count, seed=seed)
  labels, chances = np.full(len(true), UNKNOWN, np.int32), np.full(len(true), np.nan)
  labels[sample.indices], chances[sample.indices] = true[sample.indices], sample.chances
  return {"true_labels": labels, "chances": chances}


def test_separable_classes_without_noise():
  logits, labels, true = world(0, np.eye(4), distance=8.0)
  found = noise.find(problem(labels, 4), logits, seed=0)
  assert found.rate.estimate < 0.005
  assert found.rate.low == 0
  assert found.class_conditional.verdict == noise.UNKNOWN
  np.testing.assert_allclose(found.transition, np.eye(4), atol=0.01)
  np.testing.assert_array_equal(found.proposed, true)
  changes = checked(found, true, 100, seed=0)
  after = noise.find(problem(labels, 4, **changes), logits, seed=0)
  assert after.rate.low == 0
  assert after.rate.high > 0.03  # nobody can say less of 100 labels without a mistake


@pytest.mark.parametrize(
  "matrix", [transition.symmetric(4, 0.2), transition.pair(5, 0.3), transition.symmetric(3, 0.3)]
)
def test_noise_of_separable_classes_is_found(matrix):
  logits, labels, true = world(1, matrix, distance=6.0)
  found = noise.find(problem(labels, len(matrix)), logits, seed=0)
  rate = (labels != true).mean()
  assert abs(found.rate.estimate - rate) < 0.04
  assert found.rate.low <= rate <= found.rate.high
  assert np.abs(found.transition - matrix).max() < 0.08
  assert (found.transition_low <= matrix).mean() >= 0.8
  assert (found.transition_high >= matrix).mean() >= 0.8
  assert (found.proposed == true).mean() > 0.97
  assert found.wrong.mean() == pytest.approx(found.rate.estimate, abs=1e-3)
  np.testing.assert_allclose(found.resamples.sum(axis=2), 1)


def test_overlap_does_not_count_as_noise():
  """Where classes overlap, the confident joint's rate is too high and the layer's is not."""
  matrix, misses = transition.symmetric(6, 0.2), []
  for seed in range(3):
    logits, labels, true = world(seed, matrix, distance=2.5)
    found = noise.find(problem(labels, 6), logits, seed=0)
    by_name = {one.name: one.rate for one in found.estimates}
    rate = (labels != true).mean()
    assert found.rate.low <= rate <= found.rate.high
    misses.append((abs(found.rate.estimate - rate), abs(by_name["confident joint"] - rate)))
  ours, theirs = np.mean(misses, axis=0)
  assert ours < theirs


def test_twins_show_which_estimator_counts_overlap_as_noise():
  """The twin's noise is that of the estimated T; where classes overlap, some estimators err."""
  matrix = transition.symmetric(6, 0.2)
  logits, labels, _ = world(0, matrix, distance=2.5)
  given = problem(labels, 6)
  found = noise.find(given, logits, seed=0)
  twin = noise.with_twin(given, logits, found, seed=0).twin
  assert twin.draws == 3
  assert abs(twin.rate - found.rate.estimate) < 0.03
  assert abs(twin.found - twin.rate) < 0.03
  assert twin.by_estimator["confident joint"] > twin.rate + 0.05
  assert set(twin.by_estimator) == {one.name for one in found.estimates}


def test_no_twin_where_a_class_may_be_missing():
  logits, labels, _ = world(0, np.eye(4), count=400)
  labels = np.where(labels == 3, 0, labels)
  labels[0] = 3
  logits[:, 3] -= 50
  given = problem(labels, 4)
  found = noise.find(given, logits, seed=0)
  assert noise.with_twin(given, logits, found, seed=0).twin is None


def test_checked_labels_shrink_the_interval_and_hold():
  """People's mistakes: the more likely, the harder the example is."""
  rng = np.random.default_rng(5)
  logits, _, true = world(5, np.eye(5), count=4000, distance=1.5)
  hard = 1 - special.softmax(logits, axis=1).max(axis=1)
  wrong = rng.uniform(size=len(true)) < hard
  labels = np.where(wrong, (true + rng.integers(1, 5, len(true))) % 5, true)
  before = noise.find(problem(labels, 5), logits, seed=0)
  rate, inside, widths = (labels != true).mean(), [], []
  for seed in range(3):
    changes = checked(before, true, 500, seed)
    after = noise.find(problem(labels, 5, **changes), logits, seed=seed)
    inside.append(after.rate.low <= rate <= after.rate.high)
    widths.append(after.rate.high - after.rate.low)
    assert abs(after.rate.estimate - rate) < 0.06
    assert "500 checked labels" in after.estimator
  assert sum(inside) >= 2
  assert max(widths) < before.rate.high - before.rate.low


def test_votes_come_before_the_network():
  rng = np.random.default_rng(6)
  matrix = transition.symmetric(3, 0.3)
  logits, _, true = world(6, matrix, count=1500, distance=1.0)
  votes = np.stack([draw(rng, matrix[true]) for _ in range(5)], axis=1).astype(np.int32)
  labels = estimate.votes(votes, 3).posterior.argmax(axis=1)
  found = noise.find(problem(labels, 3, votes=votes), logits, seed=0)
  assert found.estimator == "votes"
  assert found.rate.estimate == pytest.approx((labels != true).mean(), abs=0.03)


def test_labels_that_nothing_predicts():
  rng = np.random.default_rng(7)
  labels = rng.integers(0, 2, 400)
  found = noise.find(problem(labels, 2), rng.normal(size=(400, 2)), seed=0)
  assert (found.rate.low, found.rate.high) == (0, 1)
  assert "Nothing is known" in found.identified


def test_few_examples_and_many_classes():
  logits, labels, _ = world(8, transition.symmetric(3, 0.2), count=150)
  found = noise.find(problem(labels, 3), logits, seed=0)
  assert found.class_conditional.verdict == noise.UNKNOWN
  matrix = transition.symmetric(40, 0.2)
  logits, labels, true = world(8, matrix, count=3000, distance=6.0)
  found = noise.find(problem(labels, 40), logits, seed=0)
  assert found.rate.low <= (labels != true).mean() <= found.rate.high


def test_logits_that_do_not_fit():
  with pytest.raises(ValueError, match=r"logits must have shape \[4, 2\], not \[3, 2\]"):
    noise.find(problem([0, 1, 0, 1], 2), np.zeros((3, 2)), seed=0)


def test_a_joint_distribution_with_any_rate_has_no_entry_below_0():
  rng = np.random.default_rng(0)
  for rate in rng.uniform(0.5, 1, 300):
    joint = rng.dirichlet(np.ones(9)).reshape(3, 3)
    changed = joints.with_rate(joint, rate)
    assert (changed >= 0).all()
    np.testing.assert_allclose(changed.sum(axis=0), joint.sum(axis=0), rtol=1e-12)
