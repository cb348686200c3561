"""What noisy labels and a few checked ones tell about predictions and labels."""

import numpy as np
import pytest

from lsjax import estimate, transition

T3 = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.05, 0.7]])


def draw(rng, p):
  """A class for every row of probabilities."""
  return (rng.uniform(size=(len(p), 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, p.shape[1] - 1)


def world(rng, count, matrix, sharpness=2.0):
  """Calibrated probabilities of the true class, true classes and noisy labels."""
  z = sharpness * rng.normal(size=(count, len(matrix)))
  p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
  true = draw(rng, p)
  return p, true, draw(rng, matrix[true])


def test_accuracy_without_noise_is_the_share_of_right_predictions():
  p, true, _ = world(np.random.default_rng(0), 500, T3)
  found = estimate.clean_accuracy(p.argmax(1), true, np.eye(3))
  share = (p.argmax(1) == true).mean()
  assert found.estimate == pytest.approx(share, abs=1e-12)
  half = 1.959964 * np.sqrt(share * (1 - share) / 499)
  assert (found.low, found.high) == pytest.approx((share - half, share + half), abs=1e-6)
  losses = -np.log(p)
  nll = estimate.clean_loss(losses, true, np.eye(3))
  assert nll.estimate == pytest.approx(losses[np.arange(500), true].mean(), abs=1e-12)


def test_estimates_are_those_of_a_loop():
  rng = np.random.default_rng(1)
  p, _, noisy = world(rng, 40, T3)
  inverse = np.linalg.inv(T3)
  accuracy = np.mean([inverse[y, row.argmax()] for row, y in zip(p, noisy, strict=True)])
  assert estimate.clean_accuracy(p.argmax(1), noisy, T3).estimate == pytest.approx(accuracy, 1e-12)
  nll = np.mean(
    [
      sum(inverse[y, j] * -np.log(row[j]) for j in range(3))
      for row, y in zip(p, noisy, strict=True)
    ]
  )
  assert estimate.clean_loss(-np.log(p), noisy, T3).estimate == pytest.approx(nll, 1e-12)


@pytest.mark.parametrize("matrix", [T3, transition.pair(5, 0.4), transition.symmetric(10, 0.6)])
def test_intervals_cover_the_clean_accuracy_and_loss(matrix):
  """In 300 repetitions 95 % intervals miss about 15 times, and more than 30 times hardly ever."""
  rng, missed = np.random.default_rng(2), np.zeros(2)
  errors = []
  for _ in range(300):
    p, true, noisy = world(rng, 800, matrix)
    # A network that is too sure: its accuracy is not its confidence.
    p = p**2 / (p**2).sum(axis=1, keepdims=True)
    truth = p_true_accuracy(p), -np.log(p)[np.arange(800), true].mean()
    accuracy = estimate.clean_accuracy(p.argmax(1), noisy, matrix)
    loss = estimate.clean_loss(-np.log(p), noisy, matrix)
    errors.append(accuracy.estimate - truth[0])
    missed += [
      not found.low <= t <= found.high for found, t in zip((accuracy, loss), truth, strict=True)
    ]
  assert (missed <= 30).all()
  assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(300)


def p_true_accuracy(p):
  """The chance that the most probable class of p, which was squared, is the true one."""
  calibrated = np.sqrt(p) / np.sqrt(p).sum(axis=1, keepdims=True)
  return calibrated[np.arange(len(p)), p.argmax(1)].mean()


def test_calibration_error():
  rng = np.random.default_rng(3)
  p, true, noisy = world(rng, 60_000, T3)
  confident = p**3 / (p**3).sum(axis=1, keepdims=True)
  for shown, limits in ((p, (0, 0.01)), (confident, (0.05, 0.3))):
    right = shown.argmax(1) == true
    bins = np.minimum((shown.max(1) * 15).astype(int), 14)
    clean = sum(abs((shown.max(1) - right)[bins == k].sum()) for k in range(15)) / len(p)
    found = estimate.clean_calibration_error(shown, noisy, T3)
    assert found == pytest.approx(clean, abs=0.015)
    assert limits[0] <= found <= limits[1]


def test_noise_alone_is_no_calibration_error():
  """With few examples noise alone makes the mean gap of the bins large, and not the estimate."""
  rng, estimates, gaps = np.random.default_rng(8), [], []
  for _ in range(60):
    p, _, noisy = world(rng, 400, T3)
    estimates.append(estimate.clean_calibration_error(p, noisy, T3))
    inverse = np.linalg.inv(T3)
    bins = np.minimum((p.max(1) * 15).astype(int), 14)
    gap = p.max(1) - inverse[noisy, p.argmax(1)]
    gaps.append(sum(abs(gap[bins == k].sum()) for k in range(15)) / 400)
  assert np.mean(estimates) < 0.6 * np.mean(gaps)


def test_true_probabilities_are_found_again():
  rng = np.random.default_rng(4)
  p = rng.dirichlet(np.ones(3), 200)
  np.testing.assert_allclose(estimate.true_probabilities(p @ T3, T3), p, atol=2e-3)
  np.testing.assert_allclose(estimate.true_probabilities(p, np.eye(3)), p, atol=1e-9)
  # Where no distribution fits, the nearest one: here the first class alone.
  q = np.array([[0.9, 0.05, 0.05]])
  found = estimate.true_probabilities(q, T3)
  grid = np.array(
    [[a, b, 1 - a - b] for a in np.linspace(0, 1, 101) for b in np.linspace(0, 1 - a)]
  )
  likelihood = np.log(grid @ T3) @ q[0]
  assert (np.log(found @ T3) @ q[0])[0] >= likelihood.max() - 1e-6
  assert found.argmax() == 0


def test_suspects_are_calibrated_and_ranked():
  rng = np.random.default_rng(5)
  p, true, noisy = world(rng, 40_000, T3)
  found = estimate.suspects(p, noisy, T3)
  wrong = noisy != true
  assert found.wrong.mean() == pytest.approx(wrong.mean(), abs=0.01)
  for low in np.arange(0, 1, 0.1):
    inside = (found.wrong >= low) & (found.wrong < low + 0.1)
    if inside.sum() > 400:
      error = 4.5 / np.sqrt(inside.sum()) / 2
      assert found.wrong[inside].mean() == pytest.approx(wrong[inside].mean(), abs=error)
  ranked = found.ranked()
  assert (np.diff(found.wrong[ranked]) <= 0).all()
  top = ranked[:2000]
  assert found.precision(2000) == pytest.approx(wrong[top].mean(), abs=0.05)
  assert (found.proposed[top] == true[top]).mean() > (noisy[top] == true[top]).mean() + 0.3
  loop = p[7] * T3[:, noisy[7]]
  np.testing.assert_allclose(found.posterior[7], loop / loop.sum(), rtol=1e-12)


def test_a_label_that_t_makes_impossible_is_judged_by_the_network_alone():
  impossible = np.array([[1.0, 0.0], [1.0, 0.0]])
  found = estimate.suspects([[0.3, 0.7]], [1], impossible)
  assert found.wrong[0] == pytest.approx(0.3)


def test_samples_have_their_chances():
  rng = np.random.default_rng(6)
  wrong = np.append(rng.uniform(size=49) ** 3, 1.0)
  taken, chances = np.zeros(50), None
  for seed in range(4000):
    sample = estimate.to_check(wrong, 12, seed=seed)
    assert len(set(sample.indices.tolist())) == 12
    taken[sample.indices] += 1
    if chances is None:
      chances = np.zeros(50)
    chances[sample.indices] = sample.chances
  assert chances.sum() == pytest.approx(12)
  assert (chances <= 1).all()
  np.testing.assert_allclose(taken / 4000, chances, atol=5 * 0.5 / np.sqrt(4000))
  assert chances[49] > 2 * chances.min()


PREDICTIONS = {
  "right": lambda chance: chance,
  "too high": lambda chance: np.clip(chance + 0.2, 0, 1),
  "too sure": lambda chance: np.where(chance > 0.3, np.sqrt(chance), chance**2),
}


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("random_share", [0.5, 1.0])
def test_checked_intervals_cover_whatever_the_predictions_are(kind, random_share):
  """95 % intervals of 100 checked examples in 400 repetitions: at most 36 misses, which a valid
  interval exceeds with a chance below 0.1 %."""
  rng = np.random.default_rng(7)
  missed, widths, plain, errors = 0, [], [], []
  for seed in range(400):
    chance = rng.beta(0.4, 1.6, 3000)
    wrong = rng.uniform(size=3000) < chance
    predicted = PREDICTIONS[kind](chance)
    sample = estimate.to_check(predicted, 100, seed=seed, random_share=random_share)
    found = estimate.checked_mean(predicted, sample, wrong[sample.indices])
    missed += not found.low <= wrong.mean() <= found.high
    widths.append(found.high - found.low)
    plain.append(2 * 1.96 * np.sqrt(wrong.mean() * (1 - wrong.mean()) / 100))
    errors.append(found.estimate - wrong.mean())
  assert missed <= 36
  assert np.mean(widths) < np.mean(plain)
  assert abs(np.mean(errors)) < 4 * np.std(errors) / 20


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: estimate.clean_accuracy([3], [0], T3), r"predictions\[0\] = 3 is outside \[0, 3\)"),
    (lambda: estimate.clean_accuracy([], [], T3), "at least one example"),
    (
      lambda: estimate.clean_accuracy([0, 1], [0], T3),
      "predictions has 2 examples, but la",
    ),
    (lambda: estimate.clean_accuracy([0], [0], np.full((2, 2), 0.5)), "transition is singular"),
    (lambda: estimate.clean_accuracy([0], [0], T3, level=1.0), r"level must be in \(0, 1\), not 1"),
    (lambda: estimate.clean_loss([[1.0, 2.0]], [0], T3), "losses have 2 classes, but transition 3"),
    (lambda: estimate.clean_loss([[1.0, np.inf, 0]], [0], T3), r"losses\[0, 1\] = inf is not fin"),
    (lambda: estimate.suspects([[0.5, 0.5]], [0], T3), "have 2 classes, but transition 3"),
    (
      lambda: estimate.true_probabilities([[0.5, 0.4]], np.eye(2)),
      r"probabilities\[0\] sums to",
    ),
    (lambda: estimate.to_check([0.5, 1.5], 1, seed=0), r"wrong\[1\] = 1.5 is outside \[0, 1\]"),
    (lambda: estimate.to_check([0.5], 2, seed=0), r"count must be in \[1, 1\], not 2"),
    (
      lambda: estimate.to_check([0.5], 1, seed=0, random_share=0),
      r"random_share must be in \(0",
    ),
  ],
)
def test_bad_arguments(call, message):
  with pytest.raises(ValueError, match=message):
    call()


def test_bad_checked_values():
  sample = estimate.to_check(np.full(10, 0.2), 4, seed=0)
  with pytest.raises(ValueError, match=r"found \[4\], not \[10\] and \[3\]"):
    estimate.checked_mean(np.zeros(10), sample, [0, 1, 0])
  with pytest.raises(ValueError, match=r"found\[1\] = nan is not finite"):
    estimate.checked_mean(np.zeros(10), sample, [0, np.nan, 0, 1])
  with pytest.raises(ValueError, match="at least 2 examples, not 1"):
    estimate.checked_mean(np.zeros(10), estimate.to_check(np.zeros(10), 1, seed=0), [0])
