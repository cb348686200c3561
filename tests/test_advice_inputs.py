"""What a person brings: each form gives the same problem, and what is wrong is said in one line."""

import dataclasses
import hashlib
import os
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsjax import config as config_lib
from lsjax import data, estimate
from lsjax.advice import arrays, checklist, encoding, inputs, storage
from lsjax.data.dataset import Dataset

N = 40
KINDS = np.where(np.arange(N) % 2, "dog", "cat")


def table(**columns):
  """Rows with a number, a date, a category of numerals and words, and a label."""
  rng = np.random.default_rng(0)
  base = {
    "size": rng.normal(size=N),
    "day": pd.date_range("2024-01-01", periods=N).strftime("%Y-%m-%d"),
    "colour": np.array(["1", "2", "red", "red"] * 10),
    "kind": KINDS,
  }
  return pd.DataFrame(base | columns)


def known(count, values=KINDS):
  """The first labels, and nothing after them."""
  return [value if i < count else None for i, value in enumerate(values)]


def vectors(n=N):
  return np.random.default_rng(0).normal(size=(n, 3))


def numbers(n=N):
  return np.arange(n) % 2


def folder(path, count=N, size=6):
  rng = np.random.default_rng(0)
  for i in range(count):
    (path / KINDS[i]).mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path / KINDS[i] / f"{i:02}.png")
  return path


def npz(path, **changes):
  images = np.random.default_rng(0).integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)
  arrays = {"train_images": images, "train_labels": 1 - numbers(), "crowd": numbers(), **changes}
  np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
  return path


def assert_same(first, second):
  for field in dataclasses.fields(first):
    a, b = getattr(first, field.name), getattr(second, field.name)
    if isinstance(a, np.ndarray):
      np.testing.assert_array_equal(a, b, strict=True)
    elif isinstance(a, pd.DataFrame):
      pd.testing.assert_frame_equal(a, b)
    else:
      assert a == b, field.name


def error(*args, of=inputs.read, **kwargs):
  with pytest.raises(ValueError) as caught:
    of(*args, **kwargs)
  assert "\n" not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", None])
def test_a_table_in_every_form(tmp_path, name):
  given = table(trusted=known(3), plot=np.arange(N) + 100)
  source = given
  if name == "t.parquet":
    given.to_parquet(source := tmp_path / name)
  elif name:
    given.to_csv(source := tmp_path / name, index=False, sep="\t" if name == "t.tsv" else ",")
  found = inputs.read(source, label="kind", id="plot", trusted="trusted")
  assert found.feature_names == ("size", "day", "colour_1", "colour_2", "colour_red")
  assert found.classes == ("cat", "dog")
  assert found.ids[3] == 103
  np.testing.assert_array_equal(found.labels, numbers())
  np.testing.assert_array_equal(found.checked, [0, 1, 2])
  assert np.isnan(found.chances).all()
  assert found.inputs.dtype == np.float32
  assert any("count as those of a uniform random sample" in note for note in found.notes)
  mean, std = map(np.array, found.normalization)
  np.testing.assert_allclose(mean[0], found.inputs[:, 0].mean(), rtol=1e-5)
  np.testing.assert_array_equal((mean[2:], std[2:]), [[0] * 3, [1] * 3])


def test_a_label_that_was_forgotten_among_the_features_is_named():
  notes = inputs.read(table(truth=KINDS), label="kind").notes
  assert any(n.startswith("column 'truth' holds the names of the classes") for n in notes)
  assert not inputs.read(table(truth=KINDS), label="kind", trusted="truth").notes[1:]


def test_rows_without_a_label_are_left_out():
  found = inputs.read(table(kind=[None, *KINDS[1:]]), label="kind")
  assert len(found) == N - 1 == len(found.columns)
  assert found.ids[0] == 1
  assert found.notes == ("1 rows without a label in column 'kind' are left out",)
  of_arrays = inputs.read((vectors(), np.array([None, *KINDS[1:]])))
  assert of_arrays.classes == ("cat", "dog")
  assert len(of_arrays.inputs) == N - 1


def test_the_users_frame_is_left_as_it_is():
  given = table(trusted=known(5))
  before = given.copy()
  inputs.read(given, label="kind", trusted="trusted", test=given)
  pd.testing.assert_frame_equal(given, before)


def test_votes():
  """The third annotator is always wrong; example 0 has no vote, and example 1 is a draw."""
  votes = np.stack([numbers(), numbers(), 1 - numbers(), numbers()], 1)
  votes[0], votes[1] = -1, [-1, 1, -1, 0]
  names = np.where(votes < 0, None, np.array(["cat", "dog"])[votes])
  columns = {f"voter{a}": names[:, a] for a in range(4)}
  frame = table(**columns).drop(columns="kind")
  found = inputs.read(frame, votes=list(columns))
  np.testing.assert_array_equal(found.votes, votes[1:])
  assert found.annotators == tuple(columns)
  assert "voter0" not in found.columns
  np.testing.assert_array_equal(found.labels[1:], numbers()[2:])
  assert found.notes[0] == "1 rows without a vote are left out"
  posterior = estimate.votes(votes[1:], 2).posterior
  np.testing.assert_array_equal(found.labels, posterior.argmax(1))
  of_arrays = inputs.read((vectors(), None), votes=votes)
  np.testing.assert_array_equal(of_arrays.labels, found.labels)
  np.testing.assert_array_equal(of_arrays.votes, found.votes)


def test_a_draw_of_votes_is_the_lowest_class():
  votes = np.stack([numbers(), numbers()], 1)
  votes[6] = [1, 0]
  assert inputs.read((vectors(), None), votes=votes).labels[6] == 0


def test_test_data(tmp_path):
  test = table(kind=KINDS[::-1], other=0)
  found = inputs.read(table(), label="kind", test=test)
  np.testing.assert_array_equal(found.test_labels, 1 - numbers())
  np.testing.assert_array_equal(found.test_inputs, found.inputs)
  voted = table(a=KINDS, b=KINDS, truth=known(2)).drop(columns="kind")
  found = inputs.read(
    voted, votes=["a", "b"], trusted="truth", test=voted.assign(truth=KINDS[::-1])
  )
  np.testing.assert_array_equal(found.test_labels, 1 - numbers())
  untold = voted.drop(columns="truth")
  found = inputs.read(
    untold, votes=["a", "b"], trusted="truth", test=untold.assign(truth=KINDS[::-1])
  )
  np.testing.assert_array_equal(found.test_labels, 1 - numbers())
  assert not len(found.checked)
  assert "has no column 'truth'" in error(untold, votes=["a", "b"], trusted="truth")
  assert "'truth'" in error(untold, votes=["a", "b"], trusted="truth", test=untold)
  images = folder(tmp_path / "f")
  assert inputs.read(images, image_size=4, test=images).test_inputs.shape == (N, 4, 4, 3)
  found = inputs.read((vectors(), KINDS), test=(vectors(5), KINDS[:5]))
  assert found.test_inputs.dtype == np.float32
  assert found.test_labels.tolist() == [0, 1, 0, 1, 0]


def test_a_folder(tmp_path):
  found = inputs.read(folder(tmp_path / "animals"))
  assert found.inputs.shape == (N, 32, 32, 3)
  assert found.name == "animals"
  assert found.ids[0] == "cat/00.png"
  assert found.classes == ("cat", "dog")
  folder(tmp_path / "split" / "train")
  folder(tmp_path / "split" / "test", 4)
  assert len(inputs.read(tmp_path / "split", image_size=8).test_labels) == 4


def test_npz(tmp_path):
  truth = np.where(np.arange(N) < 4, numbers(), -1)
  path = npz(tmp_path / "d.npz", truth=truth, votes=np.stack([numbers()] * 3, 1))
  found = inputs.read(path, label="crowd", trusted="truth")
  np.testing.assert_array_equal(found.labels, numbers())
  assert (
    found.notes[-1] == "train_labels is not looked at: an answer must not depend on true labels"
  )
  assert found.checked.tolist() == [0, 1, 2, 3]
  assert found.test_inputs is None
  assert inputs.read(path, votes="votes").annotators == ("0", "1", "2")
  assert inputs.read(path, votes=["crowd", "truth"]).votes[5].tolist() == [1, -1]
  given = inputs.read(path, label="train_labels")
  np.testing.assert_array_equal(given.labels, 1 - numbers())
  assert given.notes == ()
  named = npz(
    tmp_path / "n.npz",
    class_names=np.array(["cat", "dog", "cow"]),
    test_images=np.zeros((3, 4, 4, 3), np.uint8),
    test_labels=np.arange(3),
    train_ids=KINDS + np.arange(N).astype(str),
  )
  found = inputs.read(named, label="crowd")
  assert found.classes == ("cat", "dog", "cow")
  assert found.test_labels.tolist() == [0, 1, 2]
  assert found.ids[1] == "dog1"


def test_a_published_data_set(monkeypatch):
  images = np.random.default_rng(0).integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)
  sets = {"worse_label": numbers(), "random_label1": numbers(), "random_label2": numbers()}
  ids = np.arange(N)
  made = Dataset(images, 1 - numbers(), ids, images[:3], np.arange(3), 10, sets)
  monkeypatch.setattr(arrays.tfds, "load", lambda name: made)
  found = inputs.read("cifar10_n", label="worse_label")
  assert len(found.classes) == 10
  assert found.name == "cifar10_n"
  np.testing.assert_array_equal(found.labels, numbers())
  assert found.checked.size == 0
  assert found.test_labels.tolist() == [0, 1, 2]
  assert inputs.read("cifar10_n", votes=["random_label1", "random_label2"]).votes.shape == (N, 2)
  assert error("cifar10_n") == (
    "cifar10_n: say which key holds the given labels by `label`; it has 'random_label1', "
    "'random_label2', 'worse_label'"
  )


def test_arrays_become_what_networks_take():
  assert inputs.read((np.arange(2 * N).reshape(N, 2), KINDS)).inputs.dtype == np.float32
  grey = np.arange(N * 4).reshape(N, 2, 2)
  assert inputs.read((grey, KINDS)).inputs.dtype == np.uint8
  assert inputs.read((grey, KINDS)).inputs.shape == (N, 2, 2, 1)
  nullable = np.array([pd.NA, *numbers()[1:]], object)
  assert len(inputs.read((vectors(), nullable))) == N - 1


ARRAYS = {
  "NaN": ((np.where(np.eye(N, 3), np.nan, 1), KINDS), {}, "inputs[0, 0] = nan is not finite"),
  "constant": ((np.ones((N, 3)), KINDS), {}, "has the same inputs for every example"),
  "text": ((KINDS, KINDS), {}, "inputs is <U3 [40]; [N, H, W, C] or [N, D]"),
  "one class": ((vectors(), np.zeros(N, int)), {}, "labels holds one class, 0"),
  "no label": ((vectors(), np.full(N, np.nan)), {}, "labels holds no label"),
  "too few": ((vectors(10), numbers(10)), {}, "has 10 examples with a label; more than 10"),
  "negative": ((vectors(), numbers() - 1), {}, "labels, row 0: -1 is no class"),
  "a quantity": ((vectors(), vectors()[:, 0]), {}, "labels holds 40 different values"),
  "short": ((vectors(), KINDS[1:]), {}, "labels has shape [39]; 40 labels are needed"),
  "nothing": ((vectors(), None), {}, "either labels or votes are needed"),
  "both": ((vectors(), KINDS), {"votes": vectors()}, "either labels or votes are needed"),
  "float votes": (
    (vectors(), None),
    {"votes": vectors()},
    "votes[:, 0], row 0: 0.1257302210933933 is one",
  ),
  "another trusted": ((vectors(), KINDS), {"trusted": known(2, "xy" * 20)}, "trusted, row 0: 'x'"),
  "test class": (
    (vectors(), KINDS),
    {"test": (vectors(2), ["cat", "x"])},
    "test label of example 1",
  ),
  "test shape": (
    (vectors(), KINDS),
    {"test": (vectors()[:, 1:], KINDS)},
    "test inputs are float32",
  ),
  "test missing": ((vectors(), KINDS), {"test": (vectors(2), ["cat", ""])}, "test labels, row 1"),
  "an argument": (
    (vectors(), KINDS),
    {"label": "x"},
    "label is 'x', which a pair of arrays has no",
  ),
  "three": ((1, 2, 3), {}, "arrays are a pair (inputs, labels), not 3 things"),
  "a number": (3, {}, "a path, a DataFrame or a pair (inputs, labels) is needed, not a int"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_are_wrong(case):
  source, arguments, message = ARRAYS[case]
  assert error(source, **arguments).startswith(message)


def test_too_many_classes(tmp_path):
  labels = np.arange(40_001) % 20_000
  assert "20000 different values in 40001 examples" in error((vectors(40_001), labels))
  places = [f"column 'kind' holds {N} different values in {N} examples, such as 0 in row 0"]
  assert places[0] in error(table(kind=np.arange(N)), label="kind")


TABLES = {
  "no label": ({}, {}, "say which column holds the given labels"),
  "column": ({}, {"label": "knid"}, "has no column 'knid'; did you mean 'kind'?"),
  "voter": ({}, {"votes": ["kind", "b"]}, "has no column 'b'"),
  "empty": ({"kind": None}, {"label": "kind"}, "column 'kind' holds no label"),
  "one class": ({"kind": "x"}, {"label": "kind"}, "column 'kind' holds one class, 'x'"),
  "quantity": ({}, {"label": "size"}, "column 'size' holds 40 different values in 40 examples"),
  "voted": (
    {"age": np.arange(N) % 5, "b": KINDS},
    {"votes": ["kind", "b", "age"]},
    "column 'age', row 0: '0' is no class that another annotator gave, and nor are its other 39",
  ),
  "trusted": (
    {"t": [None, "cow"] * 20},
    {"label": "kind", "trusted": "t"},
    "column 't', row 1: 'cow' is none of the given classes ('cat', 'dog')",
  ),
  "unknown": ({"t": None}, {"label": "kind", "trusted": "t"}, "column 't' is empty in all rows"),
  "ids": ({"i": 3}, {"label": "kind", "id": "i"}, "column 'i': rows 0 and 1 have the same id '3'"),
  "size": ({}, {"label": "kind", "image_size": 9}, "image_size is 9, which a table without"),
  "infinite": ({"size": np.inf}, {"label": "kind"}, "column 'size', row 0: inf is not finite"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_that_are_wrong(tmp_path, case):
  columns, arguments, message = TABLES[case]
  path = tmp_path / "t.csv"
  table(**columns).to_csv(path, index=False)
  assert error(path, **arguments).startswith(f"{path}: {message}")


def test_a_table_of_constants_and_two_kinds_of_labels():
  constant = table()[["kind"]].assign(a=1)
  assert error(constant, label="kind") == "the table: has no column left that could be a feature"
  assert error(table(), label="kind", votes=["kind"]).startswith("label is 'kind' and there are")
  assert error(table(), label="kind", trusted="kind").startswith("'kind' is named twice among")
  assert error(table(), label="kind", trusted=KINDS).startswith("votes and trusted are names of")
  wrong = error(table(), label="kind", test=table(kind="cow"))
  assert wrong.startswith("the table: the table of test data: the label ('kind') of example 0")
  wrong = error(table(), label="kind", test=table().drop(columns="size"))
  assert wrong.endswith("has no column 'size', which is a feature of the training data")
  one = inputs.read(table(kind=["cow", *KINDS[1:]]), label="kind")
  assert one.notes == ("column 'kind': 1 classes have a single example ('cow')",)


def test_files_that_are_wrong(tmp_path):
  assert error(tmp_path / "x.csv", label="y") == f"{tmp_path / 'x.csv'}: no such file"
  assert error(tmp_path / "x").endswith("x: no such file or folder")
  (tmp_path / "x.txt").write_text("a")
  assert "is neither a folder nor one of .csv, .tsv, .parquet, .npz" in error(tmp_path / "x.txt")
  images = folder(tmp_path / "f")
  assert "label is 'y', which a folder of images has no use for" in error(images, label="y")
  (images / "cat" / "bad.png").write_bytes(b"no image")
  assert "bad.png' is no readable image" in error(images)
  path = npz(tmp_path / "d.npz", train_ids=np.zeros(N, int))
  assert error(path, label="crowd").endswith("rows 0 and 1 have the same id 0")
  path = npz(tmp_path / "d.npz", test_images=np.zeros((1, 4, 4, 3), np.uint8))
  assert "belong together" in error(path, label="crowd")
  path = npz(tmp_path / "d.npz")
  assert error(path, label="x").endswith("has no labels 'x'; it has 'crowd'")
  assert "image_size is 8" in error(path, label="crowd", image_size=8)
  np.savez(path, train_images=np.array([{}], object))
  assert "pickle" in error(path, label="crowd")


def of_table(tmp_path, **arguments):
  columns = {"trusted": known(3)} if "trusted" in arguments else {}
  table(**columns).to_csv(tmp_path / "t.csv", index=False)
  return inputs.read(tmp_path / "t.csv", label="kind", **arguments)


def test_a_problem_is_stored_whole(tmp_path):
  problem = of_table(tmp_path, trusted="trusted", test=table())
  storage.save(problem, tmp_path / "work")
  assert_same(storage.load(tmp_path / "work"), problem)
  voted = inputs.read((vectors(), None), votes=np.stack([numbers()] * 3, 1))
  storage.save(voted, tmp_path / "work")
  assert_same(storage.load(tmp_path / "work"), voted)
  assert [p.name for p in (tmp_path / "work").iterdir()] == ["data.npz"]
  mixed = inputs.read((vectors(), np.where(numbers(), 2, 0.5)))
  storage.save(mixed, tmp_path / "work")
  assert storage.load(tmp_path / "work").classes == (0.5, 2)


def test_the_same_source_gives_the_same_bytes(tmp_path):
  digests = set()
  for name in "ab":
    storage.save(of_table(tmp_path), tmp_path / name)
    digests.add(hashlib.sha256((tmp_path / name / "data.npz").read_bytes()).hexdigest())
  assert len(digests) == 1


def test_the_digest_is_of_what_is_measured_on():
  problem = inputs.read(table(), label="kind")
  digest = storage.content_digest(problem)
  noted = dataclasses.replace(problem, notes=("a",), name="b")
  assert storage.content_digest(noted) == digest == storage.content_digest(problem)
  for field in ("inputs", "labels", "true_labels", "chances"):
    array = getattr(problem, field).copy()
    array[0] = 1
    changed = dataclasses.replace(problem, **{field: array})
    assert storage.content_digest(changed) != digest, field


def loaded(directory, given):
  section = config_lib.Data(name="npz", path=str(directory / "data.npz"))
  return data.load(section, given_labels=given)


def test_training_reads_what_is_stored(tmp_path):
  problem = of_table(tmp_path, trusted="trusted")
  truth = problem.true_labels.copy()
  truth[:2] = 1
  storage.save(dataclasses.replace(problem, true_labels=truth), tmp_path)
  found = loaded(tmp_path, "final")
  assert found.train_labels is None
  assert found.class_names == ("cat", "dog")
  np.testing.assert_array_equal(found.train_images, problem.inputs)
  np.testing.assert_array_equal(found.label_sets["given"], numbers())
  assert found.label_sets["final"][:4].tolist() == [1, 1, 0, 1]
  assert found.normalization == problem.normalization
  assert found.test_is_noisy
  assert len(found.test_labels) == N
  np.testing.assert_array_equal(np.sort(found.test_images, 0), np.sort(problem.inputs, 0))
  storage.save(of_table(tmp_path, test=table()), tmp_path)
  assert not loaded(tmp_path, "given").test_is_noisy


def test_what_stands_in_for_a_test_set_is_small(tmp_path):
  storage.save(inputs.read((vectors(700), numbers(700))), tmp_path)
  found = loaded(tmp_path, "given")
  assert found.test_images.shape == (500, 3)


def test_a_directory_of_something_else(tmp_path):
  npz(tmp_path / "data.npz")
  assert "data.npz: was not written by an advice" in error(tmp_path, of=storage.load)
  storage.save(of_table(tmp_path), tmp_path)
  table()[:5].to_parquet(tmp_path / "columns.parquet")
  assert "columns.parquet: has 5 rows, and data.npz beside it 40" in error(
    tmp_path, of=storage.load
  )


def test_new_rows_are_encoded_as_the_old_ones(tmp_path):
  problem = of_table(tmp_path)
  storage.save(problem, tmp_path / "work")
  for source in (table(), tmp_path / "t.csv"):
    np.testing.assert_array_equal(encoding.encode(tmp_path / "work", source), problem.inputs)
  rows = table(size=[None, *np.arange(N - 1)], colour=["1", None] * 20).drop(columns="kind")
  rows.to_csv(tmp_path / "new.csv", index=False)
  found = encoding.encode(problem, tmp_path / "new.csv")  # colour now looks like a number
  assert found[0, 0] == pytest.approx(np.median(table()["size"]))
  np.testing.assert_array_equal(found[:2, 2:], [[1, 0, 0], [0, 0, 0]])
  wrong = error(problem, rows.drop(columns="size"), of=encoding.encode)
  assert wrong.startswith("the new examples: has no column 'size'")
  wrong = error(problem, rows.assign(size="x"), of=encoding.encode)
  assert wrong.endswith("column 'size', row 0: x is no number")


def test_columns_of_several_types_can_be_stored(tmp_path):
  mixed = table(
    odd=np.array([1, "a", 2.5, None] * 10, object),
    flag=np.array([True, None] * 20, object),
    code=pd.Categorical([1, 2] * 20),
    when=[np.datetime64("2024-01-01") + i for i in range(N)],
  )
  problem = inputs.read(mixed, label="kind")
  storage.save(problem, tmp_path)
  np.testing.assert_array_equal(encoding.encode(tmp_path, mixed), problem.inputs)


def test_new_images(tmp_path):
  problem = inputs.read(folder(tmp_path / "f"), image_size=4)
  assert [p.name for p in encoding.image_paths(tmp_path / "f")[:2]] == ["00.png", "02.png"]
  paths = [tmp_path / "f" / name for name in problem.ids]
  for source in (tmp_path / "f", paths, problem.inputs):
    np.testing.assert_array_equal(encoding.encode(problem, source), problem.inputs)
  pd.DataFrame({"file": problem.ids}).to_csv(tmp_path / "f" / "list.csv", index=False)
  found = encoding.encode(problem, tmp_path / "f" / "list.csv", image="file")
  np.testing.assert_array_equal(found, problem.inputs)
  assert len(encoding.encode(problem, paths[0])) == 1
  np.save(tmp_path / "a.npy", problem.inputs[:2])
  assert len(encoding.encode(problem, tmp_path / "a.npy")) == 2
  assert "holds no image" in error(problem, [], of=encoding.encode)
  assert "has inputs uint8 [3, 3, 3]" in error(
    problem, np.zeros((1, 3, 3, 3), np.uint8), of=encoding.encode
  )
  grey = inputs.read((np.arange(N * 4).reshape(N, 2, 2), KINDS))
  assert "cannot become inputs of shape [2, 2, 1]" in error(grey, paths, of=encoding.encode)


@pytest.fixture
def listed(tmp_path):
  """A problem with three trusted labels, a sample of it and the fields of its list."""
  problem = inputs.read(table(trusted=known(3), plot=np.arange(N)), label="kind", id="plot",
                        trusted="trusted")  # fmt: skip
  sample = estimate.to_check(np.linspace(0.1, 0.4, N), 10, seed=0)
  checklist.write_check_list(tmp_path / "check.csv", problem, sample, 1 - problem.labels)
  return problem, sample, pd.read_csv(tmp_path / "check.csv", dtype=str)


def applied(tmp_path, problem, fields, sample=None, **form):
  path = tmp_path / "filled.csv"
  fields.to_csv(path, index=False, **form)
  return checklist.apply(problem, path, sample)


def test_a_list_is_written_and_read(tmp_path, listed):
  problem, sample, fields = listed
  assert list(fields) == ["id", "given", "proposed", "chance", "true"]
  ids = fields["id"].astype(int).tolist()
  assert sorted(ids) == sample.indices.tolist() != ids  # the first rows are a random part
  assert (fields["given"] != fields["proposed"]).all()
  assert fields["true"].isna().all()
  fields["true"] = fields["given"].str.upper()
  for form in ({}, {"sep": ";", "encoding": "utf-8-sig"}, {"sep": "\t", "lineterminator": "\r\n"}):
    found = applied(tmp_path, problem, fields, sample, **form)
    assert set(found.checked) == {0, 1, 2, *sample.indices}
    np.testing.assert_array_equal(found.true_labels[sample.indices], problem.labels[sample.indices])
    np.testing.assert_allclose(found.chances[sample.indices], sample.chances, rtol=1e-5)
    assert np.isnan(np.delete(found.chances, sample.indices)).all()
  again = inputs.read(
    table(trusted=known(3)), label="kind", trusted="trusted", checked=tmp_path / "filled.csv"
  )
  np.testing.assert_array_equal(again.true_labels, found.true_labels)


def test_a_list_that_is_filled_in_part(tmp_path, listed):
  problem, sample, fields = listed
  fields.loc[:3, "true"] = fields["given"][:4]
  found = applied(tmp_path, problem, fields, sample)
  ids = fields["id"].astype(int).to_numpy()
  chances = sample.chances[np.searchsorted(sample.indices, ids)]
  np.testing.assert_allclose(found.chances[ids[:4]], chances[:4] * 0.4, rtol=1e-5)
  assert found.notes[-1].startswith("6 of 10 rows of the list are not checked yet")
  assert (found.true_labels[ids[4:]] == problem.true_labels[ids[4:]]).all()


def changed(column, value):
  return lambda fields: fields.assign(**{column: [*fields[column][:2], value, *fields[column][3:]]})


LISTS = {
  "id": (changed("id", "99"), "column 'id', row 2: '99' is no id of the data"),
  "twice": (lambda f: f.assign(id=f["id"][0]), "column 'id': rows 0 and 1 have the same id"),
  "other data": (lambda f: f.assign(given="dog"), "column 'given', row "),
  "class": (changed("true", "cow"), "column 'true', row 2: 'cow' is none of the classes ('cat', "),
  "chance": (changed("chance", "5%"), "column 'chance', row 2: '5%' is no number in (0, 1]"),
  "zero": (changed("chance", "0"), "column 'chance', row 2: '0' is no number in (0, 1]"),
  "other chance": (changed("chance", "0.9"), "column 'chance', row 2: '0.9' was 0."),
  "empty": (lambda f: f.assign(true=""), "column 'true' is empty in all 10 rows"),
  "short": (lambda f: f[:9], "has 9 of the 10 rows that were written"),
  "no column": (lambda f: f.drop(columns="true"), "has no column 'true'"),
}


@pytest.mark.parametrize("case", LISTS)
def test_lists_that_are_wrong(tmp_path, listed, case):
  problem, sample, fields = listed
  change, message = LISTS[case]
  fields = change(fields.assign(true=fields["given"]))
  found = error(tmp_path, problem, fields, sample, of=applied)
  assert found.startswith(f"{tmp_path / 'filled.csv'}: {message}")


def test_a_list_that_contradicts_a_trusted_label(tmp_path, listed):
  problem, _, _ = listed
  sample = estimate.Sample(np.arange(2), np.full(2, 0.05))
  checklist.write_check_list(tmp_path / "c.csv", problem, sample, problem.labels)
  fields = pd.read_csv(tmp_path / "c.csv", dtype=str).assign(true="dog")
  found = error(tmp_path, problem, fields, of=applied)
  assert re.search("row [01]: 'dog' contradicts the trusted label 'cat' of example 0$", found)
  assert error(problem, tmp_path / "none.csv", of=checklist.apply).endswith("csv: no such file")


@pytest.mark.parametrize("name", ["pipe.csv", "zero.csv"])
def test_a_list_that_never_ends(tmp_path, name):
  os.mkfifo(tmp_path / "pipe.csv")
  (tmp_path / "zero.csv").symlink_to("/dev/zero")
  with pytest.raises(ValueError, match=f"{name}: cannot be read .*not a regular file"):
    inputs.read(table(), label="kind", checked=tmp_path / name)
