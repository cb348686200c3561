"""The paper's mathematics, checked on random data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsjax import losses, theory, transition


@pytest.fixture(scope="module")
def measured():
  return theory.check()


def test_zero_minimises_omega(measured):
  """Theorem 1: at W = 0 gradient zero, Hessian positive semi-definite; Omega larger elsewhere."""
  omega = measured["omega"]
  assert omega["largest_gradient"] < 1e-10
  assert omega["least_eigenvalue"] > -1e-10
  assert omega["least_excess"] > 0.01


def test_omega_has_a_gradient_elsewhere():
  """The check above can fail: away from 0 the gradient is not zero."""
  inputs = np.random.default_rng(0).normal(size=(50, 3))
  weights = np.eye(3, 4)
  assert np.abs(theory._gradient(weights, inputs)).max() > 0.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_shrinkage(dtype, alpha):
  """W_LS = (1 - alpha) W* on centred data, against NumPy's own least squares."""
  rng = np.random.default_rng(1)
  raw = rng.normal(size=(300, 6)) + 2
  targets = np.eye(4)[rng.integers(0, 4, 300)]
  smooth = (1 - alpha) * targets + alpha / 4
  tolerance = 1e-5 if dtype == np.float32 else 1e-10
  with jax.enable_x64(dtype == np.float64):
    centred = jnp.asarray(raw - raw.mean(0), dtype)
    plain = theory.least_squares(centred, jnp.asarray(targets, dtype))
    shrunk = theory.least_squares(centred, jnp.asarray(smooth, dtype))
    assert shrunk.dtype == dtype
    np.testing.assert_allclose(shrunk, (1 - alpha) * plain, atol=tolerance)
    formula = theory.smoothed_least_squares(
      jnp.asarray(raw, dtype), jnp.asarray(targets, dtype), alpha
    )
  np.testing.assert_allclose(shrunk, np.linalg.lstsq(raw - raw.mean(0), smooth)[0], atol=tolerance)
  np.testing.assert_allclose(formula, np.linalg.lstsq(raw, smooth)[0], atol=10 * tolerance)
  # Without centring it is no shrinkage: the second term counts.
  plain = np.linalg.lstsq(raw, targets)[0]
  assert np.abs(np.asarray(formula) - (1 - alpha) * plain).max() > 1e-3


def test_shrinkage_in_numbers(measured):
  assert measured["shrinkage_error_float32"] < 1e-5
  for row in measured["shrinkage"]:
    assert row["error_float64"] < 1e-10
    assert row["formula_error_float64"] < 1e-10
    assert row["norm_ratio"] == pytest.approx(1 - row["alpha"], abs=1e-12)


@pytest.mark.parametrize("alpha", [0.1, 0.6])
def test_smoothing_is_cross_entropy_plus_omega(alpha, measured):
  """LS = (1 - alpha) (CE + beta Omega), beta = alpha / ((1 - alpha) L)."""
  rng = np.random.default_rng(2)
  logits, labels = rng.normal(size=(40, 5)).astype(np.float32), rng.integers(0, 5, 40)
  smoothed = losses.label_smoothing(logits, labels, alpha=alpha).mean()
  plain = losses.cross_entropy(logits, labels).mean()
  beta = theory.smoothing_weight(alpha, 5)
  expected = (1 - alpha) * (plain + beta * theory.omega(logits))
  np.testing.assert_allclose(smoothed, expected, rtol=1e-5)
  assert measured["regulariser_error_float64"] < 1e-10


def test_symmetric_noise_keeps_the_argmax(measured):
  assert measured["argmax_kept"] == 1
  clean = np.random.default_rng(3).dirichlet(np.ones(4), 500)
  beyond = clean @ transition.symmetric(4, 0.9)  # more than (L - 1) / L: labels mislead
  assert (clean.argmax(1) == beyond.argmax(1)).mean() < 0.5
