"""Losses against formulas in float64 NumPy, and the limits of the robust ones.

`python -m pytest tests/test_losses_robust.py -k reference -n 0 -s` prints the worst errors.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_rows import ROWS, N, all_parameters, compiled, examples, log_softmax64, reference, run

from lsjax import losses

AT_ALL_SIZES = [
  row for row in ROWS if row not in ("CE", "LS", "generalised LS", "smearing", "FC", "BC")
]


def directions(size):
  """Directions [D, L] of small steps: every logit, or for many classes a few and random ones."""
  if size <= 10:
    return np.eye(size)
  random = np.random.default_rng(2).normal(size=(4, size))
  return np.concatenate(
    [np.eye(size)[[0, size - 1]], random / np.linalg.norm(random, axis=1)[:, None]]
  )


def reference_slopes(row, x, y, parameters):
  """Derivatives [D, N] along `directions`, by central differences of the fourth order."""
  x, h = np.asarray(x, np.float64), 1e-3
  slopes = []
  for direction in directions(x.shape[1]):
    at = [reference(row, x + i * h * direction, y, parameters, x) for i in (-2, -1, 1, 2)]
    slopes.append((at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h))
  return np.array(slopes)


@pytest.mark.parametrize(
  ("row", "size"),
  [(row, size) for row in ROWS for size in (10, 2, 1000) if size == 10 or row in AT_ALL_SIZES],
)
def test_reference(row, size):
  """Values and gradients, integer labels and for L = 10 soft ones; prints the worst errors."""
  x, y, soft = examples(size)
  errors, slope_errors = [], []
  for labels in (y, soft) if size == 10 else (y,):
    for parameters in all_parameters(row, size):
      value, gradient = run(row, x, labels, parameters)
      expected = reference(row, x, labels, parameters, x)
      slopes = reference_slopes(row, x, labels, parameters)
      errors.append(np.abs(value - expected) / np.maximum(1, np.abs(expected)))
      slope_errors.append(np.abs(directions(size) @ gradient.T - slopes))
  worst, worst_slope = np.max(errors), max(e.max() for e in slope_errors)
  print(f"{row:>14} L = {size:4}: value {worst:.1e}, gradient {worst_slope:.1e}")
  assert worst < 4e-6
  assert worst_slope < 4e-6


def cross_entropy(x, y):
  log_p = log_softmax64(x)
  return -log_p[np.arange(len(x)), y], np.exp(log_p) - np.eye(x.shape[1])[y]


@pytest.mark.parametrize(
  ("row", "parameters", "factor"),
  [
    ("GCE", {"q": 0}, 1),
    ("GCE", {"q": 1e-30}, 1),
    ("JS", {"weight": 0}, 1),
    ("JS", {"weight": 1e-30}, 1),
    ("ELR", {"weight": 0, "targets": np.full((N, 10), 0.1)}, 1),
    ("SCE", {"alpha": 6, "beta": 0, "log_zero": -4}, 6),
    ("bootstrap", {"beta": 1}, 1),
    ("hard bootstrap", {"beta": 1}, 1),
  ],
)
def test_limit_is_cross_entropy(row, parameters, factor):
  x, y, _ = examples(10)
  for got, expected in zip(run(row, x, y, parameters), cross_entropy(x, y)):
    np.testing.assert_allclose(got, factor * expected, rtol=2e-6, atol=2e-6)


def test_limit_is_mean_absolute_error():
  x, y, _ = examples(10)
  expected, slope = run("MAE", x, y, {})
  for got, got_slope in (
    run("GCE", x, y, {"q": 1}),
    run("SCE", x, y, {"alpha": 0, "beta": 2, "log_zero": -0.5}),
    jax.vmap(jax.value_and_grad(lambda x, y: losses.taylor_cross_entropy(x, y, order=1)))(x, y),
  ):
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got_slope, slope, rtol=1e-6, atol=1e-6)
  # With a difference of the order of 1 / log (1 - w), so that w is taken for what float32 is near.
  value, _ = run("JS", x, y, {"weight": 1 - 2**-24})
  assert (np.abs(value - expected) < 0.1).all()
  assert (value >= expected).all()


def test_a_long_taylor_series_is_cross_entropy():
  x, y = jnp.log(jnp.array([[0.1, 0.9], [0.6, 0.4]])), jnp.array([0, 0])
  loss = jax.value_and_grad(lambda x: losses.taylor_cross_entropy(x, y, order=300).sum())
  value, slope = loss(x)
  np.testing.assert_allclose(value, -np.log(0.1 * 0.6), rtol=1e-6)
  np.testing.assert_allclose(slope, [[-0.9, 0.9], [-0.4, 0.4]], rtol=1e-5)


@pytest.mark.parametrize(("row", "keyword"), [("GCE", "q"), ("JS", "weight")])
def test_derivatives_of_hyper_parameters_near_0(row, keyword):
  """Those of q and of the divergence's weight, which have no step there."""
  x, y, _ = examples(10)
  x, y = x[:2], y[:2]  # unsure ones: the others change within a weight of p_y, which is small
  loss = getattr(losses, ROWS[row][0])
  slope = jax.jit(jax.jacfwd(lambda value: loss(x, y, **{keyword: value})))
  for at in (0.0, 1e-5, 1e-3, 0.05, 0.4):
    h = 1e-5 if at == 0 else at / 100
    f = [reference(row, x, y, {keyword: at + i * h}, x) for i in range(5)]
    expected = (-25 * f[0] + 48 * f[1] - 36 * f[2] + 16 * f[3] - 3 * f[4]) / (12 * h)
    np.testing.assert_allclose(slope(at), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("row", ROWS)
def test_extreme_logits(row):
  """Finite and right at ±1e4, also where the label is all but impossible."""
  x = np.zeros((N, 10), np.float32)
  for i, scale in enumerate((1e4, -1e4, 1e4, -1e4, 1e4, 200)):
    x[i, i] = scale
  x[4, 5] = -1e4
  y = np.array([0, 1, 5, 0, 5, 1], np.int32)
  soft = np.random.default_rng(0).dirichlet(np.ones(10), N).astype(np.float32)
  for labels in (y, soft):
    for parameters in all_parameters(row, 10):
      value, gradient = run(row, x, labels, parameters)
      assert np.isfinite(value).all(), parameters
      assert np.isfinite(gradient).all(), parameters
      with np.errstate(divide="ignore", invalid="ignore"):
        expected = reference(row, x, labels, parameters, x)
      known = np.isfinite(expected)
      assert known.sum() > 2
      np.testing.assert_allclose(value[known], expected[known], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  ("row", "varied"),
  [
    ("GCE", {"q": np.array([0, 1e-3, 0.3, 0.5, 0.9, 1])}),
    ("SCE", {"alpha": np.arange(6), "beta": np.arange(3, 9), "log_zero": -np.arange(6)}),
    ("NCE+RCE", {"active": np.arange(6), "passive": np.arange(3, 9)}),
    ("JS", {"weight": np.array([0, 1e-3, 0.3, 0.5, 0.7, 0.99])}),
    ("bootstrap", {"beta": np.linspace(0, 1, 6)}),
    ("ELR", {"weight": np.arange(6)}),
  ],
)
def test_hyper_parameters_of_each_example(row, varied):
  """Alone, under vmap over examples, and for soft labels."""
  x, y, soft = examples(10)
  rest = {"targets": next(all_parameters(row, 10))["targets"]} if row == "ELR" else {}
  together, _ = run(row, x, y, varied | rest)
  for i in range(N):
    alone, _ = run(row, x, y, {key: value[i] for key, value in varied.items()} | rest)
    np.testing.assert_allclose(together[i], alone[i], rtol=1e-5, atol=1e-6)
  if row in ("GCE", "JS"):
    mapped = jax.vmap(compiled(row))(x, y, np.ones(N, bool), varied)[0]
    np.testing.assert_allclose(mapped, together, rtol=1e-5, atol=1e-6)
    together, _ = run(row, x, soft, varied)
    for i in range(N):
      alone, _ = run(row, x, soft, {key: value[i] for key, value in varied.items()})
      np.testing.assert_allclose(together[i], alone[i], rtol=1e-5, atol=1e-6)


def test_learned_transition():
  """The initial weights give T of two matrices that the authors state; the volume is of T."""
  for size, entry in ((2, -2.0), (10, -2.0), (100, -4.5)):
    (weights,) = losses.initial_transition_weights(size).values()
    np.testing.assert_allclose(weights, entry, atol=0.02)
    matrix = np.asarray(losses.learned_transition(weights, size))
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-5)
    assert (matrix.argmax(1) == np.arange(size)).all()
  weights = np.arange(6.0)
  matrix = np.asarray(losses.learned_transition(weights, 3), np.float64)
  logistic = 1 / (1 + np.exp(-weights))
  np.testing.assert_allclose(matrix[1, 0] / matrix[1, 1], logistic[2], rtol=1e-6)
  np.testing.assert_allclose(matrix[2, 1] / matrix[2, 2], logistic[5], rtol=1e-6)
  with pytest.raises(ValueError, match=r"weights of shape \(6,\) do not fit 4 classes: \(12,\) is"):
    losses.learned_transition(weights, 4)


def test_volume_does_not_depend_on_the_example():
  x, y, _ = examples(10)
  weights = losses.initial_transition_weights(10)["weights"]
  small, large = (losses.volume_minimization(x, y, weights=weights, volume=v) for v in (0.0, 2.0))
  matrix = losses.learned_transition(weights, 10)
  np.testing.assert_allclose(
    np.asarray(large - small), 2 * np.log(abs(np.linalg.det(matrix))), rtol=1e-4
  )
  expected = losses.forward_correction(x, y, transition=matrix)
  np.testing.assert_allclose(small, expected, rtol=1e-5)


def test_confidence_regularization_is_smearing():
  """Where no probability is near 1e-8; at beta = -a / (1 - a) it is scaled label smoothing by a."""
  x = np.random.default_rng(0).normal(size=(N, 10)).astype(np.float32)
  y = np.arange(N)
  matrix = np.eye(10) - 0.7 / 10
  expected = losses.smearing(x, y, matrix=matrix)
  np.testing.assert_allclose(losses.confidence_regularization(x, y, beta=0.7), expected, rtol=1e-5)
  smooth = losses.label_smoothing(x, y, alpha=0.2) / 0.8
  found = losses.confidence_regularization(x, y, beta=-0.25)
  np.testing.assert_allclose(found, smooth, rtol=1e-5)
  bounded = losses.confidence_regularization(np.array([1e4, 0.0]), np.array(0), beta=2.0)
  np.testing.assert_allclose(bounded, np.log(1e-8), rtol=1e-5)  # 0 + (2 / 2) log 1e-8


@pytest.mark.parametrize("forget", [0.0, 0.1, 0.34, 0.5, 0.99])
def test_small_losses(forget):
  rng = np.random.default_rng(3)
  x, y = rng.normal(size=(50, 4)).astype(np.float32), rng.integers(0, 4, 50)
  values = -log_softmax64(x)[np.arange(50), y]
  kept = np.asarray(losses.select_small_losses(x, y, forget=forget))
  expected = np.zeros(50, bool)
  expected[np.argsort(values)[: 50 - int(forget * 50)]] = True
  np.testing.assert_array_equal(kept, expected)
  half = np.asarray(losses.select_small_losses(x, y, forget=forget, progress=0.5))
  assert half.sum() == 50 - int(forget * 0.5 * 50)
  equal = losses.select_small_losses(np.zeros((50, 4), np.float32), y, forget=forget)
  assert np.asarray(equal).all()


def test_confident_examples():
  rng = np.random.default_rng(4)
  x, y = rng.normal(size=(50, 4)).astype(np.float32), rng.integers(0, 4, 50)
  expected = x[np.arange(50), y] >= x.mean(1)
  np.testing.assert_array_equal(losses.select_confident(x, y), expected)
  np.testing.assert_array_equal(losses.select_confident(x, np.eye(4)[y]), expected)
  assert np.asarray(losses.select_confident(x, y, progress=0.99)).all()


def test_early_learning_targets():
  x, y, _ = examples(10)
  targets = np.random.default_rng(0).dirichlet(np.ones(10), N).astype(np.float32)
  where = np.array([True, False, True, True, False, True])
  bad = np.where(where[:, None], x, np.nan)
  update = functools.partial(losses.early_learning_targets, momentum=0.7)
  new = np.asarray(jax.jit(update)(targets, bad, where=where))
  expected = 0.7 * targets + 0.3 * np.exp(log_softmax64(x))
  np.testing.assert_allclose(new, np.where(where[:, None], expected, targets), rtol=1e-5, atol=1e-7)

  def loss(x, t):
    t = update(t, x)
    return losses.early_learning_regularization(x, y, targets=t, weight=3.0).sum()

  through_x, through_t = jax.jit(jax.grad(loss, argnums=(0, 1)))(x, targets)
  np.testing.assert_allclose(
    through_x, run("ELR", x, y, {"targets": expected, "weight": 3})[1], rtol=1e-4, atol=1e-6
  )
  assert (through_t == 0).all()
  direct = jax.grad(
    lambda t: losses.early_learning_regularization(x, y, targets=t, weight=3.0).sum()
  )
  assert (direct(jnp.asarray(targets)) == 0).all()
  # An agreement of 1 is cut off at 1e-4, where the gradient is that of cross-entropy.
  sure = np.array([[50.0] + [0.0] * 9] * N, np.float32)
  value, gradient = run("ELR", sure, np.full(N, 1), {"targets": np.eye(10)[[0] * N], "weight": 3})
  np.testing.assert_allclose(value, 50 + 3 * np.log(1e-4), rtol=1e-6)
  np.testing.assert_allclose(gradient[0], np.eye(10)[0] - np.eye(10)[1], atol=1e-6)


@pytest.mark.parametrize(
  ("name", "parameters", "message"),
  [
    ("generalized_cross_entropy", {"q": 1.5}, r"q must be in \[0, 1\] and finite, not 1.5"),
    ("generalized_cross_entropy", {"q": -0.1}, "q must be in"),
    ("symmetric_cross_entropy", {"alpha": -1, "beta": 1, "log_zero": -4}, "alpha must be in"),
    ("symmetric_cross_entropy", {"alpha": 1, "beta": np.nan, "log_zero": -4}, "beta must be in"),
    ("symmetric_cross_entropy", {"alpha": 1, "beta": 1, "log_zero": 4}, r"log_zero .* not 4"),
    ("active_passive", {"active": -1, "passive": 1}, "active must be in"),
    ("active_passive", {"active": 1, "passive": np.inf}, "passive must be in"),
    ("jensen_shannon", {"weight": 1.0}, r"weight must be in \[0, 1\) and finite, not 1.0"),
    ("taylor_cross_entropy", {"order": 0}, "order must be at least 1, not 0"),
    ("bootstrap", {"beta": 1.1}, "beta must be in"),
    (
      "early_learning_regularization",
      {"targets": np.zeros((1, 3)), "weight": 1},
      "targets of shape",
    ),
    (
      "early_learning_regularization",
      {"targets": np.array([[0.5, 0.6]]), "weight": 1},
      r"targets\[0\] sums to 1.1: sums in \[0, 1\] are allowed",
    ),
    (
      "early_learning_regularization",
      {"targets": np.array([[0.5, -0.1]]), "weight": 1},
      r"targets\[0, 1\] = -0.1 is no weight of a class",
    ),
    (
      "early_learning_regularization",
      {"targets": np.zeros((1, 2)), "weight": -1},
      "weight must be in",
    ),
  ],
)
def test_bad_parameters(name, parameters, message):
  with pytest.raises(ValueError, match=message):
    getattr(losses, name)(np.zeros((1, 2), np.float32), np.array([0]), **parameters)


def test_other_bad_arguments():
  x, y = np.zeros((1, 2), np.float32), np.array([0])
  for name in ("normalized_cross_entropy", "active_passive"):
    weights = {"active": 1, "passive": 1} if name == "active_passive" else {}
    with pytest.raises(ValueError, match="1 class: at least 2"):
      getattr(losses, name)(x[:, :1], y, **weights)
  for order in (1.5, "2"):
    with pytest.raises(TypeError, match="integer"):
      losses.taylor_cross_entropy(x, y, order=order)
  with pytest.raises(TypeError, match="not a traced array"):
    jax.jit(lambda t: losses.taylor_cross_entropy(x, y, order=t))(2)
  with pytest.raises(ValueError, match="momentum must be in"):
    losses.early_learning_targets(x, x, momentum=2)
  with pytest.raises(ValueError, match="targets of shape"):
    losses.early_learning_targets(x[:, :1], x, momentum=0.5)
