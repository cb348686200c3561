"""The whole advice on small data: what it says, resuming, and the runs that it stops early."""

import csv
import dataclasses
import json

import numpy as np
import pytest

import lsjax
from lsjax import noise, transition
from lsjax.advice import Advice, candidates, checklist, pipeline, ranking, sizes, stages
from lsjax.advice.problem import UNKNOWN, Problem
from lsjax.runs import reading

COUNT, CLASSES, RATE = 360, 3, 0.2


def blobs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Draws points of three classes that hardly overlap."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(CLASSES, size=count)
  centres = np.array([[0, 2], [2, -1], [-2, -1]])
  points = centres[labels] + 0.6 * rng.normal(size=(count, 2))
  return points.astype(np.float32), labels.astype(np.int32)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
  return blobs(COUNT, 0)[1]


@pytest.fixture(scope="module")
def problem(truth: np.ndarray) -> Problem:
  points, _ = blobs(COUNT, 0)
  given = noise.corrupt(truth, transition.symmetric(CLASSES, RATE), seed=1).labels
  test_points, test_labels = blobs(200, 1)
  return Problem(
    name="blobs",
    inputs=points,
    labels=given,
    ids=np.arange(COUNT),
    classes=("a", "b", "c"),
    true_labels=np.full(COUNT, UNKNOWN, np.int32),
    chances=np.full(COUNT, np.nan),
    test_inputs=test_points,
    test_labels=test_labels,
  )


@pytest.fixture(scope="module", autouse=True)
def small():
  """Makes all advices of this module small: four methods, one seed, two folds, 120 steps."""
  patch = pytest.MonkeyPatch()
  whole = sizes.of

  def few(problem: Problem) -> sizes.Sizes:
    return dataclasses.replace(
      whole(problem), methods=("CE", "LS 0.4", "FC", "VolMinNet"), seeds=1, folds=2, num_steps=120
    )

  patch.setattr(sizes, "of", few)
  yield
  patch.undo()


@pytest.fixture(scope="module")
def directory(problem, tmp_path_factory):
  where = tmp_path_factory.mktemp("advice") / "blobs"
  pipeline.run(problem, where)
  return where


def test_the_answer_is_right_on_separable_classes(directory, problem, truth):
  advice = Advice(directory)
  wrong = float(np.mean(problem.labels != truth))
  assert advice.noise_rate.low <= wrong <= advice.noise_rate.high
  assert abs(advice.noise_rate.estimate - wrong) < 0.05
  accuracy = advice.expected_accuracy
  measured = advice.recommended["test_accuracy"]["estimate"]
  assert measured > 0.95
  assert accuracy is not None
  assert accuracy.low - 0.03 <= measured <= accuracy.high + 0.03
  (learned,) = [e for e in advice.content["estimates"] if e["estimator"] == "VolMinNet"]
  np.testing.assert_allclose(np.sum(learned["matrix"], axis=1), 1, atol=1e-5)
  assert 0 < learned["noise_rate"] < 0.6
  first = [int(row["id"]) for row in advice.suspects[:40]]
  assert np.mean(problem.labels[first] != truth[first]) > 0.9
  areas = {int(row["id"]): float(row["area_under_margin"]) for row in advice.suspects}
  is_wrong = problem.labels != truth
  areas = np.array([areas[n] for n in range(len(truth))])
  assert np.mean(areas[is_wrong]) < 0 < np.mean(areas[~is_wrong])
  assert advice.content["twin"]["draws"] == 3


def test_predictions_are_those_of_the_recommended_model(directory):
  advice = Advice(directory)
  points, labels = blobs(200, 1)
  predicted = advice.predict(points)
  names = np.array(["a", "b", "c"])[labels]
  assert np.mean(predicted == names) == pytest.approx(
    advice.recommended["test_accuracy"]["estimate"], abs=1e-6
  )
  np.testing.assert_allclose(advice.predict_proba(points).sum(axis=1), 1, rtol=1e-5)


def test_a_second_call_trains_nothing_and_says_the_same(directory, problem, monkeypatch):
  before = json.loads((directory / "advice.json").read_text())
  results = {p: p.stat().st_mtime_ns for p in directory.glob("runs/*/result.json")}

  def refuse(*args, **kwargs):
    raise AssertionError("nothing is left to train")

  monkeypatch.setattr("lsjax.sweeps.execution.Runner.train", refuse)
  after = pipeline.run(problem, directory)
  assert results == {p: p.stat().st_mtime_ns for p in directory.glob("runs/*/result.json")}
  assert {**before, "seconds": 0} == {**json.loads(json.dumps(after)), "seconds": 0}


def test_an_interrupted_advice_goes_on(directory, problem, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(stages, "noisy_logits", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
      pipeline.run(problem, tmp_path / "blobs")
  again = pipeline.run(problem, tmp_path / "blobs")
  once = json.loads((directory / "advice.json").read_text())
  for name in ("noise_rate", "transition", "expected_accuracy", "curves", "suspects"):
    assert json.loads(json.dumps(again[name])) == once[name], name


def test_checked_labels_are_taken_in_without_training_again(problem, truth, tmp_path):
  where = tmp_path / "blobs"
  pipeline.run(problem, where)
  before = {p.parent.name for p in where.glob("runs/*/result.json")}
  with (where / "check_these.csv").open(newline="") as f:
    rows = list(csv.DictReader(f))
  for row in rows:
    row["true"] = problem.classes[truth[int(row["id"])]]
  with (tmp_path / "filled.csv").open("w", newline="") as f:
    writer = csv.DictWriter(f, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
  pipeline.run(checklist.apply(problem, tmp_path / "filled.csv"), where)
  advice = Advice(where)
  assert advice.content["data"]["checked"] == len(rows) == 100
  wrong = float(np.mean(problem.labels != truth))
  assert advice.noise_rate.low <= wrong <= advice.noise_rate.high
  # Forward correction has another matrix, and the final model other labels: no other run is new.
  new = {p.parent.name for p in where.glob("runs/*/result.json")} - before
  names = [reading.config_json(where / "runs" / name)["config"] for name in new]
  assert all(
    config["loss"]["name"] == "forward_correction" or config["noise"]["labels"] == "final"
    for config in names
  )
  checked = {int(row["id"]) for row in rows}
  for row in advice.suspects:
    if (n := int(row["id"])) in checked:
      assert row["proposed"] == problem.classes[truth[n]]
      assert float(row["probability_wrong"]) == (problem.labels[n] != truth[n])
  with np.load(where / "final.npz") as saved:
    known = saved["true_labels"] != UNKNOWN
    assert known.sum() == 100
    np.testing.assert_array_equal(saved["final"][known], truth[known])


def test_a_directory_keeps_its_examples(directory, problem):
  other = dataclasses.replace(problem, labels=(problem.labels + 1) % CLASSES)
  with pytest.raises(lsjax.config.UserError, match="other examples or labels"):
    pipeline.run(other, directory)


def test_a_run_that_is_stopped_early_is_the_longer_one_at_that_step(directory):
  trainer = pipeline.resumed(directory)
  (method,) = stages.train(trainer, ["LS 0.4"], {})
  stop = sorted(method.curve)[3]
  at_stop = {step: value for step, value in method.curve.items() if step <= stop}
  early = stages.stopped(
    trainer, [dataclasses.replace(method, curve=at_stop | {stop: 2.0, 120: 0})]
  )
  results = [reading.result_json(trainer.workdir(c)) for cs in early["LS 0.4"] for c in cs]
  found = np.mean([result["final"]["validation"]["accuracy"] for result in results])
  assert found == pytest.approx(method.curve[stop], abs=1e-12)


@pytest.mark.parametrize(("name", "step"), [("Small loss", 10), ("Small loss", 60)])
def test_a_schedule_stops_with_its_run(name, step):
  changes = candidates.BY_NAME[name].until(step, 1000)
  if step < 50:
    assert changes is None
  else:
    assert changes == {"loss.small_loss.full": pytest.approx(0.05 * 1000 / 60)}


def entry(name: str, correct: np.ndarray, labels: np.ndarray, **kwargs) -> ranking.Entry:
  """Makes an entry whose predictions are the labels where `correct`, else the next class."""
  predictions = np.where(correct, labels, (labels + 1) % CLASSES)
  logits = 8 * np.eye(CLASSES, dtype=np.float32)[predictions][None]
  accuracy = float(np.mean(correct))
  return ranking.Entry(name, {}, "end", 10, accuracy, logits=logits, **kwargs)


def noise_of(labels: np.ndarray, matrix: np.ndarray) -> ranking.Noise:
  posterior = np.eye(CLASSES)[labels]
  return ranking.Noise(labels, matrix, np.repeat(matrix[None], 10, axis=0), posterior)


def test_without_noise_the_clean_accuracy_is_the_noisy_one():
  labels = np.random.default_rng(0).integers(CLASSES, size=1000)
  correct = np.arange(1000) % 10 > 0
  (one,) = ranking.judge([entry("CE", correct, labels)], noise_of(labels, np.eye(CLASSES)), seed=0)
  assert one.accuracy is not None
  assert one.accuracy.estimate == pytest.approx(0.9)
  assert 0.87 < one.accuracy.low < 0.89 < 0.91 < one.accuracy.high < 0.93


def test_methods_that_cannot_be_told_apart_are_tied():
  rng = np.random.default_rng(0)
  labels = rng.integers(CLASSES, size=1000)
  best = rng.uniform(size=1000) < 0.9
  near, far = best.copy(), best.copy()
  near[:3], far[:200] = False, False
  diverged = ranking.Entry("BC", {}, "end", 10, 0.0, diverged=2)
  found = ranking.judge(
    [
      diverged,
      entry("far", far, labels),
      entry("near", near, labels),
      entry("best", best, labels),
    ],
    noise_of(labels, np.eye(CLASSES)),
    seed=0,
  )
  assert [one.entry.name for one in found] == ["best", "near", "far", "BC"]
  assert [one.is_tied for one in found] == [True, True, False, False]
  assert found[-1].accuracy is None
  assert "not finite" in found[-1].refused


def test_an_accuracy_through_a_nearly_singular_matrix_is_refused():
  labels = np.random.default_rng(0).integers(CLASSES, size=1000)
  matrix = transition.symmetric(CLASSES, 2 / 3 - 1e-4)
  (one,) = ranking.judge(
    [entry("CE", np.ones(1000, bool), labels)], noise_of(labels, matrix), seed=0
  )
  assert one.accuracy is None
  assert "condition number" in one.refused


def test_sizes_follow_the_data(problem):
  whole = sizes.Sizes("mlp", 64, 0.02, 32, 480, 5, 3, tuple(candidates.BY_NAME))
  assert sizes.within(whole, 10, lambda s: 1.0) == whole
  less = sizes.within(whole, 10, lambda s: s.num_runs * s.num_steps / 1000)
  assert less.seeds == 1
  assert less.methods == candidates.CORE
  assert less.num_runs * less.num_steps / 1000 <= 10
  assert len(less.left_out) >= 2
