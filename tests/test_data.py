"""Data sets: the user's npz, small TFDS directories of the real features, what is refused."""

import io
import shutil
import tarfile

import numpy as np
import pytest
import requests

from lsjax import config as config_lib
from lsjax import data


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
  vectors = load(tmp_path, train_images=np.ones((20, 5)), test_images=np.ones((8, 5)))
  assert vectors.train_images.dtype == np.float32


@pytest.mark.parametrize(
  ("changes", "given", "message"),
  [
    ({"train_images": None}, "", "has no train_images"),
    ({"test_labels": None}, "", "has no test_labels"),
    ({"train_labels": None}, "", "no train_labels"),
    ({}, "absent", "config.noise.labels = 'absent'"),
    ({"train_images": np.zeros((20, 6, 6))}, "", "uint8 or float"),
    ({"train_images": np.zeros((20, 6), np.int64)}, "", "uint8 or float"),
    ({"test_images": np.zeros((8, 6, 6, 1), np.uint8)}, "", "differ in shape"),
    ({"train_images": np.full((20, 5), np.nan), "test_images": np.zeros((8, 5))}, "", "finite"),
    ({"train_labels": np.zeros(20, int)}, "", "one class"),
    ({"train_labels": np.zeros(20)}, "", "integers"),
    ({"train_labels": np.zeros(3, int)}, "", "20 integers"),
    ({"test_labels": np.full(8, 9)}, "", "test label 9"),
    ({"test_images": np.zeros((0, 6, 6, 3), np.uint8)}, "", "empty"),
    ({"train_ids": np.zeros(20, int)}, "", "distinct"),
  ],
)
def test_npz_errors(tmp_path, changes, given, message):
  with pytest.raises(config_lib.ConfigError, match=message) as caught:
    load(tmp_path, given, **changes)
  assert "\n" not in str(caught.value)


def test_npz_is_never_unpickled(tmp_path):
  np.savez(tmp_path / "d.npz", **arrays(evil=np.array([{"a": 1}], object)))
  with pytest.raises(config_lib.ConfigError, match="pickl"):
    data.load(config_lib.Data(name="npz", path=str(tmp_path / "d.npz")))


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04 cut"])
def test_npz_unreadable(tmp_path, content):
  path = tmp_path / "d.npz"
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(config_lib.ConfigError, match=r"config\.data\.path"):
    data.load(config_lib.Data(name="npz", path=str(path)))


def test_digits_and_gaussians():
  digits = data.load(config_lib.Data(name="digits"))
  assert digits.train_images.shape == (1437, 8, 8, 1)
  assert digits.test_images.shape == (360, 8, 8, 1)
  assert len(np.intersect1d(digits.train_ids, np.arange(1797))) == 1437
  points = data.load(config_lib.Data(name="gaussians"))
  bayes = (points.test_images.sum(1) < 0) == points.test_labels
  assert abs(bayes.mean() - 0.921) < 0.01  # Phi(sqrt 2)


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
  import sys

  with data.quiet_tensorflow_datasets():
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
  monkeypatch.setattr(data, "_check_reachable", lambda url: None)
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
  with pytest.raises(config_lib.ConfigError, match="train split that cannot be read") as caught:
    data.load(config)
  assert "\n" not in str(caught.value)
  assert not cache.exists()
  shutil.rmtree(tmp_path / "tfds")
  monkeypatch.setattr(data, "_check_reachable", lambda url: 1 / 0)
  with pytest.raises(config_lib.ConfigError, match="cannot be prepared"):
    data.load(config)


@pytest.mark.parametrize("name", ["cifar10", "cifar10_n"])
def test_missing_tfds_without_network(tmp_path, monkeypatch, name):
  def head(url, timeout):
    raise requests.ConnectionError("no\nnetwork")

  monkeypatch.setattr(requests, "head", head)
  with pytest.raises(config_lib.ConfigError, match=f"config.data.name = '{name}'") as caught:
    data.load(config_lib.Data(name=name, data_dir=str(tmp_path)))
  assert "\n" not in str(caught.value)
  assert not list(tmp_path.iterdir())
