"""The loop: resume equals uninterrupted, one device equals four, scan equals plain."""

import dataclasses
import json
import signal
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import assert_close, assert_same, final_state

from lsjax import config as config_lib
from lsjax import files, losses, models
from lsjax.data import sampling
from lsjax.runs import checkpoints as checkpoints_lib
from lsjax.runs import directory as directory_lib
from lsjax.runs import execution, loading
from lsjax.sweeps import plan
from lsjax.training import devices as devices_lib
from lsjax.training import distributed, loop, matrices, optimizer, programs, setup, step


def stop_after(at_step):
  """Returns an `on_call` hook: SIGTERM arrives during the call that passes a step."""

  def on_call(step_done):
    if step_done >= at_step:
      signal.raise_signal(signal.SIGTERM)

  return on_call


@pytest.mark.parametrize("model", ["mlp", "small_cnn"])
@pytest.mark.parametrize("at_step", [pytest.param(3, marks=pytest.mark.slow), 4])
def test_resume_equals_uninterrupted(tmp_path, make_config, model, at_step):
  """At a checkpoint step and between two: parameters, metrics and noise bitwise the same."""
  config = make_config(**{"model.name": model})
  whole = execution.train_and_evaluate(config, tmp_path / "whole")
  with pytest.raises(loop.Stopped, match=f"at step {at_step}"):
    execution.train_and_evaluate(config, tmp_path / "parts", on_call=stop_after(at_step))
  assert not (tmp_path / "parts/result.json").exists()
  assert execution.train_and_evaluate(config, tmp_path / "parts") == whole
  assert_same(*(final_state(tmp_path / d, config) for d in ("whole", "parts")))
  for name in ("metrics.jsonl", "result.json", "noise.npz"):
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_crash_between_checkpoints_loses_rows_not_truth(tmp_path, make_config):
  """A kill after step 4 resumes at 3; rows written past 3 and a torn line are made again."""
  config = make_config()
  whole = execution.train_and_evaluate(config, tmp_path / "whole")

  class Killed(BaseException):
    pass

  def die(step_done):
    if step_done == 4:
      raise Killed

  with pytest.raises(Killed):
    execution.train_and_evaluate(config, tmp_path / "killed", on_call=die)
  with (tmp_path / "killed/metrics.jsonl").open("a") as f:
    f.write('{"step": 4, "split": "batches", "loss": 9.0, "accuracy": 0.5}\n{"step": 6, "spl')
  assert execution.train_and_evaluate(config, tmp_path / "killed") == whole
  assert (tmp_path / "killed/metrics.jsonl").read_bytes() == (
    tmp_path / "whole/metrics.jsonl"
  ).read_bytes()


@pytest.mark.parametrize("model", ["mlp", pytest.param("small_cnn", marks=pytest.mark.slow)])
def test_one_device_equals_four(tmp_path, make_config, model):
  changes = {
    "model.name": model,
    "data.crop_padding": 1,
    "data.flip": True,
    "train.eval_batch_size": 100,
  }
  one = make_config(**changes)
  four = make_config(**changes, **{"train.num_devices": 4})
  results = [execution.train_and_evaluate(c, tmp_path / str(i)) for i, c in enumerate((one, four))]
  states = [final_state(tmp_path / str(i), c) for i, c in enumerate((one, four))]
  assert_close(states[0], states[1], rtol=2e-3, atol=2e-4)
  nll = [r["final"]["test"]["nll"] for r in results]
  assert nll[0] == pytest.approx(nll[1], rel=1e-3)


@pytest.mark.parametrize("model", ["mlp", "small_cnn"])
def test_scan_equals_plain(tmp_path, make_config, model):
  states = []
  for steps_per_call in (1, 3):
    config = make_config(**{"model.name": model, "train.steps_per_call": steps_per_call})
    workdir = tmp_path / str(steps_per_call)
    execution.train_and_evaluate(config, workdir)
    states.append(final_state(workdir, config))
  assert_close(*states, rtol=2e-3, atol=2e-4)


def test_a_step_against_numpy(make_config):
  """One SGD step of a linear model, by hand in float64."""
  model = models.create(
    config_lib.Model(name="linear"), models.InputSpec(3, (0.0,), (1.0,), (4,), "float32")
  )
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(5, 4)).astype(np.float32), np.array([0, 1, 2, 1, 0])
  section = config_lib.Optim(learning_rate=0.5, momentum=0.9, weight_decay=0.1)
  eye = np.eye(3, dtype=np.float32)
  alpha = 0.3
  smooth = ((1 - alpha) * eye + alpha / 3).astype(np.float32)
  loss = config_lib.Loss(name="label_smoothing", alpha=alpha)
  arrays = matrices.method_arrays(loss, None, 3)
  hparams = step.make_hparams(config_lib.Config(loss=loss, optim=section), arrays)
  state = step.init_state(model, x, hparams.optim, 0)
  w = rng.normal(size=(4, 3)).astype(np.float32)
  state = state.replace(params={"head": {"kernel": jnp.array(w), "bias": jnp.zeros(3)}})
  after = step.make_train_step(model)(state, step.Batch(jnp.array(x), jnp.array(y)), hparams)

  logits = x.astype(np.float64) @ w
  p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  delta = (p - smooth[y]) / 5
  grad_w = x.T @ delta + 0.1 * w  # decay on the kernel
  grad_b = delta.sum(0)  # none on the bias
  nesterov = 1.9  # g + 0.9 * trace, trace = g in the first step
  np.testing.assert_allclose(after.params["head"]["kernel"], w - 0.5 * nesterov * grad_w, atol=1e-5)
  np.testing.assert_allclose(after.params["head"]["bias"], -0.5 * nesterov * grad_b, atol=1e-5)
  loss = -(smooth[y] * np.log(p)).sum(1).mean()
  assert after.progress.loss / after.progress.examples == pytest.approx(loss, rel=1e-5)
  assert after.step == 1


def test_learning_rate_and_clipping():
  section = config_lib.Optim(learning_rate=1.0, warmup_steps=4, boundaries=(10, 20), decay=0.1)
  params = optimizer.from_config(section)
  got = [float(optimizer.learning_rate(params, s)) for s in (0, 3, 9, 10, 19, 20)]
  np.testing.assert_allclose(got, [0.25, 1, 1, 0.1, 0.1, 0.01], rtol=1e-6)
  clipped = optimizer.from_config(
    config_lib.Optim(learning_rate=1.0, clip_norm=1.0, weight_decay=0.0, momentum=0.0)
  )
  gradient = {"k": jnp.array([[3.0, 4.0]])}
  transform = optimizer.transformation(clipped, 0)
  update, _ = transform.update(gradient, transform.init(gradient), gradient)
  np.testing.assert_allclose(update["k"], [[-0.6, -0.8]], rtol=1e-5)


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_flat_parameters_are_updated_like_trees(clip_norm):
  rng = np.random.default_rng(0)
  shapes = {"a": {"bias": (3,), "kernel": (2, 3)}, "b": {"kernel": (3, 3, 1, 2), "scale": (2,)}}
  make = lambda: jax.tree.map(  # noqa: E731
    lambda shape: jnp.array(rng.normal(size=shape), jnp.float32),
    *(shapes,),
    is_leaf=lambda node: isinstance(node, tuple),
  )
  section = config_lib.Optim(learning_rate=0.3, clip_norm=clip_norm, weight_decay=0.1)
  numbers = optimizer.from_config(section)
  params, grads = make(), [make() for _ in range(3)]
  state = optimizer.transformation(numbers, 0).init(params)
  flat = optimizer.flatten(params, state, "sgd")
  assert jax.tree.leaves(flat[0])[0].shape == (3 + 6 + 18 + 2,)
  for at_step, grad in enumerate(grads):
    transform = optimizer.transformation(numbers, at_step)
    updates, state = transform.update(grad, state, params)
    params = jax.tree.map(jnp.add, params, updates)
    vector = optimizer.flatten(grad, (), "sgd")[0].vector
    updates, flat_state = transform.update(flat[0].replace(vector=vector), flat[1], flat[0])
    flat = jax.tree.map(jnp.add, flat[0], updates), flat_state
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7),
    *((params, state), optimizer.unflatten(*flat)),
  )
  assert jax.tree.structure((params, state)) == jax.tree.structure(optimizer.unflatten(*flat))


@pytest.mark.parametrize("packing", ["sequential", "vmap"])
def test_vectors_and_trees_train_alike(make_config, packing, monkeypatch):
  """What accelerators do, on a CPU."""
  config = make_config(**{"optim.clip_norm": 1.0})
  run = setup.prepare(config)
  layout = devices_lib.Layout(tuple(run.devices), width=2, packing=packing)
  states = []
  for prefers_vectors in (False, True):
    monkeypatch.setattr(devices_lib.Layout, "prefers_vectors", prefers_vectors)
    programs.make_train_call.cache_clear()
    pack = loop.Pack([run, run], layout)
    training = loop.Loop(pack, [], pack.initial_state(), 0)
    training.advance(7)
    states.append(pack.fetch(training.state))
  programs.make_train_call.cache_clear()
  assert_close(*(jax.tree.map(np.asarray, s) for s in states), rtol=1e-5, atol=1e-6)


def test_layers_of_lars_stay_apart():
  """LARS needs the norm of each layer, which a flat vector does not have."""
  params = {"kernel": jnp.ones((2, 2))}
  assert optimizer.flatten(params, (), "lars") == (params, ())


def test_methods_share_one_program(make_config):
  """Another loss, alpha, seed or noise is other arrays: nothing is compiled again."""
  config = make_config()
  run = setup.prepare(config)
  calls = 0
  original = step.make_train_step
  layout = devices_lib.Layout(tuple(run.devices))

  def counting(*args):
    inner = original(*args)

    def traced(*args):
      nonlocal calls
      calls += 1
      return inner(*args)

    return traced

  step.make_train_step = counting
  try:
    # Not from the cache of programs: this one counts.
    call = programs.make_train_call.__wrapped__(
      run.model,
      config.data,
      layout,
      program=config_lib.program_of(config.loss),
      batch_size=32,
      num_steps=2,
    )
  finally:
    step.make_train_step = original
  outcomes = []
  for changes in (
    {"loss.name": "cross_entropy"},
    {"loss.name": "label_smoothing", "loss.alpha": 0.4},
    {"loss.name": "forward_correction", "loss.transition": "noise"},
    {"loss.name": "backward_correction", "optim.clip_norm": 1.0, "optim.learning_rate": 0.2},
    {"seed.noise": 3, "seed.data": 4, "noise.rate": 0.4, "loss.cross_entropy_steps": 1},
  ):
    other = setup.prepare(make_config(**changes))
    assert plan.program_key(other.config) == plan.program_key(config)
    split = other.splits["train"]
    state = step.init_state(other.model, split.images[:1], other.hparams.optim, 0)
    placed = (layout.place([x]) for x in (state, split.examples, split.labels, other.hparams))
    _, progress = call(layout.replicate(split.source), *placed, None)
    outcomes.append(float(layout.fetch(progress).loss[0]))
  assert calls == 1
  assert len(set(outcomes)) == 5


def test_cross_entropy_warm_up(tmp_path, make_config):
  """Until its end, a corrected run is a cross-entropy run; after it, it is not."""
  plain = make_config(**{"loss.name": "cross_entropy"})
  states = {}
  for steps in (6, 3):
    config = make_config(
      **{"loss.name": "label_smoothing", "loss.alpha": 0.9, "loss.cross_entropy_steps": steps}
    )
    execution.train_and_evaluate(config, tmp_path / str(steps))
    states[steps] = final_state(tmp_path / str(steps), config).params
  execution.train_and_evaluate(plain, tmp_path / "plain")
  reference = final_state(tmp_path / "plain", plain).params
  assert_close(states[6], reference, rtol=1e-5, atol=1e-7)
  with pytest.raises(AssertionError):
    assert_close(states[3], reference, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("size", "batch"), [(10, 4), (7, 7), (33, 5)])
def test_batches_cover_epochs(size, batch):
  """Every epoch holds every example once, whatever the batch; calls of any length agree."""
  steps = 3 * size
  kwargs = {"batch_size": batch, "num_examples": size}
  whole = np.asarray(sampling.batch_indices(5, 0, num_steps=steps, **kwargs))
  epochs = whole.reshape(-1)[: (steps * batch // size) * size].reshape(-1, size)
  np.testing.assert_array_equal(np.sort(epochs, 1), np.tile(np.arange(size), (len(epochs), 1)))
  assert any((epochs[0] != e).any() for e in epochs[1:])
  for start, count in ((0, 1), (4, 3), (9, 2)):
    part = sampling.batch_indices(5, start, num_steps=count, **kwargs)
    np.testing.assert_array_equal(part, whole[start : start + count])
  other = np.asarray(sampling.batch_indices(6, 0, num_steps=steps, **kwargs))
  assert (other != whole).any()


def test_held_out_validation(make_config):
  run = setup.prepare(make_config(**{"data.validation_examples": 137}))
  sizes = {name: len(split.labels) for name, split in run.splits.items()}
  assert sizes == {"train": 1300, "validation": 137, "test": 360}
  assert (run.splits["validation"].labels != run.splits["validation"].true_labels).any()
  np.testing.assert_array_equal(run.splits["test"].labels, run.splits["test"].true_labels)
  everything = np.concatenate([run.splits[n].images for n in ("train", "validation")])
  assert everything.sum(dtype=int) == sum(
    s.images.sum(dtype=int) for n, s in run.splits.items() if n != "test"
  )


def test_best_is_chosen_on_validation(tmp_path, make_config):
  config = make_config(
    **{"data.validation_examples": 300, "train.num_steps": 30, "optim.learning_rate": 0.02}
  )
  result = execution.train_and_evaluate(config, tmp_path)
  rows = files.read_rows(tmp_path / "metrics.jsonl")
  accuracies = {r["step"]: r["accuracy"] for r in rows if r["split"] == "validation"}
  assert result["best"]["step"] == max(accuracies, key=accuracies.get)
  assert result["best"]["validation"]["accuracy"] == max(accuracies.values())
  assert result["final"]["step"] == 30


def test_divergence(tmp_path, make_config):
  config = make_config(
    **{"loss.name": "backward_correction", "loss.alpha": 0.9, "optim.learning_rate": 1e9}
  )
  result = execution.train_and_evaluate(config, tmp_path)
  assert result["status"] == "diverged"
  assert result["final"] is None
  assert result["diverged"]["loss"] in ("nan", "inf", "-inf")
  assert 0 < result["diverged"]["step"] <= 6
  assert json.loads((tmp_path / "result.json").read_text()) == result
  assert execution.train_and_evaluate(config, tmp_path) == result


def test_losses_whose_sum_overflows_are_a_divergence():
  """Finite losses of -2e37 over 16 examples: their sum is not finite from the second step on."""
  zero = jnp.zeros(())
  progress = step.Progress(zero, zero, zero, jnp.int32(-1), zero)
  hparams = types.SimpleNamespace(log_every=100)
  for at_step in range(4):
    state = types.SimpleNamespace(progress=progress, step=jnp.int32(at_step))
    progress = step._advance(state, hparams, jnp.float32(-2e37), zero, 16)
    assert int(progress.bad_step) == (-1 if at_step == 0 else 1)
  assert float(progress.bad_loss) == pytest.approx(-2e37)


def test_another_config_is_refused(tmp_path, make_config):
  execution.train_and_evaluate(make_config(), tmp_path)
  before = (tmp_path / "result.json").read_bytes()
  with pytest.raises(directory_lib.WorkdirError, match=r"seed.noise: 0 there, 1 here"):
    execution.train_and_evaluate(make_config(**{"seed.noise": 1}), tmp_path)
  assert (tmp_path / "result.json").read_bytes() == before


def test_load_run(tmp_path, make_config):
  """A checkpoint and raw images reproduce the accuracy in result.json."""
  config = make_config(**{"model.name": "small_cnn", "train.num_steps": 30})
  result = execution.train_and_evaluate(config, tmp_path)
  loaded, model, variables = loading.load_run(tmp_path)
  assert loaded == config
  test = setup.prepare(config).splits["test"]
  logits = jax.jit(lambda v, x: model.apply(v, x))(variables, test.images)
  accuracy = float((logits.argmax(-1) == test.labels).mean())
  assert accuracy == pytest.approx(result["final"]["test"]["accuracy"], abs=1e-6)
  nll = float(losses.cross_entropy(logits, test.labels).mean())
  assert nll == pytest.approx(result["final"]["test"]["nll"], rel=1e-5)


def test_load_run_errors(tmp_path, make_config):
  with pytest.raises(checkpoints_lib.CheckpointError, match=r"no readable config.json"):
    loading.load_run(tmp_path)
  config = make_config()
  execution.train_and_evaluate(config, tmp_path)
  with pytest.raises(checkpoints_lib.CheckpointError, match="cannot be read"):
    loading.load_run(tmp_path, at_step=77)


def test_files_of_a_run(tmp_path, make_config):
  execution.train_and_evaluate(make_config(), tmp_path)
  names = {p.name.split(".")[0] if "tfevents" in p.name else p.name for p in tmp_path.iterdir()}
  assert names == {
    "config.json",
    "noise.npz",
    "metrics.jsonl",
    "events",
    "result.json",
    "checkpoints",
    "diagnostics.npz",
  }
  description = files.read_json(tmp_path / "config.json")
  assert description["inputs"]["num_classes"] == 10
  assert description["environment"]["jax"] == jax.__version__


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"train.num_devices": 3}, "config.train.batch_size = 32: must be divisible by 3"),
    ({"train.num_devices": 9}, "4 local devices"),
    ({"train.batch_size": 1438}, "at most the 1437"),
    ({"data.validation_examples": 1437}, "at most the 0"),
    ({"noise.kind": "cifar10_asymmetric", "data.name": "gaussians"}, "is for 10 classes"),
    ({"noise.kind": "cifar10_groups", "data.name": "gaussians"}, "is for 10 classes"),
    ({"noise.kind": "cifar100_superclass"}, "is for 100 classes; the data has 10"),
    ({"model.name": "resnet32", "data.name": "gaussians"}, "needs images"),
    ({"data.flip": True, "data.name": "gaussians"}, "needs images"),
    ({"data.crop_padding": 9}, "must be 0 or fit"),
    ({"noise.kind": "file", "noise.path": "absent.npy"}, "config.noise.path"),
    ({"loss.name": "smearing", "loss.matrix": "absent.npy"}, "config.loss.matrix"),
    (
      {"loss.name": "backward_correction", "loss.transition": "noise", "noise.rate": 0.9},
      "singular",
    ),
  ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
  tmp_path, make_config, changes, message
):
  with pytest.raises(config_lib.ConfigError, match=message) as caught:
    execution.train_and_evaluate(make_config(**changes), tmp_path / "run")
  assert "\n" not in str(caught.value)
  assert not (tmp_path / "run").exists()


def test_given_labels_without_clean_ones(tmp_path, make_config):
  rng = np.random.default_rng(0)
  np.savez(
    tmp_path / "mine.npz",
    train_images=rng.normal(size=(64, 5)),
    crowd=rng.integers(0, 3, 64),
    test_images=rng.normal(size=(20, 5)),
    test_labels=np.arange(20) % 3,
  )
  config = make_config(
    **{
      "data.name": "npz",
      "data.path": str(tmp_path / "mine.npz"),
      "noise.kind": "given",
      "noise.labels": "crowd",
    }
  )
  result = execution.train_and_evaluate(config, tmp_path / "run")
  assert result["noise"]["realised_rate"] is None
  final = result["final"]["train"]
  assert final["label_accuracy"] is not None
  assert final["memorisation"] is final["true_accuracy"] is None
  with np.load(tmp_path / "run/noise.npz") as saved:
    assert "clean_labels" not in saved.files


def held_bytes(runs, layout):
  """Bytes of all arrays on devices while a pack is in the loop, before its first step."""
  before = sum(x.nbytes for x in jax.live_arrays())
  pack = loop.Pack(runs, layout)
  state = pack.initial_state()
  held = sum(x.nbytes for x in jax.live_arrays()) - before
  del pack, state
  return held


def test_memory_of_a_pack(make_config):
  """One more run costs its state, examples, labels and hyper-parameters; the images are shared."""
  runs = [setup.prepare(make_config(**{"seed.noise": seed})) for seed in range(4)]
  held = {
    width: held_bytes(runs[:width], devices_lib.Layout(tuple(jax.devices()[:1]), width=width))
    for width in (1, 2, 4)
  }
  state = step.init_state(
    runs[0].model, runs[0].splits["train"].source[:1], runs[0].hparams.optim, 0
  )
  own = (state, runs[0].hparams, [s.arrays for s in runs[0].splits.values()])
  of_a_run = sum(np.asarray(x).nbytes for x in jax.tree.leaves(own))
  assert held[2] - held[1] == pytest.approx(of_a_run, rel=0.01)
  assert held[4] - held[2] == pytest.approx(2 * of_a_run, rel=0.01)
  images = sum(runs[0].splits[name].source.nbytes for name in ("train", "test"))
  assert held[1] == pytest.approx(images + of_a_run, rel=0.01)


class Rows:
  """A `loop.Recorder` that keeps rows and nothing else."""

  has_ended = False

  def __init__(self):
    self.rows = []

  def log(self, row):
    self.rows.append(row)

  def save(self, at_step, state):
    del at_step, state

  def finish(self, arrays):
    del arrays

  def diverge(self, at_step, loss):
    raise AssertionError(f"diverged at {at_step}: {loss}")


def call_lengths(config):
  """Trains a run without files; returns the lengths of its calls and its log rows."""
  run = setup.prepare(config)
  pack = loop.Pack([run], devices_lib.Layout(tuple(run.devices), shared=True))
  ends, recorder = [0], Rows()
  loop.Loop(pack, [recorder], pack.initial_state(), 0, on_call=ends.append).run()
  return np.diff(ends).tolist(), recorder.rows


def test_a_near_boundary_shortens_a_call(make_config):
  """A call takes the steps that are left before a boundary, not one step at a time."""
  changes = {"train.num_steps": 24, "train.eval_every": 12, "checkpoint.every": 24}
  config = make_config(**changes, **{"train.steps_per_call": 20, "train.log_every": 10})
  lengths, rows = call_lengths(config)
  assert lengths == [10, 2, 8, 4]
  single = make_config(**changes, **{"train.steps_per_call": 1, "train.log_every": 10})
  _, expected = call_lengths(single)
  for row, other in zip(rows, expected, strict=True):
    assert row.keys() == other.keys()
    np.testing.assert_allclose(
      [v for v in row.values() if isinstance(v, float)],
      [v for v in other.values() if isinstance(v, float)],
      rtol=1e-3,
      atol=1e-4,
    )


def test_few_call_lengths_are_compiled(make_config):
  """Periods without a common divisor leave gaps of many lengths; few of them are compiled."""
  config = make_config(
    **{
      "train.num_steps": 300,
      "train.log_every": 70,
      "train.eval_every": 83,
      "checkpoint.every": 97,
      "train.steps_per_call": 50,
    }
  )
  lengths, rows = call_lengths(config)
  assert sum(lengths) == 300
  assert len(set(lengths) - {64, 16, 4, 1}) <= loop.MAX_LENGTHS
  assert len(lengths) < 40
  assert [r["step"] for r in rows if r["split"] == "batches"] == [70, 140, 210, 280, 300]
  assert sorted({r["step"] for r in rows if r["split"] == "test"}) == [83, 166, 249, 300]


def test_processes_agree_on_a_stop_once_in_many_steps(make_config, monkeypatch):
  """Agreeing is a collective that waits for devices, so not every call asks for it."""
  run = setup.prepare(make_config(**{"train.num_steps": 64, "train.steps_per_call": 1}))
  pack = loop.Pack([run], devices_lib.Layout(tuple(run.devices), shared=True))
  questions = []

  def any_process(flag):
    questions.append(flag)
    return False

  monkeypatch.setattr(distributed, "process", lambda: (0, 2))
  monkeypatch.setattr(distributed, "any_process", any_process)
  loop.Loop(pack, [Rows()], pack.initial_state(), 0).run()
  assert len(questions) == 64 // loop.STOP_POLL_STEPS - 1  # nobody is asked after the last step


def test_neighbours_share_a_value_that_is_computed_once():
  computed = []

  def value(seed, x):
    jax.debug.callback(lambda s: computed.append(int(s)), seed)
    return seed * 10 + jnp.arange(2)

  shared = devices_lib.SharedValue(key=lambda seed, x: (seed,), value=value)
  seeds, x = np.array([0, 0, 3, 3, 0], np.uint32), np.arange(5.0)
  results = jax.jit(lambda *args: shared.in_turn(lambda _, x, v: x + v, args))(seeds, x)
  expected = x[:, None] + seeds[:, None] * 10 + np.arange(2)
  np.testing.assert_array_equal(results, expected)
  jax.effects_barrier()
  assert computed == [0, 3, 0]


@pytest.mark.parametrize("packing", ["sequential", "vmap"])
def test_runs_of_a_pack_take_the_examples_of_their_own_seeds(make_config, packing):
  """Runs that share an order and runs that do not, in one pack, as each run would alone."""
  runs = []
  for i, seed in enumerate((1, 1, 2, 1)):
    run = setup.prepare(make_config(**{"loss.alpha": i / 10}))
    hparams = run.hparams.replace(data_seed=np.uint32(seed))
    runs.append(dataclasses.replace(run, hparams=hparams))

  def train(runs):
    on = tuple(devices_lib.choose(1))
    pack = loop.Pack(runs, devices_lib.Layout(on, width=len(runs), packing=packing))
    state, _ = pack.inputs.train(pack.initial_state(), 0, 6)
    return pack.fetch(state)

  for alone, packed in zip((train([run])[0] for run in runs), train(runs), strict=True):
    for one, other in zip(jax.tree.leaves(alone.params), jax.tree.leaves(packed.params)):
      np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)
