"""Every loss as a formula in float64 NumPy, and examples to compare it with."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lsjax import losses

N = 6


def log_softmax64(logits):
  logits = np.asarray(logits, np.float64)
  shifted = logits - logits.max(-1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


# The references take float64 log-probabilities [N, L] and one label of all examples, or for the
# divergence a distribution of each example, and follow the formulas of the papers word by word.


def cross_entropy(log_p, k):
  return -log_p[:, k]


def generalized_smoothing(log_p, k, r):
  targets = (1 - r) * np.eye(log_p.shape[1])[k] + r / log_p.shape[1]
  return -log_p @ targets


def label_smoothing(log_p, k, alpha):
  return generalized_smoothing(log_p, k, alpha)


def smearing(log_p, k, matrix):
  return -log_p @ matrix[k]


def confidence_regularization(log_p, k, beta):
  return -log_p[:, k] + beta * np.log(np.exp(log_p) + 1e-8).mean(-1)


def volume_minimization(log_p, k, weights, volume):
  size = log_p.shape[1]
  matrix = np.eye(size)
  matrix[~np.eye(size, dtype=bool)] = 1 / (1 + np.exp(-weights))
  matrix /= matrix.sum(1, keepdims=True)
  return forward_correction(log_p, k, matrix) + volume * np.linalg.slogdet(matrix)[1]


def forward_correction(log_p, k, transition):
  return -np.log(np.exp(log_p) @ transition[:, k])


def backward_correction(log_p, k, inverse):
  return smearing(log_p, k, inverse)


def smeared_forward(log_p, k, matrix, transition):
  return forward_correction(log_p, k, transition) + smearing(log_p, k, matrix) + log_p[:, k]


def generalized_cross_entropy(log_p, k, q):
  return -log_p[:, k] if q == 0 else -np.expm1(q * log_p[:, k]) / q


def mean_absolute_error(log_p, k):
  return np.abs(np.eye(log_p.shape[1])[k] - np.exp(log_p)).sum(-1) / 2


def squared_error(log_p, k):
  return ((np.eye(log_p.shape[1])[k] - np.exp(log_p)) ** 2).sum(-1)


def reverse_cross_entropy(log_p, k, log_zero):
  return -np.exp(log_p) @ np.where(np.arange(log_p.shape[1]) == k, 0, log_zero)


def symmetric_cross_entropy(log_p, k, alpha, beta, log_zero):
  return -alpha * log_p[:, k] + beta * reverse_cross_entropy(log_p, k, log_zero)


def normalized_cross_entropy(log_p, k):
  return log_p[:, k] / log_p.sum(-1)


def active_passive(log_p, k, active, passive):
  passive_loss = reverse_cross_entropy(log_p, k, np.log(1e-4))
  return active * normalized_cross_entropy(log_p, k) + passive * passive_loss


def taylor_cross_entropy(log_p, k, order):
  return sum((1 - np.exp(log_p[:, k])) ** i / i for i in range(1, order + 1))


def bootstrap(log_p, k, beta, frozen, hard=False):
  prediction = np.exp(frozen)
  if hard:
    prediction = np.eye(log_p.shape[1])[frozen.argmax(-1)]
  targets = beta * np.eye(log_p.shape[1])[k] + (1 - beta) * prediction
  return -(targets * log_p).sum(-1)


def early_learning_regularization(log_p, k, targets, weight):
  agreement = (np.asarray(targets, np.float64) * np.exp(log_p)).sum(-1)
  return -log_p[:, k] + weight * np.log(np.maximum(1 - agreement, 1e-4))


def jensen_shannon(log_p, e, weight):
  if weight == 0:
    return (e * (np.log(np.where(e > 0, e, 1)) - log_p)).sum(-1)
  p = np.exp(log_p)
  m = weight * e + (1 - weight) * p

  def kl(a):
    return np.where(a > 0, a * np.log(np.where(a > 0, a, 1) / m), 0).sum(-1)

  return (weight * kl(e) + (1 - weight) * kl(p)) / (-(1 - weight) * np.log1p(-weight))


# Function of the library, keywords known when it is compiled, and hyper-parameters, which are
# traced. `all_parameters` adds those whose shape depends on the number of classes.
ROWS = {
  "CE": ("cross_entropy", {}, [{}]),
  "LS": ("label_smoothing", {}, [{"alpha": 0.3}]),
  "generalised LS": ("generalized_smoothing", {}, [{"r": 0.4}, {"r": -0.7}]),
  "smearing": ("smearing", {}, [{}]),
  "FC": ("forward_correction", {}, [{}]),
  "BC": ("backward_correction", {}, [{}]),
  "M and T": ("smeared_forward", {}, [{}]),
  "GCE": ("generalized_cross_entropy", {}, [{"q": q} for q in (0, 1e-30, 1e-6, 1e-2, 0.7, 1)]),
  "MAE": ("mean_absolute_error", {}, [{}]),
  "MSE": ("squared_error", {}, [{}]),
  "SCE": (
    "symmetric_cross_entropy",
    {},
    [{"alpha": a, "beta": b, "log_zero": -4} for a, b in ((0.1, 1), (6, 0.1), (1, 0))],
  ),
  "NCE": ("normalized_cross_entropy", {}, [{}]),
  "NCE+RCE": ("active_passive", {}, [{"active": 1, "passive": 1}, {"active": 10, "passive": 0.1}]),
  "JS": (
    "jensen_shannon",
    {},
    [{"weight": w} for w in (0, 1e-6, 0.1, 0.5, 0.501, 0.7, 0.9, 0.999)],
  ),
  "Taylor 2": ("taylor_cross_entropy", {"order": 2}, [{}]),
  "Taylor 6": ("taylor_cross_entropy", {"order": 6}, [{}]),
  "bootstrap": ("bootstrap", {}, [{"beta": 0.95}, {"beta": 0}]),
  "hard bootstrap": ("bootstrap", {"hard": True}, [{"beta": 0.8}]),
  "CR": ("confidence_regularization", {}, [{"beta": 2}, {"beta": -0.5}]),
  "VolMinNet": ("volume_minimization", {}, [{"volume": 1e-4}]),
  "ELR": ("early_learning_regularization", {}, [{"weight": 3}, {"weight": 7}]),
}


@functools.cache
def compiled(row):
  """Losses [N] and their gradients [N, L], with traced labels, mask and hyper-parameters."""
  name, static, _ = ROWS[row]

  def value_and_gradient(x, y, where, parameters):
    f = functools.partial(getattr(losses, name), **static)
    value, pull = jax.vjp(lambda x: f(x, y, where=where, **parameters), x)
    return value, pull(jnp.ones_like(value))[0]

  # Many small programs that run once: they are compiled quickly, not well.
  quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
  return jax.jit(value_and_gradient, compiler_options=quick)


def run(row, x, y, parameters, where=None):
  where = np.ones(len(x), bool) if where is None else where
  parameters = {key: np.asarray(value, np.float32) for key, value in parameters.items()}
  return [np.asarray(array, np.float64) for array in compiled(row)(x, y, where, parameters)]


def examples(size):
  """Logits, integer labels and soft labels; the networks are unsure and sure, right and wrong."""
  rng = np.random.default_rng(size)
  x = rng.normal(size=(N, size)) * np.array([[0.1], [1], [3], [3], [8], [8]])
  y = rng.integers(0, size, N)
  y[3], y[4] = x[3].argmax(), x[4].argmin()
  y[5] = size - 1
  soft = rng.dirichlet(np.ones(size), N)
  soft[5] = np.eye(size)[1]
  return x.astype(np.float32), y.astype(np.int32), soft.astype(np.float32)


def all_parameters(row, size):
  """Yields every set of a row's hyper-parameters; matrices differ from their transposes."""
  rng = np.random.default_rng(size)
  transition = 0.6 * np.eye(size) + 0.4 * rng.dirichlet(np.full(size, 0.3), size)
  arrays = {
    "smearing": {"matrix": rng.normal(size=(size, size)) / size},
    "FC": {"transition": transition},
    "BC": {"inverse": np.linalg.inv(transition)},
    "M and T": {"matrix": rng.normal(size=(size, size)) / size, "transition": transition},
    "ELR": {"targets": 0.9 * rng.dirichlet(np.full(size, 0.1), N)},
    "VolMinNet": {"weights": rng.normal(-np.log(size), 0.5, size * (size - 1))},
  }
  for parameters in ROWS[row][2]:
    yield arrays.get(row, {}) | parameters


def reference(row, x, y, parameters, frozen):
  """Losses [N] in float64."""
  name, static, _ = ROWS[row]
  log_p = log_softmax64(x)
  keywords = {key: np.asarray(value, np.float64) for key, value in parameters.items()} | static
  if name == "bootstrap":
    keywords["frozen"] = log_softmax64(frozen)
  of_name = globals()[name]
  if name == "jensen_shannon":
    e = np.eye(x.shape[1])[y] if y.ndim == 1 else np.asarray(y, np.float64)
    return of_name(log_p, e / e.sum(-1, keepdims=True), **keywords)
  if y.ndim == 1:
    per_label = {k: of_name(log_p, k, **keywords) for k in set(y.tolist())}
    return np.array([per_label[k][i] for i, k in enumerate(y.tolist())])
  return sum(np.float64(y[:, k]) * of_name(log_p, k, **keywords) for k in range(x.shape[1]))
