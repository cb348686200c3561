"""Noisy labels: how they are drawn, what is known about them, and their digest."""

import numpy as np
import pytest
from scipy import stats

from lsjax import noise, transition

N = 20_000
PINNED = [1, 5, 2, 8, 2, 3, 8, 2, 0, 0, 0, 0]
PINNED_UNIFORM = 0.8146048964517917


@pytest.fixture
def labels():
  return np.random.default_rng(0).integers(0, 10, N)


@pytest.mark.parametrize(
  "matrix",
  [
    transition.symmetric(10, 0.2),
    transition.symmetric(10, 0.2, includes_own_class=True),
    transition.pair(10, 0.45),
    transition.cifar10_asymmetric(0.4),
    np.random.default_rng(1).dirichlet(np.ones(10), 10),
  ],
)
def test_confusion_is_within_binomial_bounds(matrix, labels):
  noisy = noise.corrupt(labels, matrix, seed=3)
  counts = np.zeros((10, 10))
  np.add.at(counts, (labels, noisy.labels), 1)
  totals = counts.sum(1, keepdims=True)
  # 100 cells: a two-sided 1e-6 bound each fails by chance once in 10,000 seeds.
  low, high = stats.binom.interval(1 - 1e-6, totals.astype(int), np.clip(matrix, 0, 1))
  assert (counts >= low).all()
  assert (counts <= high).all()
  assert (counts[matrix == 0] == 0).all()
  np.testing.assert_array_equal(noisy.changed, noisy.labels != labels)


def test_a_draw_depends_on_its_id_alone(labels):
  matrix = transition.symmetric(10, 0.4)
  ids = np.array([f"train_{i:05d}" for i in range(N)])
  whole = noise.corrupt(labels, matrix, seed=0, ids=ids).labels
  order = np.random.default_rng(5).permutation(N)[: N // 3]
  part = noise.corrupt(labels[order], matrix, seed=0, ids=ids[order]).labels
  np.testing.assert_array_equal(part, whole[order])
  by_number = noise.corrupt(labels, matrix, seed=0).labels
  absent = noise.corrupt(labels, matrix, seed=0, ids=range(N)).labels
  np.testing.assert_array_equal(by_number, absent)


def test_pinned_draws():
  # The same on every platform and release: a published result names its seed.
  got = noise.corrupt(np.zeros(12, int), transition.symmetric(10, 0.5), seed=7).labels
  assert got.tolist() == PINNED
  assert noise.uniform(["train_16399"], seed=1)[0] == pytest.approx(PINNED_UNIFORM, abs=1e-16)


def test_seeds_and_ids_are_independent():
  uniforms = np.stack([noise.uniform(np.arange(5000), seed=s) for s in range(4)])
  for row in uniforms:
    assert stats.kstest(row, "uniform").pvalue > 1e-6
    # Neighbouring ids: a lag-1 correlation of 5000 draws has a deviation of 0.014.
    assert abs(np.corrcoef(row[:-1], row[1:])[0, 1]) < 0.07
  correlation = np.corrcoef(uniforms)
  assert np.abs(correlation - np.eye(4)).max() < 0.07


def test_never_flipped_twice():
  """Corrupting class by class in place would pass some labels on to the next class."""
  labels = np.repeat([0, 1, 2], 1000)
  noisy = noise.corrupt(labels, transition.pair(3, 1.0), seed=0)
  np.testing.assert_array_equal(noisy.labels, (labels + 1) % 3)


def test_arrays_hold_everything(labels):
  noisy = noise.corrupt(labels, transition.symmetric(10, 0.2), seed=4)
  arrays = noisy.arrays()
  names = ["ids", "noisy_labels", "clean_labels", "changed", "transition"]
  expected = [np.arange(N), noisy.labels, labels, noisy.labels != labels, noisy.transition]
  assert list(arrays) == names
  for name, array in zip(names, expected):
    np.testing.assert_array_equal(arrays[name], array)


def test_pinned_digests():
  """A run compares its labels with those in its file by this digest."""
  drawn = noise.corrupt(np.zeros(12, int), transition.symmetric(10, 0.5), seed=7)
  assert drawn.sha256().startswith("0a23ae6eb862f8b9")
  labels, true_labels, ids = np.array([0, 1, 1]), np.array([0, 0, 1]), np.arange(3)
  assert noise.given(labels, true_labels, 2, ids=ids).sha256().startswith("c0d6d70e378e67c0")
  assert noise.given(labels, None, 2, ids=ids).sha256().startswith("8ff8d00d3640abf2")
  other = noise.corrupt(np.zeros(12, int), transition.symmetric(10, 0.5), seed=8)
  assert other.sha256() != drawn.sha256()


def test_given_labels():
  given = noise.given(np.array([0, 1, 1]), np.array([0, 0, 1]), 2, ids=np.arange(3))
  np.testing.assert_array_equal(given.transition, [[0.5, 0.5], [0, 1]])
  assert given.realised_rate == pytest.approx(1 / 3)
  blind = noise.given(np.array([0, 1, 1]), None, 2, ids=np.arange(3))
  assert blind.changed is None
  assert blind.realised_rate is None


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [
    ({"labels": [0, 10]}, "outside"),
    ({"labels": [-1, 1]}, "outside"),
    ({"labels": [0.0, 1.0]}, "integers"),
    ({"labels": [1, 2], "ids": [4, 4]}, "distinct"),
    ({"labels": [1, 2], "ids": [4]}, "2 integers or strings"),
    ({"labels": [1, 2], "seed": -1}, "seed"),
    ({"labels": [1, 2], "matrix": np.ones((10, 10))}, "sums to 10"),
  ],
)
def test_bad_input(kwargs, message):
  kwargs = {"seed": 0, "matrix": transition.symmetric(10, 0.2), **kwargs}
  labels, matrix = np.array(kwargs.pop("labels")), kwargs.pop("matrix")
  with pytest.raises(ValueError, match=message):
    noise.corrupt(labels, matrix, **kwargs)
