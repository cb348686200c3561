"""benchmarks.gpu: its list, its budgets, its state; commands are fakes but for one slow test."""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from benchmarks import gpu, gpu_items, gpu_session, gpu_steps, gpu_sweeps, harness, step_profile
from lsjax import files

ROOT = pathlib.Path(__file__).parent.parent
SETTINGS = gpu_sweeps.Settings("CIFAR-10 (JPEG q75)", 64_000, 16_000, rehearse=False)
# Adds a line to a file, again and again: a row that takes some seconds.
ROWS = """
import pathlib, sys, time
path, rows, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
while True:
  done = path.read_text().splitlines() if path.exists() else []
  if len(done) >= rows:
    sys.exit(int(sys.argv[4]))
  time.sleep(seconds)
  path.write_text("".join(f"{line}\\n" for line in [*done, "row"]))
"""


def packing_results(**speeds):
  """{"vmap_4": 885.0} as results of benchmarks/packing.py."""
  rows = [
    {
      "name": f"resnet32 bfloat16 {key.replace('_', ' x ')}",
      "value": {"median": speed},
      "details": {"packing": key.replace("_", ":")},
    }
    for key, speed in speeds.items()
  ]
  return {"rows": rows}


class Fakes:
  """Steps that write rows, and a session that runs them in a directory."""

  def __init__(self, directory):
    self.out = directory

  def step(self, name, rows=2, seconds=0.0, status=0, **fields):
    path = self.out / name

    def progress():
      done = len(path.read_text().splitlines()) if path.exists() else 0
      return gpu_steps.Progress(done, rows, "rows", done, rows - done)

    command = ("-c", ROWS, str(path), str(rows), str(seconds), str(status))
    return gpu_steps.Step(name, command, progress, **{"shortest": 0.1, "grace": 0.2, **fields})

  def session(self, seconds, stop=()):
    return gpu_session.Session(self.out, self.out, seconds, {}, stop)

  def run(self, items, seconds, stop=()):
    session = self.session(seconds, stop)
    session.run(lambda: items)
    return session


@pytest.fixture
def fakes(tmp_path):
  return Fakes(tmp_path)


def endings(session):
  return {name: note["ending"] for name, note in session.steps.items()}


class TestSession:
  def test_finished_steps_are_not_run_again(self, fakes, capsys):
    items = [gpu_steps.Item("1 a", 1.0, (fakes.step("a"), fakes.step("b")))]
    fakes.run(items, 60)
    assert "a: ended, 2 of 2 rows" in capsys.readouterr().out
    again = fakes.run(items, 60)
    assert capsys.readouterr().out == ""
    assert endings(again) == {"a": "ended", "b": "ended"}

  def test_an_item_keeps_to_its_share_and_goes_on_in_the_next_session(self, fakes):
    items = [
      gpu_steps.Item("1 endless", 0.4, (fakes.step("endless", rows=100, seconds=0.2),)),
      gpu_steps.Item("2 short", 1.0, (fakes.step("short"),)),
    ]
    begun = time.monotonic()
    first = fakes.run(items, 8)
    assert time.monotonic() - begun < 8.5
    assert endings(first) == {"endless": "stopped", "short": "ended"}
    # Its share, and what the second item left.
    rows = items[0].steps[0].progress().done
    assert rows > 2
    again = fakes.run(items, 4)
    assert items[0].steps[0].progress().done > rows
    assert again.steps["endless"]["seconds"] > first.steps["endless"]["seconds"]

  def test_time_is_left_for_a_report(self, fakes):
    endless = fakes.step("endless", rows=100, seconds=0.2)
    report = fakes.step("report", rows=1, reserve=3.0)
    fakes.run([gpu_steps.Item("3 sweep", 1.0, (endless, report))], 6)
    assert report.progress().is_finished
    assert not endless.progress().is_finished

  def test_a_step_that_does_not_fit_is_not_begun(self, fakes):
    long = fakes.step("long", shortest=60.0)
    session = fakes.run([gpu_steps.Item("1 long", 1.0, (long, fakes.step("other")))], 10)
    assert endings(session) == {"other": "ended"}

  def test_a_failure_is_told_and_does_not_hold_up_the_others(self, fakes):
    failing = gpu_steps.Step(
      "failing", ("-c", "import sys; sys.exit(3)"), fakes.step("failing").progress, shortest=0.1
    )
    items = [gpu_steps.Item("1 both", 1.0, (failing, fakes.step("other")))]
    session = fakes.run(items, 60)
    assert endings(session) == {"failing": "failed with status 3", "other": "ended"}
    (row,) = gpu_session.table(items, session.steps, None)
    assert row[1] == "2 of 4 rows; failing failed with status 3"

  def test_a_missing_package_is_told(self, fakes):
    items = [gpu_steps.Item("1 peer", 1.0, (fakes.step("peer", needs="no_such_package"),))]
    session = fakes.run(items, 60)
    (row,) = gpu_session.table(items, session.steps, None)
    assert row[1] == "finished; peer left out: no_such_package is not installed"
    assert not (fakes.out / "peer").exists()

  def test_a_process_that_ignores_sigterm_is_killed_in_time(self, fakes):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    deaf = gpu_steps.Step("deaf", ("-c", code), fakes.step("deaf").progress, shortest=0.1)
    begun = time.monotonic()
    session = fakes.run([gpu_steps.Item("1 deaf", 1.0, (deaf,))], 4)
    assert time.monotonic() - begun < 6
    assert endings(session) == {"deaf": "stopped"}

  def test_a_signal_ends_the_command_and_then_the_session(self, fakes):
    stop = []
    threading.Timer(1.5, stop.append, [signal.SIGTERM]).start()
    endless = fakes.step("endless", rows=1000, seconds=0.2)
    with pytest.raises(gpu_session.Stopped, match="SIGTERM"):
      fakes.run([gpu_steps.Item("1 endless", 1.0, (endless,))], 60, stop)
    state = files.read_json(fakes.out / "state.json")
    assert state["steps"]["endless"]["ending"] == "stopped"

  def test_steps_that_run_together(self, fakes):
    marks = [fakes.out / "marks" / str(i) for i in range(5)]
    steps = [
      gpu_steps.Step(
        f"compile_{i}",
        ("-c", f"import sys, time; time.sleep({60 if i == 4 else 0.1}); sys.exit({int(i == 3)})"),
        lambda mark=mark: gpu_steps.file_progress(mark),
        mark=mark,
        grace=0.1,
      )
      for i, mark in enumerate(marks)
    ]
    session = fakes.run([gpu_steps.Item("compile", 1.0, tuple(steps), together=True)], 8)
    assert [mark.exists() for mark in marks] == [True, True, True, False, False]
    assert endings(session)["compile_3"] == "failed with status 1"
    assert endings(session)["compile_4"] == "stopped"


class TestTable:
  def test_minutes_that_are_left(self, tmp_path):
    def runs(count, num_steps):
      return lambda: gpu_steps.runs_progress([(tmp_path / str(i), num_steps) for i in range(count)])

    rows = gpu_steps.Progress(5, 10, "rows", 5, 5)
    items = [
      gpu_steps.Item("1 rows", 0.5, (gpu_steps.Step("a", (), lambda: rows),)),
      gpu_steps.Item("3 sweep", 0.5, (gpu_steps.Step("b", (), runs(4, 6000)),)),
    ]
    notes = {"a": {"seconds": 300.0, "ending": "stopped"}}
    assert gpu_session.table(items, notes, 100.0) == [
      ("1 rows", "5 of 10 rows", "300", "5.0"),
      ("3 sweep", "not begun, 0 of 4 runs", "0", "4.0"),
    ]
    assert gpu_session.table(items, {}, None)[1][3] == "?"

  def test_runs_count_by_their_steps(self, tmp_path):
    for name in ("a/result.json", "b/checkpoints/500/x", "b/checkpoints/900/x"):
      (tmp_path / name).parent.mkdir(parents=True)
      (tmp_path / name).touch()
    (tmp_path / "b/checkpoints/950.orbax-checkpoint-tmp").mkdir()
    progress = gpu_steps.runs_progress([(tmp_path / name, 1000) for name in "abc"])
    assert progress == gpu_steps.Progress(1, 3, "runs", 1900, 1100)

  def test_a_report_is_old_when_another_run_has_ended(self, tmp_path):
    rows = [
      {"config_hash": "a", "status": "diverged"},
      {"config_hash": "b", "status": "missing"},
    ]
    path = tmp_path / "results.json"

    def is_finished():
      return gpu_steps.report_progress(path, tmp_path).is_finished

    runs = [{"workdir": name} for name in "ab"]
    files.write_json(tmp_path / "sweep.json", {"cells": [{"runs": runs}]})
    for name in "ab":
      (tmp_path / name).mkdir()
    assert not is_finished()
    files.write_json(path, rows)
    (tmp_path / "a/result.json").touch()
    assert is_finished()
    (tmp_path / "b/result.json").touch()
    assert not is_finished()


class TestPacking:
  def test_the_fastest_is_chosen(self):
    results = packing_results(sequential_1=350.0, vmap_4=885.0, im2col_8=700.0)
    assert gpu_steps.fastest_packing(results, 20) == ("vmap:4", 885.0)
    assert gpu_steps.fastest_packing({"rows": []}, 20) is None

  def test_idle_slots_count(self):
    """Twenty runs fill five packs of 4, but of three packs of 8 only five sixths."""
    results = packing_results(vmap_4=885.0, vmap_8=1000.0)
    assert gpu_steps.fastest_packing(results, 20) == ("vmap:4", 885.0)
    assert gpu_steps.fastest_packing(results, 24) == ("vmap:8", 1000.0)

  def test_the_sweeps_of_all_items_use_it(self, tmp_path):
    builder = gpu_items.Builder(tmp_path, SETTINGS)
    sweeps = [item.steps for item in builder.items()[3:]]
    assert not any("--packing" in arg for step in sweeps[0] for arg in step.command)
    files.write_json(tmp_path / "packing_bfloat16.json", packing_results(im2col_4=900.0))
    for item in builder.items()[3:]:
      commands = [step.command for step in item.steps if "lsjax.sweep" in step.command]
      assert commands
      assert all("--packing=im2col:4" in command for command in commands)


class TestList:
  def test_the_order_and_the_sizes(self, tmp_path):
    builder = gpu_items.Builder(tmp_path, SETTINGS)
    items = builder.items()
    assert [item.title[0] for item in items] == ["c", *"1234567"]
    totals = {s.name: s.progress().total for item in items for s in item.steps}
    assert totals["table_a"] == 4 * 5
    assert totals["alpha"] == 2 * (1 + 3 * 6) * 3
    assert totals["step_time"] == 6
    assert totals["packing_bfloat16"] == 1 + 3 * 5
    assert totals["human"] == 3 * 5 * (4 + 1)  # FC with a first run
    steps = {n: {num for _, num in builder.runs(n)} for n in ("table_a", "alpha", "table_c")}
    assert steps == {"table_a": {64_000}, "alpha": {16_000}, "table_c": {16_000}}
    assert {num for _, num in builder.runs("human")} == {16_000, 2_000}

  def test_what_is_measured_is_not_compiled_again(self, tmp_path):
    builder = gpu_items.Builder(tmp_path, SETTINGS)

    def compiled():
      return {step.name for step in builder.items()[0].steps}

    before = compiled()
    assert "compile_step_time_0" in before
    step = next(s for s in builder.items()[1].steps if s.name == "step_time")
    files.write_json(tmp_path / "step_time.json", {"rows": [{"name": n} for n in step.rows]})
    assert {name for name in before - compiled()} == {"compile_step_time_0", "compile_step_time_3"}

  def test_rows_are_those_of_the_benchmarks(self, tmp_path):
    """Each name of a row is matched by its own --only, and by no other."""
    builder = gpu_items.Builder(tmp_path, SETTINGS)
    for item in builder.items()[1:3]:
      for step in item.steps:
        only = step.command[-1].removeprefix("--only=")
        assert harness.chosen([*step.rows, "x " + step.rows[0]], only) == [*step.rows]


class TestCommand:
  @pytest.mark.parametrize(
    ("arguments", "message"),
    [
      ([], "--images is missing"),
      (["--images=none.npz"], "--images=none.npz: cannot be read"),
      (["--rehearse", "--minutes=0"], "--minutes=0.0: must be above 0"),
      (["--rehearse", "--steps=2"], "--steps=2: must be at least 8"),
    ],
  )
  def test_bad_input(self, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["gpu", f"--out={tmp_path}", *arguments])
    with pytest.raises(SystemExit) as stopped:
      gpu.main()
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]

  def test_images_without_the_labels_of_people(self, tmp_path, capsys):
    arrays = gpu.synthetic()
    del arrays["worse_label"]
    np.savez(tmp_path / "images.npz", **arrays)
    with pytest.raises(SystemExit):
      gpu.check_images(str(tmp_path / "images.npz"))
    assert "has no worse_label" in capsys.readouterr().err

  def test_another_schedule_needs_another_directory(self, tmp_path, monkeypatch, capsys):
    files.write_json(tmp_path / "state.json", {"settings": vars(SETTINGS)})
    monkeypatch.setattr(sys, "argv", ["gpu", f"--out={tmp_path}", "--rehearse"])
    with pytest.raises(SystemExit) as stopped:
      gpu.main()
    assert stopped.value.code == 2
    assert "was 'CIFAR-10 (JPEG q75)' there and is 'rehearsal' now" in capsys.readouterr().err

  @pytest.mark.slow
  def test_a_rehearsal_that_is_stopped_and_goes_on(self, tmp_path):
    """All items; SIGTERM amid table A loses nothing; at the end nothing is left to do."""
    command = [sys.executable, "-m", "benchmarks.gpu", f"--out={tmp_path}", "--rehearse"]
    with subprocess.Popen(
      [*command, "--minutes=30"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as first:
      while not any((tmp_path / "work/table_a").glob("*/config.json")):
        assert first.poll() is None
        time.sleep(0.2)
      first.terminate()
      printed = first.communicate()[0]
    assert first.returncode == 128 + signal.SIGTERM
    assert "goes on with '3 table A; D and E'" in printed
    packing = (tmp_path / "packing_float32.json").read_bytes()
    again = subprocess.run(
      [*command, "--minutes=30"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "next: nothing, all is finished" in again.stdout
    assert (tmp_path / "packing_float32.json").read_bytes() == packing
    for name in ("table_a", "alpha", "table_c", "human", "table_a_large"):
      rows = json.loads((tmp_path / name / "results.json").read_text())
      assert {row["status"] for row in rows} <= {"finished", "diverged"}
    last = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert last.stdout.startswith("item ")


class TestHarness:
  def run(self, monkeypatch, out, measure, *more):
    monkeypatch.setattr(sys, "argv", ["benchmark", f"--out={out}", *more])
    harness.run("fake", "A fake.", measure)

  def test_rows_before_an_error_are_kept_and_not_measured_again(self, tmp_path, monkeypatch):
    out = tmp_path / "fake.json"

    def measure(args):
      for name in ("a", "b", "c"):
        if name in args.measured:
          continue
        if name == "b" and not args.resume:
          raise KeyboardInterrupt
        yield harness.Row(name, "s", [2.0 if args.resume else 1.0])

    with pytest.raises(KeyboardInterrupt):
      self.run(monkeypatch, out, measure)
    self.run(monkeypatch, out, measure, "--resume")
    rows = files.read_json(out)["rows"]
    assert {row["name"]: row["repetitions"] for row in rows} == {"a": [1.0], "b": [2.0], "c": [2.0]}

  def test_another_device_is_refused(self, tmp_path, monkeypatch, capsys):
    out = tmp_path / "fake.json"
    self.run(monkeypatch, out, lambda args: iter([harness.Row("a", "s", [1.0])]))
    results = files.read_json(out)
    results["environment"]["device"] = "Another GPU"
    files.write_json(out, results)
    with pytest.raises(SystemExit) as stopped:
      self.run(monkeypatch, out, lambda args: iter(()), "--resume")
    assert stopped.value.code == 2
    assert "device was 'Another GPU' and is 'cpu'; choose another --out" in capsys.readouterr().err

  def test_another_day_is_noted(self, tmp_path, monkeypatch):
    out = tmp_path / "fake.json"
    self.run(monkeypatch, out, lambda args: iter([harness.Row("a", "s", [1.0])]))
    results = files.read_json(out)
    today, results["environment"]["date"] = results["environment"]["date"], "2026-01-01"
    files.write_json(out, results)
    for name in ("b", "c"):
      row = harness.Row(name, "s", [1.0])
      self.run(monkeypatch, out, lambda args, row=row: iter([row]), "--resume")
    results = files.read_json(out)
    assert results["environment"]["date"] == f"2026-01-01; {today}"
    assert [row["name"] for row in results["rows"]] == ["a", "b", "c"]

  def test_a_row_that_does_not_fit_is_told(self):
    def too_large():
      raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore")

    makers = {"one": lambda: lambda: None, "large": too_large, "two": lambda: lambda: None}
    args = argparse.Namespace(measured={"two"}, repetitions=3)
    row, failure = harness.compare(makers, {name: 6.0 for name in makers}, args, unit="x/s")
    assert (row.name, len(row.values), row.ratios) == ("one", 3, [1.0, 1.0, 1.0])
    assert failure == harness.Failure("large", "RESOURCE_EXHAUSTED: Out of memory")


def test_the_parts_of_a_step():
  """Loops span what is inside them, and other programs' operations have names of their own."""

  def event(operation, microseconds):
    return {"ph": "X", "dur": microseconds, "args": {"hlo_module": "m", "hlo_op": operation}}

  names = {
    "m/fusion.1": "jit(f)/while/body/transpose(jvp(ResNet))/Conv_3/conv_general_dilated",
    "m/fusion.2": "jit(f)/while/body/jvp(ResNet)/BatchNorm_0/sub",
    "m/add.1": "jit(f)/while/body/optimizer/add",
    "m/gather.1": "jit(f)/while/body/input/gather",
    "other/copy.1": "jit(g)/BatchNorm_0/copy",
  }
  durations = {"while.1": 99, "fusion.1": 5, "fusion.2": 4, "add.1": 3, "gather.1": 2, "copy.1": 1}
  events = [event(name, 1e6 * s) for name, s in durations.items()]
  parts, operations = step_profile.seconds_of_parts([*events, {"ph": "M"}], names)
  assert parts == {"convolution": 5, "BatchNorm": 4, "optimizer": 3, "input": 2, "rest": 1}
  assert sum(operations.values()) == 15
