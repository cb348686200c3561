"""Noise that depends on the image: its chances, its draws, and runs that train on it."""

import math
import signal
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn import datasets

from lsjax import config as config_lib
from lsjax import noise
from lsjax.distillation import stages
from lsjax.noise import instance
from lsjax.reports import cell as cell_lib
from lsjax.runs import execution, reading
from lsjax.training import loop, matrices, setup

N = 20_000
PINNED = [6, 5, 7, 8, 7, 6, 9, 6, 2, 1, 0, 0]


def example_inputs(count, size=24, seed=0):
  random = np.random.RandomState(seed)
  return random.randint(0, 256, (count, size // 2, 2)).astype(np.uint8), random


def drawn(inputs, labels, num_classes=10, **changes):
  kwargs = {"rate": 0.3, "seed": 5, "mean": 127.5, "std": 74.0} | changes
  return noise.corrupt_by_instance(inputs, labels, num_classes, **kwargs)


def rows_of(inputs, labels, num_classes=10, **changes):
  kwargs = {"rate": 0.3, "seed": 5, "mean": 127.5, "std": 74.0} | changes
  return noise.instance_transition(inputs, labels, num_classes, **kwargs)


def reference(inputs, labels, num_classes, rate, seed, ids, mean, std):
  """One example after the other, in plain Python and with SciPy's own distribution."""
  reach = min(rate, 1 - rate)
  rows, noisy = [], []
  for x, y, i in zip(inputs, labels.tolist(), ids, strict=True):
    features = ((x.astype(float) - mean) / std).ravel().tolist()
    weights = np.random.RandomState([seed % 2**32, seed // 2**32, y])
    weights = weights.normal(size=(len(features), num_classes)).tolist()
    (u,) = noise.uniform([i], seed=seed, stream="rate")
    q = rate
    if reach:
      q = stats.truncnorm(-reach / 0.1, reach / 0.1, loc=rate, scale=0.1).ppf(u)
    exponentials = [
      0.0 if j == y else math.exp(math.fsum(f * w[j] for f, w in zip(features, weights)) / norm)
      for norm in [math.sqrt(len(features))]
      for j in range(num_classes)
    ]
    row = [q * e / sum(exponentials) for e in exponentials]
    row[y] = 1 - q
    rows.append(row)
    (u,) = noise.uniform([i], seed=seed)
    total, label = row[0], 0
    while total <= u:
      label += 1
      total += row[label]
    noisy.append(label)
  return np.array(rows), np.array(noisy)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("seed", [0, 2**40 + 3])
def test_against_a_loop_over_examples(rate, seed):
  inputs, random = example_inputs(150)
  labels, ids = random.randint(0, 4, 150), [f"train_{i}" for i in range(150)]
  mean, std = np.array([100.0, 140.0]), np.array([70.0, 80.0])
  expected, labels_expected = reference(inputs, labels, 4, rate, seed, ids, mean, std)
  kwargs = {"rate": rate, "seed": seed, "ids": ids, "mean": mean, "std": std}
  np.testing.assert_allclose(rows_of(inputs, labels, 4, **kwargs), expected, rtol=1e-9, atol=1e-15)
  noisy = drawn(inputs, labels, 4, **kwargs)
  np.testing.assert_array_equal(noisy.labels, labels_expected)
  np.testing.assert_allclose(noisy.flip_chances, 1 - expected[np.arange(150), labels], atol=1e-12)


def test_limits():
  inputs, random = example_inputs(500)
  labels = random.randint(0, 10, 500)
  none = drawn(inputs, labels, rate=0.0)
  np.testing.assert_array_equal(none.labels, labels)
  np.testing.assert_array_equal(none.transition, np.eye(10))
  np.testing.assert_array_equal(rows_of(inputs, labels, rate=0.0), np.eye(10)[labels])
  tiny = rows_of(inputs, labels, rate=1e-9)
  np.testing.assert_allclose(tiny, np.eye(10)[labels], atol=2e-9)
  every = drawn(inputs, labels, rate=1.0)
  assert every.changed.all()
  np.testing.assert_array_equal(every.flip_chances, 1)
  # Of two classes the other one is the only target.
  two = drawn(inputs, labels % 2, 2, rate=1.0)
  np.testing.assert_array_equal(two.labels, 1 - labels % 2)
  # An image that is the mean projects to 0: all other classes are alike.
  flat = rows_of(np.full((5, 24), 127.5), np.arange(5))
  chances = 1 - flat[np.arange(5), np.arange(5)]
  expected = np.repeat(chances[:, None] / 9, 10, axis=1)
  expected[np.arange(5), np.arange(5)] = 1 - chances
  np.testing.assert_allclose(flat, expected, rtol=1e-12)


def test_no_label_of_chance_zero_is_drawn(monkeypatch):
  """Not even where the random number is 0, the smallest one."""
  inputs, _ = example_inputs(4)
  monkeypatch.setattr(instance, "uniform", lambda ids, **kwargs: np.zeros(len(ids)))
  assert drawn(inputs, [3, 0, 9, 5], rate=0.0).labels.tolist() == [3, 0, 9, 5]
  assert drawn(inputs, [3, 0, 0, 5], rate=1.0).labels.tolist() == [0, 1, 1, 0]


def test_units_of_the_inputs_do_not_matter():
  inputs, random = example_inputs(300)
  labels = random.randint(0, 10, 300)
  expected = rows_of(inputs, labels)
  np.testing.assert_allclose(
    rows_of(inputs / 255, labels, mean=0.5, std=74 / 255), expected, rtol=1e-9
  )
  standardised = (inputs - 127.5) / 74
  np.testing.assert_allclose(rows_of(standardised, labels, mean=0, std=1), expected, rtol=1e-12)
  np.testing.assert_allclose(rows_of(inputs.reshape(300, 24), labels), expected, rtol=1e-12)


def test_pinned_draws():
  # A published result names its seed.
  inputs = np.arange(12 * 6).reshape(12, 6) % 11
  got = drawn(inputs, np.full(12, 8), rate=0.9, seed=7, mean=5.0, std=3.0).labels
  assert got.tolist() == PINNED


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_the_rate_is_the_share_of_wrong_labels(rate):
  inputs, random = example_inputs(N, size=8)
  labels = random.randint(0, 10, N)
  noisy = drawn(inputs, labels, rate=rate)
  # The chances have the mean `rate`, so that a label is wrong with that chance.
  assert abs(noisy.realised_rate - rate) < 5 * math.sqrt(rate * (1 - rate) / N)
  chances, reach = noisy.flip_chances, min(rate, 1 - rate)
  law = stats.truncnorm(-reach / 0.1, reach / 0.1, loc=rate, scale=0.1)
  assert law.mean() == pytest.approx(rate)
  assert stats.kstest(chances, law.cdf).pvalue > 1e-6
  assert abs(chances.mean() - rate) < 5 * law.std() / math.sqrt(N)
  # Labels are wrong as often as their chances say, in each quarter of the chances.
  for part in np.array_split(np.argsort(chances), 4):
    p = chances[part]
    assert abs((noisy.changed[part] - p).sum()) < 5 * math.sqrt((p * (1 - p)).sum())


def test_labels_follow_their_chances():
  inputs, random = example_inputs(N, size=8)
  labels = random.randint(0, 4, N)
  rows, noisy = rows_of(inputs, labels, 4), drawn(inputs, labels, 4)
  for true in range(4):
    for other in range(4):
      p = rows[labels == true, other]
      hits = (noisy.labels[labels == true] == other).sum()
      assert abs(hits - p.sum()) < 5 * math.sqrt((p * (1 - p)).sum())
  # The matrix is counted, and close to the mean of the chances.
  counts = np.zeros((4, 4))
  np.add.at(counts, (labels, noisy.labels), 1)
  np.testing.assert_allclose(noisy.transition, counts / counts.sum(1, keepdims=True), rtol=1e-15)
  means = np.stack([rows[labels == true].mean(0) for true in range(4)])
  np.testing.assert_allclose(noisy.transition, means, atol=5 * 0.5 / math.sqrt(N / 4))


def test_a_draw_depends_on_its_own_example():
  inputs, random = example_inputs(3000)
  labels = random.randint(0, 10, 3000)
  ids = np.array([f"train_{i:05d}" for i in range(3000)])
  whole, rows = drawn(inputs, labels, ids=ids), rows_of(inputs, labels, ids=ids)
  for part in (random.permutation(3000), random.permutation(3000)[:700], [17], []):
    part = np.asarray(part, int)
    few = drawn(inputs[part], labels[part], ids=ids[part])
    np.testing.assert_array_equal(few.labels, whole.labels[part])
    np.testing.assert_array_equal(few.flip_chances, whole.flip_chances[part])
    few_rows = rows_of(inputs[part], labels[part], ids=ids[part])
    np.testing.assert_allclose(few_rows, rows[part], rtol=1e-12)
  np.testing.assert_array_equal(
    drawn(inputs, labels).labels, drawn(inputs, labels, ids=range(3000)).labels
  )


def test_blocks_do_not_matter(monkeypatch):
  inputs, random = example_inputs(1000)
  labels = random.randint(0, 3, 1000)
  whole = rows_of(inputs, labels, 3)
  monkeypatch.setattr(instance, "_BLOCK", 7)
  np.testing.assert_allclose(rows_of(inputs, labels, 3), whole, rtol=1e-12)


def test_seeds_give_other_noise():
  inputs, random = example_inputs(2000)
  labels = random.randint(0, 10, 2000)
  one, two = (drawn(inputs, labels, seed=seed) for seed in (5, 6))
  high = drawn(inputs, labels, seed=5 + 2**32)
  for other in (two, high):
    assert 0.3 < (one.labels != other.labels).mean() < 0.6
    assert abs(np.corrcoef(one.flip_chances, other.flip_chances)[0, 1]) < 5 / math.sqrt(2000)
  # Not the chances alone: the targets too.
  same_ids = {"ids": np.arange(2000), "rate": 1.0}
  one, two = (rows_of(inputs, labels, seed=seed, **same_ids) for seed in (5, 6))
  assert np.abs(one - two).sum(1).mean() > 0.3


def test_the_chance_and_the_target_have_their_own_numbers():
  ids = np.arange(N)
  plain, of_rate = noise.uniform(ids, seed=3), noise.uniform(ids, seed=3, stream="rate")
  assert abs(np.corrcoef(plain, of_rate)[0, 1]) < 5 / math.sqrt(N)
  np.testing.assert_array_equal(noise.uniform(ids, seed=3, stream=""), plain)
  with pytest.raises(ValueError, match="16"):
    noise.uniform(ids, seed=3, stream="a name of 17 char")


def test_the_target_depends_on_the_image():
  inputs, _ = example_inputs(2)
  # The same id and class, so that only the images differ.
  one, two = (rows_of(inputs[[i]], [3], ids=[0])[0] for i in (0, 1))
  assert one[3] == two[3]
  assert np.abs(one - two).sum() / 2 > 0.1 * (1 - one[3])
  # Equal images of one class have equal targets, whatever their ids.
  rows = rows_of(inputs[[0, 0]], [3, 3], ids=[0, 1])
  targets = np.delete(rows, 3, axis=1)
  targets /= targets.sum(1, keepdims=True)
  np.testing.assert_allclose(targets[0], targets[1], rtol=1e-12)
  assert rows[0, 3] != rows[1, 3]
  # Another class has another projection.
  three, four = (rows_of(inputs[[0]], [y], ids=[0])[0] for y in (3, 4))
  shared = [j for j in range(10) if j not in (3, 4)]
  ratio = three[shared] / four[shared]
  assert ratio.max() > 1.2 * ratio.min()


@pytest.mark.parametrize("size", [64, 3072])
def test_no_class_takes_all_however_large_the_image(size):
  """Without the division by sqrt(S) the likeliest target has nearly the whole chance."""
  inputs = np.random.RandomState(0).normal(size=(600, size))
  rows = rows_of(inputs, np.arange(600) % 10, rate=1.0, mean=0.0, std=1.0)
  # Shares of exp(z) for nine standard normal z: 0.34 on average.
  z = np.exp(np.random.RandomState(1).normal(size=(100_000, 9)))
  expected = (z.max(1) / z.sum(1)).mean()
  assert rows.max(1).mean() == pytest.approx(expected, abs=0.03)


def test_digits_of_one_class_differ_in_their_targets():
  digits = datasets.load_digits()
  mean, std = digits.images.mean(), digits.images.std()
  rows = rows_of(digits.images, digits.target, rate=1.0, mean=mean, std=std)
  assert 0.25 < rows.max(1).mean() < 0.4
  of_class = [rows[digits.target == true] for true in range(10)]
  distance = [np.abs(part - part.mean(0)).sum(1).mean() / 2 for part in of_class]
  assert min(distance) > 0.1


def test_memory_is_bounded():
  inputs = np.random.RandomState(0).randint(0, 256, (4000, 32, 32, 3)).astype(np.uint8)
  tracemalloc.start()
  try:
    rows_of(inputs, np.zeros(4000, int))
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  assert peak < 40e6  # a float64 copy of all images takes 98 MB


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"labels": [0, 10]}, r"labels\[1\] = 10 is outside \[0, 10\)"),
    ({"num_classes": 1, "labels": [0, 0]}, "num_classes must be at least 2, not 1"),
    ({"rate": 1.1}, r"rate must be in \[0, 1\], not 1.1"),
    ({"rate": math.nan}, r"rate must be in \[0, 1\], not nan"),
    ({"seed": -1}, "seed must be in"),
    ({"ids": [3, 3]}, "ids must be distinct"),
    ({"ids": [3]}, "ids must be 2 integers or strings"),
    ({"inputs": np.ones((3, 4))}, r"inputs must be numbers \[2, ...\], not float64 \[3, 4\]"),
    ({"inputs": np.ones(2)}, r"inputs must be numbers \[2, ...\]"),
    ({"inputs": np.array([["a"], ["b"]])}, r"inputs must be numbers \[2, ...\]"),
    ({"inputs": np.array([[1.0], [np.nan]])}, r"inputs\[1\] has entries that are not finite"),
    ({"mean": np.zeros(3)}, r"mean has shape \[3\]; it must broadcast to \[4\]"),
    ({"std": np.ones((2, 4))}, r"std has shape \[2, 4\]; it must broadcast to \[4\]"),
    ({"std": 0.0}, "std must be finite and positive, not 0.0"),
    ({"mean": math.inf}, "mean must be finite, not inf"),
  ],
)
def test_bad_input(changes, message):
  kwargs = {"inputs": np.ones((2, 4)), "labels": [0, 1], "num_classes": 10} | changes
  with pytest.raises(ValueError, match=message) as caught:
    drawn(**kwargs)
  assert "\n" not in str(caught.value)


INSTANCE = {"noise.kind": "instance", "noise.rate": 0.4}


def test_a_run_and_its_resumption(tmp_path, make_config):
  config = make_config(**INSTANCE)
  whole = execution.train_and_evaluate(config, tmp_path / "whole")
  with pytest.raises(loop.Stopped, match="at step 4"):
    execution.train_and_evaluate(
      config,
      tmp_path / "parts",
      on_call=lambda done: signal.raise_signal(signal.SIGTERM) if done >= 4 else None,
    )
  assert execution.train_and_evaluate(config, tmp_path / "parts") == whole
  one, two = (tmp_path / name / "noise.npz" for name in ("whole", "parts"))
  assert one.read_bytes() == two.read_bytes()
  with np.load(one) as saved:
    arrays = dict(saved)
  wrong = arrays["noisy_labels"] != arrays["clean_labels"]
  assert arrays["realised_rate"] == wrong.mean() == whole["noise"]["realised_rate"]
  assert abs(wrong.mean() - 0.4) < 5 * math.sqrt(0.24 / len(wrong))
  assert whole["noise"]["kind"] == "instance"
  assert whole["noise"]["asked_rate"] == 0.4
  assert arrays["flip_chances"].shape == wrong.shape
  assert 0 < arrays["flip_chances"].std() < 0.1
  counts = np.zeros((10, 10))
  np.add.at(counts, (arrays["clean_labels"], arrays["noisy_labels"]), 1)
  np.testing.assert_allclose(arrays["transition"], counts / counts.sum(1, keepdims=True))
  read = reading.noise_npz(one)
  np.testing.assert_array_equal(read.flip_chances, arrays["flip_chances"])
  assert read.sha256() == whole["noise"]["sha256"]


def test_the_draw_is_that_of_the_library(make_config):
  """Labels by the digits' moments, whatever the network does to its inputs."""
  digits = datasets.load_digits()
  prepared = [
    setup.prepare(make_config(**INSTANCE, **{"data.normalize": x})) for x in (True, False)
  ]
  for run in prepared:
    ids = run.noisy_labels.ids
    moments = {"mean": digits.images.mean(), "std": digits.images.std()}
    own = drawn(digits.images[ids], digits.target[ids], rate=0.4, seed=0, ids=ids, **moments)
    np.testing.assert_array_equal(run.noisy_labels.labels, own.labels)


def test_a_correction_by_the_noise_takes_the_realised_matrix(make_config):
  fields = {"loss.name": "forward_correction", "loss.transition": "noise"}
  run = setup.prepare(make_config(**INSTANCE, **fields))
  realised = run.noisy_labels.transition
  np.testing.assert_allclose(run.hparams.arrays["columns"].T, realised, rtol=1e-6)
  assert abs(1 - np.diag(realised).mean() - 0.4) < 0.1
  assert len(np.unique(np.delete(realised[0], 0))) > 3  # not symmetric


def test_a_student_with_fresh_noise(tmp_path, make_distillation):
  config = make_distillation(**INSTANCE, **{"student.noise": "fresh", "seed.noise": 5})
  _, workdir = stages.teach_and_train(config, tmp_path / "student")
  own = tmp_path / config_lib.config_hash(config_lib.teacher_run(config))
  student, teacher = (reading.noise_npz(path / "noise.npz") for path in (workdir, own))
  np.testing.assert_array_equal(student.clean, teacher.clean)
  assert (student.seed, teacher.seed) == (5, 0)
  assert 0.4 < (student.labels != teacher.labels).mean() < 0.75
  same = make_distillation(**INSTANCE)
  _, workdir = stages.teach_and_train(same, tmp_path / "same")
  labels = reading.noise_npz(workdir / "noise.npz").labels
  np.testing.assert_array_equal(labels, teacher.labels)


@pytest.mark.parametrize(
  ("fields", "words", "size"),
  [
    ({"noise.kind": "instance"}, "instance 20 %", None),
    ({"noise.kind": "cifar10_groups"}, "cifar10 groups 20 %", 10),
    ({"noise.kind": "cifar100_superclass"}, "cifar100 superclass 20 %", 100),
  ],
)
def test_kinds_in_words_and_their_matrices(make_config, fields, words, size):
  config = make_config(**fields, **{"noise.rate": 0.2})
  nested = config_lib.to_dict(config)
  cell = cell_lib.CellResults("c", nested, {}, {0: {"noise": {"realised_rate": 0.21}}})
  assert (cell.noise, cell.rate, cell.realised_rate) == (words, 0.2, 0.21)
  if size is None:
    with pytest.raises(config_lib.ConfigError, match="has no matrix"):
      matrices.noise_transition(config.noise, 10)
    return
  matrix = matrices.noise_transition(config.noise, size)
  np.testing.assert_allclose(1 - np.diag(matrix), 0.2, atol=1e-15)
  why = f"config.noise.kind = '{config.noise.kind}': is for {size} classes; the data has 3"
  with pytest.raises(config_lib.ConfigError) as caught:
    matrices.noise_transition(config.noise, 3)
  assert str(caught.value) == why
