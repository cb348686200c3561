"""Whatever breaks, a finished checkpoint is not lost, and one line says what happened."""

import contextlib
import errno
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from tqdm import tqdm

from lsjax import files
from lsjax.runs import checkpoints as checkpoints_lib
from lsjax.runs import directory as directory_lib
from lsjax.runs import execution, loading
from lsjax.sweeps import execution as sweep_execution
from lsjax.sweeps import plan

ROOT = pathlib.Path(__file__).parent.parent


def cut(workdir, at_step, size=10):
  """Truncates every file of a checkpoint."""
  paths = [p for p in (workdir / f"checkpoints/{at_step}").rglob("*") if p.is_file()]
  assert len(paths) > 5
  for path in paths:
    os.truncate(path, size)


def unfinish(workdir, at_step):
  """Leaves a run as a kill after the checkpoint of a step would."""
  (workdir / "result.json").unlink()
  for path in (workdir / "checkpoints").iterdir():
    if int(path.name) > at_step:
      shutil.rmtree(path)


def assert_same_run(a, b):
  for name in ("metrics.jsonl", "noise.npz"):
    assert (a / name).read_bytes() == (b / name).read_bytes()
  # A student's result names the directory of its teacher, which counts in its digest.
  results = [files.read_json(p / "result.json") for p in (a, b)]
  for result in results:
    del result["sha256"]
    for teacher in result.get("teachers", []):
      del teacher["workdir"]
  assert results[0] == results[1]


def test_falls_back_to_the_checkpoint_before(tmp_path, make_config, capsys):
  config = make_config(**{"train.num_steps": 9})
  whole, broken = tmp_path / "whole", tmp_path / "broken"
  execution.train_and_evaluate(config, whole)
  shutil.copytree(whole, broken)
  (broken / "result.json").unlink()
  for at_step in (6, 9):
    cut(broken, at_step)
  execution.train_and_evaluate(config, broken)
  said = capsys.readouterr().out
  for at_step in (6, 9):
    assert f"checkpoints/{at_step} cannot be read" in said
  assert "continuing from step 3" in said
  assert f"resuming {broken} at step 3" in said
  assert_same_run(broken, whole)
  aside = {p.name for p in (broken / "unreadable_checkpoints").iterdir()}
  assert {name.split("-")[0] for name in aside} == {"6", "9"}
  # Again: what is set aside does not stand in the way.
  (broken / "result.json").unlink()
  cut(broken, 9)
  execution.train_and_evaluate(config, broken)
  assert_same_run(broken, whole)


def test_nothing_is_trained_anew_when_no_checkpoint_can_be_read(tmp_path, make_config):
  config = make_config()
  execution.train_and_evaluate(config, tmp_path)
  (tmp_path / "result.json").unlink()
  for at_step in (3, 6):
    cut(tmp_path, at_step)
  with pytest.raises(checkpoints_lib.CheckpointError, match="checkpoints/6 cannot be read"):
    execution.train_and_evaluate(config, tmp_path)
  assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"3", "6"}


def test_a_pack_goes_on_from_different_steps(tmp_path, make_config):
  """One run's newest checkpoint is damaged: it goes on alone from the one before."""
  configs = [make_config(**{"seed.init": seed}) for seed in range(3)]
  whole, broken = tmp_path / "whole", tmp_path / "broken"

  def run(pool):
    runs = [plan.PlannedRun(c, pool / str(i)) for i, c in enumerate(configs)]
    sweep_execution.Runner([], tqdm(disable=True)).train(runs)

  run(whole)
  shutil.copytree(whole, broken)
  for i in range(3):
    unfinish(broken / str(i), 6)
  cut(broken / "1", 6)
  run(broken)
  for i in range(3):
    assert_same_run(broken / str(i), whole / str(i))
  assert (broken / "1/unreadable_checkpoints").is_dir()


def test_full_disk_at_a_checkpoint(tmp_path, monkeypatch, make_config):
  config = make_config()
  usage = shutil.disk_usage
  spaces = iter([10**9, 1000])
  monkeypatch.setattr(shutil, "disk_usage", lambda p: usage(p)._replace(free=next(spaces)))
  broken, whole = tmp_path / "broken", tmp_path / "whole"
  with pytest.raises(
    checkpoints_lib.CheckpointError, match=r"cannot be written .*KiB are needed, 0 KiB"
  ):
    execution.train_and_evaluate(config, broken)
  monkeypatch.undo()
  assert checkpoints_lib.Checkpoints(broken).latest() == 3
  execution.train_and_evaluate(config, broken)
  execution.train_and_evaluate(config, whole)
  assert_same_run(broken, whole)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_at_a_log_row(tmp_path, monkeypatch, make_config):
  config = make_config()
  log = directory_lib.RunDirectory.log

  def to_a_full_disk(self, row):
    if row["step"] > 3:
      self.metrics_file.close()
      self.metrics_file._file = open("/dev/full", "a")  # noqa: SIM115
    log(self, row)

  monkeypatch.setattr(directory_lib.RunDirectory, "log", to_a_full_disk)
  with pytest.raises(directory_lib.WorkdirError, match=r"cannot be written.*No space left"):
    execution.train_and_evaluate(config, tmp_path)
  monkeypatch.undo()
  assert checkpoints_lib.Checkpoints(tmp_path).latest() == 3
  assert execution.train_and_evaluate(config, tmp_path)["status"] == "finished"


def test_failing_writes_of_a_checkpoint(tmp_path, monkeypatch, make_config):
  """What Orbax raises, at once or later from its thread, ends in one kind of error."""
  execution.train_and_evaluate(make_config(), tmp_path / "run")
  one = checkpoints_lib.Checkpoints(tmp_path / "run", keep=3)

  def fail(*_, **__):
    raise OSError(errno.EDQUOT, "quota\nexceeded")

  for method, call in (
    ("save", lambda: one.save(7, {"x": np.zeros(3)})),
    ("wait_until_finished", one.wait),
  ):
    with monkeypatch.context() as patch:
      patch.setattr(one._manager, method, fail)
      with pytest.raises(checkpoints_lib.CheckpointError, match="cannot be written") as caught:
        call()
      assert "\n" not in str(caught.value)
  one.close()


def command(module, *args):
  return [sys.executable, "-m", f"lsjax.{module}", *args]


@pytest.mark.parametrize("workdir", ["/proc/lsjax", "/dev/null/run"])
def test_work_directory_that_cannot_be_written(workdir):
  """Not by permissions: the superuser has them all."""
  args = ["--config=configs/digits_noisy.py", f"--workdir={workdir}"]
  done = subprocess.run(
    command("main", *args), cwd=ROOT, capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 2
  lines = [line for line in done.stderr.splitlines() if line.strip()]
  assert len(lines) == 1
  assert "cannot be written" in lines[0]


def quick_run(workdir):
  """Runs the command on a digits run with checkpoints after 10 and 20 steps."""
  args = (
    "--config=configs/digits_noisy.py",
    "--config.train.num_steps=20",
    "--config.train.eval_every=20",
    "--config.train.log_every=10",
    "--config.train.steps_per_call=10",
    "--config.checkpoint.every=10",
  )
  return subprocess.run(
    command("main", *args, f"--workdir={workdir}"),
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )


def assert_cannot_be_written(done):
  """One line beside the progress bar, which ends with a carriage return."""
  assert done.returncode == 2
  texts = [line.rpartition("\r")[2].strip() for line in done.stderr.split("\n")]
  (line,) = [text for text in texts if text and not re.search("step/s|s/step", text)]
  assert line.startswith("lsjax: ")
  assert "cannot be written (" in line
  assert "Traceback" not in done.stderr


@contextlib.contextmanager
def memory_disk(path, options):
  """Mounts a file system in memory, or skips the test where that is not allowed."""
  path.mkdir()
  mount = ["mount", "-t", "tmpfs", "-o", options, "none", path]
  if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
    pytest.skip("cannot mount")
  try:
    yield
  finally:
    subprocess.run(["umount", path], check=True)


def test_a_file_in_the_place_of_the_checkpoints(tmp_path):
  """The process ends at once, before it trains, and not when some thread's patience does."""
  (tmp_path / "checkpoints").touch()
  done = quick_run(tmp_path)
  assert_cannot_be_written(done)
  assert not (tmp_path / "metrics.jsonl").exists()


def test_a_directory_of_checkpoints_that_cannot_be_written(tmp_path):
  with memory_disk(tmp_path / "checkpoints", "ro"):
    assert_cannot_be_written(quick_run(tmp_path))


@pytest.mark.parametrize("inodes", [16, pytest.param(44, marks=pytest.mark.slow)])
def test_no_files_left_on_the_disk(tmp_path, inodes):
  """At the first checkpoint and at the second."""
  with memory_disk(tmp_path / "disk", f"nr_inodes={inodes}"):
    run = tmp_path / "disk/run"
    assert_cannot_be_written(quick_run(run))
    assert checkpoints_lib.Checkpoints(run).steps() == ([] if inodes == 16 else [10])


@pytest.mark.parametrize("inodes", range(14, 34, 3))
def test_files_run_out_in_the_middle_of_a_checkpoint(tmp_path, monkeypatch, capfd, inodes):
  """As after a check of the space that came too early: an error soon, and no traceback."""
  monkeypatch.setattr(checkpoints_lib.Checkpoints, "_check_space", lambda self, state: None)
  state = {name: np.arange(10.0) for name in "abcdefgh"}
  with memory_disk(tmp_path / "disk", f"nr_inodes={inodes}"):
    one = checkpoints_lib.Checkpoints(tmp_path / "disk", keep=3)

    def save_several():
      for at_step in range(4):
        one.save(at_step, state)
        one.wait()

    begin = time.monotonic()
    with pytest.raises(checkpoints_lib.CheckpointError, match="cannot be written"):
      save_several()
    with contextlib.suppress(checkpoints_lib.CheckpointError):
      one.close()
    assert time.monotonic() - begin < 20
    time.sleep(0.1)
  assert "Traceback" not in capfd.readouterr().err


def check_readable(directory):
  """Opens every finished file of a work directory or pool, as the next process will."""
  for path in directory.rglob("*"):
    if path.name.startswith(".") or "checkpoint" in str(path.relative_to(directory)):
      continue
    if path.suffix == ".json":
      json.loads(path.read_text())
    elif path.suffix == ".npz":
      with np.load(path, allow_pickle=False) as arrays:
        assert all(arrays[key] is not None for key in arrays.files)
    elif path.name == "metrics.jsonl":
      whole_lines = path.read_text().rpartition("\n")[0].splitlines()
      assert all(json.loads(line) for line in whole_lines)


def moment(directory, since):
  """Says in a few words where in the job a kill came, by what its process has written."""
  written = [p for p in directory.rglob("*") if p.stat().st_mtime > since]
  rows = [files.read_rows(p)[-1:] for p in written if p.name == "metrics.jsonl"]
  splits = {last[0]["split"] for last in rows if last}
  begun = [p.parent for p in directory.glob("*/config.json")]
  if any(p.name.endswith(".orbax-checkpoint-tmp") for p in written):
    return "mid-checkpoint"
  if begun and all((run / "result.json").exists() for run in begun):
    return "report"
  if splits - {"batches"}:
    return "evaluation"
  return "steps" if splits else "start-up"


MAIN = (
  "--config=configs/digits_noisy.py",
  "--config.train.num_steps=2000",
  "--config.train.eval_every=50",
  "--config.train.log_every=10",
  "--config.train.steps_per_call=10",
  "--config.checkpoint.every=50",
)
SWEEP = (
  "--config=configs/sweeps/digits_distill.py",
  "--config.seeds=1",
  "--config.base.train.num_steps=600",
  "--config.base.train.eval_every=200",
  "--config.base.checkpoint.every=200",
)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "args", "kills"), [("main", MAIN, 20), ("sweep", SWEEP, 10)])
def test_killed_at_random_moments(tmp_path, module, args, kills):
  """Resumed after every SIGKILL: bitwise the uninterrupted job, and never an unreadable file.

  Run it with -s to see where each kill came.
  """
  environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}

  def start(workdir):
    return subprocess.Popen(
      command(module, *args, f"--workdir={workdir}"),
      cwd=ROOT,
      env=environment,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )

  def finish(workdir):
    process = start(workdir)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors

  whole = tmp_path / "whole"
  finish(whole)  # fills the compilation cache
  shutil.rmtree(whole)
  begin = time.monotonic()
  finish(whole)
  seconds = time.monotonic() - begin
  draws = random.Random(0)
  done, job, where = 0, 0, {}
  while done < kills:
    parts = tmp_path / f"parts{job}"
    since = time.time()
    process = start(parts)
    wait = draws.uniform(0, seconds)
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(wait)
    if process.poll() is None:
      process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), errors
    if parts.exists():
      check_readable(parts)
    if process.returncode == 0:  # it was done before the kill: the next kills get a new job
      job += 1
      continue
    done += 1
    where[done] = moment(parts, since)
    steps = sorted(int(p.name) for p in parts.rglob("checkpoints/*") if p.name.isdigit())
    print(f"{module} kill {done} after {wait:.2f} s: {where[done]}, checkpoints {steps[-2:]}")
  jobs = [tmp_path / f"parts{i}" for i in range(job + 1)]
  for parts in jobs:
    if parts.exists():
      finish(parts)
      assert_same_job(parts, whole)
  print(f"{module}: {kills} kills over {len(jobs)} jobs: {sorted(where.values())}")


def assert_same_job(parts, whole):
  if (whole / "results.json").exists():
    assert (parts / "results.json").read_bytes() == (whole / "results.json").read_bytes()
    claims = [files.read_json(p / "report.json")["claims"] for p in (parts, whole)]
    assert claims[0] == claims[1]
  runs = [p.parent.relative_to(whole) for p in whole.rglob("noise.npz")]
  assert runs
  for run in runs:
    assert_same_run(parts / run, whole / run)
    states = [loading.load_run(base / run)[2] for base in (parts, whole)]
    for a, b in zip(*(jax.tree.leaves(s) for s in states), strict=True):
      np.testing.assert_array_equal(a, b)
