"""A damaged cache of compiled programs heals: one warning, the same result, a good cache again."""

import os
import pathlib
import subprocess
import sys
import zlib

import pytest

from lsjax import compiled, files

ROOT = pathlib.Path(__file__).parent.parent


def entries(place):
  return sorted(place.glob("*-cache"))


@pytest.fixture
def cache(tmp_path):
  """A cache of three noted entries."""
  for i in range(3):
    (tmp_path / f"program{i}-cache").write_bytes(zlib.compress(bytes([i]) * 1000))
  assert compiled.check(tmp_path) == 0
  return tmp_path


def test_nothing_is_wrong(cache, capsys):
  before = (cache / compiled.INDEX).read_bytes()
  for path in entries(cache):
    os.utime(path, (1, 1))
  assert compiled.check(cache) == 0
  assert len(entries(cache)) == 3
  assert (cache / compiled.INDEX).read_bytes() != before  # with other stamps
  with compiled.healed(cache):
    (cache / "new-cache").write_bytes(zlib.compress(b"new"))
  assert "new-cache" in files.read_json(cache / compiled.INDEX)
  with compiled.healed(cache / "absent"), compiled.healed("gs://bucket/cache"):
    pass
  assert not (cache / "absent" / compiled.INDEX).exists()
  assert not capsys.readouterr().err


def test_an_empty_and_two_swapped_entries(cache, capsys):
  first, second, third = entries(cache)
  first.write_bytes(b"")
  second.rename(cache / "x")
  third.rename(second)
  (cache / "x").rename(third)
  for warnings in (1, 0):
    with compiled.healed(cache):
      assert entries(cache) == []
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == warnings
    assert all("3 damaged programs were dropped" in line for line in lines)


@pytest.mark.parametrize("content", [b"", zlib.compress(b"a" * 999)[:-3], b"\x28\xb5\x2f\xfd???"])
def test_entries_that_nobody_noted(tmp_path, content):
  """A process that was killed leaves them; a young one may be of a process that still writes."""
  if content.startswith(b"\x28"):
    pytest.importorskip("zstandard")
  (tmp_path / "whole-cache").write_bytes(zlib.compress(b"a"))
  torn = tmp_path / "torn-cache"
  torn.write_bytes(content)
  assert compiled.check(tmp_path) == 0
  os.utime(torn, (1, 1))
  assert compiled.check(tmp_path) == 1
  assert [path.name for path in entries(tmp_path)] == ["whole-cache"]


@pytest.mark.parametrize("content", ["", "{", "3", '{"program0-cache": 3}', "[" * 100_000])
def test_a_damaged_list(cache, content):
  (cache / compiled.INDEX).write_text(content)
  assert compiled.check(cache) == 0
  assert len(files.read_json(cache / compiled.INDEX)) == 3


@pytest.mark.slow
def test_a_run_with_a_damaged_cache(tmp_path):
  def run(name):
    args = ["--config=configs/digits_noisy.py", "--config.train.num_steps=2"]
    args += [f"--compilation_cache={tmp_path / 'cache'}", f"--workdir={tmp_path / name}"]
    done = subprocess.run(
      [sys.executable, "-m", "lsjax.main", *args],
      cwd=ROOT,
      capture_output=True,
      text=True,
      timeout=300,
    )
    assert done.returncode == 0, done.stderr
    warnings = done.stderr.count("arning")
    return (tmp_path / name / "result.json").read_bytes(), warnings

  plain, warnings = run("plain")
  assert not warnings
  found = sorted(entries(tmp_path / "cache"), key=lambda path: path.stat().st_size)
  contents = [path.read_bytes() for path in found]
  for path, content in zip(found[-4:], reversed(contents[-4:]), strict=True):
    path.write_bytes(content)
  found[0].write_bytes(b"")
  assert run("damaged") == (plain, 1)
  assert run("healed") == (plain, 0)
  assert {p.name for p in entries(tmp_path / "cache")} == {p.name for p in found}
