"""Transition matrices and the noise drawn from them."""

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


def test_save_holds_everything(tmp_path, labels):
  noisy = noise.corrupt(labels, transition.symmetric(10, 0.2), seed=4)
  noisy.save(tmp_path / "noise.npz")
  with np.load(tmp_path / "noise.npz", allow_pickle=False) as saved:
    np.testing.assert_array_equal(saved["noisy_labels"], noisy.labels)
    np.testing.assert_array_equal(saved["clean_labels"], labels)
    np.testing.assert_array_equal(saved["changed"], noisy.changed)
    np.testing.assert_array_equal(saved["transition"], noisy.transition)
    assert saved["seed"] == 4
    assert str(saved["sha256"]) == noisy.sha256()
  other = noise.corrupt(labels, transition.symmetric(10, 0.2), seed=5)
  assert other.sha256() != noisy.sha256()


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


def test_inverse():
  matrix = transition.symmetric(10, 0.3, includes_own_class=True)
  inverse, condition = transition.inverse(matrix)
  np.testing.assert_allclose(inverse, np.eye(10) / 0.7 - 0.3 / 7, rtol=1e-12, atol=1e-12)
  assert condition == pytest.approx(1 / 0.7)
  with pytest.raises(ValueError, match="singular"):
    transition.inverse(transition.symmetric(10, 0.9))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".txt"])
def test_from_file(tmp_path, suffix):
  matrix = transition.pair(4, 0.3)
  path = tmp_path / f"t{suffix}"
  if suffix == ".npy":
    np.save(path, matrix)
  elif suffix == ".npz":
    np.savez(path, T=matrix)
  else:
    np.savetxt(path, matrix, delimiter="," if suffix == ".csv" else " ")
  np.testing.assert_allclose(transition.from_file(path), matrix)


def test_from_file_errors(tmp_path):
  (tmp_path / "words.txt").write_text("no numbers")
  (tmp_path / "broken.npz").write_bytes(b"PK broken")
  np.savetxt(tmp_path / "wide.txt", np.ones((2, 3)))
  np.savetxt(tmp_path / "sums.txt", np.ones((2, 2)))
  for name in ("words.txt", "broken.npz", "wide.txt", "sums.txt", "absent.npy"):
    with pytest.raises(ValueError, match=name) as caught:
      transition.from_file(tmp_path / name)
    assert "\n" not in str(caught.value)
