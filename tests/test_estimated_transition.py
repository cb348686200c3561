"""Two stages: a first run's predictions tell the matrix that the second run corrects by."""

import dataclasses

import numpy as np
import pytest

from lsjax import config as config_lib
from lsjax import estimate, methods
from lsjax.distillation import stages
from lsjax.distillation import teachers as teachers_lib
from lsjax.runs import loading
from lsjax.training import setup


@pytest.fixture
def make_stages(make_distillation):
  """make_stages(**{"section.field": value}): a small, quick first run and a corrected one."""
  changes = {
    "loss.name": "forward_correction",
    "loss.transition": "estimated",
    "student.beta": 0.0,
    "teacher.loss.name": "cross_entropy",
    "teacher.train.num_steps": 60,
    "teacher.optim.learning_rate": 0.05,
    "noise.rate": 0.4,
  }
  return lambda **other: make_distillation(**(changes | other))


@pytest.mark.parametrize("estimator", ["dual_t", "anchor"])
def test_matrix_is_that_of_the_first_run(tmp_path, make_stages, estimator):
  config = make_stages(**{"loss.estimator": estimator})
  _, workdir = stages.teach_and_train(config, tmp_path / "run")
  (first,) = stages.teacher_workdirs(config, workdir)
  _, model, variables = loading.load_run(first)
  split = setup.prepare(config).splits["train"]
  logits = np.asarray(model.apply(variables, split.images), np.float64)
  q = np.exp(logits - logits.max(1, keepdims=True))
  q /= q.sum(1, keepdims=True)
  expected = {
    "anchor": lambda: estimate.anchor(q),
    "dual_t": lambda: estimate.dual_t(q, split.labels),
  }
  with np.load(workdir / "diagnostics.npz") as saved:
    np.testing.assert_allclose(saved["transition"], expected[estimator](), atol=1e-4)
  truth = setup.prepare(config).noisy_labels.transition
  error = np.abs(expected[estimator]() - truth).mean()
  assert error < np.abs(np.eye(10) - truth).mean()


def test_second_run_is_corrected_by_the_matrix(tmp_path, make_stages):
  """It ends as a run that reads the same matrix from a file."""
  config = make_stages()
  result, workdir = stages.teach_and_train(config, tmp_path / "run")
  (first,) = stages.teacher_workdirs(config, workdir)
  run = setup.prepare(config, [teachers_lib.load(first)])
  np.save(tmp_path / "t.npy", run.hparams.arrays["columns"].T.astype(np.float64))
  loss = dataclasses.replace(
    config.loss, transition="file", transition_path=str(tmp_path / "t.npy")
  )
  of_file = dataclasses.replace(config, loss=loss)
  again, _ = stages.teach_and_train(of_file, tmp_path / "file")
  nll = result["final"]["test"]["nll"]
  assert again["final"]["test"]["nll"] == pytest.approx(nll, rel=1e-4)
  plain = dataclasses.replace(config, loss=config_lib.Loss())
  other, _ = stages.teach_and_train(plain, tmp_path / "plain")
  assert other["final"]["test"]["nll"] != pytest.approx(nll, rel=1e-3)


def test_resumes_in_the_second_stage(tmp_path, make_stages):
  config = make_stages()
  whole, workdir = stages.teach_and_train(config, tmp_path / "whole/run")

  class Cut(Exception):
    pass

  calls = []

  def stop_in_second(at_step):
    calls.append(at_step)
    if 60 in calls and at_step == 4:  # after the second run's first checkpoint
      raise Cut

  with pytest.raises(Cut):
    stages.teach_and_train(config, tmp_path / "cut/run", on_call=stop_in_second)
  again, cut = stages.teach_and_train(config, tmp_path / "cut/run")
  assert again["final"] == whole["final"]
  for file in ("metrics.jsonl", "diagnostics.npz"):
    assert (workdir / file).read_bytes() == (cut / file).read_bytes()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"noise.kind": "none", "noise.rate": 0.0}, "loss.transition = 'estimated': needs label noise"),
    ({"loss.estimator": "best"}, "loss.estimator = 'best': must be one of dual_t, anchor"),
  ],
)
def test_refusals(make_stages, changes, message):
  with pytest.raises(config_lib.ConfigError, match=message):
    make_stages(**changes)


def test_needs_a_first_run(make_config):
  with pytest.raises(config_lib.ConfigError, match=r"loss.transition = 'estimated': needs a first"):
    make_config(**{"loss.name": "forward_correction", "loss.transition": "estimated"})


def test_label(make_stages):
  loss = config_lib.to_dict(make_stages())["loss"]
  assert methods.label(loss) == "FC, T by dual T"
  assert methods.label(loss | {"estimator": "anchor"}) == "FC, T by anchor points"
