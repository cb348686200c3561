"""Small files: whole or not at all, on a disk and in a bucket."""

import sys

import fsspec
import numpy as np
import pytest
from fsspec.implementations import memory

from lsjax import checkpoint, files, record, train


@pytest.fixture
def bucket(monkeypatch):
  """gs:// without a network: what epath does with a bucket, in memory."""

  class Memory(memory.MemoryFileSystem):
    protocol = "gs"
    store, pseudo_dirs = {}, [""]

    def __init__(self, **_):
      super().__init__()

    @classmethod
    def _strip_protocol(cls, path):
      return "/" + path.removeprefix("gs://").removeprefix("gcs://").strip("/")

  for name in ("gs", "gcs"):
    fsspec.register_implementation(name, Memory, clobber=True)
  monkeypatch.setitem(sys.modules, "tensorflow", None)
  yield "gs://bucket/run"
  Memory.store.clear()


@pytest.fixture(params=["disk", "bucket"])
def directory(request, tmp_path):
  return files.path(
    tmp_path / "run" if request.param == "disk" else request.getfixturevalue("bucket")
  )


def test_whole_or_not_at_all(directory):
  path = directory / "a.json"
  files.write_json(path, {"a": 1})
  with pytest.raises(ZeroDivisionError), files.replacing(path) as f:
    print(f.write(b"half") // 0)
  assert files.read_json(path) == {"a": 1}
  files.write_json(path, {"a": 2})
  assert files.read_json(path) == {"a": 2}
  assert [p.name for p in directory.iterdir()] == ["a.json"]


def test_rows(directory):
  path = directory / "metrics.jsonl"
  rows = files.Rows(path, [{"step": 1}])
  rows.add({"step": 2})
  assert files.read_rows(path) == [{"step": 1}, {"step": 2}]  # before it is closed
  rows.close()
  rows = files.Rows(path, [{"step": 1}])
  rows.add({"step": 3})
  rows.close()
  assert files.read_rows(path) == [{"step": 1}, {"step": 3}]


def test_lock(directory):
  """On a disk one of two has it; in a bucket nobody can be refused."""
  with files.locked(directory) as first, files.locked(directory) as second:
    assert first
    assert second is not files.is_local(directory)


class Checkpoints:
  """Stands for `checkpoint.Checkpoints`, whose own storage speaks to real buckets alone."""

  def __init__(self, workdir, *, keep=None):
    self.states = {}

  def latest(self):
    return max(self.states, default=None)

  def save(self, at_step, state):
    self.states[at_step] = state

  def wait(self):
    pass

  close = wait


def test_run_in_a_bucket(tmp_path, bucket, monkeypatch, make_config):
  """Every file but checkpoints and events, as on a disk."""
  config = make_config()
  monkeypatch.setattr(checkpoint, "Checkpoints", Checkpoints)
  there = train.train_and_evaluate(config, bucket)
  assert there == train.train_and_evaluate(config, tmp_path)
  names = {p.name for p in tmp_path.iterdir() if "tfevents" not in p.name}
  assert {p.name for p in files.path(bucket).iterdir()} == names
  for name in ("result.json", "metrics.jsonl"):
    assert (files.path(bucket) / name).read_bytes() == (tmp_path / name).read_bytes()
  with (files.path(bucket) / "noise.npz").open("rb") as f, np.load(f) as arrays:
    assert len(arrays["noisy_labels"]) == 1437
  assert record.finished_result(config, bucket) == there
