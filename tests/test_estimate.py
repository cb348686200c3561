"""Estimates of T from probabilities: exact cases, loops as references, and what is refused."""

import numpy as np
import pytest

from lsjax import estimate, transition

L = 5
EXACT = {"rtol": 0, "atol": 1e-12}


def random_transition(seed, num_classes=L, least=0.5):
  """A matrix without symmetry whose diagonal is at least `least`."""
  rng = np.random.default_rng(seed)
  off = rng.dirichlet(np.ones(num_classes), num_classes)
  share = rng.uniform(0, 1 - least, (num_classes, 1))
  return (1 - share) * np.eye(num_classes) + share * off


def exact(matrix, copies=40):
  """Anchor points alone: q is a row of T, and the labels have just those frequencies.

  T is rounded so that each frequency is a whole number of examples.
  """
  counts = np.round(matrix * copies).astype(int)
  counts[np.diag_indices(len(counts))] += copies - counts.sum(1)
  matrix = counts / copies
  true = np.repeat(np.arange(len(matrix)), copies)
  noisy = np.concatenate([np.repeat(np.arange(len(matrix)), row) for row in counts])
  order = np.random.default_rng(1).permutation(len(true))
  return matrix, true[order], noisy[order], matrix[true[order]]


def noisy_posteriors(seed, n=600):
  """Probabilities that are right for no matrix, and labels drawn from others."""
  rng = np.random.default_rng(seed)
  q = rng.dirichlet(np.full(L, 0.3), n)
  return q, np.array([rng.choice(L, p=row) for row in 0.7 * q + 0.3 / L])


ESTIMATORS = {
  "anchor": lambda q, noisy, true: estimate.anchor(q),
  "anchor below a quantile": lambda q, noisy, true: estimate.anchor(q, quantile=0.9),
  "dual_t": lambda q, noisy, true: estimate.dual_t(q, noisy),
  "dual_t below a quantile": lambda q, noisy, true: estimate.dual_t(q, noisy, quantile=0.9),
  "confident_joint": lambda q, noisy, true: estimate.confident_joint(q, noisy).transition,
  "glc": lambda q, noisy, true: estimate.glc(q, true),
}


def test_exact_posteriors_of_anchor_points():
  """Where q is a row of T for every example, q holds T itself."""
  for seed in range(20):
    matrix, true, _, q = exact(random_transition(seed, least=0.6))
    mixed = np.random.default_rng(seed).dirichlet(np.ones(L), 300) @ matrix
    found = estimate.anchor(np.concatenate([mixed, q]))
    np.testing.assert_allclose(found, matrix, **EXACT)
    np.testing.assert_allclose(estimate.anchor(q, quantile=0.97), matrix, **EXACT)
    np.testing.assert_allclose(estimate.glc(q, true), matrix, **EXACT)


def test_dual_t_and_the_confident_joint_count_what_is_exact():
  """Where q tells the true class, both recover T from the labels, exactly."""
  for seed in range(20):
    matrix, true, noisy, _ = exact(random_transition(seed, least=0.6))
    sure = np.eye(L)[true]
    np.testing.assert_allclose(estimate.dual_t(sure, noisy), matrix, **EXACT)
    smooth = 0.9 * sure + 0.1 / L  # the thresholds are means over wrong labels too
    found = estimate.confident_joint(smooth, noisy)
    np.testing.assert_allclose(found.transition, matrix, **EXACT)
    np.testing.assert_allclose(found.prior, 1 / L, **EXACT)
    np.testing.assert_allclose(found.rate, 1 - matrix.diagonal().mean(), **EXACT)


def test_dual_t_counts_the_noise_twice_where_q_is_exact():
  """A and B are then both T."""
  matrix, true, noisy, q = exact(random_transition(3, least=0.6))
  assert (q.argmax(1) == true).all()
  np.testing.assert_allclose(estimate.dual_t(q, noisy), matrix @ matrix, **EXACT)


@pytest.mark.parametrize("seed", range(3))
def test_gaussian_clusters(seed):
  """Exact posteriors of four clusters in the plane that touch, and 20,000 drawn labels."""
  rng = np.random.default_rng(seed)
  matrix = random_transition(seed, 4, least=0.6)
  true = rng.integers(0, 4, 20_000)
  centres = 2.5 * np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]])
  x = centres[true] + rng.normal(size=(20_000, 2))
  logits = -((x[:, None] - centres) ** 2).sum(2) / 2
  clean = np.exp(logits - logits.max(1, keepdims=True))
  q = clean / clean.sum(1, keepdims=True) @ matrix
  noisy = (rng.random((20_000, 1)) > matrix.cumsum(1)[true]).sum(1).clip(max=3)
  trusted = rng.choice(20_000, 400, replace=False)
  bounds = {
    "anchor": (estimate.anchor(q), matrix, 1e-8),
    "anchor below a quantile": (estimate.anchor(q, quantile=0.97), matrix, 1e-5),
    "glc": (estimate.glc(q[trusted], true[trusted]), matrix, 0.05),
    "confident_joint": (estimate.confident_joint(q, noisy).transition, matrix, 0.03),
    "dual_t": (estimate.dual_t(q, noisy), matrix @ matrix, 0.03),
  }
  for name, (found, expected, bound) in bounds.items():
    error = np.abs(found - expected).max()
    print(f"{name}: largest error {error:.2g}")
    assert error < bound, name
  found = estimate.prior(matrix, np.bincount(noisy))
  assert np.abs(found - 0.25).max() < 0.03


def test_a_class_that_nobody_predicts():
  q = np.array([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.5, 0.1, 0.4]])
  b = np.array([[0.5, 0, 0.5], [0, 1, 0], [0, 0, 1]])
  found = estimate.dual_t(q, [0, 1, 2])
  np.testing.assert_allclose(found, q @ b, **EXACT)


def test_a_class_that_no_example_is_labelled_with():
  q = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
  found = estimate.confident_joint(q, [0, 1, 0])
  assert found.thresholds[2] == np.inf
  np.testing.assert_array_equal(found.counts, np.eye(3, dtype=int))
  np.testing.assert_array_equal(found.transition, np.eye(3))
  np.testing.assert_allclose(found.prior, [2 / 3, 1 / 3, 0], **EXACT)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_labels_that_are_never_wrong(name):
  true = np.random.default_rng(0).permutation(np.arange(100) % L)
  np.testing.assert_array_equal(ESTIMATORS[name](np.eye(L)[true], true, true), np.eye(L))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_names_of_classes_do_not_matter(name):
  estimator = ESTIMATORS[name]
  for seed in range(5):
    q, noisy = noisy_posteriors(seed)
    true = q.argmax(1)
    new = np.random.default_rng(seed).permutation(L)  # class i is called new[i]
    renamed = np.empty_like(q)
    renamed[:, new] = q
    found = estimator(renamed, new[noisy], new[true])
    expected = estimator(q, noisy, true)
    np.testing.assert_allclose(found[np.ix_(new, new)], expected, **EXACT)
    assert np.abs(found - expected).max() > 1e-3


@pytest.mark.parametrize("name", ESTIMATORS)
def test_results_are_matrices_and_arguments_stay_as_they_are(name):
  q, noisy = noisy_posteriors(7)
  true = q.argmax(1)
  arrays = [q, noisy, true]
  copies = [array.copy() for array in arrays]
  for array in arrays:
    array.flags.writeable = False
  found = ESTIMATORS[name](*arrays)
  for array, copy in zip(arrays, copies):
    np.testing.assert_array_equal(array, copy)
  assert found.dtype == np.float64
  assert found.flags.writeable
  np.testing.assert_allclose(transition.validate(found), found, **EXACT)
  rounded = ESTIMATORS[name](q.astype(np.float32), noisy, true)
  np.testing.assert_allclose(rounded, found, rtol=0, atol=1e-6)
  np.testing.assert_allclose(rounded.sum(1), 1, **EXACT)
  found[:] = 7  # a result is no view of an argument
  np.testing.assert_array_equal(q, copies[0])


def anchor_in_loops(q, quantile):
  rows = []
  for i in range(L):
    limit = np.quantile(q[:, i], quantile, method="higher") if quantile else np.inf
    best = None
    for n in range(len(q)):
      if q[n, i] < limit and (best is None or q[n, i] > q[best, i]):
        best = n
    rows.append(q[best])
  return np.array(rows)


def dual_t_in_loops(q, noisy, quantile):
  b = np.zeros((L, L))
  for n in range(len(q)):
    b[int(np.argmax(q[n])), noisy[n]] += 1
  for i in range(L):
    b[i] = b[i] / b[i].sum() if b[i].sum() else np.eye(L)[i]
  return anchor_in_loops(q, quantile) @ b


def confident_joint_in_loops(q, noisy):
  thresholds = [np.mean([row[j] for row, y in zip(q, noisy) if y == j]) for j in range(L)]
  counts = np.zeros((L, L), int)
  for row, y in zip(q, noisy):
    above = [j for j in range(L) if row[j] >= thresholds[j]]
    if above:
      counts[y, max(above, key=lambda j: row[j])] += 1
  for j in range(L):
    counts[j, j] = max(counts[j, j], 1)
  joint = np.zeros((L, L))
  for k in range(L):
    for j in range(L):
      joint[k, j] = counts[k, j] / counts[k].sum() * (noisy == k).sum()
  joint /= joint.sum()
  matrix = np.zeros((L, L))
  for i in range(L):
    for j in range(L):
      matrix[i, j] = joint[j, i] / joint[:, i].sum()
  return counts, joint, matrix, joint.sum(0)


@pytest.mark.parametrize("quantile", [None, 0.5, 0.97])
def test_references_in_loops(quantile):
  for seed in range(10):
    q, noisy = noisy_posteriors(seed)
    found = estimate.anchor(q, quantile=quantile)
    np.testing.assert_allclose(found, anchor_in_loops(q, quantile), **EXACT)
    found = estimate.dual_t(q, noisy, quantile=quantile)
    np.testing.assert_allclose(found, dual_t_in_loops(q, noisy, quantile), **EXACT)
    joint = estimate.confident_joint(q, noisy)
    found = (joint.counts, joint.joint, joint.transition, joint.prior)
    for one, other in zip(found, confident_joint_in_loops(q, noisy)):
      np.testing.assert_allclose(one, other, **EXACT)


def test_the_quantile_leaves_outliers_out():
  """One value of 0.99 in 1,000 does not decide; where all are equal, it does not matter."""
  matrix, _, _, q = exact(transition.symmetric(4, 0.3), copies=250)
  q[7] = [0.99, 0.01, 0, 0]
  assert estimate.anchor(q)[0, 0] == pytest.approx(0.99)
  found = estimate.anchor(q, quantile=0.9999)  # one example is ignored
  np.testing.assert_allclose(found[0], matrix[0], **EXACT)
  np.testing.assert_allclose(estimate.anchor(np.full((9, 3), 1 / 3), quantile=0.97), 1 / 3, **EXACT)


def test_rows_of_the_confident_joint_are_noisy_labels():
  """Class 0 loses its label to class 1, never the other way round."""
  matrix = transition.one_sided(2, 0.25)
  _, true, noisy, _ = exact(matrix)
  found = estimate.confident_joint(0.8 * np.eye(2)[true] + 0.1, noisy)
  np.testing.assert_array_equal(found.counts, [[30, 0], [10, 40]])
  np.testing.assert_allclose(found.joint.sum(1), np.bincount(noisy) / 80, **EXACT)
  np.testing.assert_allclose(found.transition, matrix, **EXACT)


def test_prior_is_exact_where_the_matrix_and_the_frequencies_are():
  for seed in range(20):
    matrix = random_transition(seed)
    shares = np.random.default_rng(seed).dirichlet(np.full(L, 0.5))
    shares[seed % L] = 0
    shares /= shares.sum()
    found = estimate.prior(matrix, shares @ matrix * 1000)
    np.testing.assert_allclose(found, shares, rtol=0, atol=1e-10)


def test_prior_is_the_nearest_on_the_simplex():
  """No other point of the simplex, of many near and far, has a smaller error."""
  for seed in range(5):
    rng = np.random.default_rng(seed)
    matrix, frequencies = random_transition(seed, 3), rng.dirichlet(np.full(3, 0.2))
    found = estimate.prior(matrix, frequencies)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1, abs=1e-14)
    others = np.concatenate([rng.dirichlet(np.ones(3), 4000), np.eye(3)])
    others = np.concatenate([others, 0.999 * found + 0.001 * others])
    errors = ((others @ matrix - frequencies) ** 2).sum(1)
    assert ((found @ matrix - frequencies) ** 2).sum() <= errors.min() + 1e-15


def test_rate():
  matrix = transition.symmetric(L, 0.3)
  assert estimate.rate(matrix, np.arange(L)) == pytest.approx(0.3, abs=1e-15)
  matrix = transition.one_sided(2, 0.4)
  assert estimate.rate(matrix, [3, 1]) == pytest.approx(0.3, abs=1e-15)
  assert estimate.rate(np.eye(7) + 1e-17, np.ones(7)) == 0


GOOD = np.full((4, 2), 0.5)
REFUSED = {
  "shape": (lambda: estimate.anchor([0.5, 0.5]), r"probabilities must have shape \[N, L\]"),
  "empty": (lambda: estimate.anchor(np.zeros((0, 3))), r"at least 1, not \[0, 3\]"),
  "one class": (lambda: estimate.anchor([[1.0]]), "probabilities must have at least 2 classes"),
  "nan": (
    lambda: estimate.anchor([[1, 0], [np.nan, 1]]),
    r"probabilities\[1, 0\] = nan is not fin",
  ),
  "negative": (lambda: estimate.anchor([[1.5, -0.5]]), r"probabilities\[0, 1\] = -0.5 is negative"),
  "sum": (lambda: estimate.anchor([[1, 0], [0.5, 0.4]]), r"probabilities\[1\] sums to 0.9, not 1"),
  "percent": (lambda: estimate.anchor(GOOD, quantile=97), "0.97 for 97 %, not 97"),
  "no quantile": (
    lambda: estimate.dual_t(GOOD, [0] * 4, quantile=0),
    r"quantile must be in \(0, 1",
  ),
  "label": (lambda: estimate.dual_t(GOOD, [0, 1, 2, 0]), r"labels\[2\] = 2 is outside \[0, 2\)"),
  "number": (lambda: estimate.confident_joint(GOOD, [0]), "labels has 1 examples, but probab.* 4"),
  "trusted": (lambda: estimate.glc(GOOD, [1, 1, 1, 1]), "true_labels has no example of class 0"),
  "true": (lambda: estimate.glc(GOOD, [-1, 1, 1, 1]), r"true_labels\[0\] = -1 is outside"),
  "matrix": (lambda: estimate.rate(np.ones((2, 2)), [1, 1]), "row 0 sums to 2, not 1"),
  "prior": (
    lambda: estimate.rate(np.eye(2), [1, -1]),
    r"prior\[1\] = -1.0 is not a number of at l",
  ),
  "shares": (lambda: estimate.prior(np.eye(2), [1, 1, 1]), r"frequencies must have shape \[2\]"),
  "no shares": (lambda: estimate.prior(np.eye(2), [0, 0]), "frequencies must have a positive sum"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
  call, message = REFUSED[name]
  with pytest.raises(ValueError, match=message) as caught:
    call()
  assert "\n" not in str(caught.value)
