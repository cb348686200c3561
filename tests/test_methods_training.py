"""Methods beyond one loss: schedules, selected examples, memory per example, trained matrices."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import assert_close, assert_same, final_state

from lsjax import config as config_lib
from lsjax import losses, methods, models, transition
from lsjax.runs import execution, loading, reading
from lsjax.sweeps import plan
from lsjax.training import devices, loop, matrices, setup, step

RNG = np.random.default_rng(0)
N, L = 12, 3
IMAGES = RNG.normal(size=(N, 4)).astype(np.float32)
LABELS = RNG.integers(0, L, N)
KERNEL = RNG.normal(size=(4, L)).astype(np.float32)
SPEC = models.InputSpec(L, (0.0,), (1.0,), (4,), "float32")
LINEAR = models.create(config_lib.Model(name="linear"), SPEC)
SGD = config_lib.Optim(learning_rate=1.0, momentum=0.0, weight_decay=0.0)


def config_of(name, num_steps=10, **own):
  """A config of a method with some of its parameters changed."""
  loss = config_lib.Loss(name=name)
  if own:
    loss = dataclasses.replace(
      loss, **{name: dataclasses.replace(getattr(config_lib.Loss(), name), **own)}
    )
  return config_lib.Config(loss=loss, optim=SGD, train=config_lib.Train(num_steps=num_steps))


class Stepped:
  """A linear network in training on all examples or on some of them."""

  def __init__(self, config):
    arrays = matrices.method_arrays(config.loss, None, L)
    program = config_lib.program_of(config.loss, config.train)
    self.hparams = step.make_hparams(config, arrays)
    self.step = jax.jit(step.make_train_step(LINEAR, program))
    state = step.init_state(LINEAR, IMAGES, self.hparams.optim, 0, program, N)
    network = {"head": {"kernel": jnp.array(KERNEL), "bias": jnp.zeros(L)}}
    self.state = state.replace(params={**state.params, **network})

  def once(self, examples=None):
    """Does a step; returns the gradient of the kernel."""
    examples = np.arange(N) if examples is None else np.asarray(examples)
    before = np.asarray(self.state.params["head"]["kernel"], np.float64)
    batch = step.Batch(
      jnp.array(IMAGES[examples]), jnp.array(LABELS[examples]), examples=jnp.array(examples)
    )
    self.state = self.step(self.state, batch, self.hparams)
    return before - np.asarray(self.state.params["head"]["kernel"])


def probabilities(kernel=KERNEL, bias=0.0, images=IMAGES):
  logits = images.astype(np.float64) @ np.asarray(kernel, np.float64) + np.asarray(bias)
  p = np.exp(logits - logits.max(1, keepdims=True))
  return p / p.sum(1, keepdims=True)


def of_cross_entropy(p, labels=LABELS, images=IMAGES, weights=None):
  """Gradient of weighted cross-entropy by the kernel; the weights are 1 / N by default."""
  weights = np.full(len(p), 1 / len(p)) if weights is None else weights
  return images.T @ (weights[:, None] * (p - np.eye(L)[labels]))


PLAIN = [
  name
  for name, row in methods.METHODS.items()
  if not (row.needs or row.program.memory or row.program.selection or row.program.trained)
]


@pytest.mark.parametrize("name", PLAIN)
def test_a_step_follows_the_gradient_of_its_loss(name):
  """The step's own loss, with the default parameters of its row, is the public function."""
  config = config_of(name, **({"start": 0.0} if name == "negative_smoothing" else {}))
  row, own = methods.METHODS[name], config_lib.parameters_of(config.loss)
  kwargs = dict(row.program.constants) | {
    key: value for key, value in own.items() if key not in ("start", "full")
  }
  function = getattr(losses, row.program.loss)
  if row.program.loss == "smeared_forward":
    r = {"label_smoothing": 0.1, "negative_smoothing": -1.0}.get(name, 0.0)
    function, kwargs = losses.generalized_smoothing, {"r": r}
  expected = jax.grad(lambda k: function(IMAGES @ k, LABELS, **kwargs).mean())(KERNEL)
  np.testing.assert_allclose(Stepped(config).once(), expected, atol=2e-6)
  if name not in ("cross_entropy", "generalized_smoothing"):
    assert np.abs(expected - of_cross_entropy(probabilities())).max() > 1e-3


def test_schedule():
  """Cross-entropy before `start`, the method's own loss from `full` on, a mixture between."""
  stepped = Stepped(config_of("cores", num_steps=10, beta=-1.0, start=0.2, full=0.6))
  shares = []
  for _ in range(8):
    kernel, bias = (stepped.state.params["head"][name] for name in ("kernel", "bias"))
    p = probabilities(kernel, bias)
    plain = of_cross_entropy(p)
    # The gradient of -log(p_j + 1e-8), mean over j, by the logits.
    ratio = p / (p + 1e-8)
    mean = IMAGES.T @ (p * ratio.sum(1, keepdims=True) - ratio) / L / N
    confident = -np.log(p[np.arange(N), LABELS]) <= -np.log(p).mean(1)
    gradient = stepped.once()
    if len(shares) < 6:  # every example before `full`
      moved = gradient - plain
      shares.append(float((moved * mean).sum() / (mean * mean).sum()))
      np.testing.assert_allclose(moved, shares[-1] * mean, atol=1e-5)
    else:
      weights = confident / confident.sum()
      own = of_cross_entropy(p, weights=weights)
      own += IMAGES.T @ (weights[:, None] * (p * ratio.sum(1, keepdims=True) - ratio)) / L
      np.testing.assert_allclose(gradient, own, atol=1e-5)
      assert 0 < confident.sum() < N
  np.testing.assert_allclose(shares, [0, 0, 0, 0.25, 0.5, 0.75], atol=1e-4)


def test_small_losses_alone_count():
  stepped = Stepped(config_of("small_loss", num_steps=4, forget=0.5, full=0.5))
  for forget in (0.0, 0.25, 0.5, 0.5):
    kernel, bias = (stepped.state.params["head"][name] for name in ("kernel", "bias"))
    p = probabilities(kernel, bias)
    values = -np.log(p[np.arange(N), LABELS])
    kept = np.zeros(N, bool)
    kept[np.argsort(values)[: N - int(forget * N)]] = True
    expected = of_cross_entropy(p, weights=kept / kept.sum())
    np.testing.assert_allclose(stepped.once(), expected, atol=1e-5)


def test_memory_follows_the_examples():
  """ELR by hand: targets first, then the loss; an example that occurs twice counts at last."""
  weight, momentum = 2.0, 0.6
  stepped = Stepped(config_of("early_learning_regularization", weight=weight, momentum=momentum))
  memory = np.zeros((N, L))
  for examples in ([0, 3, 5, 7], [5, 1, 3, 5], [5, 5, 0, 2]):
    examples = np.array(examples)
    kernel, bias = (stepped.state.params["head"][name] for name in ("kernel", "bias"))
    p = probabilities(kernel, bias, IMAGES[examples])
    targets = momentum * memory[examples] + (1 - momentum) * p
    inner = (targets * p).sum(1, keepdims=True)
    # d log(1 - <t, p>) / d logits = -(t p - p <t, p>) / (1 - <t, p>)
    of_logits = p - np.eye(L)[LABELS[examples]] - weight * (targets * p - p * inner) / (1 - inner)
    expected = IMAGES[examples].T @ of_logits / len(examples)
    np.testing.assert_allclose(stepped.once(examples), expected, atol=1e-5)
    for row, target in zip(examples, targets, strict=True):
      memory[row] = target
    np.testing.assert_allclose(stepped.state.memory["examples"], memory, atol=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "early_learning_regularization"])
def test_margins_are_summed_up_before_each_step(name):
  """The logit of the given label less the largest other one, of every visit."""
  config = config_of(name)
  config = dataclasses.replace(config, train=dataclasses.replace(config.train, margins=True))
  stepped = Stepped(config)
  total, visits = np.zeros(N), np.zeros(N)
  for examples in ([0, 3, 5, 7], [5, 1, 3, 5], [5, 5, 0, 2]):
    kernel, bias = (np.asarray(stepped.state.params["head"][n]) for n in ("kernel", "bias"))
    for example in examples:
      logits = IMAGES[example].astype(np.float64) @ kernel + bias
      total[example] += logits[LABELS[example]] - np.delete(logits, LABELS[example]).max()
      visits[example] += 1
    stepped.once(examples)
  sums = np.asarray(stepped.state.memory["margins"])
  np.testing.assert_allclose(sums, np.stack([total, visits], axis=1), atol=1e-5)
  assert ("examples" in stepped.state.memory) == (name != "cross_entropy")


def test_margins_tell_wrong_labels_after_training(tmp_path, make_config):
  config = make_config(
    **{"noise.kind": "symmetric", "noise.rate": 0.3, "train.margins": True, "data.folds": 3},
    **{"train.num_steps": 90, "data.fold": 1},
  )
  execution.train_and_evaluate(config, tmp_path)
  labels = reading.noise_npz(tmp_path / "noise.npz")
  with np.load(tmp_path / "diagnostics.npz") as saved:
    margins, visits, examples = (
      saved[name] for name in ("margins", "margin_visits", "margin_examples")
    )
    held_out = saved["validation_examples"]
  assert visits.sum() == 90 * config.train.batch_size
  assert sorted([*examples, *held_out]) == list(range(len(labels.labels)))
  is_wrong = labels.labels[examples] != labels.clean[examples]
  assert np.mean(margins[is_wrong]) < 0 < np.mean(margins[~is_wrong])
  plain = dataclasses.replace(config, train=dataclasses.replace(config.train, margins=False))
  assert config_lib.config_hash(plain) != config_lib.config_hash(config)
  assert plan.program_key(plain) != plan.program_key(config)


def test_the_last_occurrence_in_a_batch_is_remembered():
  """Two augmented copies of an example have different targets."""
  memory = {"examples": jnp.zeros((4, 2))}
  new = jnp.arange(10.0).reshape(5, 2)
  after = step._remember(memory, jnp.array([2, 0, 2, 3, 2]), new, None)
  np.testing.assert_array_equal(after["examples"], [[2, 3], [0, 0], [8, 9], [6, 7]])


def test_steps_of_the_schedule():
  def steps(name, **own):
    config = config_of(name, num_steps=10, **own)
    hparams = step.make_hparams(config, matrices.method_arrays(config.loss, None, L))
    return int(hparams.cross_entropy_steps), int(hparams.ramp_steps)

  assert steps("cross_entropy") == (0, 0)
  assert steps("negative_smoothing") == (5, 0)
  assert steps("cores") == (1, 3)
  assert steps("small_loss", full=0.5) == (0, 5)
  waiting = dataclasses.replace(config_of("cores"), loss=config_lib.Loss(name="cores"))
  waiting = dataclasses.replace(
    waiting, loss=dataclasses.replace(waiting.loss, cross_entropy_steps=7)
  )
  hparams = step.make_hparams(waiting, matrices.method_arrays(waiting.loss, None, L))
  assert (int(hparams.cross_entropy_steps), int(hparams.ramp_steps)) == (7, 0)


def test_a_loss_that_does_not_count_yet_may_be_infinite():
  transition = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
  config = config_of("forward_correction")
  loss = dataclasses.replace(config.loss, transition="noise", cross_entropy_steps=1)
  stepped = Stepped(config)
  arrays = matrices.method_arrays(loss, transition, L)
  stepped.hparams = step.make_hparams(dataclasses.replace(config, loss=loss), arrays)
  np.testing.assert_allclose(stepped.once(), of_cross_entropy(probabilities()), atol=1e-6)
  assert np.isfinite(stepped.state.progress.loss)
  stepped.once()
  assert np.isinf(stepped.state.progress.loss)


def test_transition_matrix_is_trained():
  """VolMinNet's gradients by central differences of the formula in float64."""
  config = config_of("volume_minimization", volume=0.3)
  stepped = Stepped(config)
  before = np.asarray(stepped.state.params[step.LOSS]["weights"], np.float64)
  np.testing.assert_allclose(before, -2.0)

  def value(kernel, weights):
    off = 1 / (1 + np.exp(-weights))
    matrix = np.eye(L)
    matrix[~np.eye(L, dtype=bool)] = off
    matrix /= matrix.sum(1, keepdims=True)
    noisy = (probabilities(kernel) @ matrix)[np.arange(N), LABELS]
    return -np.log(noisy).mean() + 0.3 * math.log(abs(np.linalg.det(matrix)))

  def differences(f, x):
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
      delta = np.zeros(x.shape)
      delta[index] = 1e-5
      gradient[index] = (f(x + delta) - f(x - delta)) / 2e-5
    return gradient

  kernel = KERNEL.astype(np.float64)
  expected = differences(lambda k: value(k, before), kernel)
  np.testing.assert_allclose(stepped.once(), expected, atol=1e-5)
  moved = before - np.asarray(stepped.state.params[step.LOSS]["weights"])
  np.testing.assert_allclose(moved, differences(lambda w: value(kernel, w), before), atol=1e-5)


def test_weight_decay_spares_the_transition_matrix():
  config = config_of("volume_minimization", volume=0.0)
  decayed = dataclasses.replace(config, optim=dataclasses.replace(SGD, weight_decay=0.5))
  weights = []
  for chosen in (config, decayed):
    stepped = Stepped(chosen)
    stepped.once()
    weights.append(np.asarray(stepped.state.params[step.LOSS]["weights"]))
  np.testing.assert_array_equal(*weights)


# What a method adds to the state, or asks of the devices that share a batch.
WITH_STATE = ("early_learning_regularization", "volume_minimization", "small_loss", "margins")
ACROSS_DEVICES = ("early_learning_regularization", "small_loss", "margins")


def chosen_by(name):
  """The fields that choose a method, or that record margins."""
  return {"train.margins": True} if name == "margins" else {"loss.name": name}


@pytest.mark.parametrize("name", WITH_STATE)
def test_resumes_bitwise_and_loads_back(tmp_path, make_config, name):
  """A run that is cut at a checkpoint ends as an uninterrupted one, to the last bit."""
  changes = {**chosen_by(name), "train.num_steps": 9, "data.validation_examples": 100}
  config = make_config(**changes)
  whole, cut = tmp_path / "whole", tmp_path / "cut"
  execution.train_and_evaluate(config, whole)

  class Cut(Exception):
    pass

  def stop(at_step):
    if at_step > 6:
      raise Cut

  with pytest.raises(Cut):
    execution.train_and_evaluate(config, cut, on_call=stop)
  assert not (cut / "result.json").exists()
  execution.train_and_evaluate(config, cut)
  assert_same(final_state(whole, config), final_state(cut, config))
  for file in ("metrics.jsonl", "result.json"):
    assert (whole / file).read_bytes() == (cut / file).read_bytes()
  loaded, model, variables = loading.load_run(cut)
  assert loaded == config
  logits = model.apply(variables, setup.prepare(config).splits["test"].images)
  assert logits.shape == (360, 10)
  assert (step.LOSS in variables["params"]) == (name == "volume_minimization")


@pytest.mark.parametrize("name", ACROSS_DEVICES)
def test_one_device_equals_several(tmp_path, make_config, name):
  states = []
  for count in (1, 4):
    config = make_config(**chosen_by(name), **{"train.num_devices": count})
    execution.train_and_evaluate(config, tmp_path / str(count))
    states.append(final_state(tmp_path / str(count), config))
  assert_close(*states, rtol=1e-4, atol=1e-5)
  if name == "early_learning_regularization":
    seen = np.asarray(states[0].memory["examples"]).sum(1) > 0
    assert seen.sum() == 6 * 32


def test_packed_runs_equal_single_ones(make_config):
  """Each run of a pack has its own memory."""
  configs = [
    make_config(**{"loss.name": "early_learning_regularization", "seed.data": seed, "seed.init": 7})
    for seed in (0, 0, 1)
  ]
  configs[1] = dataclasses.replace(configs[1], seed=dataclasses.replace(configs[0].seed, noise=5))
  dataset = setup.load_dataset(configs[0])
  runs = [setup.prepare(config, (), dataset) for config in configs]
  layouts = [devices.Layout(tuple(jax.devices()[:1]), width=3, packing="vmap")]
  layouts += [devices.Layout(tuple(jax.devices()[:1]))] * 3
  states = []
  for layout, chosen in zip(layouts, (runs, *([run] for run in runs)), strict=True):
    pack = loop.Pack(chosen, layout)
    state, _ = pack.inputs.train(pack.initial_state(), 0, 4)
    states.append(pack.fetch(state))
  for packed, (single,) in zip(states[0], states[1:], strict=True):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), packed, single
    )
  memories = [np.asarray(state.memory["examples"]) for state in states[0]]
  assert (memories[0] != memories[1]).any()
  assert (memories[0] != memories[2]).any()


def test_methods_that_share_a_program(make_config):
  """One program trains the smearing family, another one generalised cross-entropy at every q."""
  keys = {}
  for name, row in methods.METHODS.items():
    if not row.needs:
      keys.setdefault(plan.program_key(make_config(**{"loss.name": name})), []).append(name)
  smearing = ["cross_entropy", "label_smoothing", "generalized_smoothing", "negative_smoothing"]
  assert smearing in keys.values()
  of_q = [
    make_config(**{"loss.name": "generalized_cross_entropy", "loss.generalized_cross_entropy.q": q})
    for q in (0.3, 0.7)
  ]
  assert plan.program_key(of_q[0]) == plan.program_key(of_q[1])
  of_order = [
    make_config(**{"loss.name": "taylor_cross_entropy", "loss.taylor_cross_entropy.order": order})
    for order in (2, 3)
  ]
  assert plan.program_key(of_order[0]) != plan.program_key(of_order[1])


@pytest.mark.parametrize("name", ["forward_correction", "backward_correction"])
def test_diagnostics_have_the_matrix_that_a_correction_assumes(tmp_path, make_config, name):
  config = make_config(
    **{"noise.kind": "pair", "noise.rate": 0.3, "loss.name": name, "loss.transition": "noise"},
    **{"train.num_steps": 2},
  )
  execution.train_and_evaluate(config, tmp_path)
  with np.load(tmp_path / "diagnostics.npz") as saved:
    np.testing.assert_allclose(saved["transition"], transition.pair(10, 0.3), atol=1e-6)
