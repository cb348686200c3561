"""T from the labels of neighbours: exact consensus, dense references, drawn labels, features."""

import numpy as np
import pytest
from scipy import optimize

from lsjax import estimate, noise, transition
from lsjax.estimate import neighbours


def random_case(seed, num_classes, least):
  """A matrix without symmetry whose diagonal is at least `least`, and unequal shares."""
  rng = np.random.default_rng(seed)
  share = rng.uniform(0, 1 - least, (num_classes, 1))
  off = rng.dirichlet(np.ones(num_classes), num_classes)
  matrix = (1 - share) * np.eye(num_classes) + share * off
  return matrix, rng.dirichlet(np.full(num_classes, 5.0))


def every_triple(matrix, prior):
  """All L^3 triples of labels with their exact frequencies, by a sum over true classes."""
  num_classes = len(matrix)
  grid = np.indices((num_classes,) * 3).reshape(3, -1).T
  weights = np.einsum("i,ij,ik,il->jkl", prior, matrix, matrix, matrix).ravel()
  return grid, weights


def drawn_triples(matrix, n, seed=0):
  true = np.random.default_rng(seed).integers(0, len(matrix), n)
  labels = [noise.corrupt(true, matrix, seed=3 * seed + k).labels for k in range(3)]
  return np.stack(labels, axis=1)


@pytest.mark.parametrize("num_classes", [2, 3, 5, 10])
def test_exact_consensus(num_classes):
  for seed in range(4):
    matrix, prior = random_case(seed, num_classes, least=0.55)
    grid, weights = every_triple(matrix, prior)
    found = estimate.fit_triples(grid, num_classes, weights=7 * weights)
    np.testing.assert_allclose(found.transition, matrix, rtol=0, atol=5e-5)
    np.testing.assert_allclose(found.prior, prior, rtol=0, atol=5e-5)
    assert found.error < 1e-12
    assert found.converged


@pytest.mark.parametrize(
  "matrix",
  [
    transition.pair(10, 0.45),
    transition.symmetric(10, 0.7),
    transition.cifar10_asymmetric(0.4),
    transition.one_sided(10, 0.45),
    np.eye(10),
  ],
  ids=["pair", "symmetric", "asymmetric", "one_sided", "none"],
)
def test_exact_consensus_of_designed_noise(matrix):
  """Entries of 0 and rows that come close to each other are found too."""
  grid, weights = every_triple(matrix, np.full(10, 0.1))
  found = estimate.fit_triples(grid, 10, weights=weights)
  np.testing.assert_allclose(found.transition, matrix, rtol=0, atol=5e-5)


def dense_error(parameters, c1, c2, c3):
  """The objective as it is written, with all L^3 entries."""
  rows = parameters.reshape(-1, len(c1))
  rows = rows / rows.sum(1, keepdims=True)
  t, p = rows[:-1], rows[-1]
  first = ((t.T @ p - c1) ** 2).sum()
  second = ((t.T @ np.diag(p) @ t - c2) ** 2).sum()
  third = sum(p[i] * np.multiply.outer(np.outer(t[i], t[i]), t[i]) for i in range(len(p)))
  return first + second + ((third - c3) ** 2).sum()


def test_objective_and_gradient():
  """Against L^3 entries and central differences, for frequencies without symmetry."""
  n, num_classes = 200, 4
  rng = np.random.default_rng(0)
  found = rng.integers(0, num_classes, (n, 3)).astype(np.int32)
  weights = rng.dirichlet(np.ones(n))
  c3 = np.zeros((num_classes,) * 3)
  for triple, weight in zip(found, weights):
    c3[tuple(triple)] += weight
  c1, c2 = c3.sum((1, 2)), c3.sum(2)
  objective = neighbours._Consensus(found, weights, num_classes)

  def penalised(parameters):
    sums = parameters.reshape(-1, num_classes).sum(1)
    return num_classes * dense_error(parameters, c1, c2, c3) + ((sums - 1) ** 2).sum()

  for _ in range(5):
    parameters = rng.uniform(0.1, 2, num_classes * (num_classes + 1))
    value, gradient = objective(parameters)
    assert value == pytest.approx(penalised(parameters), rel=1e-12)
    steps = 1e-6 * np.eye(len(parameters))
    slopes = [(penalised(parameters + d) - penalised(parameters - d)) / 2e-6 for d in steps]
    np.testing.assert_allclose(gradient, slopes, rtol=0, atol=1e-7)


def test_a_row_of_zeros_is_a_bad_row_and_no_error():
  """A long step of the optimiser can lead to one; it has to be led back."""
  matrix, prior = random_case(0, 4, least=0.6)
  grid, weights = every_triple(matrix, prior)
  objective = neighbours._Consensus(grid.astype(np.int32), weights, 4)
  parameters = np.vstack([matrix, prior])
  assert objective(parameters.ravel())[0] == pytest.approx(0, abs=1e-15)
  for row in (0, 4):
    broken = parameters.copy()
    broken[row] = 0
    value, gradient = objective(broken.ravel())
    assert np.isfinite(gradient).all()
    assert 0.99 < value < 5
    assert (gradient.reshape(5, 4)[row] < -0.5).any()


def test_the_best_parameters_are_kept_as_a_copy(monkeypatch):
  """An optimiser that writes into its array and ends at a worse point changes nothing."""
  matrix, prior = random_case(0, 3, least=0.6)
  grid, weights = every_triple(matrix, prior)

  def careless(objective, start, **_):
    array = np.array(start)
    objective(array)
    array[:] = np.vstack([matrix, prior]).ravel()
    objective(array)
    array[:] = 1 / 3
    objective(array)
    return optimize.OptimizeResult(x=array, status=1)

  monkeypatch.setattr(neighbours.optimize, "minimize", careless)
  found = estimate.fit_triples(grid, 3, weights=weights)
  np.testing.assert_allclose(found.transition, matrix, rtol=0, atol=1e-12)
  np.testing.assert_allclose(found.prior, prior, rtol=0, atol=1e-12)
  assert found.error < 1e-15
  assert not found.converged


def test_rows_are_ordered_by_the_labels_of_most(monkeypatch):
  """The same minimum under other names of the true classes gives the same matrix."""
  matrix, prior = random_case(1, 4, least=0.6)
  grid, weights = every_triple(matrix, prior)

  def renamed(objective, start, **_):
    objective(np.vstack([matrix[[2, 0, 3, 1]], prior[[2, 0, 3, 1]]]).ravel())
    return optimize.OptimizeResult(status=0)

  monkeypatch.setattr(neighbours.optimize, "minimize", renamed)
  found = estimate.fit_triples(grid, 4, weights=weights)
  np.testing.assert_allclose(found.transition, matrix, rtol=0, atol=1e-12)
  np.testing.assert_allclose(found.prior, prior, rtol=0, atol=1e-12)


def test_names_of_classes_do_not_matter():
  triples = drawn_triples(random_case(2, 5, least=0.6)[0], 20_000)
  new = np.array([3, 0, 4, 2, 1])
  expected = estimate.fit_triples(triples, 5)
  found = estimate.fit_triples(new[triples], 5)
  np.testing.assert_allclose(found.transition[np.ix_(new, new)], expected.transition, atol=1e-5)
  np.testing.assert_allclose(found.prior[new], expected.prior, atol=1e-5)
  assert np.abs(found.transition - expected.transition).max() > 0.01


@pytest.mark.parametrize(
  ("matrix", "mean_error", "rate_error"),
  [
    (transition.symmetric(10, 0.4), 0.006, 0.01),
    (transition.pair(10, 0.45), 0.003, 0.01),
    (transition.cifar10_asymmetric(0.4), 0.012, 0.02),
  ],
  ids=["symmetric", "pair", "asymmetric"],
)
def test_drawn_triples(matrix, mean_error, rate_error):
  """From 50,000 triples, for each of three draws."""
  for seed in range(3):
    found = estimate.fit_triples(drawn_triples(matrix, 50_000, seed), 10)
    error = np.abs(found.transition - matrix).mean()
    print(f"mean error {error:.4f}, of the rate {found.rate - 1 + matrix.diagonal().mean():+.4f}")
    assert error < mean_error
    assert abs(found.rate - 1 + matrix.diagonal().mean()) < rate_error


@pytest.mark.parametrize("size", [30, pytest.param(100, marks=pytest.mark.slow)])
def test_many_classes(size):
  """Neither an array of L^3 entries nor many minutes: pair noise from 50,000 triples."""
  matrix = transition.pair(size, 0.4)
  found = estimate.fit_triples(drawn_triples(matrix, 50_000), size)
  print(f"mean error {np.abs(found.transition - matrix).mean():.5f}")
  assert np.abs(found.transition - matrix).mean() < 8e-4
  assert found.rate == pytest.approx(0.4, abs=0.02)


def clusters(num_classes, n, spread, seed=0):
  """Unequal Gaussian clusters around random directions."""
  rng = np.random.default_rng(seed)
  prior = rng.dirichlet(np.full(num_classes, 20.0))
  true = rng.choice(num_classes, n, p=prior)
  centres = rng.normal(size=(num_classes, 30))
  return true, centres[true] + spread * rng.normal(size=(n, 30)), prior


def test_clusters_that_are_far_apart():
  """The matrix and the shares within 0.05 an entry, from 6,000 examples of 5 classes."""
  matrix, _ = random_case(5, 5, least=0.55)
  true, features, prior = clusters(5, 6000, spread=0.4)
  labels = noise.corrupt(true, matrix, seed=1).labels
  found = estimate.hoc(features, labels, 5, seed=0)
  print(np.abs(found.transition - matrix).max(), np.abs(found.prior - prior).max())
  assert np.abs(found.transition - matrix).max() < 0.05
  assert np.abs(found.prior - prior).max() < 0.03
  assert found.rate == pytest.approx(np.mean(labels != true), abs=0.02)
  again = estimate.hoc(1e200 * features, labels, 5, seed=1)  # all examples: no draw, and cosines
  np.testing.assert_allclose(again.transition, found.transition, rtol=0, atol=1e-3)


def test_a_draw_of_examples_depends_on_the_seed_alone():
  true, features, _ = clusters(3, 2000, spread=0.3)
  labels = noise.corrupt(true, transition.symmetric(3, 0.3), seed=1).labels
  found = [estimate.hoc(features, labels, 3, seed=s, max_examples=800) for s in (0, 0, 1)]
  np.testing.assert_array_equal(found[0].transition, found[1].transition)
  assert (found[0].transition != found[2].transition).any()
  np.testing.assert_allclose(found[2].transition, transition.symmetric(3, 0.3), rtol=0, atol=0.1)


def test_neighbours_one_by_one(monkeypatch):
  """Against loops in float64, in blocks whose last one is short."""
  monkeypatch.setattr(neighbours, "_BLOCK", 7 * 60)
  rng = np.random.default_rng(0)
  features, labels = rng.normal(size=(60, 4)) * rng.lognormal(size=(60, 1)), rng.integers(0, 9, 60)
  expected = []
  for i, x in enumerate(features):
    cosines = [x @ z / np.linalg.norm(x) / np.linalg.norm(z) for z in features]
    order = [j for j in np.argsort(cosines)[::-1] if j != i]
    expected.append([labels[i], labels[order[0]], labels[order[1]]])
  copies = features.copy(), labels.copy()
  np.testing.assert_array_equal(estimate.triples(features, labels), expected)
  np.testing.assert_array_equal(features, copies[0])
  np.testing.assert_array_equal(labels, copies[1])


X, Y, TRIPLES = np.eye(4), [0, 1, 0, 1], [[0, 0, 1], [1, 1, 0]]
REFUSED = {
  "shape": (lambda: estimate.triples(X[0], Y), r"features must have shape \[N, D\]"),
  "infinite": (lambda: estimate.triples(np.diag([1, np.inf]), [0, 1]), r"features\[1, 1\] = inf"),
  "zero": (lambda: estimate.triples(np.tri(4, k=-1), Y), r"features\[0\] is the zero vector"),
  "two": (lambda: estimate.triples(X[:2], Y[:2]), "number of examples in features .* 3, not 2"),
  "labels": (
    lambda: estimate.hoc(X, Y[:3], 2, seed=0),
    "labels has 3 examples, but features has 4",
  ),
  "label": (lambda: estimate.hoc(X, [0, 1, 2, 0], 2, seed=0), r"labels\[2\] = 2 is outside \[0, 2"),
  "classes": (lambda: estimate.hoc(X, Y, 1, seed=0), "num_classes must be at least 2, not 1"),
  "few": (lambda: estimate.hoc(X, Y, 2, seed=0, max_examples=2), "max_examples must be at least 3"),
  "pairs": (
    lambda: estimate.fit_triples([[0, 1]], 2),
    r"triples must have shape \[N, 3\].*\[1, 2\]",
  ),
  "none": (lambda: estimate.fit_triples(np.zeros((0, 3)), 2), "N at least 1"),
  "third": (lambda: estimate.fit_triples([[0, 0, 5]], 2), r"triples\[:, 2\]\[0\] = 5 is outside"),
  "weights": (
    lambda: estimate.fit_triples(TRIPLES, 2, weights=[1]),
    r"weights must have shape \[2",
  ),
  "weight": (
    lambda: estimate.fit_triples(TRIPLES, 2, weights=[1, -1]),
    r"weights\[1\] = -1.0 is no",
  ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
  call, message = REFUSED[name]
  with pytest.raises(ValueError, match=message) as caught:
    call()
  assert "\n" not in str(caught.value)
