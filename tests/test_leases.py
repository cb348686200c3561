"""Leases: one holder at a time on any hosts, with locks of the file system that do nothing."""

import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap

import ml_collections
import pytest
from conftest import small
from test_faults import assert_same_run, memory_disk
from tqdm import tqdm

from lsjax import files
from lsjax.runs import execution, leases, processes
from lsjax.runs.reading import WorkdirError
from lsjax.sweeps import cells, plan
from lsjax.sweeps import execution as sweep_execution

ROOT = pathlib.Path(__file__).parent.parent


def start(script, *args, before=()):
  """Starts a Python process, whose output can be read."""
  return subprocess.Popen(
    [*before, sys.executable, "-c", textwrap.dedent(script), *map(str, args)],
    cwd=ROOT,
    env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def lease_file(directory):
  (file,) = (directory / ".lease").iterdir()
  return file


def held(directory, text=None, **changes):
  """Leaves a lease as another process would that differs from this one by some fields."""
  (directory / ".lease").mkdir(parents=True)
  holder = dataclasses.replace(processes.this_process(), **changes)
  (directory / ".lease/of another").write_text(holder.to_json() if text is None else text)
  return directory


@pytest.fixture
def clock(monkeypatch):
  """A clock of this process that stands still until a test moves it, or until it sleeps."""

  class Clock:
    now = 1000.0

    def monotonic(self):
      return self.now

    def sleep(self, seconds):
      self.now += seconds

  clock = Clock()
  monkeypatch.setattr(leases, "time", clock)
  return clock


def test_one_holder_that_leaves_nothing_behind(tmp_path):
  directory = tmp_path / "a/run"
  with leases.claim(directory) as lease:
    lease.check()
    with pytest.raises(leases.InUseError, match=r"in use by another process \(process \d+ on "):
      leases.Watch().lease(directory)
  assert list(directory.iterdir()) == []
  leases.Watch().lease(directory).release()
  assert list(directory.iterdir()) == []


def test_nobody_is_refused_in_a_bucket():
  with leases.claim("gs://bucket/run") as one, leases.claim("gs://bucket/run") as other:
    one.check(), other.check()


@pytest.mark.parametrize("why", ["gone", "another process with its number", "zombie"])
def test_a_dead_holder_on_this_host_is_no_hindrance(tmp_path, why):
  child = subprocess.Popen(["true"])
  os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
  changes = {"pid": child.pid}
  if why == "zombie":
    changes["start"] = processes._state_and_start(str(child.pid))[1]
  elif why == "gone":
    child.wait()
  else:
    changes = {"start": "1"}
  held(tmp_path, **changes)
  with leases.claim(tmp_path):
    assert lease_file(tmp_path).name != "of another"
  child.wait()


def test_a_suspended_holder_on_this_host_keeps_its_lease(tmp_path, clock):
  with subprocess.Popen(["sleep", "60"]) as child:
    child.send_signal(signal.SIGSTOP)
    held(tmp_path, pid=child.pid, start=processes._state_and_start(str(child.pid))[1])
    watch = leases.Watch()
    for _ in range(100):
      with pytest.raises(leases.InUseError) as caught:
        watch.lease(tmp_path)
      assert caught.value.is_alive
      clock.now += 5
    child.kill()


FOREIGN = [{"host": "elsewhere"}, {"kernel": ["another boot"]}, {"kernel": []}, {"text": "{}"}]


@pytest.mark.parametrize("changes", FOREIGN)
def test_a_silent_holder_elsewhere_is_taken_for_dead(tmp_path, clock, changes, capsys):
  """Its number says nothing here, although it is that of a process which lives: this one."""
  held(tmp_path, pid=os.getpid(), **changes) if "text" not in changes else held(tmp_path, **changes)
  begin = clock.now
  with leases.claim(tmp_path) as lease:
    assert clock.now - begin == leases.SILENCE_SECONDS
    lease.check()
  assert capsys.readouterr().out.count("waiting up to 60 s for a sign of life") == 1


@pytest.mark.parametrize("changes", FOREIGN)
def test_a_holder_elsewhere_that_shows_life_is_in_the_way(tmp_path, clock, changes, monkeypatch):
  """As soon as it is seen to live, although its clock may be years behind."""
  held(tmp_path, **{"pid": 2**31 - 1, **changes} if "text" not in changes else changes)
  waited = []

  def sleep(seconds):
    waited.append(seconds)
    clock.now += seconds
    if len(waited) % 5 == 0:
      os.utime(lease_file(tmp_path), (len(waited), len(waited)))

  monkeypatch.setattr(clock, "sleep", sleep)
  with pytest.raises(leases.InUseError, match="in use by another process"), leases.claim(tmp_path):
    pass
  assert sum(waited) == 5


def test_a_watch_counts_silence_by_looks(tmp_path, clock):
  """An hour between two looks may be an hour in which the disk answered nobody."""
  held(tmp_path, host="elsewhere")
  watch = leases.Watch()
  looks = 0
  while True:
    looks += 1
    try:
      watch.lease(tmp_path).release()
      break
    except leases.InUseError as error:
      assert not error.is_alive
      clock.now += 3600
  assert looks == 1 + leases.SILENCE_SECONDS / leases.BEAT_SECONDS


def test_a_holder_that_shows_life_at_the_last_moment_keeps_its_lease(tmp_path, clock, monkeypatch):
  held(tmp_path, host="elsewhere")
  rename = os.rename

  def touch_and_rename(source, target):
    if pathlib.Path(source).name == "of another":
      os.utime(source)
    rename(source, target)

  monkeypatch.setattr(leases.os, "rename", touch_and_rename)
  with pytest.raises(leases.InUseError), leases.claim(tmp_path):
    pass
  assert lease_file(tmp_path).name == "of another"


def test_a_lost_lease_is_told_in_one_line_and_left_to_its_new_holder(tmp_path):
  with leases.claim(tmp_path) as lease:
    shutil.rmtree(tmp_path / ".lease")
    held(tmp_path)
    with pytest.raises(leases.LostError) as caught:
      lease.check()
  assert f"{tmp_path} was taken over by another process" in str(caught.value)
  assert str(caught.value).isprintable()
  assert lease_file(tmp_path).name == "of another"


def test_a_directory_that_cannot_be_written_is_told_in_one_line(tmp_path):
  for options in ("ro", "nr_inodes=2"):
    with memory_disk(tmp_path / options, options):
      claim = leases.claim(tmp_path / options)
      with pytest.raises(WorkdirError, match="cannot be written") as caught:
        claim.__enter__()
      assert str(caught.value).isprintable()
      assert list((tmp_path / options).iterdir()) == []


RACE = """
  import dataclasses, os, pathlib, signal, sys
  from lsjax.runs import leases, processes

  leases.SILENCE_SECONDS = leases.BEAT_SECONDS = 0.02
  signal.alarm(60)
  for number in range(20):
    place = pathlib.Path(sys.argv[1]) / str(number)
    (place / ".lease").mkdir(parents=True)
    changes = {"host": "elsewhere"} if number % 2 else {"start": "1"}
    record = dataclasses.replace(processes.this_process(), **changes).to_json()
    (place / ".lease/of another").write_text(record)
    begin, end = os.pipe(), os.pipe()
    for _ in range(8):
      if os.fork():
        continue
      os.close(begin[1]), os.close(end[1])
      os.read(begin[0], 1)  # until all are there
      watch = leases.Watch()
      while True:
        try:
          lease = watch.lease(place)
        except leases.InUseError as error:
          if error.is_alive:
            os._exit(0)
          continue
        os.read(end[0], 1)  # until all others have lost
        try:
          lease.check()
        finally:
          os._exit(1)
    os.close(begin[1])
    codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(7)]
    os.close(end[1])
    codes.append(os.waitstatus_to_exitcode(os.wait()[1]))
    os.close(begin[0]), os.close(end[0])
    print(codes)
"""


def test_one_of_eight_processes_takes_a_stale_lease(tmp_path):
  """Each round has one winner, who comes last because he waits for the others to lose."""
  out, errors = start(RACE, tmp_path).communicate(timeout=100)
  assert out.splitlines() == [str([0] * 7 + [1])] * 20, errors


HOLDER = """
  import os, pathlib, signal, socket, sys, time
  from conftest import small
  from lsjax import config
  from lsjax.runs import execution, leases

  socket.gethostname = lambda: "elsewhere"
  leases.BEAT_SECONDS = 0.05

  def suspend(at_step):
    if at_step == int(sys.argv[2]):
      # What is being written when the lease is lost cannot be called back.
      while list(pathlib.Path(sys.argv[1]).glob("checkpoints/*tmp*")):
        time.sleep(0.02)
      os.kill(os.getpid(), signal.SIGSTOP)

  made = config.from_config_dict(small())
  try:
    execution.train_and_evaluate(made, sys.argv[1], on_call=suspend)
  except leases.LostError as error:
    print(error)
"""


def contents(directory):
  """The files that a run's next process reads, and when they were written."""
  paths = [p for p in directory.rglob("*") if p.is_file() and "tfevents" not in p.name]
  return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in paths}


@pytest.mark.parametrize("at_step", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_a_holder_that_wakes_after_the_takeover_writes_nothing(
  tmp_path, make_config, monkeypatch, at_step
):
  """Suspended before its first checkpoint, and between it and the last."""
  monkeypatch.setattr(leases, "SILENCE_SECONDS", 1.0)
  monkeypatch.setattr(leases, "BEAT_SECONDS", 0.2)
  with start(HOLDER, tmp_path / "shared", at_step) as holder:
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    execution.train_and_evaluate(make_config(), tmp_path / "shared")
    before = contents(tmp_path / "shared")
    holder.send_signal(signal.SIGCONT)
    out, errors = holder.communicate(timeout=60)
  assert "was taken over by another process" in out, errors
  assert contents(tmp_path / "shared") == before
  execution.train_and_evaluate(make_config(), tmp_path / "alone")
  assert_same_run(tmp_path / "shared", tmp_path / "alone")


def test_a_killed_run_is_resumed_at_once_on_its_host(tmp_path, make_config, clock):
  with start(HOLDER.replace("socket.gethostname", "_"), tmp_path / "shared", 4) as holder:
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    with pytest.raises(leases.InUseError, match=f"process {holder.pid} on "):
      execution.train_and_evaluate(make_config(), tmp_path / "shared")
    holder.kill()
  execution.train_and_evaluate(make_config(), tmp_path / "shared")
  assert clock.now == 1000
  execution.train_and_evaluate(make_config(), tmp_path / "alone")
  assert_same_run(tmp_path / "shared", tmp_path / "alone")


def test_a_run_that_a_sweep_loses_is_left_to_its_new_holder(
  tmp_path, make_config, monkeypatch, capsys
):
  """The sweep goes on with its other run, and takes the lost one up once its holder lets go."""
  configs = [make_config(**{"seed.init": seed}) for seed in range(2)]
  runs = [plan.PlannedRun(c, tmp_path / str(i)) for i, c in enumerate(configs)]

  def lose(at_step):
    if at_step == 4 and not (tmp_path / "1/result.json").exists():
      shutil.rmtree(tmp_path / "0/.lease")
      held(tmp_path / "0")

  def let_go(_):
    assert (tmp_path / "1/result.json").exists()
    assert not (tmp_path / "0/result.json").exists()
    shutil.rmtree(tmp_path / "0/.lease")

  monkeypatch.setattr(sweep_execution.time, "sleep", let_go)
  sweep_execution.Runner([], tqdm(disable=True), on_call=lose).train(runs)
  assert f"{tmp_path / '0'} was taken over by another process" in capsys.readouterr().out
  for i, config in enumerate(configs):
    execution.train_and_evaluate(config, tmp_path / f"alone{i}")
    assert files.read_json(tmp_path / f"{i}/result.json")["status"] == "finished"


SWEEP = """
  import fcntl, pathlib, sys

  def flock(descriptor, operation):
    if sys.argv[2] == "failing":
      raise OSError(37, "No locks available")

  fcntl.flock = flock
  import test_leases

  test_leases.run_sweep(pathlib.Path(sys.argv[1]) / sys.argv[2])  # compiles
  print("ready", flush=True)
  input()
  test_leases.run_sweep(pathlib.Path(sys.argv[1]) / "shared")
"""


def run_sweep(directory):
  cell_list = cells.curves((0.1,), rates=(0.2,))
  base = {"label": "digits", "base": small(), "seeds": 2, "cells": cells.union(cell_list)}
  planned = plan.plan(ml_collections.ConfigDict(base))
  sweep_execution.run_sweep(planned, directory, "digits", (0, 1))


@pytest.mark.slow
def test_two_sweeps_in_one_directory_without_locks(tmp_path):
  """In one flock fails, in the other it does nothing; their results are those of one sweep."""
  with (
    start(SWEEP, tmp_path, "failing") as one,
    start(SWEEP, tmp_path, "idle") as other,
  ):
    for process in (one, other):
      assert process.stdout.readline() == "ready\n"
    for process in (one, other):
      process.stdin.write("\n")
      process.stdin.flush()
    for process in (one, other):
      _, errors = process.communicate(timeout=120)
      assert process.returncode == 0, errors
  runs = sorted(p.parent.name for p in (tmp_path / "idle").glob("*/result.json"))
  assert len(runs) == 8
  for run in runs:
    assert_same_run(tmp_path / "shared" / run, tmp_path / "idle" / run)
    assert not (tmp_path / "shared" / run / ".lease").exists()


SPACE = """
  import sys, time
  from lsjax.runs import leases

  leases.SILENCE_SECONDS, leases.BEAT_SECONDS, leases._PATIENCE = 1.0, 0.1, 0.05
  try:
    with leases.claim(sys.argv[1]):
      print("held", flush=True)
      time.sleep(60)
  except leases.InUseError as error:
    print(error, error.is_alive)
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--mount-proc"], []])
def test_containers_on_one_host(tmp_path, options):
  """Two namespaces of processes, in which the same numbers mean different processes."""
  before = ["unshare", "--pid", "--fork", "--kill-child", *options]
  if not shutil.which("unshare") or subprocess.run([*before, "true"]).returncode:
    pytest.skip("cannot make a namespace of processes")
  with start(SPACE, tmp_path, before=before) as holder:
    assert holder.stdout.readline() == "held\n"
    assert '"pid": 1,' in lease_file(tmp_path).read_text()
    with start(SPACE, tmp_path, before=before) as other:
      out, errors = other.communicate(timeout=60)
      assert out.splitlines()[-1].startswith(f"{tmp_path} is in use by another"), errors
      assert out.splitlines()[-1].endswith("True")
    holder.kill()
    holder.wait()
  with start(SPACE, tmp_path, before=before) as other:
    assert "is in use by another process (process 1 on" in other.stdout.readline()
    assert other.stdout.readline() == "held\n"
    other.kill()
