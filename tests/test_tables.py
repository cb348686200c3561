"""A user's tables: what is read, what is encoded, and one line for everything that is wrong."""

import datetime
import os
import pathlib
import shutil
import subprocess
import sys

import conftest
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import datasets

from lsjax import config as config_lib
from lsjax import data, extras, files
from lsjax.data import features
from lsjax.reports import captions, results, summary
from lsjax.runs import contents, execution, loading, reading
from lsjax.runs import directory as directory_lib
from lsjax.training import setup

ROOT = pathlib.Path(__file__).parent.parent


def frame(n=20, **columns):
  """Rows of two classes, of which two columns tell nothing and one tells the class."""
  rng = np.random.default_rng(0)
  kind = np.where(np.arange(n) % 2, "dog", "cat")
  base = {"size": rng.normal(size=n), "age": rng.integers(1, 9, n), "kind": kind}
  return pd.DataFrame(base | columns)


def changed(column, row, value, n=20):
  table = frame(n)
  table[column] = table[column].astype(object)
  table.loc[row, column] = value
  return table


def csv(tmp_path, table, name="mine.csv"):
  path = tmp_path / name
  if name.endswith(".parquet"):
    table.to_parquet(path)
  else:
    table.to_csv(path, index=False, sep="\t" if name.endswith(".tsv") else ",")
  return path


def load(tmp_path, table, given="kind", seed=0, **fields):
  fields = {"name": "table", "path": str(csv(tmp_path, table)), "label": "kind", **fields}
  return data.load(config_lib.Data(**fields), given_labels=given, seed=seed)


@pytest.mark.parametrize("name", ["mine.csv", "mine.tsv", "mine.parquet", "a.CSV"])
def test_the_same_table_in_every_form(tmp_path, name):
  expected = data.read_table(frame(), label="kind")
  found = data.read_table(csv(tmp_path, frame(), name), label="kind")
  assert found.classes == expected.classes == ("cat", "dog")
  np.testing.assert_array_equal(found.labels, np.arange(20) % 2)
  np.testing.assert_array_equal(found.ids, np.arange(20))
  np.testing.assert_allclose(found.inputs(), expected.inputs(), rtol=1e-6)
  assert found.inputs().dtype == np.float32
  assert list(found.columns) == ["size", "age"]
  assert found.true_labels is None
  assert found.notes == ()


def test_rows_without_a_label_are_left_out_and_counted():
  found = data.read_table(changed("kind", [3, 7], None), label="kind")
  np.testing.assert_array_equal(found.ids, np.delete(np.arange(20), [3, 7]))
  assert len(found) == len(found.columns) == 18
  assert found.notes == ("2 rows without a label in 'kind' are left out",)


@pytest.mark.parametrize(
  ("values", "classes"),
  [
    ([10, 9, 2], (2, 9, 10)),
    ([1.0, 2.0, np.nan], (1, 2)),
    ([True, False, True], (False, True)),
    (["b", "a", None], ("a", "b")),
    (["10", "9", "2"], ("10", "2", "9")),
    (pd.Categorical(["b", "a", "b"], categories=["z", "b", "a"]), ("a", "b")),
    ([0.5, 1.5, 1], (0.5, 1, 1.5)),
    (["a", 3, 3], ("3", "a")),
    (["None", "NA", "a"], ("NA", "None", "a")),
  ],
)
def test_names_of_classes(values, classes):
  labels = pd.Series(list(values) * 6, name="y")
  if isinstance(values, pd.Categorical):
    labels = labels.astype("category")
  found = data.read_table(pd.DataFrame({"x": range(18), "y": labels}), label="y")
  assert found.classes == classes
  expected = [None if pd.isna(v) else str(v) for v in labels if not pd.isna(v)]
  read = [str(found.classes[k]) for k in found.labels]
  assert [r.removesuffix(".0") for r in read] == [e.removesuffix(".0") for e in expected]


def test_a_class_named_as_a_missing_value_is_kept_in_a_file(tmp_path):
  path = csv(tmp_path, frame(kind=["None", "NA"] * 10))
  found = data.read_table(path, label="kind")
  assert found.classes == ("NA", "None")
  (note,) = found.notes
  assert note.startswith("column 'kind': 'None', 'NA' is taken as a class")


def test_ids(tmp_path):
  named = frame(name=[f"p{i}" for i in range(20)])
  assert data.read_table(named, label="kind", id="name").ids[3] == "p3"
  numbered = frame(name=np.arange(20) * 7)
  for source in (numbered, csv(tmp_path, numbered), numbered.set_index("name")):
    found = data.read_table(source, label="kind", id="name")
    assert found.ids.dtype == np.int64
    assert found.ids[2] == 14
    assert list(found.columns) == ["size", "age"]
  kept = csv(tmp_path, frame(name=[f"{i:03d}" for i in range(20)]))
  assert data.read_table(kept, label="kind", id="name").ids[2] == "002"


# What is wrong with a table in memory, and what is said of it.
WRONG = {
  "no column": (frame(), {"label": "kinds"}, r"has no column 'kinds'; did you mean 'kind'\?"),
  "nothing near": (frame(), {"label": "xyz"}, "has no column 'xyz'; it has 'size', 'age', 'kind'"),
  "no id": (frame(), {"id": "name"}, "has no column 'name'"),
  "few rows": (frame(9), {}, "column 'kind' has 9 examples with a label; at least 10 are"),
  "no row": (frame(0), {}, "column 'kind' holds no label"),
  "no label": (frame(kind=[None] * 20), {}, "column 'kind' holds no label"),
  "one class": (frame(kind=["a"] * 20), {}, "column 'kind' holds one class, 'a'; at least two"),
  "quantity": (
    frame(60, kind=np.arange(60) // 2 / 4),
    {},
    "column 'kind' holds 30 different values in 60 examples, such as 0.25 in row 2: a quantity",
  ),
  "id as label": (frame(kind=range(20)), {}, r"such as 0 in row 0: is it a number or an id\?"),
  "too many": (
    frame(5000, kind=np.arange(5000) % 2001),
    {},
    "holds 2001 different values in 5000 examples, such as 0 in row 0",
  ),
  "infinite label": (frame(kind=[np.inf, 1.0] * 10), {}, "'kind', row 0: inf is no class"),
  "date label": (
    frame(kind=pd.to_datetime(["2020-01-01", "2020-01-02"] * 10)),
    {},
    "row 0: Timestamp.* is no class",
  ),
  "same id": (frame(name=[0, 1, 1, *range(3, 20)]), {"id": "name"}, "rows 1 and 2 .* id '1'"),
  "no value of id": (changed("age", 4, None), {"id": "age"}, "column 'age', row 4: the id is miss"),
  "no feature": (frame()[["kind"]], {}, "has no column of features"),
  "true label missing": (
    frame(true=[None] * 3 + ["cat", "dog"] * 8 + ["cat"]),
    {"true_label": "true"},
    "column 'true' is empty in 3 of 20 rows with a label, such as row 0",
  ),
  "twice": (
    pd.DataFrame(np.zeros((20, 2)), columns=["x", "x"]).assign(kind=["a", "b"] * 10),
    {},
    "has two columns 'x'",
  ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_table_is_one_line(case):
  table, fields, message = WRONG[case]
  with pytest.raises(ValueError, match=f"^the table: .*{message}") as caught:
    data.read_table(table, **{"label": "kind", **fields})
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("column", "message"),
  [
    ([1.0, np.inf] * 10, "column 'x', row 1: inf is not finite in single precision"),
    ([1.0, 2.0, -1e300, 3.0] * 5, "column 'x', row 2: -1e[+]300 is not finite"),
    ([[1], [2]] * 10, "column 'x', row 0: a list is no feature"),
    ([b"a", "b"] * 10, "column 'x', row 0: a bytes is no feature"),
    ([1j, 2j] * 10, "column 'x' holds complex numbers"),
    ([3] * 20, "has no column left that could be a feature"),
    ([f"text {i}" for i in range(80)], "has no column left that could be a feature"),
  ],
)
def test_wrong_features_are_one_line(column, message):
  n = len(column)
  table = pd.DataFrame({"x": column, "kind": ["a", "b"] * (n // 2)})
  with pytest.raises(ValueError, match=f"^{message}") as caught:
    data.read_table(table, label="kind").inputs()
  assert "\n" not in str(caught.value)


TEXTS = {
  "empty": ("", "is empty"),
  "header": ("a,kind\n", "holds a header and no rows"),
  "ragged": ("a,kind\n1,x\n1,x,3\n", "line 3 has 3 fields, and the header 2$"),
  "short": ("a,b,kind\n1,2,x\n1,2\n", "line 3 has 2 fields, and the header 3$"),
  "longer than the header": ("a,kind\n" + "1,2,x\n" * 20, "line 2 has 3 fields"),
  "quote": ('a,kind\n1,x\n"1,x\n2,y\n', "line 3 has 1 fields.*quotation mark not closed"),
  "zero byte": ("a,kind\n1,x\0\n", "line 1 cannot be read .*zero byte"),
  "semicolons": ("a;kind\n" + "1;x\n" * 20, "has one column, 'a;kind': separate the fields by ','"),
  "twice": ("a,a,kind\n" + "1,2,x\n" * 20, "has two columns 'a'"),
  "latin-1": ("a,kind\n1,x\n1,\xe9\n".encode("latin-1"), "line 3 is not UTF-8"),
  "utf-16": ("a,kind\n1,x\n".encode("utf-16"), "line 1 is not UTF-8"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_an_unreadable_file_is_one_line(tmp_path, case):
  text, message = TEXTS[case]
  path = tmp_path / "mine.csv"
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  with pytest.raises(ValueError, match=f"^{path}: .*{message}") as caught:
    data.read_table(path, label="kind")
  assert "\n" not in str(caught.value)


def test_files_that_are_no_tables(tmp_path):
  (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
  (tmp_path / "a.pkl").write_bytes(b"\x80\x04N.")
  (tmp_path / "d.csv").mkdir()
  (tmp_path / "zero.tsv").symlink_to("/dev/zero")
  for suffix in ("csv", "parquet"):
    os.mkfifo(tmp_path / f"pipe.{suffix}")
  for name, message in {
    "none.csv": "no such file",
    "a.parquet": "",
    "a.pkl": r"is no table: a \.csv, \.tsv or \.parquet file is needed",
    "d.csv": r"cannot be read as a table \(OSError: it is a directory, not a regular file",
    "pipe.csv": r"cannot be read as a table \(OSError: it is a device or a pipe",
    "zero.tsv": r"cannot be read as a table \(OSError: it is a device or a pipe",
    "pipe.parquet": r"cannot be read as a table \(OSError: it is a device or a pipe",
  }.items():
    with pytest.raises(ValueError, match=f"^{tmp_path / name}: {message}") as caught:
      data.read_table(tmp_path / name, label="kind")
    assert "\n" not in str(caught.value)


def test_spreadsheets_habits_are_read(tmp_path):
  """A byte order mark, carriage returns, quoted commas, blank lines, and pandas's row numbers."""
  path = tmp_path / "mine.csv"
  rows = "".join(f'{i},{i % 3},"x, y",{"cat" if i % 2 else "dog"}\r\n' for i in range(20))
  path.write_text(f"\ufeff,size,words,kind \r\n{rows}\r\n", newline="")
  found = data.read_table(path, label="kind")
  assert len(found) == 20
  assert list(found.columns) == ["size", "words"]
  assert found.notes == ("columns without a name, such as row numbers, are left out",)


def test_remarks():
  assert data.read_table(frame(kind=["a", "b"] * 9 + ["c", "B "]), label="kind").notes == (
    "column 'kind': 2 classes have a single example ('B ', 'c')",
    "column 'kind': 'B ', 'b' differ in case or spaces alone, and are classes",
  )
  table = frame(40, fixed=[3] * 40, empty=[None] * 40, name=[f"n{i}" for i in range(40)])
  table["code"] = [*map(str, range(39)), "?"]
  table["time"] = 1e9 + np.arange(40)
  encoder = features.fit(table.drop(columns="kind"), np.arange(40))
  assert encoder.notes == (
    "column 'code' is read as categories because of '?' in row 39, though 39 of 40 values are "
    "numbers",
    "columns with one value alone are left out: 'fixed', 'empty'",
    "columns of text or names, different in most rows, are left out: 'name', 'code'",
    "column 'time' differs too little for its size to be seen: subtract its mean",
  )
  assert encoder.names == ("size", "age", "time")


def test_encoding_by_hand():
  """Medians, indicators and categories are those of the training rows."""
  table = pd.DataFrame(
    {
      "x": [1, 2, None, 30, 1000.0, None],
      "flag": [True, False, None, True, True, False],
      "day": ["1970-01-02", "1970-01-03T12:00:00", None, "1970-01-01", "1970-01-05", "1970-01-01"],
      "late": [datetime.date(1970, 1, 1 + i) for i in range(6)],
      "colour": ["red", "blue", None, "red", "green", "blue"],
    }
  )
  encoder = features.fit(table, np.arange(4))
  assert encoder.names == (
    *("x", "flag", "day", "late"),
    *("missingindicator_x", "missingindicator_flag", "missingindicator_day"),
    *("colour_blue", "colour_red", "colour_nan"),
  )
  expected = [
    [1, 1, 1, 0, 0, 0, 0, 0, 1, 0],
    [2, 0, 2.5, 1, 0, 0, 0, 1, 0, 0],
    [2, 1, 1, 2, 1, 1, 1, 0, 0, 1],
    [30, 1, 0, 3, 0, 0, 0, 0, 1, 0],
    [1000, 1, 4, 4, 0, 0, 0, 0, 0, 0],  # green is no category of the training rows
    [2, 0, 0, 5, 1, 0, 0, 1, 0, 0],
  ]
  np.testing.assert_array_equal(encoder.encode(table), np.float32(expected))
  assert encoder.is_number.tolist() == [True] * 4 + [False] * 6
  with pytest.raises(ValueError, match=r"^has no column 'x', which is a feature of the training"):
    encoder.encode(table.drop(columns="x"))
  for column, value, message in (
    ("x", "many", "column 'x', row 5: many is no number"),
    ("day", "soon", "column 'day', row 5: soon is no date"),
  ):
    other = table.astype({column: object})
    other.loc[5, column] = value
    with pytest.raises(ValueError, match=f"^{message}"):
      encoder.encode(other)


def test_categories_are_bounded():
  values = [f"c{i}" for i in range(40) for _ in range(50 - i)]
  table = pd.DataFrame({"city": values})
  encoder = features.fit(table, np.arange(len(table)))
  assert len(encoder.names) == features.MOST_CATEGORIES
  rest = encoder.encode(pd.DataFrame({"city": ["c39", "c38", "elsewhere", "c0"]}))
  np.testing.assert_array_equal(rest[:, -1], [1, 1, 1, 0])
  assert encoder.names[-1] == "city_infrequent_sklearn"


def test_blocks_change_nothing(monkeypatch):
  whole = data.read_table(frame(), label="kind").inputs()
  monkeypatch.setattr(features, "_BLOCK", 7)
  np.testing.assert_array_equal(data.read_table(frame(), label="kind").inputs(), whole)


def test_memory_is_bounded(tmp_path, monkeypatch):
  monkeypatch.setattr("lsjax.data.images.MOST_BYTES", 100)
  with pytest.raises(ValueError, match=r"^the table.*|^takes .* in memory, more than"):
    data.read_table(frame(), label="kind").inputs()
  with pytest.raises(ValueError, match=r"mine\.csv: takes .* in memory, more than"):
    data.read_table(csv(tmp_path, frame()), label="kind")
  monkeypatch.setattr("lsjax.data.images.MOST_BYTES", 200_000)
  path = csv(tmp_path, frame(10_000), "equal.parquet")
  pd.DataFrame(dict.fromkeys("abcdefgh", [0] * 10_000)).to_parquet(path)
  assert path.stat().st_size < 200_000
  with pytest.raises(ValueError, match=r"equal\.parquet: takes .* leave out columns or rows"):
    data.read_table(path, label="a")


@pytest.mark.parametrize(("package", "name"), [("pandas", "a.csv"), ("pyarrow", "a.parquet")])
def test_a_missing_package_names_its_extra(tmp_path, monkeypatch, package, name):
  path = csv(tmp_path, frame(), name)
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(ModuleNotFoundError) as caught:
    data.read_table(path, label="kind")
  assert extras.hint(caught.value) == (
    f"{package} is not installed; pip install 'lsjax[tables]' installs it"
  )


def test_a_share_is_held_out_by_the_data_seed(tmp_path):
  table = frame(50)
  first, again, other = (load(tmp_path, table, seed=seed) for seed in (1, 1, 2))
  assert len(first.test_labels) == 10
  np.testing.assert_array_equal(first.train_images, again.train_images)
  assert not np.array_equal(first.train_ids, other.train_ids)
  both = np.concatenate([first.train_images, first.test_images])
  np.testing.assert_array_equal(np.sort(both[:, 0]), np.sort(np.float32(table["size"])))
  assert len(load(tmp_path, table, test_share=0.5).test_labels) == 25
  assert first.class_names == ("cat", "dog")
  assert first.feature_names == ("size", "age")
  mean, std = first.normalization
  np.testing.assert_allclose(mean, first.train_images.mean(0, dtype=float), rtol=1e-9)
  np.testing.assert_allclose(std, first.train_images.std(0, dtype=float), rtol=1e-6)


def test_categories_are_not_divided_by_their_deviation(tmp_path):
  colour = ["red"] * 25 + ["blue"] * 20 + [None] * 5
  made = load(tmp_path, frame(50, colour=colour, age=[None, 3.0, *[1.0, 2.0] * 24]))
  mean, std = map(np.array, made.normalization)
  names = np.array(made.feature_names)
  is_number = np.isin(names, ["size", "age"])
  np.testing.assert_array_equal(mean[~is_number], 0)
  np.testing.assert_array_equal(std[~is_number], 1)
  np.testing.assert_allclose(mean[is_number], made.train_images[:, is_number].mean(0), rtol=1e-5)
  assert set(names[~is_number]) <= {
    *("missingindicator_age", "colour_red", "colour_blue", "colour_nan")
  }


def test_what_the_test_labels_are(tmp_path):
  """Those of the labels to train on are noisy, true ones and those of another file are clean."""
  table = frame(true=["cat", "dog"] * 9 + ["dog", "dog"])
  noisy = load(tmp_path, table.drop(columns="true"))
  assert noisy.test_is_noisy
  assert noisy.train_labels is None  # nobody knows
  assert "4 of 20 examples chosen by seed.data: test accuracy is agreement" in noisy.notes[-1]
  known = load(tmp_path, table, true_label="true")
  assert not known.test_is_noisy
  rows = np.setdiff1d(np.arange(20), known.train_ids)
  clean = np.array([known.class_names.index(name) for name in table["true"]])
  np.testing.assert_array_equal(known.test_labels, clean[rows])
  np.testing.assert_array_equal(known.train_labels, clean[known.train_ids])
  np.testing.assert_array_equal(known.label_sets["kind"], known.train_ids % 2)
  for columns in (["size", "age", "kind"], ["size", "age", "true"], list(table)):
    renamed = table if "true" in columns else table.assign(kind=table["true"])
    path = str(csv(tmp_path, renamed[columns], "test.csv"))
    tested = load(tmp_path, table, true_label="true", test_path=path)
    assert not tested.test_is_noisy
    np.testing.assert_array_equal(tested.test_labels, clean)
    assert len(tested.train_ids) == 20


def test_drawn_noise_begins_with_the_true_labels(tmp_path):
  table = frame(true=["dog"] * 10 + ["cat"] * 10)
  for fields, expected in (({}, "kind"), ({"true_label": "true"}, "true")):
    used = table if fields else table.drop(columns="true")
    found = load(tmp_path, used, given="", **fields)
    names = [found.class_names[k] for k in found.train_labels]
    assert names == table[expected][found.train_ids].tolist()
    assert any("is for noise.kind=given alone" in note for note in found.notes) == bool(fields)


@pytest.mark.parametrize(
  ("table", "message"),
  [
    (frame(kind=["cat", "cow"] * 10), "the label .'kind'. of example 1 is none of the training"),
    (frame()[["age", "kind"]], "has no column 'size', which the training table has"),
    (frame(kind=[None] * 20), "column 'kind' holds no label"),
    (None, "no such file"),
  ],
)
def test_errors_about_the_test_file_name_its_field(tmp_path, table, message):
  path = tmp_path / "test.csv"
  if table is not None:
    csv(tmp_path, table, "test.csv")
  with pytest.raises(config_lib.ConfigError, match=message) as caught:
    load(tmp_path, frame(), test_path=str(path))
  assert str(caught.value).startswith(f"config.data.test_path = '{path}': ")


def pictures(directory, n=20):
  """Grey squares, light ones of class b; returns their table."""
  names = [f"images/{i}.png" for i in range(n)]
  (directory / "images").mkdir(exist_ok=True)
  for i, name in enumerate(names):
    Image.new("L", (9, 7), 200 * (i % 2) + i).save(directory / name)
  return pd.DataFrame({"file": names, "kind": ["a", "b"] * (n // 2), "place": "x"})


def test_a_column_of_images(tmp_path):
  table = pictures(tmp_path)
  path = csv(tmp_path, table)
  found = data.read_table(path, label="kind", image="file", image_size=4)
  assert found.inputs() is found.images
  np.testing.assert_array_equal(found.images[3], np.full((4, 4, 3), 203))
  assert list(found.columns) == ["place"]
  again = data.read_table(table, label="kind", image="file", image_size=4, directory=tmp_path)
  np.testing.assert_array_equal(again.images, found.images)
  made = load(tmp_path, table, image="file", image_size=4)
  assert made.train_images.shape == (16, 4, 4, 3)
  assert made.feature_names == ()
  os.symlink(sys.executable, tmp_path / "images/link.png")
  (tmp_path / "images/bad.png").write_bytes(b"no image")
  for name, message in {
    "images/none.png": "'images/none.png' is no file in",
    "../up.png": "'../up.png' is not inside",
    "/etc/hostname": "'/etc/hostname' is not inside",
    "images/link.png": "'images/link.png' is not inside",
    None: "the path of the image is missing",
  }.items():
    table.loc[5, "file"] = name
    with pytest.raises(ValueError, match=rf"mine\.csv: column 'file', row 5: {message}"):
      data.read_table(csv(tmp_path, table), label="kind", image="file")
  table.loc[5, "file"] = "images/bad.png"
  with pytest.raises(ValueError, match=r"bad\.png' is no readable image \(UnidentifiedImageError"):
    data.read_table(csv(tmp_path, table), label="kind", image="file")


def config(path, **changes):
  fields = {"data.name": "table", "data.path": str(path), "data.label": "kind"}
  fields |= {"noise.kind": "given", "noise.rate": 0.0, "train.batch_size": 8}
  return config_lib.from_config_dict(conftest.small(**{**fields, **changes}))


def test_the_images_of_a_table_are_content_of_its_run(tmp_path):
  path = csv(tmp_path, pictures(tmp_path))
  made = config(path, **{"data.image": "file", "data.image_size": 4})
  first = contents.digests_of(made)
  assert list(first) == ["data.path"]
  assert contents.digests_of(made) == first
  Image.new("L", (9, 7), 1).save(tmp_path / "images/3.png")
  second = contents.digests_of(made)
  assert second != first
  path.write_text(path.read_text() + "images/3.png,b,y\n")
  assert contents.digests_of(made) not in (first, second)
  path.unlink()
  assert contents.digests_of(made) == {}


def test_rules():
  for changes, message in {
    "data.label=": r"config\.data\.label = '': needs the name",
    "data.path=": r"config\.data\.path = '': data\.name=table needs",
    "noise.labels=kind": r"noise\.labels = 'kind': must stay empty: .* those of data\.label",
    "data.true_label=kind": r"data\.true_label = 'kind': must be another column than data\.label",
    "data.id=kind": r"data\.id = 'kind': must be another column",
  }.items():
    with pytest.raises(config_lib.ConfigError, match=message):
      config("x.csv", **dict([changes.split("=")]))
  both = {"data.test_path": "t.csv", "data.test_share": 0.5}
  with pytest.raises(config_lib.ConfigError, match=r"data\.test_share = 0\.5: must stay 0\.2"):
    config("x.csv", **both)
  for name in ("label", "id", "test_path"):
    with pytest.raises(config_lib.ConfigError, match=rf"data\.{name} = 'x': must stay"):
      config_lib.from_config_dict(conftest.small(**{f"data.{name}": "x"}))
  assert config("x.csv").data.is_redrawn
  assert not config("x.csv", **{"data.test_path": "t.csv"}).data.is_redrawn
  assert config("x.csv").given_labels == "kind"


def test_the_test_file_is_content_of_its_run(tmp_path):
  path, other = csv(tmp_path, frame(40)), csv(tmp_path, frame(12), "test.csv")
  made = config(path, **{"data.test_path": str(other)})
  first = contents.digests_of(made)
  assert set(first) == {"data.path", "data.test_path"}
  csv(tmp_path, frame(14), "test.csv")
  with pytest.raises(
    reading.WorkdirError, match=r"test\.csv \(config\.data\.test_path\) has chang"
  ):
    contents.check(tmp_path / "run", made, first)


def test_a_student_of_clean_labels_that_nobody_knows(tmp_path, make_distillation):
  fields = {"data.name": "table", "data.path": str(csv(tmp_path, frame(60))), "data.label": "kind"}
  fields |= {"noise.kind": "given", "noise.rate": 0.0, "student.noise": "none"}
  with pytest.raises(config_lib.ConfigError, match=r"student\.noise = 'none': needs clean labels"):
    setup.prepare(make_distillation(**fields))


def wine(tmp_path):
  bunch = datasets.load_wine(as_frame=True)
  names = np.array(bunch.target_names)[bunch.target]
  table = bunch.data.assign(cultivar=names, id=[f"w{i}" for i in range(len(names))])
  return csv(tmp_path, table, "wine.csv")


def command(*flags):
  return subprocess.run(
    [sys.executable, "-m", "lsjax.main", "--config=table", *flags],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )


@pytest.mark.slow
def test_wine_from_a_file_to_a_report(tmp_path):
  """The command, resumed, with noisy test labels named wherever a number of theirs is."""
  path, workdir = wine(tmp_path), tmp_path / "run"
  flags = (f"--config.data.path={path}", "--config.data.label=cultivar", "--config.data.id=id")
  flags += ("--config.train.num_steps=200", "--config.train.eval_every=100")
  flags += ("--config.checkpoint.every=100", "--config.checkpoint.keep=3", f"--workdir={workdir}")
  done = command(*flags)
  assert done.returncode == 0, done.stderr
  assert "label noise: given, its rate unknown without clean labels" in done.stdout
  assert "test accuracy (noisy labels)" in done.stdout
  warnings = [line for line in done.stderr.splitlines() if "warning" in line]
  assert len(warnings) == 1
  assert "nobody checked the labels of the test set, 36 of 178 examples" in warnings[0]
  whole = files.read_json(workdir / "result.json")
  assert whole["final"]["test"]["accuracy"] > 0.9
  assert (whole["num_train"], whole["num_test"], whole["test_labels"]) == (142, 36, "noisy")
  about = files.read_json(workdir / "config.json")
  assert about["classes"] == ["class_0", "class_1", "class_2"]
  assert about["features"][:2] == ["alcohol", "malic_acid"]
  assert about["contents"].keys() == {"data.path"}

  read, model, variables = loading.load_run(workdir)
  dataset = data.load(read.data, given_labels=read.given_labels, seed=read.seed.data)
  predicted = np.asarray(model.apply(variables, dataset.test_images)).argmax(-1)
  accuracy = np.mean(predicted == dataset.test_labels)
  assert accuracy == pytest.approx(whole["final"]["test"]["accuracy"])

  (workdir / "result.json").unlink()
  shutil.rmtree(workdir / "checkpoints/200")
  assert directory_lib.latest_step(workdir) == 100
  resumed = execution.train_and_evaluate(read, workdir)
  assert resumed["final"] == whole["final"]
  assert "test accuracy (noisy labels)" in summary.table(resumed, workdir)

  cells = results.read(workdir).cells
  assert [(cell.test_is_noisy, cell.noise) for cell in cells] == [(True, "given labels cultivar")]
  _, caption = captions.words("parts", results.read(workdir), cells)
  assert "noisy test labels" in caption
  assert "clean test set" not in caption


def test_an_error_names_the_field_and_the_file(tmp_path):
  path = csv(tmp_path, frame(30))
  with pytest.raises(config_lib.ConfigError) as caught:
    setup.prepare(config(path, **{"data.label": "kinds"}))
  assert str(caught.value) == (
    f"config.data.path = '{path}': has no column 'kinds'; did you mean 'kind'?"
  )


def test_a_batch_larger_than_the_table_is_one_line(tmp_path):
  made = config(csv(tmp_path, frame(30)), **{"train.batch_size": 32})
  message = r"^config\.train\.batch_size = 32: must be at most the 24 training examples"
  with pytest.raises(config_lib.ConfigError, match=message):
    setup.prepare(made)


def test_a_path_in_a_home_directory(tmp_path, monkeypatch):
  wine(tmp_path).rename(tmp_path / "own.csv")
  monkeypatch.setenv("HOME", str(tmp_path))
  section = config_lib.Data(name="table", path="~/own.csv", label="cultivar", id="id")
  assert data.load(section, given_labels="cultivar").num_classes == 3
