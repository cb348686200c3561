"""Cross-validation: folds, runs that hold one out, and predictions put together."""

import dataclasses

import numpy as np
import pytest

from lsjax import config as config_lib
from lsjax import files
from lsjax.data import sampling
from lsjax.runs import execution, folds, loading, reading
from lsjax.sweeps import execution as sweep_execution
from lsjax.sweeps import plan
from lsjax.training import setup


@pytest.mark.parametrize(("count", "num_folds"), [(10, 5), (11, 5), (1437, 5), (7, 7), (12, 7)])
def test_every_example_is_in_a_fold_and_all_have_one_size(count, num_folds):
  masks = np.array([sampling.in_fold(3, count, num_folds, k) for k in range(num_folds)])
  assert set(masks.sum(axis=1)) == {-(-count // num_folds)}
  times = masks.sum(axis=0)
  assert times.min() == 1
  assert (times > 1).sum() == num_folds * -(-count // num_folds) - count < num_folds
  other = sampling.in_fold(4, count, num_folds, 0)
  if count > 20:
    assert (np.asarray(other) != masks[0]).any()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A sweep of two folds, trained packed: its directory and the runs. One example is in both."""
  from conftest import small

  base = small(**{"data.folds": 2, "train.num_steps": 60, "optim.learning_rate": 0.05})
  cells = [{"name": f"fold {k}", "changes": {"data.fold": k}} for k in range(2)]
  config = config_lib.default_config()
  config = {"label": "digits", "base": base, "seeds": 1, "cells": cells}
  import ml_collections

  planned = plan.plan(ml_collections.ConfigDict(config))
  path = tmp_path_factory.mktemp("folds")
  sweep_execution.run_sweep(planned, path, "digits", (0, 1))
  return path, plan.runs_of(planned, path)


def test_folds_share_a_program_and_equal_single_runs(trained, tmp_path):
  _, runs = trained
  assert len({plan.pack_key(run.config) for run in runs}) == 1
  single = execution.train_and_evaluate(runs[1].config, tmp_path)
  packed = files.read_json(runs[1].workdir / "result.json")
  for split in ("validation", "test"):
    assert single["final"][split]["nll"] == pytest.approx(packed["final"][split]["nll"], rel=1e-4)


def test_predictions_are_of_networks_that_did_not_see_the_example(trained):
  _, runs = trained
  found = folds.out_of_fold([run.workdir for run in reversed(runs)])
  assert found.logits.shape == (1437, 10)
  assert np.isfinite(found.logits).all()
  accuracy = (found.logits.argmax(1) == found.true_labels).mean()
  assert 0.5 < accuracy <= 1
  seen = np.zeros(1437, bool)
  for run in runs:
    prepared = setup.prepare(run.config)
    held_out = prepared.splits["validation"].examples
    assert not set(held_out) & set(prepared.splits["train"].examples)
    _, model, variables = loading.load_run(run.workdir)
    own = held_out[~seen[held_out]]  # an example in two folds has the earlier prediction
    expected = model.apply(variables, prepared.splits["train"].source[own])
    np.testing.assert_allclose(found.logits[own], expected, rtol=1e-4, atol=1e-4)
    seen[held_out] = True
  assert seen.all()
  np.testing.assert_array_equal(found.labels, prepared.noisy_labels.labels)


def test_runs_that_do_not_belong_together(trained, tmp_path):
  _, runs = trained
  workdirs = [run.workdir for run in runs]
  with pytest.raises(reading.WorkdirError, match=r"each of the 2 folds is needed, not "):
    folds.out_of_fold(workdirs[:1])
  other = dataclasses.replace(runs[1].config, loss=config_lib.Loss(name="label_smoothing"))
  execution.train_and_evaluate(other, tmp_path)
  with pytest.raises(reading.WorkdirError, match=r"differ in more than data\.fold"):
    folds.out_of_fold([workdirs[0], tmp_path])


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"data.folds": 1}, "data.folds = 1: must be 0 or at least 2"),
    ({"data.folds": 3, "data.fold": 3}, "data.fold = 3: must be at most 2 for data.folds=3"),
    ({"data.fold": 1}, "data.fold = 1: must be at most 0"),
    (
      {"data.folds": 3, "data.validation_examples": 5},
      "validation_examples = 5: must be 0 with",
    ),
  ],
)
def test_refusals(make_config, changes, message):
  with pytest.raises(config_lib.ConfigError, match=message):
    make_config(**changes)
