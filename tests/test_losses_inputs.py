"""What every loss does with labels that are no class, masks, soft labels and infinite logits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_rows import ROWS, N, all_parameters, examples, run

from lsjax import losses

ROBUST = ("CE", "LS", "GCE", "MAE", "SCE", "NCE", "NCE+RCE", "JS", "Taylor 2", "bootstrap", "ELR")


@pytest.mark.parametrize("row", ROWS)
def test_masked_rows(row):
  """Have loss and gradient 0 whatever they hold, and the other rows are as before."""
  x, y, soft = examples(10)
  where = np.array([True, False, True, False, False, True])
  bad = x.copy()
  bad[1], bad[3], bad[4] = np.nan, np.inf, -np.inf
  bad_y, bad_soft = y.copy(), soft.copy()
  bad_y[1], bad_y[3], bad_soft[1], bad_soft[3] = -1, 10, np.nan, -1
  for parameters in all_parameters(row, 10):
    poisoned = dict(parameters)
    if row == "ELR":
      poisoned["targets"] = np.where(where[:, None], parameters["targets"], np.nan)
    for labels, bad_labels in ((y, bad_y), (soft, bad_soft)):
      value, gradient = run(row, bad, bad_labels, poisoned, where)
      expected, slope = run(row, x, labels, parameters)
      np.testing.assert_array_equal(value, np.where(where, expected, 0))
      np.testing.assert_array_equal(gradient, np.where(where[:, None], slope, 0))


def test_masked_rows_add_nothing_to_the_gradient_of_a_hyper_parameter():
  x, y, _ = examples(10)
  where = np.array([True, False, True, False, True, True])
  bad, bad_y = np.where(where[:, None], x, np.nan), np.where(where, y, 10)

  @jax.jit
  def slope(x, y, where):
    loss = functools.partial(losses.generalized_cross_entropy, x, y, where=where)
    return jax.grad(lambda q: loss(q=q).sum())(0.5)

  expected = slope(x[where], y[where], np.ones(4, bool))
  np.testing.assert_allclose(slope(bad, bad_y, where), expected, rtol=1e-6)


@pytest.mark.parametrize("row", ROWS)
def test_labels_outside_their_range_under_jit(row):
  """NaN losses and gradients of those examples alone."""
  x, y, _ = examples(10)
  wrong = y.copy()
  wrong[[0, 1, 4]] = 10, -1, 10**6
  bad = wrong != y
  for parameters in all_parameters(row, 10):
    expected, slope = run(row, x, y, parameters)
    value, gradient = run(row, x, wrong, parameters)
    np.testing.assert_array_equal(value, np.where(bad, np.nan, expected))
    np.testing.assert_array_equal(gradient, np.where(bad[:, None], np.nan, slope))


@pytest.mark.parametrize("row", ROWS)
def test_distributions(row):
  """One-hot labels are integer ones, and the mass of a distribution scales its loss."""
  x, y, soft = examples(10)
  for parameters in all_parameters(row, 10):
    onehot = np.eye(10, dtype=np.float32)[y]
    for got, expected in zip(run(row, x, onehot, parameters), run(row, x, y, parameters)):
      np.testing.assert_allclose(got, expected, rtol=1e-5, atol=3e-6)
    if row != "JS":
      scale = np.array([0, 0.5, 1, 2, 3, 8])[:, None]
      heavy = run(row, x, (scale * soft).astype(np.float32), parameters)
      for got, expected in zip(heavy, run(row, x, soft, parameters)):
        expected = expected * (scale if expected.ndim == 2 else scale[:, 0])
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_divergence_takes_distributions_alone():
  x = np.zeros((2, 4), np.float32)
  with pytest.raises(ValueError, match=r"labels\[1\] sums to 2: a sum of 1 is allowed"):
    losses.jensen_shannon(x, np.array([[1.0, 0, 0, 0], [1, 1, 0, 0]]), weight=0.3)
  half = jnp.full((2, 4), 0.25, jnp.bfloat16) * jnp.array([1.004], jnp.bfloat16)
  losses.jensen_shannon(x, half, weight=0.3)  # rounded to what its type holds


def test_classes_of_probability_zero():
  """A logit of -inf makes no loss NaN, at the label, beside it and in the gradient."""
  x, _, _ = examples(10)
  x[:, 2] = x[3:, 1] = -np.inf
  y = np.array([2, 1, 0, 1, 3, 2], np.int32)
  soft = np.eye(10, dtype=np.float32)[y]
  impossible = np.isinf(x[np.arange(N), y])
  cases = [(row, p) for row in ROBUST for p in all_parameters(row, 10)]
  for row, parameters in cases:
    value, gradient = run(row, x, y, parameters)
    assert not np.isnan(value).any(), (row, parameters)
    assert not np.isnan(gradient).any(), (row, parameters)
    # Smoothing alone asks for a probability of every class.
    assert (np.isfinite(value[~impossible]) == (row != "LS")).all(), (row, parameters)
    soft_value, _ = run(row, x, soft, parameters)
    np.testing.assert_allclose(soft_value, value, rtol=1e-5, atol=1e-6)
  half, _ = run("GCE", x, y, {"q": 0.5})
  np.testing.assert_allclose(half[impossible], 2, rtol=1e-6)
  normalized, _ = run("NCE", x, y, {})
  np.testing.assert_allclose(normalized, [1, 0, 0, 0.5, 0, 0.5])


def test_half_precision_is_computed_in_float32():
  x, y, _ = examples(10)
  low = jnp.asarray(x, jnp.bfloat16)
  for row, (name, static, _) in ROWS.items():
    loss = functools.partial(getattr(losses, name), **static, **next(all_parameters(row, 10)))
    assert jax.eval_shape(loss, low, y).dtype == jnp.float32
  for row in ("GCE", "JS"):
    parameters = next(all_parameters(row, 10))
    got, _ = run(row, low, y, parameters)
    expected, _ = run(row, np.asarray(low, np.float32), y, parameters)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({(4,): 10}, r"labels\[4\] = 10 is outside \[0, 10\)"),
    ({(0,): -1, (4,): 10}, r"labels\[0\] = -1 is outside \[0, 10\)"),
    ({(1,): 2**32 + 3}, rf"labels\[1\] = {2**32 + 3} is outside"),
    ({(2, 5): -0.5}, r"labels\[2, 5\] = -0.5 is no weight of a class: finite numbers of 0 or more"),
    ({(3, 0): np.nan}, r"labels\[3, 0\] = nan is no weight"),
    ({(0, 1): np.inf}, r"labels\[0, 1\] = inf is no weight"),
  ],
)
def test_concrete_labels_outside_their_range(row, change, message):
  x, y, soft = examples(10)
  labels = y.astype(np.int64) if len(next(iter(change))) == 1 else soft.copy()
  for index, value in change.items():
    labels[index] = value
  name, static, _ = ROWS[row]
  loss = functools.partial(getattr(losses, name), **static, **next(all_parameters(row, 10)))
  with pytest.raises(ValueError, match=message):
    loss(x, labels)
  if row not in ("CE", "M and T", "JS"):
    return  # one function checks the labels of all losses
  with pytest.raises(ValueError, match=message):  # known to the compiler
    jax.eval_shape(lambda x: loss(x, labels), x)
  where = np.ones(N, bool)
  where[[index[0] for index in change]] = False
  jax.eval_shape(lambda x: loss(x, labels, where=where), x)


def test_labels_of_other_shapes_and_types():
  x, y, _ = examples(1000)
  expected, _ = run("CE", x, y, {})
  for dtype in (np.int64, np.uint32, np.int16, np.uint16):
    np.testing.assert_allclose(losses.cross_entropy(x, y.astype(dtype)), expected, rtol=1e-6)
    np.testing.assert_allclose(run("CE", x, y.astype(dtype), {})[0], expected, rtol=1e-6)
  small = np.array([3, -1, 127, 0, 1, 2], np.int8)  # an L that does not fit the type
  np.testing.assert_array_equal(np.isnan(run("CE", x, small, {})[0]), small < 0)
  with pytest.raises(ValueError, match=r"labels\[1, 2\] = 7 is outside"):
    losses.cross_entropy(np.zeros((2, 3, 5), np.float32), np.array([[0, 1, 2], [3, 4, 7]]))
  with pytest.raises(ValueError, match=r"^labels = 5 is outside \[0, 5\)$"):
    losses.cross_entropy(np.zeros(5, np.float32), 5)


def test_infinite_losses_of_m_and_t():
  """An entry of 0 in M or T takes away what a class of probability 0 adds."""
  x = np.array([[0.0, 1.0, -np.inf]], np.float32)
  eye, t = np.eye(3), np.array([[0.7, 0.3, 0], [0, 1, 0], [0.4, 0, 0.6]])
  cross_entropies = run("CE", x.repeat(2, 0), np.array([0, 1]), {})[0]

  def loss(y, m, t):
    return run("M and T", x, np.array([y], np.int32), {"matrix": m, "transition": t})

  for y in (0, 1):
    (value,), gradient = loss(y, eye, eye)
    np.testing.assert_allclose(value, cross_entropies[y], rtol=1e-6)
    assert np.isfinite(gradient).all()
  assert loss(2, eye, eye)[0] == np.inf
  smoothing = 0.7 * eye + 0.1
  assert (np.array([loss(y, smoothing, eye)[0] for y in range(3)]) == np.inf).all()
  # Class 2 has probability 0 and no other class becomes it; the others are reached from 0 and 1.
  p = np.exp(-cross_entropies)
  np.testing.assert_allclose(loss(0, eye, t)[0], -np.log(0.7 * p[0]), rtol=1e-6)
  np.testing.assert_allclose(loss(1, eye, t)[0], -np.log(0.3 * p[0] + p[1]), rtol=1e-6)
  assert loss(2, eye, t)[0] == np.inf
  for y in range(3):
    value, gradient = loss(y, eye, t)
    soft = run("M and T", x, eye[[y]].astype(np.float32), {"matrix": eye, "transition": t})
    np.testing.assert_allclose(soft[0], value, rtol=1e-6)
    assert not np.isnan(gradient).any()
    assert not np.isnan(soft[1]).any()
