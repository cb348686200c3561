"""Distillation: the loss against float64, the two-stage job, and what it must refuse."""

import dataclasses
import hashlib
import json
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lsjax import config as config_lib
from lsjax import files, losses, metrics
from lsjax.distillation import stages
from lsjax.distillation import teachers as teachers_lib
from lsjax.runs import checkpoints as checkpoints_lib
from lsjax.runs import digests, execution, loading
from lsjax.runs import directory as directory_lib
from lsjax.training import devices as devices_lib
from lsjax.training import loop, programs, setup, step
from lsjax.training import teachers as training_teachers

N, L = 6, 5
CONVENTIONS = ["teacher_only", "both", "both_t_squared"]


def softmax64(x):
  e = np.exp(np.asarray(x, np.float64) - np.max(x, -1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


@pytest.fixture
def logits():
  return jnp.asarray(np.random.default_rng(0).normal(size=(N, L)) * 3, jnp.float32)


@pytest.fixture
def teacher_logits():
  return jnp.asarray(np.random.default_rng(1).normal(size=(N, L)) * 3, jnp.float32)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_conventions_against_float64(logits, teacher_logits, temperature, convention):
  targets = softmax64(teacher_logits / temperature)
  if convention == "teacher_only":
    expected = -(targets * np.log(softmax64(logits))).sum(-1)
  else:
    factor = temperature**2 if convention == "both_t_squared" else 1
    expected = -factor * (targets * np.log(softmax64(logits / temperature))).sum(-1)
  kwargs = {"temperature": temperature, "convention": convention}
  got = losses.distillation(logits, teacher_logits, **kwargs)
  np.testing.assert_allclose(got, expected, rtol=2e-5)
  jitted = jax.jit(lambda x, z, t: losses.distillation(x, z, temperature=t, convention=convention))
  np.testing.assert_allclose(jitted(logits, teacher_logits, temperature), expected, rtol=2e-5)
  per_example = losses.distillation(
    logits, teacher_logits, temperature=np.full(N, temperature), convention=convention
  )
  np.testing.assert_allclose(per_example, expected, rtol=2e-5)
  check_grads(
    lambda x: losses.distillation(x, teacher_logits, **kwargs),
    (logits,),
    order=2,
    atol=2e-2,
    rtol=2e-2,
  )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_conventions_against_each_other(logits, teacher_logits, temperature):
  one, two, three = (
    losses.distillation(logits, teacher_logits, temperature=temperature, convention=name)
    for name in CONVENTIONS
  )
  np.testing.assert_allclose(three, temperature**2 * two, rtol=1e-6)
  if temperature == 1:
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)
  else:
    assert (abs(one - two) > 0.01).any()


def test_it_is_a_soft_label_cross_entropy(logits, teacher_logits):
  targets = jax.nn.softmax(teacher_logits / 3)
  np.testing.assert_allclose(
    losses.distillation(logits, teacher_logits, temperature=3.0, convention="teacher_only"),
    losses.cross_entropy(logits, targets),
    rtol=1e-6,
  )
  np.testing.assert_allclose(
    losses.distillation(logits, teacher_logits, temperature=3.0, convention="both_t_squared"),
    9 * losses.cross_entropy(logits / 3, targets),
    rtol=1e-6,
  )


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_gradient_vanishes_at_the_target(teacher_logits, convention):
  """Where the student's distribution, tempered as the convention says, is the teacher's."""
  at_target = teacher_logits / 2 if convention == "teacher_only" else teacher_logits
  at_target += 7.0  # a constant changes nothing

  def mean(x, z):
    return losses.distillation(x, z, temperature=2.0, convention=convention).sum()

  grad, to_teacher = jax.grad(mean, argnums=(0, 1))(at_target, teacher_logits)
  np.testing.assert_allclose(grad, 0, atol=1e-5)
  assert (to_teacher == 0).all()
  other, _ = jax.grad(mean, argnums=(0, 1))(at_target + jnp.eye(N, L), teacher_logits)
  assert jnp.abs(other).max() > 0.02


def test_infinite_temperature(logits, teacher_logits):
  """teacher_only forgets the teacher: uniform targets. both_t_squared matches logits."""
  got = losses.distillation(logits, teacher_logits, temperature=1e6, convention="teacher_only")
  uniform = losses.label_smoothing(logits, jnp.zeros(N, int), alpha=1.0)
  np.testing.assert_allclose(got, uniform, rtol=1e-5)
  with jax.enable_x64():
    x, z = np.asarray(logits, np.float64), np.asarray(teacher_logits, np.float64)
    grad = jax.grad(
      lambda x: losses.distillation(x, z, temperature=1e4, convention="both_t_squared").sum()
    )(x)
  centred = (x - x.mean(1, keepdims=True)) - (z - z.mean(1, keepdims=True))
  np.testing.assert_allclose(grad, centred / L, atol=1e-3)  # Hinton et al., equation 4


def test_where_equals_subset(logits, teacher_logits):
  mask = jnp.array([True, False, True, True, False, True])
  kwargs = {"temperature": 2.0, "convention": "both_t_squared"}
  poisoned = [jnp.where(mask[:, None], x, jnp.nan) for x in (logits, teacher_logits)]
  value, grad = jax.value_and_grad(
    lambda x: losses.distillation(x, poisoned[1], where=mask, **kwargs).sum()
  )(poisoned[0])
  expected = losses.distillation(logits[mask], teacher_logits[mask], **kwargs).sum()
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  assert (grad[~mask] == 0).all()
  assert jnp.isfinite(grad).all()


def test_loss_errors(logits, teacher_logits):
  kwargs = {"temperature": 1.0, "convention": "teacher_only"}
  with pytest.raises(ValueError, match="temperature must be greater than 0, not 0"):
    losses.distillation(logits, teacher_logits, temperature=0, convention="teacher_only")
  with pytest.raises(ValueError, match="must be one of teacher_only, both, both_t_squared, not 's"):
    losses.distillation(logits, teacher_logits, temperature=1.0, convention="student_only")
  with pytest.raises(ValueError, match="differ"):
    losses.distillation(logits, teacher_logits[:, :3], **kwargs)
  with pytest.raises(TypeError, match="floating point"):
    losses.distillation(logits, teacher_logits.astype(int), **kwargs)


def digest(directory):
  """{file: (SHA-256, time of its last change)} of a directory."""
  return {
    str(p.relative_to(directory)): (
      hashlib.sha256(p.read_bytes()).hexdigest(),
      p.stat().st_mtime_ns,
    )
    for p in sorted(directory.rglob("*"))
    if p.is_file()
  }


def parameters(workdir):
  return loading.load_run(workdir)[2]


def same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def student_labels(workdir):
  with np.load(workdir / "noise.npz") as arrays:
    return {key: arrays[key] for key in arrays.files}


def test_two_stages(tmp_path, make_distillation):
  """The teacher is an ordinary run beside the student's and is trained once."""
  config = make_distillation()
  result, workdir = stages.teach_and_train(config, tmp_path / "student")
  assert workdir == tmp_path / "student"
  teacher_config = config_lib.teacher_run(config)
  own = tmp_path / config_lib.config_hash(teacher_config)
  assert files.read_json(own / "config.json")["config_hash"] == own.name
  alone = execution.train_and_evaluate(teacher_config, tmp_path / "alone")
  assert alone == files.read_json(own / "result.json")
  same(parameters(own), parameters(tmp_path / "alone"))
  (named,) = files.read_json(workdir / "config.json")["teachers"]
  assert named == {
    "workdir": str(own),
    "config_hash": own.name,
    "step": 6,
    "test_accuracy": alone["final"]["test"]["accuracy"],
  }
  assert result["teachers"] == [named]
  # The student's checkpoint has the tree of an ordinary run: no teacher in it.
  state = setup.prepare(config_lib.Config(data=config.data, model=config.model))
  checkpoints = checkpoints_lib.Checkpoints(workdir)
  checkpoints.restore(6, step.state_shapes(state.model, config, state.spec, state.sizes["train"]))
  checkpoints.close()

  before = digest(own)
  for changes in ({"student.temperature": 2.0}, {"loss.name": "label_smoothing"}):
    other = make_distillation(**changes)
    stages.teach_and_train(other, tmp_path / config_lib.config_hash(other))
  assert digest(own) == before
  elsewhere = make_distillation(**{"teacher.workdir": str(own)})
  _, third = stages.teach_and_train(elsewhere, tmp_path / "third")
  same(parameters(third), parameters(workdir))
  assert digest(own) == before
  # A finished student is told again even when its teacher is gone.
  for path in own.rglob("*.json"):
    path.unlink()
  assert stages.teach_and_train(config, workdir) == (result, workdir)


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_a_stop_in_either_stage_resumes_there(tmp_path, make_distillation, stage):
  config = make_distillation(**{"student.beta": 0.7})
  whole, _ = stages.teach_and_train(config, tmp_path / "whole/student")
  own = config_lib.config_hash(config_lib.teacher_run(config))
  parts = {"teacher": tmp_path / "parts" / own, "student": tmp_path / "parts/student"}

  def stop(at_step):
    in_student = (parts["teacher"] / "result.json").exists()
    if in_student == (stage == "student") and at_step >= 4:
      signal.raise_signal(signal.SIGTERM)

  with pytest.raises(loop.Stopped):
    stages.teach_and_train(config, parts["student"], on_call=stop)
  assert (parts["teacher"] / "result.json").exists() == (stage == "student")
  result, _ = stages.teach_and_train(config, parts["student"])
  (there,), (here,) = whole.pop("teachers"), result.pop("teachers")
  assert there.pop("workdir") != here.pop("workdir")
  assert whole.pop("sha256") != result.pop("sha256")  # it counts the directory of the teacher
  assert (result, here) == (whole, there)
  for name, path in parts.items():
    same(parameters(path), parameters(tmp_path / "whole" / (own if name == "teacher" else name)))


@pytest.mark.slow
def test_online_equals_cached_without_augmentation(tmp_path, make_distillation):
  def trained(**changes):
    config = make_distillation(**changes)
    _, workdir = stages.teach_and_train(config, tmp_path / config_lib.config_hash(config))
    return np.asarray(parameters(workdir)["params"]["head"]["kernel"])

  tolerance = {"rtol": 1e-3, "atol": 1e-5}
  online, cached = (trained(**{"teacher.targets": t}) for t in ("online", "cached"))
  np.testing.assert_allclose(online, cached, **tolerance)
  # With augmentation they differ: the teacher sees what the student sees, or does not.
  crop = {"data.crop_padding": 3}
  online, cached = (trained(**{"teacher.targets": t}, **crop) for t in ("online", "cached"))
  assert np.abs(online - cached).max() > 1e-2


def test_beta_0_is_bitwise_the_ordinary_run(tmp_path, make_distillation, make_config):
  config = make_distillation(**{"student.beta": 0.0, "loss.name": "forward_correction"})
  result, _ = stages.teach_and_train(config, tmp_path / "student")
  ordinary = make_config(**{"loss.name": "forward_correction", "seed.init": 1})
  alone = execution.train_and_evaluate(ordinary, tmp_path / "ordinary")
  same(parameters(tmp_path / "student"), parameters(tmp_path / "ordinary"))
  assert result["final"]["test"].items() >= alone["final"]["test"].items()
  assert 0 < result["final"]["test"]["teacher_agreement"] < 1


@pytest.mark.parametrize(
  ("beta", "convention", "factor"),
  [(0.3, "both_t_squared", 9), (1.0, "both_t_squared", 9), (0.3, "both", 1)],
)
def test_a_step_mixes_the_losses(tmp_path, make_distillation, beta, convention, factor):
  """The first logged loss is the mixture at the initial parameters, in float64."""
  config = make_distillation(
    **{
      "student.beta": beta,
      "student.temperature": 3.0,
      "student.convention": convention,
      "loss.name": "label_smoothing",
      "loss.alpha": 0.4,
      "optim.learning_rate": 0.0,
      "train.batch_size": 1437,
      "train.num_steps": 1,
      "train.log_every": 1,
    }
  )
  _, workdir = stages.teach_and_train(config, tmp_path / "student")
  row = files.read_rows(workdir / "metrics.jsonl")[0]
  run = setup.prepare(config)
  images, labels = run.splits["train"].images, run.splits["train"].labels
  _, student, variables = loading.load_run(workdir)
  _, teacher_model, teacher_variables = loading.load_run(
    tmp_path / config_lib.config_hash(config_lib.teacher_run(config))
  )
  x = np.asarray(student.apply(variables, images), np.float64)
  z = np.asarray(teacher_model.apply(teacher_variables, images), np.float64)
  smooth = 0.6 * np.eye(10)[labels] + 0.04
  label_loss = -(smooth * np.log(softmax64(x))).sum(1).mean()
  distilled = -factor * (softmax64(z / 3) * np.log(softmax64(x / 3))).sum(1).mean()
  assert row["loss"] == pytest.approx((1 - beta) * label_loss + beta * distilled, rel=1e-5)


def test_infinite_label_loss_of_weight_0_costs_nothing(tmp_path, make_distillation):
  np.save(tmp_path / "t.npy", np.eye(10)[[0] * 10])  # every label but 0 is impossible
  config = make_distillation(
    **{
      "loss.name": "forward_correction",
      "loss.transition": "file",
      "loss.transition_path": str(tmp_path / "t.npy"),
    }
  )
  result, _ = stages.teach_and_train(config, tmp_path / "student")
  assert result["status"] == "finished"


def test_noise_of_the_student(tmp_path, make_distillation):
  """The same draw, a fresh one, or none: as told by noise.npz and result.json."""
  labels = {}
  for noise, seed in (("teacher", 5), ("fresh", 5), ("none", 5)):
    config = make_distillation(**{"student.noise": noise, "seed.noise": seed})
    result, workdir = stages.teach_and_train(config, tmp_path / noise)
    labels[noise] = student_labels(workdir)["noisy_labels"]
    assert (result["noise"]["kind"] == "none") == (noise == "none")
  own = tmp_path / config_lib.config_hash(config_lib.teacher_run(config))
  teachers = student_labels(own)
  np.testing.assert_array_equal(labels["teacher"], teachers["noisy_labels"])
  np.testing.assert_array_equal(labels["none"], teachers["clean_labels"])
  assert 0.2 < (labels["fresh"] != labels["teacher"]).mean() < 0.4
  assert 0.1 < (labels["fresh"] != labels["none"]).mean() < 0.3


def test_frozen(tmp_path, make_distillation):
  """Training a student changes no parameter of the teacher, in memory or on disk."""
  config = make_distillation()
  own = tmp_path / "teacher"
  execution.train_and_evaluate(config_lib.teacher_run(config), own)
  before, one = digest(own), teachers_lib.load(own)
  copy = jax.tree.map(np.array, one.variables)
  execution.train_and_evaluate(config, tmp_path / "student", [one])
  same(one.variables, copy)
  assert digest(own) == before


def test_ensemble(tmp_path, make_distillation):
  """Mean of probabilities; one teacher named twice is that teacher."""
  paths = []
  for seed in (0, 7):
    config = make_distillation(**{"teacher.seed.init": seed})
    paths.append(str(tmp_path / str(seed)))
    execution.train_and_evaluate(config_lib.teacher_run(config), paths[-1])
  loaded = [teachers_lib.load(p) for p in paths]
  images = setup.prepare(config).splits["test"].images
  each = [softmax64(t.model.apply(t.variables, images)) for t in loaded]
  apply = training_teachers.ensemble(tuple(t.model for t in loaded))
  got = apply([t.variables for t in loaded], images)
  np.testing.assert_allclose(np.exp(got), np.mean(each, axis=0), rtol=1e-4, atol=1e-7)
  students = {}
  for name, which in (("one", paths[:1]), ("twice", paths[:1] * 2), ("both", paths)):
    config = make_distillation(**{"teacher.workdir": ",".join(which)})
    result, _ = stages.teach_and_train(config, tmp_path / name)
    assert [t["workdir"] for t in result["teachers"]] == which
    students[name] = np.asarray(parameters(tmp_path / name)["params"]["head"]["kernel"])
  np.testing.assert_allclose(students["one"], students["twice"], rtol=1e-4, atol=1e-6)
  assert np.abs(students["one"] - students["both"]).max() > 1e-3


@pytest.mark.slow
def test_one_device_equals_four(tmp_path, make_distillation):
  results = []
  for devices in (1, 4):
    config = make_distillation(
      **{"train.num_devices": devices, "train.eval_batch_size": 100, "data.crop_padding": 1}
    )
    result, workdir = stages.teach_and_train(config, tmp_path / str(devices))
    results.append((parameters(workdir), result["final"]["test"]["teacher_kl"]))
  (one, kl), (four, kl_four) = results
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), one, four)
  assert kl == pytest.approx(kl_four, rel=1e-3)


def test_imitation_against_numpy():
  rng = np.random.default_rng(0)
  x, z = rng.normal(size=(2, 300, 4)).astype(np.float32) * 2
  true = rng.integers(0, 4, 300)
  noisy = np.where(rng.random(300) < 0.5, (true + 1) % 4, true)
  where = np.arange(300) < 250
  sums = metrics.batch_sums(x, noisy, true, where)
  sums |= metrics.imitation_sums(x, z, noisy, true, where)
  got = metrics.imitation(jax.tree.map(np.asarray, sums))
  x, z, true, noisy = (a[where] for a in (x, z, true, noisy))
  p, q, student, said = softmax64(z), softmax64(x), x.argmax(1), z.argmax(1)
  wrong = noisy != true
  right, other = wrong & (said == true), wrong & (said != true)
  assert got == pytest.approx(
    {
      "teacher_agreement": (student == said).mean(),
      "teacher_kl": (p * np.log(p / q)).sum(1).mean(),
      "mislabelled_teacher_accuracy": right.sum() / wrong.sum(),
      "mislabelled_teacher_memorisation": (said == noisy)[wrong].mean(),
      "mislabelled_accuracy_teacher_right": (student == true)[right].mean(),
      "mislabelled_accuracy_teacher_wrong": (student == true)[other].mean(),
      "mislabelled_agreement_teacher_right": (student == said)[right].mean(),
      "mislabelled_agreement_teacher_wrong": (student == said)[other].mean(),
    },
    rel=1e-5,
  )


def test_predict_is_the_model(make_config):
  run = setup.prepare(make_config())
  images = run.splits["train"].images
  variables = run.model.init(jax.random.key(0), images[:1])
  expected = run.model.apply(variables, images)
  split = run.splits["train"]
  for batch_size, devices in ((64, 1), (1000, 4)):
    layout = devices_lib.Layout(tuple(devices_lib.choose(devices)), shared=True)
    predict = programs.make_predict(run.model.apply, layout, batch_size=batch_size)
    placed = layout.place([variables]), layout.place([split.examples])
    (got,) = predict(layout.replicate(split.source), *placed)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


class TestRefusals:
  """One line each, before anything of the student is written."""

  def refused(self, config, tmp_path, message, error=config_lib.ConfigError):
    with pytest.raises(error, match=message) as caught:
      stages.teach_and_train(config, tmp_path / "student")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "student").exists()

  @pytest.fixture
  def own(self, tmp_path, make_distillation):
    config = config_lib.teacher_run(make_distillation())
    execution.train_and_evaluate(config, tmp_path / "teacher")
    return tmp_path / "teacher"

  def test_missing(self, tmp_path, make_distillation):
    config = make_distillation(**{"teacher.workdir": str(tmp_path / "absent")})
    self.refused(config, tmp_path, "there is no run")

  def test_unfinished(self, tmp_path, make_distillation, own):
    (own / "result.json").unlink()
    self.refused(make_distillation(**{"teacher.workdir": str(own)}), tmp_path, "is not finished")

  def test_diverged(self, tmp_path, make_distillation, own):
    result = files.read_json(own / "result.json")
    del result["sha256"]
    files.write_json(own / "result.json", digests.sealed(result | {"status": "diverged"}))
    self.refused(make_distillation(**{"teacher.workdir": str(own)}), tmp_path, "status diverged")

  def test_unreadable_checkpoint(self, tmp_path, make_distillation, own):
    for path in (own / "checkpoints/6").rglob("*"):
      if path.is_file() and path.stat().st_size > 100:
        path.write_bytes(path.read_bytes()[:50])
    config = make_distillation(**{"teacher.workdir": str(own)})
    self.refused(config, tmp_path, "cannot be read", checkpoints_lib.CheckpointError)

  def test_accuracy_differs(self, tmp_path, make_distillation, own):
    result = json.loads((own / "result.json").read_text())
    said = result["final"]["test"]["accuracy"]
    del result["sha256"]
    result["final"]["test"]["accuracy"] = said + 1 / 360
    files.write_json(own / "result.json", digests.sealed(result))
    config = make_distillation(**{"teacher.workdir": str(own)})
    self.refused(config, tmp_path, rf"{said:.6f} .* says {said + 1 / 360:.6f}")

  @pytest.mark.parametrize(
    ("key", "value", "message"),
    [
      ("num_classes", 7, "was trained with classes 7; the student has 10"),
      ("shape", (8, 8, 3), r"was trained with image shape \(8, 8, 3\)"),
    ],
  )
  def test_another_shape(self, tmp_path, make_distillation, own, monkeypatch, key, value, message):
    load = teachers_lib.load

    def other(path):
      one = load(path)
      return dataclasses.replace(one, spec=dataclasses.replace(one.spec, **{key: value}))

    monkeypatch.setattr(teachers_lib, "load", other)
    self.refused(make_distillation(**{"teacher.workdir": str(own)}), tmp_path, message)

  def test_another_data_set(self, tmp_path, make_distillation, own):
    config = make_distillation(**{"teacher.workdir": str(own), "data.name": "gaussians"})
    self.refused(config, tmp_path, "was trained with classes 10; the student has 2")

  @pytest.mark.parametrize(
    ("changes", "message"),
    [
      ({"noise.rate": 0.4}, r"config.noise.rate = 0.4: must be 0.2, as for the teacher"),
      ({"data.validation_examples": 9}, "config.data.validation_examples = 9: must be 0"),
      ({"student.noise": "fresh"}, "config.seed.noise = 0: must differ"),
    ],
  )
  def test_other_labels_or_images(self, tmp_path, make_distillation, own, changes, message):
    config = make_distillation(**{"teacher.workdir": str(own)}, **changes)
    self.refused(config, tmp_path, message)

  def test_another_teacher_than_at_the_start(self, tmp_path, make_distillation, own, monkeypatch):
    config = make_distillation(**{"teacher.workdir": str(own)})
    stages.teach_and_train(config, tmp_path / "student")
    (tmp_path / "student/result.json").unlink()
    load = teachers_lib.load
    monkeypatch.setattr(teachers_lib, "load", lambda p: dataclasses.replace(load(p), step=3))
    with pytest.raises(directory_lib.WorkdirError, match=r"another teacher .*: step 6 then, 3 now"):
      stages.teach_and_train(config, tmp_path / "student")

  @pytest.mark.parametrize(
    ("changes", "message"),
    [
      ({"student.temperature": 0.0}, r"config.student.temperature = 0.0: must be in \(0, inf\)"),
      ({"student.temperature": -1.0}, "config.student.temperature"),
      ({"student.beta": 1.1}, r"config.student.beta = 1.1: must be in \[0, 1\]"),
      ({"student.convention": "none"}, "must be one of teacher_only, both, both_t_squared"),
      ({"teacher.targets": "offline"}, "must be one of online, cached"),
      ({"teacher.loss.alpha": 2.0}, "config.teacher.loss.alpha = 2.0"),
      (
        {"teacher.loss.name": "backward_correction", "teacher.loss.alpha": 1.0},
        "config.teacher.loss.alpha = 1.0: backward",
      ),
      ({"noise.kind": "none", "student.noise": "fresh"}, "config.student.noise = 'fresh'"),
      (
        {
          "student.noise": "none",
          "loss.name": "forward_correction",
          "loss.transition": "noise",
        },
        "config.loss.transition = 'noise': needs label noise, but student.noise=none",
      ),
      ({"data.validation_examples": 5, "seed.data": 1}, "config.seed.data = 1: must be 0"),
      ({"seed.data": 1}, "config.seed.data = 1: must be 0, as for the teacher: it chooses the ex"),
    ],
  )
  def test_bad_fields(self, make_distillation, changes, message):
    with pytest.raises(config_lib.ConfigError, match=message):
      make_distillation(**changes)

  def test_sections_come_together(self):
    for absent, present in (("teacher", "student"), ("student", "teacher")):
      with pytest.raises(config_lib.ConfigError, match=f"config.{absent}: is missing"):
        config_lib.from_config_dict({present: {}})

  def test_teachers_fields_keep_their_name(self, tmp_path, make_distillation):
    """Found only when the teacher is prepared; the student's mistakes come before."""
    config = make_distillation(**{"teacher.train.batch_size": 2000})
    self.refused(config, tmp_path, "config.teacher.train.batch_size = 2000")
    config = make_distillation(**{"train.batch_size": 2000})
    self.refused(config, tmp_path, "^config.train.batch_size = 2000")
    assert not list(tmp_path.iterdir())

  def test_overrides_that_do_nothing(self, make_distillation):
    config = make_distillation(**{"teacher.workdir": "runs/a", "teacher.loss.alpha": 0.3})
    assert config.teacher.loss == config_lib.Loss()
    with pytest.raises(config_lib.ConfigError, match=r"config.teacher.loss.alpha: does nothing"):
      config_lib.check_overrides(config, ["train.num_steps", "teacher.loss.alpha"])
    config_lib.check_overrides(config, ["teacher.workdir", "teacher.targets", "loss.alpha"])


def test_a_teacher_that_diverges_has_no_student(tmp_path, make_distillation):
  config = make_distillation(
    **{
      "teacher.loss.name": "backward_correction",
      "teacher.loss.alpha": 0.9,
      "teacher.optim.learning_rate": 1e9,
    }
  )
  result, workdir = stages.teach_and_train(config, tmp_path / "student")
  assert result["status"] == "diverged"
  assert workdir.name == config_lib.config_hash(config_lib.teacher_run(config))
  assert not (tmp_path / "student").exists()
