"""Dawid and Skene against a slow reference, exact frequencies, drawn votes, and what is refused."""

import itertools
import math

import numpy as np
import pytest

from lsjax import estimate, transition

CONFUSIONS = np.array(
  [
    [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.0, 0.2, 0.8]],
    [[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.1, 0.3, 0.6]],
    [[0.9, 0.0, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6]],
    [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.1, 0.6]],
  ]
)
PRIOR = np.array([0.5, 0.2, 0.3])


def drawn(seed, n, missing=0.3, confusions=CONFUSIONS, prior=PRIOR):
  """True classes, and votes of which some are missing, but never all of an example."""
  rng = np.random.default_rng(seed)
  true = rng.choice(len(prior), n, p=prior)
  votes = np.empty((n, len(confusions)), int)
  for a, matrix in enumerate(confusions):
    votes[:, a] = (rng.random((n, 1)) > matrix.cumsum(1)[true]).sum(1).clip(max=len(prior) - 1)
  gone = rng.random(votes.shape) < missing
  gone[np.arange(n), rng.integers(0, len(confusions), n)] = False
  votes[gone] = -1
  return true, votes


def slow(votes, num_classes, steps, pseudocount):
  """The steps as they are written: loops, products of probabilities, no logarithms."""
  posterior = []
  for row in votes:
    shares = [sum(v == k for v in row) for k in range(num_classes)]
    posterior.append([share / sum(shares) for share in shares])
  for _ in range(steps):
    prior = [sum(q[i] for q in posterior) / len(votes) for i in range(num_classes)]
    confusions = []
    for a in range(len(votes[0])):
      matrix = [[pseudocount] * num_classes for _ in range(num_classes)]
      for row, q in zip(votes, posterior):
        for i in range(num_classes):
          if row[a] >= 0:
            matrix[i][row[a]] += q[i]
      for i in range(num_classes):
        total = sum(matrix[i])
        own = [float(i == j) for j in range(num_classes)]
        matrix[i] = [x / total for x in matrix[i]] if total else own
      confusions.append(matrix)
    posterior, likelihood = [], 0.0
    for row in votes:
      joint = list(prior)
      for a, vote in enumerate(row):
        for i in range(num_classes):
          joint[i] *= confusions[a][i][vote] if vote >= 0 else 1
      posterior.append([x / sum(joint) for x in joint])
      likelihood += math.log(sum(joint)) / len(votes)
  return posterior, confusions, prior, likelihood


@pytest.mark.parametrize("pseudocount", [0.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 25])
def test_slow_reference(steps, pseudocount):
  for seed in range(3):
    _, votes = drawn(seed, 60)
    found = estimate.votes(votes, 3, pseudocount=pseudocount, max_steps=steps, tolerance=0)
    assert found.steps == steps
    assert not found.converged
    parts = (found.posterior, found.confusions, found.prior, found.log_likelihood)
    for one, other in zip(parts, slow(votes.tolist(), 3, steps, pseudocount)):
      np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_exact_frequencies():
  """Every combination of three votes as often as its chance says: the truth is most likely."""
  confusions = np.array([[[8, 2], [1, 9]], [[7, 3], [2, 8]], [[9, 1], [4, 6]]]) / 10
  prior = np.array([0.6, 0.4])
  rows = []
  for combination in itertools.product(range(2), repeat=3):
    chance = sum(
      prior[i] * math.prod(confusions[a, i, vote] for a, vote in enumerate(combination))
      for i in range(2)
    )
    rows += [combination] * round(10_000 * chance)
  assert len(rows) == 10_000
  found = estimate.votes(rows, 2, tolerance=1e-15, max_steps=5000)
  np.testing.assert_allclose(found.confusions, confusions, rtol=0, atol=1e-4)
  np.testing.assert_allclose(found.prior, prior, rtol=0, atol=1e-4)
  np.testing.assert_allclose(found.transition, confusions.mean(0), rtol=0, atol=1e-4)
  assert found.rate == pytest.approx(0.6 * 0.6 / 3 + 0.4 * 0.7 / 3, abs=1e-4)


def test_drawn_votes():
  """Within four standard errors of 20,000 examples, and soft labels that beat the majority."""
  true, votes = drawn(0, 20_000)
  found = estimate.votes(votes, 3)
  assert found.converged
  print(np.abs(found.confusions - CONFUSIONS).max(), np.abs(found.prior - PRIOR).max())
  np.testing.assert_allclose(found.confusions, CONFUSIONS, rtol=0, atol=0.06)
  np.testing.assert_allclose(found.prior, PRIOR, rtol=0, atol=0.02)
  counted = [transition.estimate(true[v >= 0], v[v >= 0], 3) for v in votes.T]
  np.testing.assert_allclose(found.confusions, counted, rtol=0, atol=0.06)
  majority = np.stack([(votes == k).sum(1) for k in range(3)], axis=1).argmax(1)
  right = np.mean(found.posterior.argmax(1) == true)
  print(f"right: {right:.4f}, majority {np.mean(majority == true):.4f}")
  assert right > np.mean(majority == true) + 0.01
  sure = found.posterior.max(1)
  assert sure.mean() == pytest.approx(right, abs=0.01)  # calibrated
  wrong = (votes >= 0) & (votes != true[:, None])
  assert found.rate == pytest.approx(wrong.sum() / (votes >= 0).sum(), abs=0.02)


def test_no_step_makes_votes_less_likely():
  _, votes = drawn(4, 200)
  found = [estimate.votes(votes, 3, max_steps=s, tolerance=0) for s in range(1, 40)]
  assert (np.diff([estimate.log_likelihood for estimate in found]) > 0).all()


def test_steps_with_a_pseudocount_go_on_while_the_whole_grows():
  """The likelihood of the votes alone falls from the first step on."""
  _, votes = drawn(1, 60, missing=0.6)
  first = [estimate.votes(votes, 3, pseudocount=1.0, max_steps=s) for s in (1, 2)]
  assert first[1].log_likelihood < first[0].log_likelihood
  short = estimate.votes(votes, 3, pseudocount=1.0)
  long = estimate.votes(votes, 3, pseudocount=1.0, max_steps=5000, tolerance=1e-14)
  assert short.converged
  assert short.steps > 50
  np.testing.assert_allclose(short.confusions, long.confusions, rtol=0, atol=1e-3)
  assert short.confusions.min() > 0


def test_names_of_classes_and_annotators_do_not_matter():
  _, votes = drawn(2, 500)
  new, order = np.array([2, 0, 1]), [3, 1, 0, 2]
  renamed = np.where(votes >= 0, new[votes], -1)[:, order]
  expected, found = estimate.votes(votes, 3), estimate.votes(renamed, 3)
  np.testing.assert_allclose(found.posterior[:, new], expected.posterior, rtol=0, atol=1e-9)
  swapped = found.confusions[:, new][:, :, new]
  np.testing.assert_allclose(swapped, expected.confusions[order], rtol=0, atol=1e-9)
  np.testing.assert_allclose(found.transition[np.ix_(new, new)], expected.transition, atol=1e-9)


def test_votes_that_agree():
  votes = np.repeat(np.arange(10)[:, None] % 4, 3, axis=1)
  votes.flags.writeable = False
  found = estimate.votes(votes, 5)  # nobody votes for class 4
  np.testing.assert_array_equal(found.posterior, np.eye(5)[votes[:, 0]])
  np.testing.assert_array_equal(found.transition, np.eye(5))
  np.testing.assert_array_equal(found.confusions, [np.eye(5)] * 3)
  assert found.rate == 0


def test_an_annotator_without_votes_changes_nothing():
  _, votes = drawn(3, 100)
  expected = estimate.votes(votes, 3)
  found = estimate.votes(np.column_stack([votes, np.full(100, -1)]), 3)
  np.testing.assert_array_equal(found.posterior, expected.posterior)
  np.testing.assert_array_equal(found.confusions[-1], np.eye(3))
  np.testing.assert_array_equal(found.transition, expected.transition)


def test_the_matrix_is_the_mean_of_annotators_by_their_votes():
  _, votes = drawn(5, 400)
  found = estimate.votes(votes, 3, tolerance=1e-13, max_steps=5000)
  weights = np.array([found.posterior[v >= 0].sum(0) for v in votes.T])  # [annotator, true]
  expected = (weights[:, :, None] * found.confusions).sum(0) / weights.sum(0)[:, None]
  np.testing.assert_allclose(found.transition, expected, rtol=0, atol=1e-5)


REFUSED = {
  "shape": (lambda: estimate.votes([0, 1], 2), r"votes must be integers \[N, A\].*\[2\]"),
  "type": (lambda: estimate.votes([[0.0, 1.0]], 2), r"votes must be integers .* float64 \[1, 2\]"),
  "empty": (lambda: estimate.votes(np.zeros((0, 2), int), 2), r"at least 1, not int64 \[0, 2\]"),
  "large": (lambda: estimate.votes([[0, 1], [1, 2]], 2), r"votes\[1, 1\] = 2 is outside \[0, 2\)"),
  "small": (
    lambda: estimate.votes([[0, -2]], 2),
    r"votes\[0, 1\] = -2 is outside .* not -1, which",
  ),
  "silent": (lambda: estimate.votes([[0, 1], [-1, -1]], 2), r"votes\[1\] has no vote"),
  "classes": (lambda: estimate.votes([[0]], 1), "num_classes must be at least 2, not 1"),
  "steps": (lambda: estimate.votes([[0]], 2, max_steps=0), "max_steps must be at least 1, not 0"),
  "pseudo": (lambda: estimate.votes([[0]], 2, pseudocount=-1), "pseudocount must be .* 0, not -1"),
  "tolerance": (lambda: estimate.votes([[0]], 2, tolerance=-1), "tolerance must be .* 0, not -1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
  call, message = REFUSED[name]
  with pytest.raises(ValueError, match=message) as caught:
    call()
  assert "\n" not in str(caught.value)
