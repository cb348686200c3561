"""Small files: whole or not at all, on a disk and in a bucket."""

import functools
import os
import sys

import fsspec
import numpy as np
import pytest
from fsspec.implementations import memory

from lsjax import files
from lsjax.runs import directory as directory_lib
from lsjax.runs import execution


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


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
  full = functools.partial(open, "/dev/full")
  monkeypatch.setattr(files, "open", lambda _, mode: full(mode.replace("x", "w")), raising=False)
  with pytest.raises(OSError, match=r"No space left on device: '.*/a\.json'$"):
    files.write_json(tmp_path / "a.json", {})


@pytest.mark.parametrize("read", [files.read_json, files.read_rows, files.read_bytes])
def test_what_never_ends_is_not_read(tmp_path, read):
  os.mkfifo(tmp_path / "pipe")
  (tmp_path / "zero").symlink_to("/dev/zero")
  for name in ("pipe", "zero"):
    with pytest.raises(OSError, match="it is a device or a pipe, not a regular file"):
      read(tmp_path / name)
  (tmp_path / "a").write_text('{"x": 1}\n')
  (tmp_path / "link").symlink_to("a")
  assert read(tmp_path / "link")


def test_rows(directory):
  path = directory / "metrics.jsonl"
  rows = files.Rows(path, [{"step": 1}])
  rows.add(files.line({"step": 2}))
  assert files.read_rows(path) == [{"step": 1}, {"step": 2}]  # before it is closed
  rows.close()
  rows = files.Rows(path, [{"step": 1}])
  rows.add(files.line({"step": 3}))
  rows.close()
  assert files.read_rows(path) == [{"step": 1}, {"step": 3}]


def test_only_a_last_row_may_be_cut_off(directory):
  path = files.path(directory) / "rows.jsonl"
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text('{"step": 1}\n{"step": 2}\n{"st')
  assert files.read_rows(path) == [{"step": 1}, {"step": 2}]
  for damaged in ('{"step": 1}\n{"st\n{"step": 3}\n', '{"step": 1}\n7\n{"step": 3}\n'):
    path.write_text(damaged)
    with pytest.raises(ValueError, match=r"rows.jsonl, line 2: is not a JSON object"):
      files.read_rows(path)
  path.unlink()  # the bucket outlives the test


def test_a_damaged_log_is_not_resumed(tmp_path, make_config):
  """Rows that are lost in the middle would be missing from result.json without a word."""
  config = make_config()
  execution.train_and_evaluate(config, tmp_path)
  (tmp_path / "result.json").unlink()
  path = tmp_path / "metrics.jsonl"
  lines = path.read_text().splitlines(keepends=True)
  path.write_text("".join([lines[0], lines[1][:9] + "\n", *lines[2:]]))
  with pytest.raises(directory_lib.WorkdirError, match=r"metrics.jsonl is damaged .*line 2"):
    execution.train_and_evaluate(config, tmp_path)


def test_permissions_follow_the_umask_which_nobody_touches(tmp_path, monkeypatch):
  """A process-wide umask that changes, however briefly, leaks into files of other threads."""
  before = os.umask(0o027)
  monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was changed"))
  try:
    files.write_json(tmp_path / "new.json", {})
  finally:
    monkeypatch.undo()
    os.umask(before)
  assert (tmp_path / "new.json").stat().st_mode & 0o777 == 0o640


class Checkpoints:
  """Stands for `checkpoints_lib.Checkpoints`, whose own storage speaks to real buckets alone."""

  def __init__(self, workdir, *, keep=None):
    self.states = {}

  def latest(self):
    return max(self.states, default=None)

  def save(self, at_step, state, facts):
    self.states[at_step] = state

  def wait(self):
    pass

  close = wait


def test_run_in_a_bucket(tmp_path, bucket, monkeypatch, make_config):
  """Every file but checkpoints and events, as on a disk."""
  config = make_config()
  monkeypatch.setattr(directory_lib, "Checkpoints", Checkpoints)
  there = execution.train_and_evaluate(config, bucket)
  assert there == execution.train_and_evaluate(config, tmp_path)
  names = {p.name for p in tmp_path.iterdir() if "tfevents" not in p.name}
  assert {p.name for p in files.path(bucket).iterdir()} == names
  for name in ("result.json", "metrics.jsonl"):
    assert (files.path(bucket) / name).read_bytes() == (tmp_path / name).read_bytes()
  with (files.path(bucket) / "noise.npz").open("rb") as f, np.load(f) as arrays:
    assert len(arrays["noisy_labels"]) == 1437
  assert directory_lib.finished_result(config, bucket) == there
