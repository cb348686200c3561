"""Data sets: the user's npz, small TFDS directories of the real features, what is refused."""

import importlib.util
import io
import pathlib
import shutil
import subprocess
import sys
import tarfile
import types

import jax
import numpy as np
import pytest
import requests
from sklearn import datasets

from lsjax import config as config_lib
from lsjax import data
from lsjax.data import augmentation, sources, streams, tfds
from lsjax.training import setup


def arrays(n=20, classes=4, **changes):
  rng = np.random.default_rng(0)
  return {
    "train_images": rng.integers(0, 256, (n, 6, 6, 3), dtype=np.uint8),
    "train_labels": np.arange(n) % classes,
    "test_images": rng.integers(0, 256, (8, 6, 6, 3), dtype=np.uint8),
    "test_labels": np.arange(8) % classes,
    "crawled": (np.arange(n) + 1) % classes,
    **changes,
  }


def load(tmp_path, given="", **changes):
  path = tmp_path / "d.npz"
  np.savez(path, **{k: v for k, v in arrays(**changes).items() if v is not None})
  return data.load(config_lib.Data(name="npz", path=str(path)), given_labels=given)


def test_npz(tmp_path):
  d = load(tmp_path)
  assert d.num_classes == 4
  np.testing.assert_array_equal(d.train_ids, np.arange(20))
  assert load(tmp_path, "crawled").train_labels is not None
  assert load(tmp_path, "crawled", train_labels=None).train_labels is None
  assert load(tmp_path, "train_labels").train_labels is None
  # The caller knows what to do about labels that are absent.
  assert load(tmp_path, train_labels=None).train_labels is None
  assert set(load(tmp_path, "absent").label_sets) == {"train_labels", "crawled"}
  assert load(tmp_path, "crawled", crawled=np.arange(20) % 7).num_classes == 7
  assert load(tmp_path, crawled=np.full(20, -1)).num_classes == 4  # not used
  vectors = load(tmp_path, train_images=np.ones((20, 5)), test_images=np.ones((8, 5)))
  assert vectors.train_images.dtype == np.float32


def test_what_an_npz_may_say_of_itself(tmp_path):
  d = load(tmp_path)
  assert (d.class_names, d.normalization, d.test_is_noisy, d.notes) == ((), None, False, ())
  mean, std = (0.5, 1.0, 2.0), (1.0, 2.0, 3.0)
  d = load(
    tmp_path,
    class_names=np.array(["cat", "dog", "cow", "emu", "fox"]),
    normalization_mean=np.array(mean),
    normalization_std=np.array(std),
    test_is_noisy=True,
  )
  assert d.class_names == ("cat", "dog", "cow", "emu", "fox")
  assert d.num_classes == 5  # and not the four that have an example
  assert d.normalization == (mean, std)
  assert d.test_is_noisy
  assert d.notes == ("test_is_noisy: test accuracy is agreement with noisy labels",)
  assert set(d.label_sets) == {"train_labels", "crawled"}
  assert load(tmp_path, class_names=np.array([0.5, 1, 2, 3])).class_names == (0.5, 1, 2, 3)


@pytest.mark.parametrize(
  ("changes", "given", "message"),
  [
    ({"train_images": None}, "", "has no train_images"),
    ({"test_labels": None}, "", "has no test_labels"),
    ({"train_images": np.zeros((20, 6, 6))}, "", "uint8 or float"),
    ({"train_images": np.zeros((20, 6), np.int64)}, "", "uint8 or float"),
    ({"test_images": np.zeros((8, 6, 6, 1), np.uint8)}, "", "differ in shape"),
    ({"train_images": np.full((20, 5), np.nan), "test_images": np.zeros((8, 5))}, "", "finite"),
    ({"train_labels": np.zeros(20, int)}, "", "one class"),
    ({"train_labels": np.zeros(20)}, "", "train_labels must be integers .*, not float64"),
    ({"train_labels": np.zeros(3, int)}, "", "train_labels holds 3 labels; 20 integers"),
    ({"test_labels": np.full(8, 9)}, "", r"^test_labels\[0\] = 9 is outside \[0, 4\) \(4 is one"),
    ({"test_labels": np.arange(8) % 4 + 1}, "", r"^test_labels\[3\] = 4 .*count from 1"),
    ({"test_labels": np.arange(8) - 1}, "", r"^test_labels\[0\] = -1 is outside \[0, "),
    ({"test_labels": np.full(8, np.nan)}, "", r"^test_labels\[0\] = nan is not an integer"),
    ({"train_labels": np.arange(20) - 4}, "", r"^train_labels\[0\] = -4 is outside \[0, "),
    ({"train_labels": np.arange(20) / 2}, "", r"^train_labels\[1\] = 0.5 is not an integer"),
    ({"crawled": -np.arange(20)}, "crawled", r"^crawled\[1\] = -1 is outside \[0, "),
    ({"crawled": np.full(20, np.nan)}, "crawled", r"^crawled\[0\] = nan is not an integer"),
    ({"crawled": np.zeros((20, 4), int)}, "crawled", r"^crawled must be integers \[N\]"),
    ({"test_images": np.zeros((0, 6, 6, 3), np.uint8)}, "", "empty"),
    ({"train_ids": np.zeros(20, int)}, "", "distinct .*; rows 0 and 1 have the same id 0$"),
    (
      {"train_images": np.eye(20, 5) * 1e60, "test_images": np.eye(8, 5)},
      "",
      r"^train_images\[0, 0\] = 1e\+60 is not finite in float32",
    ),
    (
      {"class_names": np.array(["a", "b", "c"])},
      "",
      r"^train_labels\[3\] = 3 is outside \[0, 3\) \(3 is the number of class_names\)",
    ),
    ({"class_names": np.array(["a", "b", "c", "a"])}, "", "^class_names must be distinct"),
    ({"class_names": np.zeros((2, 2))}, "", "^class_names must be distinct .*, not float64"),
    ({"normalization_mean": np.zeros(3)}, "", "^has normalization_mean alone; .* belong together"),
    (
      {"normalization_mean": np.zeros(2), "normalization_std": np.ones(3)},
      "",
      "^normalization_mean must be 3 finite numbers",
    ),
    (
      {"normalization_mean": np.zeros(3), "normalization_std": np.arange(3.0)},
      "",
      r"^normalization_std\[0\] = 0.0 must be positive",
    ),
    ({"test_is_noisy": np.array(1)}, "", "^test_is_noisy must be true or false, not int64"),
  ],
)
def test_npz_errors(tmp_path, changes, given, message):
  with pytest.raises(ValueError, match=message) as caught:
    load(tmp_path, given, **changes)
  assert "\n" not in str(caught.value)


def odd(tmp_path, given="", **changes):
  return data.remarks(load(tmp_path, given, **changes), given)


def test_remarks_on_classes_without_examples(tmp_path):
  assert odd(tmp_path) == []
  (remark,) = odd(tmp_path, test_labels=np.arange(8) % 3)
  assert remark == "test_labels has no example of 1 of the 4 classes (3)"
  remarks = odd(tmp_path, "crawled", crawled=np.where(np.arange(20) == 3, 255, np.arange(20) % 4))
  assert [r.partition(" has")[0] for r in remarks] == ["train_labels", "test_labels", "crawled"]
  assert remarks[2].endswith("no example of 251 of the 256 classes (4, 5, 6, ...)")


def test_remarks_on_labels_from_one(tmp_path):
  """In training and test labels alike they are in range, so that it cannot be an error."""
  ones = {"train_labels": np.arange(20) % 4 + 1, "test_labels": np.arange(8) % 4 + 1}
  for name, remark in zip(ones, odd(tmp_path, **ones), strict=True):
    assert remark.startswith(f"{name} holds 1 to 4 and no 0; classes are 0 to 4: subtract 1")
  assert odd(tmp_path, "train_labels") == []


@pytest.mark.parametrize("wrong", [14, 16])
def test_remarks_on_given_labels_that_are_wrong_too_often(tmp_path, wrong):
  """More often than three of four, as labels of four classes that are drawn at random are."""
  clean = np.arange(20) % 4
  remarks = odd(tmp_path, "crawled", crawled=np.where(np.arange(20) < wrong, clean + 1, clean) % 4)
  if wrong == 14:
    assert remarks == []
  else:
    (remark,) = remarks
    assert remark.startswith("crawled differs from train_labels in 80.0 % of the examples, more")
    assert "75.0 % of random labels" in remark


def test_npz_is_never_unpickled(tmp_path):
  np.savez(tmp_path / "d.npz", **arrays(evil=np.array([{"a": 1}], object)))
  with pytest.raises(ValueError, match="pickl"):
    data.load(config_lib.Data(name="npz", path=str(tmp_path / "d.npz")))


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (None, "^no such file$"),
    (b"", "^cannot be read as an .npz file"),
    (b"not a zip", "^cannot be read as an .npz file"),
    (b"PK\x03\x04 cut", "^cannot be read as an .npz file"),
    (b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }".ljust(127)
     + b"\n\x00", "^is a single array"),
  ],
)  # fmt: skip
def test_npz_unreadable(tmp_path, content, message):
  path = tmp_path / "d.npz"
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(ValueError, match=message):
    data.load(config_lib.Data(name="npz", path=str(path)))


def test_a_directory_is_no_npz(tmp_path):
  with pytest.raises(ValueError, match=r"^cannot be read as an \.npz file"):
    data.load(config_lib.Data(name="npz", path=str(tmp_path)))


def test_digits_and_gaussians():
  digits = data.load(config_lib.Data(name="digits"))
  assert digits.train_images.shape == (1437, 8, 8, 1)
  assert digits.test_images.shape == (360, 8, 8, 1)
  assert len(np.intersect1d(digits.train_ids, np.arange(1797))) == 1437
  points = data.load(config_lib.Data(name="gaussians"))
  bayes = (points.test_images.sum(1) < 0) == points.test_labels
  assert abs(bayes.mean() - 0.921) < 0.01  # Phi(sqrt 2)
  tight = data.load(config_lib.Data(name="gaussians", cluster_std=0.1, points=500))
  assert tight.train_images.shape == (500, 2)
  assert tight.test_images.shape == (10_000, 2)
  within = tight.test_images - np.where(tight.test_labels, -1, 1)[:, None]
  np.testing.assert_allclose(within.std(0), 0.1, rtol=0.03)
  assert abs(within.mean(0)).max() < 0.005


@pytest.mark.parametrize("name", ["digits", "gaussians"])
def test_redrawn_splits(name):
  """A data seed draws the split; ids name the images; the normalisation is that of every draw."""
  first, again, other = (data.load(config_lib.Data(name=name), seed=seed) for seed in (3, 3, 4))
  np.testing.assert_array_equal(first.train_images, again.train_images)
  np.testing.assert_array_equal(first.test_labels, again.test_labels)
  assert not np.array_equal(first.train_images, other.train_images)
  assert not np.array_equal(first.test_images, other.test_images)
  assert first.normalization == other.normalization
  for drawn in (first, other):
    mean, std = drawn.normalization
    np.testing.assert_allclose(mean, data.moments(drawn.train_images)[0], atol=0.1)
    np.testing.assert_allclose(std, data.moments(drawn.train_images)[1], rtol=0.04)
  images = [dict(zip(d.train_ids.tolist(), d.train_images)) for d in (first, other)]
  common = images[0].keys() & images[1].keys()
  assert all(np.array_equal(images[0][i], images[1][i]) for i in common)
  # Points are drawn anew, so that none has the id of another draw's.
  assert (len(common) > 1000) == (name == "digits")


def test_every_digit_is_in_one_part():
  digits = data.load(config_lib.Data(name="digits"), seed=7)
  every = [image.tobytes() for image in (*digits.train_images, *digits.test_images)]
  scikit = datasets.load_digits().images.astype(np.uint8)
  assert sorted(every) == sorted(image.tobytes() for image in scikit)


@pytest.mark.parametrize("is_found", [True, False])
def test_digits_are_those_of_scikit_learn(is_found, monkeypatch):
  """Read from its file, and by itself where the file is not found."""
  sources._digits.cache_clear()
  if not is_found:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  images, labels = sources._digits()
  sources._digits.cache_clear()
  scikit = datasets.load_digits()
  np.testing.assert_array_equal(images[..., 0], scikit.images)
  np.testing.assert_array_equal(labels, scikit.target)
  assert (images.dtype, labels.dtype) == (np.uint8, scikit.target.dtype)


def test_moments():
  images = np.random.default_rng(0).integers(0, 256, (5000, 3, 2, 3), dtype=np.uint8)
  images[..., 2] = 7
  mean, std = data.moments(images)
  np.testing.assert_allclose(mean, images.mean((0, 1, 2)), rtol=1e-9)
  np.testing.assert_allclose(std[:2], images[..., :2].std((0, 1, 2)), rtol=1e-9)
  assert std[2] == 1


def cifar_archive(path, prefix, members):
  with tarfile.open(path, "w:gz") as tar:
    for name, content in members.items():
      entry = tarfile.TarInfo(prefix + name)
      entry.size = len(content)
      tar.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_tfds_is_prepared_and_read_without_tensorflow(tmp_path, monkeypatch, name):
  """The real builder on an archive in CIFAR's own format, its download replaced by a file."""
  with tfds.quiet_tensorflow_datasets():
    from tensorflow_datasets.core.download import download_manager

  classes, num_labels, per_file = {"cifar10": (10, 1, 4), "cifar100": (100, 2, 20)}[name]
  rng = np.random.default_rng(0)
  records, members = [], {}
  files = [f"data_batch_{i}.bin" for i in range(1, 6)] if name == "cifar10" else ["train.bin"]
  for file in [*files, "test_batch.bin" if name == "cifar10" else "test.bin"]:
    batch = rng.integers(0, 256, (per_file, num_labels + 3072), dtype=np.uint8)
    batch[:, :num_labels] = rng.integers(0, 10, (per_file, num_labels))
    records.append(batch)
    members[file] = batch.tobytes()
  label_files = {
    "cifar10": {"batches.meta.txt": 10},
    "cifar100": {"coarse_label_names.txt": 20, "fine_label_names.txt": 100},
  }[name]
  for file, count in label_files.items():
    members[file] = "\n".join(f"name{i}" for i in range(count)).encode() + b"\n"
  prefix = {"cifar10": "cifar-10-batches-bin/", "cifar100": "cifar-100-binary/"}[name]
  cifar_archive(tmp_path / "a.tar.gz", prefix, members)
  asked = []

  def download(self, url):
    asked.append(url)
    assert url in self._url_infos  # TFDS's checksum of the real file is in force
    return tmp_path / "a.tar.gz"

  monkeypatch.setattr(download_manager.DownloadManager, "download", download)
  monkeypatch.setattr(tfds, "_check_reachable", lambda url: None)
  config = config_lib.Data(name=name, data_dir=str(tmp_path / "tfds"))
  first = data.load(config)
  train = np.concatenate(records[:-1])
  np.testing.assert_array_equal(
    first.train_images, train[:, num_labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
  )
  np.testing.assert_array_equal(first.train_labels, train[:, num_labels - 1])
  np.testing.assert_array_equal(first.test_labels, records[-1][:, num_labels - 1])
  assert first.train_ids[3] == "train_00003"
  assert first.num_classes == classes
  assert list(first.label_sets) == (["coarse_label"] if name == "cifar100" else [])
  assert "tensorflow" not in sys.modules
  again = data.load(config)  # from the cache
  np.testing.assert_array_equal(again.train_images, first.train_images)
  assert len(asked) == 1
  cache = next((tmp_path / "tfds").glob("*/*/lsjax_train_*.npz"))
  cache.write_bytes(b"cut off")
  np.testing.assert_array_equal(data.load(config).train_images, first.train_images)
  # A damaged record, then a directory that is gone: one line each.
  cache.unlink()
  record = next(cache.parent.glob("*train.array_record*"))
  content = bytearray(record.read_bytes())
  content[len(content) // 3 : len(content) // 3 + 4000] = bytes(4000)
  record.write_bytes(content)
  with pytest.raises(ValueError, match=r"^holds a train split that cannot be read: ") as caught:
    data.load(config)
  assert "\n" not in str(caught.value)
  assert not cache.exists()
  shutil.rmtree(tmp_path / "tfds")
  monkeypatch.setattr(tfds, "_check_reachable", lambda url: 1 / 0)
  with pytest.raises(ValueError, match=f"^has no {name} in .*, and it cannot be prepared"):
    data.load(config)


@pytest.mark.parametrize("name", ["cifar10", "cifar10_n"])
def test_missing_tfds_without_network(tmp_path, monkeypatch, name):
  def head(url, timeout):
    raise requests.ConnectionError("no\nnetwork")

  monkeypatch.setattr(requests, "head", head)
  with pytest.raises(ValueError, match=f"^has no {name} in {tmp_path}/{name}") as caught:
    data.load(config_lib.Data(name=name, data_dir=str(tmp_path)))
  assert "\n" not in str(caught.value)
  assert not list(tmp_path.iterdir())


def test_a_directory_that_tfds_cannot_read(tmp_path):
  (tmp_path / "cifar10/3.0.2").mkdir(parents=True)
  (tmp_path / "cifar10/3.0.2/dataset_info.json").write_text("no\njson")
  with pytest.raises(ValueError, match=r"^cannot be opened by TFDS \(") as caught:
    data.load(config_lib.Data(name="cifar10", data_dir=str(tmp_path)))
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_tfds_label_that_is_no_class(tmp_path, monkeypatch, split):
  feature = types.SimpleNamespace(num_classes=10)
  builder = types.SimpleNamespace(
    data_dir=tmp_path, info=types.SimpleNamespace(features={"label": feature})
  )
  builder.is_prepared = lambda: True
  monkeypatch.setattr(tfds, "_builder", lambda name, data_dir: builder)

  def decoded(builder, name):
    label = np.array([3, 1, 10 if name == split else 9])
    return {"id": np.arange(3), "image": np.zeros((3, 2, 2, 3), np.uint8), "label": label}

  monkeypatch.setattr(tfds, "_decoded", decoded)
  with pytest.raises(ValueError, match=rf"^{tmp_path}: {split} label\[2\] = 10 is outside \[0, 10"):
    data.load(config_lib.Data(name="cifar10"))


@pytest.mark.parametrize("label", [-1, 4])
def test_a_streamed_label_that_is_no_class(label):
  class Records(list):
    def __getitems__(self, indices):
      return [self[i] for i in indices]

  rows = [{"image": b"", "label": np.int64(k), "id": f"i{k}"} for k in (3, label)]
  source = streams.Source(Records(rows), "/there", "id", 4)
  assert source[0]["label"] == 3
  with pytest.raises(streams.DataError, match=rf"^label {label} of i{label} in /there is outside"):
    source.labels([0, 1])


def prepare_npz(tmp_path, make_config, name="d.npz", **changes):
  path = tmp_path / name
  np.savez(path, **arrays(**changes))
  fields = {"data.name": "npz", "data.path": str(path), "train.batch_size": 4}
  fields |= {"noise.kind": "given", "noise.labels": "crawled"}
  return setup.prepare(make_config(**fields))


def test_remarks_are_printed_once(tmp_path, make_config, capsys):
  """In one line each, which names the file."""
  for _ in range(2):
    prepare_npz(tmp_path, make_config)  # the crawled labels are shifted
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f"lsjax: warning: config.data.path = '{tmp_path}/d.npz': crawled differs")
  prepare_npz(tmp_path, make_config, "other.npz", crawled=np.arange(20) % 4)
  assert capsys.readouterr().err == ""


def test_a_wrong_label_is_an_error_about_the_file(tmp_path, make_config):
  with pytest.raises(config_lib.ConfigError) as caught:
    prepare_npz(tmp_path, make_config, crawled=np.arange(20) - 1)
  message = f"config.data.path = '{tmp_path}/d.npz': crawled[0] = -1 is outside [0, 2^31)"
  assert str(caught.value) == message


def test_files_without_random_access(tmp_path, monkeypatch):
  class Builder:
    data_dir, info = tmp_path, types.SimpleNamespace(features={})

    def is_prepared(self):
      return True

    def as_data_source(self, split, decoders):
      raise NotImplementedError("no random access\nto tfrecord")

  monkeypatch.setattr(tfds, "_builder", lambda name, data_dir: Builder())
  with pytest.raises(ValueError, match=r"^must hold array_record files.* access to tfrecord\)$"):
    data.load(config_lib.Data(name="cifar10"))


def test_nothing_heavy_is_imported_before_it_is_needed():
  code = "import sys, lsjax.data.streams; print(*{n.split('.')[0] for n in sys.modules})"
  root = pathlib.Path(__file__).parent.parent
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=120
  )
  heavy = {"jax", "sklearn", "pandas", "pyarrow", "PIL", "requests", "tqdm", "grain"}
  heavy |= {"tensorflow_datasets"}
  assert not set(done.stdout.split()) & heavy


def test_crop_and_flip():
  """Against slices of padded arrays, image by image."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
  offsets = np.asarray(augmentation.crop_offsets(jax.random.key(0), 6, 2))
  flipped = np.array([True, False, True, False, False, True])
  result = np.asarray(augmentation.flip(augmentation.crop(images, offsets, 2), flipped))
  padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
  for i, (row, column) in enumerate(offsets):
    expected = padded[i, row : row + 5, column : column + 4]
    np.testing.assert_array_equal(result[i], expected[:, ::-1] if flipped[i] else expected)
  many = np.asarray(augmentation.crop_offsets(jax.random.key(1), 4000, 2))
  assert (np.stack([(many == i).mean(0) for i in range(5)]) > 0.17).all()  # of 1/5
  np.testing.assert_array_equal(augmentation.crop(images, np.full((6, 2), 2), 2), images)


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_of_a_batch_are_augmented_as_the_whole(parts):
  images = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 1), dtype=np.uint8)
  kwargs = {"crop_padding": 2, "random_flip": True}
  whole = augmentation.augment(jax.random.key(3), images, part=0, parts=1, **kwargs)
  divided = [
    augmentation.augment(jax.random.key(3), chunk, part=i, parts=parts, **kwargs)
    for i, chunk in enumerate(np.split(images, parts))
  ]
  np.testing.assert_array_equal(np.concatenate(divided), whole)
  assert (np.asarray(whole) != images).any((1, 2, 3)).sum() > 8
  vectors = np.ones((4, 3), np.float32)
  unchanged = augmentation.augment(
    jax.random.key(3), vectors, crop_padding=0, random_flip=False, part=0, parts=1
  )
  np.testing.assert_array_equal(unchanged, vectors)
