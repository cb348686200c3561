"""Identities of smoothing and corrections; test_losses_robust has a formula of every loss."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import special

from lsjax import losses, transition

L, N = 7, 5


def softmax64(logits):
  logits = np.asarray(logits, np.float64)
  e = np.exp(logits - logits.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


@pytest.fixture
def logits():
  return jnp.asarray(np.random.default_rng(0).normal(size=(N, L)) * 3, jnp.float32)


@pytest.fixture
def labels():
  return jnp.array([0, 6, 3, 3, 1])


@pytest.fixture
def soft():
  return jnp.asarray(np.random.default_rng(1).dirichlet(np.ones(L), N), jnp.float32)


@pytest.fixture
def asymmetric():
  """A random T with positive entries, different from its transpose."""
  return np.random.default_rng(2).dirichlet(np.ones(L), L)


EVERY = {
  "cross_entropy": {},
  "label_smoothing": {"alpha": 0.3},
  "generalized_smoothing": {"r": -0.7},
  "smearing": {"matrix": np.random.default_rng(3).normal(size=(L, L)).astype(np.float32)},
  "forward_correction": {"transition": transition.symmetric(L, 0.4).astype(np.float32)},
  "backward_correction": {"transition": transition.symmetric(L, 0.4).astype(np.float32)},
  "smeared_forward": {
    "matrix": (0.9 * np.eye(L) + 0.1 / L).astype(np.float32),
    "transition": transition.pair(L, 0.3).astype(np.float32),
  },
}


def call(name, logits, labels, **kwargs):
  return getattr(losses, name)(logits, labels, **EVERY[name], **kwargs)


@pytest.mark.parametrize(
  ("name", "kwargs"),
  [
    ("label_smoothing", {"alpha": 0.0}),
    ("generalized_smoothing", {"r": 0.0}),
    ("smearing", {"matrix": np.eye(L)}),
    ("forward_correction", {"transition": np.eye(L)}),
    ("backward_correction", {"transition": np.eye(L)}),
    ("backward_correction", {"inverse": np.eye(L)}),
    ("smeared_forward", {"matrix": np.eye(L), "transition": np.eye(L)}),
  ],
)
def test_limits_are_cross_entropy(name, kwargs, logits, labels, soft):
  for y in (labels, soft):
    got = getattr(losses, name)(logits, y, **kwargs)
    np.testing.assert_allclose(got, losses.cross_entropy(logits, y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 0.6, 1.0])
def test_label_smoothing_is_cross_entropy_of_mixed_targets(alpha, logits, labels):
  targets = (1 - alpha) * jax.nn.one_hot(labels, L) + alpha / L
  np.testing.assert_allclose(
    losses.label_smoothing(logits, labels, alpha=alpha),
    losses.cross_entropy(logits, targets),
    rtol=1e-5,
  )


def test_label_smoothing_is_smearing_by_its_matrix(logits, labels, soft):
  """Also for targets whose mass is not 1."""
  matrix = 0.7 * np.eye(L) + 0.3 / L
  for y in (labels, soft, 3 * soft):
    np.testing.assert_allclose(
      losses.label_smoothing(logits, y, alpha=0.3),
      losses.smearing(logits, y, matrix=matrix),
      rtol=1e-5,
    )


def test_strengths_of_each_example(logits, labels):
  strengths = np.linspace(0, 1, N)
  for name, keyword in (("label_smoothing", "alpha"), ("generalized_smoothing", "r")):
    loss = getattr(losses, name)
    alone = [loss(logits[i], labels[i], **{keyword: strengths[i]}) for i in range(N)]
    np.testing.assert_allclose(loss(logits, labels, **{keyword: strengths}), alone, rtol=1e-6)


def test_derivative_by_weights_of_0(logits, labels):
  """Entries of M and of soft labels that are 0 can be learned."""
  losses_of_classes = -np.log(softmax64(logits))
  by_matrix = jax.jit(jax.grad(lambda m: losses.smearing(logits, labels, matrix=m).sum()))
  expected = np.zeros((L, L))
  np.add.at(expected, np.asarray(labels), losses_of_classes)
  np.testing.assert_allclose(by_matrix(jnp.eye(L)), expected, rtol=1e-5)
  by_label = jax.jit(jax.grad(lambda y: losses.cross_entropy(logits, y).sum()))
  np.testing.assert_allclose(by_label(jax.nn.one_hot(labels, L)), losses_of_classes, rtol=1e-5)


def test_forward_correction_tells_t_from_its_transpose(logits, labels, soft, asymmetric):
  reference = -np.log(softmax64(logits) @ asymmetric)  # p T, p a row vector
  got = losses.forward_correction(logits, labels, transition=asymmetric)
  np.testing.assert_allclose(got, reference[np.arange(N), labels], rtol=1e-5)
  got = losses.forward_correction(logits, soft, transition=asymmetric)
  np.testing.assert_allclose(got, (np.asarray(soft) * reference).sum(-1), rtol=1e-5)
  transposed = -np.log(softmax64(logits) @ asymmetric.T)[np.arange(N), labels]
  assert np.abs(got - transposed).max() > 0.1


def test_backward_correction_is_unbiased(logits, asymmetric):
  every = jnp.broadcast_to(jnp.arange(L), (N, L))
  corrected = losses.backward_correction(
    jnp.repeat(logits[:, None], L, 1), every, transition=asymmetric
  )
  clean = losses.cross_entropy(jnp.repeat(logits[:, None], L, 1), every)
  # sum_j T[i, j] l_BC(j) = l_CE(i)
  np.testing.assert_allclose(corrected @ asymmetric.T, clean, rtol=1e-3, atol=1e-3)


def test_explicit_inverse_keeps_the_digits_of_a_badly_conditioned_matrix():
  """Under jit, inverting T in float32 loses the digits that its inverse in float64 still has."""
  size = 10
  rng = np.random.default_rng(0)
  t = 1e-5 * np.eye(size) + (1 - 1e-5) * transition.symmetric(size, 0.9)
  inverse, condition = transition.inverse(t)
  assert 5e4 < condition < 2e5
  x, y = rng.normal(size=(64, size)).astype(np.float32), rng.integers(0, size, 64)
  every = -np.log(softmax64(x))
  # (T^-1 l)_y = (l_y - (1 - 1e-5) mean l) / 1e-5 for this T.
  reference = (every[np.arange(64), y] - (1 - 1e-5) * every.mean(1)) / 1e-5

  def error(**keywords):
    got = jax.jit(losses.backward_correction)(x, y, **keywords)
    return np.abs(np.asarray(got, np.float64) - reference).max() / np.abs(reference).max()

  assert error(inverse=inverse) < 2e-6
  assert error(transition=t) > 1e-4
  # Outside of jit, T is inverted in float64.
  eager = losses.backward_correction(x, y, transition=t)
  np.testing.assert_array_equal(eager, losses.backward_correction(x, y, inverse=inverse))


def test_backward_correction_takes_one_matrix(logits, labels, asymmetric):
  for keywords in ({}, {"transition": asymmetric, "inverse": np.linalg.inv(asymmetric)}):
    with pytest.raises(ValueError, match="exactly one of transition and inverse"):
      losses.backward_correction(logits, labels, **keywords)


def test_every_inverse_of_a_transition_matrix_is_taken():
  """Those of permutations, sparse and badly conditioned matrices, in float64 and float32."""
  rng = np.random.default_rng(0)
  # The first row of the inverse of this matrix is (0.9, 0.9, -0.8): no entry reaches 1.
  no_entry_of_1 = np.array([[0.644, 0.356, 0.0], [0.644, 0.0, 0.356], [0.2, 0.4, 0.4]])
  matrices = [np.eye(4)[[2, 0, 3, 1]], transition.one_sided(3, 0.4), no_entry_of_1]
  matrices += [transition.symmetric(3, 2 / 3 - 1e-7)]
  matrices += [rng.dirichlet(np.full(size, 0.3), size) for size in (2, 3, 20) for _ in range(20)]
  for matrix in matrices:
    inverse, _ = transition.inverse(matrix)
    x, y = jnp.zeros((1, len(matrix))), jnp.array([0])
    for dtype in (np.float64, np.float32):
      losses.backward_correction(x, y, inverse=inverse.astype(dtype))


@pytest.mark.parametrize("a", [0.1, 0.2, 0.5])
def test_negative_smoothing_is_backward_correction(a, logits, labels):
  t = transition.symmetric(L, a, includes_own_class=True)
  np.testing.assert_allclose(
    losses.generalized_smoothing(logits, labels, r=-a / (1 - a)),
    losses.backward_correction(logits, labels, transition=t),
    rtol=1e-4,
    atol=1e-5,
  )


def test_smeared_forward_holds_every_method(logits, labels, asymmetric):
  eye = np.eye(L)
  m = 0.7 * eye + 0.3 / L
  np.testing.assert_allclose(
    losses.smeared_forward(logits, labels, matrix=m, transition=eye),
    losses.label_smoothing(logits, labels, alpha=0.3),
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    losses.smeared_forward(logits, labels, matrix=eye, transition=asymmetric),
    losses.forward_correction(logits, labels, transition=asymmetric),
    rtol=1e-5,
  )


@pytest.mark.parametrize("name", ["generalized_smoothing", "smeared_forward"])
def test_gradients_of_second_order(name, logits, labels, soft):
  for y in (labels, soft):
    check_grads(
      lambda x, y=y: call(name, x, y), (logits,), order=2, modes=["rev"], atol=2e-2, rtol=2e-2
    )


@pytest.mark.parametrize("name", EVERY)
def test_jit_vmap_pmap_agree(name, logits, labels):
  expected = call(name, logits, labels)
  jitted = jax.jit(lambda x, y, kw: getattr(losses, name)(x, y, **kw))
  np.testing.assert_allclose(jitted(logits, labels, EVERY[name]), expected, rtol=1e-4, atol=1e-5)
  mapped = jax.vmap(lambda x, y: call(name, x, y))(logits, labels)
  np.testing.assert_allclose(mapped, expected, rtol=1e-4, atol=1e-5)
  spread = jax.pmap(lambda x, y: call(name, x, y))(logits[:4], labels[:4])
  np.testing.assert_allclose(spread, expected[:4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  "loss",
  [
    losses.forward_correction,
    partial(losses.smeared_forward, matrix=0.7 * np.eye(L, dtype=np.float32) + 0.1),
  ],
)
def test_columns_are_the_matrix_transposed(logits, labels, soft, asymmetric, loss):
  columns = np.ascontiguousarray(asymmetric.T)
  for y in (labels, soft):
    found = [
      jax.value_and_grad(lambda x, y=y, kw=kw: loss(x, y, **kw).sum())(logits)
      for kw in ({"transition": asymmetric}, {"columns": columns})
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), *found)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_forward_correction_neither_overflows_nor_vanishes(scale):
  """Against float64 and log space, with entries of T from 1 down to 1e-20 and 0."""
  rng = np.random.default_rng(0)
  x = scale * rng.normal(size=(50, 6))
  t = 10.0 ** rng.uniform(-20, 0, (6, 6)) * (rng.uniform(size=(6, 6)) < 0.7) + np.eye(6)
  t /= t.sum(axis=1, keepdims=True)
  y = rng.integers(0, 6, 50)
  x, t = x.astype(np.float32), t.astype(np.float32)
  wide = x.astype(np.float64)
  with np.errstate(divide="ignore"):
    terms = wide + np.log(t.astype(np.float64)).T[y]
  expected = special.logsumexp(wide, axis=1) - special.logsumexp(terms, axis=1)
  got, grad = jax.vmap(
    jax.value_and_grad(lambda x, y: losses.forward_correction(x, y, transition=jnp.asarray(t)))
  )(x, y)
  np.testing.assert_allclose(got, expected, rtol=2e-6, atol=2e-6)
  of_terms = special.softmax(terms, axis=1)
  np.testing.assert_allclose(grad, special.softmax(wide, axis=1) - of_terms, atol=2e-5)


def test_zeros_in_t_are_kept(logits):
  t = jnp.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.3, 0.7]])
  x = jnp.array([[1e4, 0.0, -1e4]])
  # Label 2 is reached from class 2 alone, whose log-probability is -2e4.
  value = losses.forward_correction(x, jnp.array([2]), transition=t)
  np.testing.assert_allclose(value, 2e4 - np.log(0.7), rtol=1e-6)
  impossible = jnp.array([[0.5, 0.5, 0.0]] * 3)
  value, grad = jax.value_and_grad(
    lambda x: losses.forward_correction(x, jnp.array([2]), transition=impossible).sum()
  )(x)
  assert value == jnp.inf
  assert (grad == 0).all()
  weightless = jnp.array([[0.5, 0.5, 0.0]])
  value = losses.forward_correction(x, weightless, transition=impossible)
  np.testing.assert_allclose(value, np.log(2), rtol=1e-6)


def test_traced_hyper_parameters(logits, labels, asymmetric):
  t = jnp.asarray(asymmetric, jnp.float32)
  np.testing.assert_allclose(
    jax.jit(lambda a: losses.label_smoothing(logits, labels, alpha=a))(0.2),
    losses.label_smoothing(logits, labels, alpha=0.2),
    rtol=1e-6,
  )
  for loss in (losses.forward_correction, losses.backward_correction):
    np.testing.assert_allclose(
      jax.jit(lambda t, loss=loss: loss(logits, labels, transition=t))(t),
      loss(logits, labels, transition=t),
      rtol=2e-3,
      atol=2e-3,
    )


@pytest.mark.parametrize("name", EVERY)
def test_bad_arrays(name, logits, labels):
  with pytest.raises(TypeError, match="floating"):
    call(name, logits.astype(int), labels)
  with pytest.raises(ValueError, match="do not fit"):
    call(name, logits, labels[:2])


@pytest.mark.parametrize(
  ("name", "kwargs", "message"),
  [
    ("label_smoothing", {"alpha": 1.2}, "alpha must be in"),
    ("generalized_smoothing", {"r": 1.1}, "r must be in"),
    ("generalized_smoothing", {"r": -np.inf}, "finite"),
    ("smearing", {"matrix": np.eye(3)}, "L, L"),
    ("forward_correction", {"columns": np.eye(3)}, "columns of shape"),
    ("forward_correction", {"columns": transition.pair(L, 0.3) * np.arange(1, L + 1)}, "sums to"),
    ("forward_correction", {"columns": np.eye(L), "transition": np.eye(L)}, "exactly one"),
    ("forward_correction", {}, "exactly one"),
    ("smeared_forward", {"matrix": np.eye(L)}, "exactly one"),
    ("smeared_forward", {"matrix": np.eye(3), "transition": np.eye(L)}, "L, L"),
    ("forward_correction", {"transition": np.ones((L, L))}, "sums to"),
    ("forward_correction", {"transition": np.eye(L)[:3]}, "L, L"),
    ("backward_correction", {"transition": np.full((L, L), 1 / L)}, "singular"),
    ("backward_correction", {"transition": 2 * np.eye(L) - 1 / L}, "negative"),
    ("backward_correction", {"inverse": np.eye(3)}, "inverse of shape"),
    ("backward_correction", {"inverse": np.full((L, L), np.nan)}, "not finite"),
    ("backward_correction", {"inverse": 2 * np.eye(L)}, "inverse row 0 sums to 2"),
    ("backward_correction", {"inverse": transition.symmetric(L, 0.4)}, "no negative entries"),
  ],
)
def test_bad_parameters(name, kwargs, message, logits, labels):
  with pytest.raises(ValueError, match=message):
    getattr(losses, name)(logits, labels, **kwargs)


@pytest.mark.parametrize("name", ["forward_correction", "smeared_forward"])
def test_many_labels_take_no_temporary_of_their_square(name):
  """Value and gradient need a few arrays of batch x L beside the matrix, not one of L x L."""
  size, batch = 2000, 16
  keywords = {"forward_correction": ("transition",), "smeared_forward": ("matrix", "transition")}

  def mean(logits, labels, *matrices):
    keyed = dict(zip(keywords[name], matrices))
    return getattr(losses, name)(logits, labels, **keyed).mean()

  shapes = [((batch, size), jnp.float32), ((batch,), jnp.int32)]
  shapes += [((size, size), jnp.float32)] * len(keywords[name])
  compiled = (
    jax.jit(jax.value_and_grad(mean)).lower(*(jax.ShapeDtypeStruct(*s) for s in shapes)).compile()
  )
  assert compiled.memory_analysis().temp_size_in_bytes < 20 * 4 * batch * size < 4 * size**2 / 5


def test_gradient_by_t_is_that_of_the_formula(logits, labels, asymmetric):
  t = jnp.asarray(asymmetric, jnp.float32)
  found = jax.grad(lambda t: losses.forward_correction(logits, labels, transition=t).sum())(t)
  p, expected = softmax64(logits), np.zeros((L, L))
  for of_example, y in zip(p, np.asarray(labels)):
    expected[:, y] -= of_example / (of_example @ np.asarray(asymmetric, np.float64)[:, y])
  np.testing.assert_allclose(found, np.where(asymmetric > 0, expected, 0), rtol=1e-5, atol=1e-5)


def test_an_impossible_label_counts_by_m_alone():
  """Where forward correction and the label's own loss are infinite, for both forms of labels."""
  x, matrix = jnp.array([-jnp.inf, 0.0, 0.0]), np.eye(3)[[1, 1, 2]]
  for y in (jnp.array(0), jnp.array([1.0, 0.0, 0.0])):
    loss = losses.smeared_forward(x, y, matrix=matrix, transition=np.eye(3))
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)
