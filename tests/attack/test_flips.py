"""One flipped bit in a file of a run: found, mended from what is left, or without any effect.

Everything runs in this process, by the functions that the commands call.
"""

import contextlib
import shutil
import signal

import jax
import numpy as np
import pytest
from conftest import small
from test_integrity import flip

from attack import jobs
from attack.plugin import line
from lsjax import config as config_lib
from lsjax import files, reports
from lsjax.distillation import teachers
from lsjax.runs import execution, loading, reading
from lsjax.validation import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A finished run with three checkpoints: its config, its directory and what it was copied to."""
  fields = {"train.num_steps": 9, "data.validation_examples": 20}
  config = config_lib.from_config_dict(small(**fields))
  place = tmp_path_factory.mktemp("flips")
  workdir, whole = place / "disk/run", place / "whole"
  execution.train_and_evaluate(config, workdir)
  shutil.copytree(workdir, whole)
  return config, workdir, whole


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
  """Figures take most of the time of a report."""
  monkeypatch.setattr("lsjax.reports.figures.draw", lambda sweep: [])


@contextlib.contextmanager
def in_time(seconds=60):
  """Interrupts a block that hangs."""

  def late(*_):
    raise TimeoutError("did not end in time")

  before = signal.signal(signal.SIGALRM, late)
  signal.alarm(seconds)
  try:
    yield
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refused(error):
  """Returns what is wrong with a refusal, "" if it is one line."""
  text = str(error)
  return "" if text.isprintable() and text else f"is no line: {text!r}"


def used(config, workdir, whole):
  """Uses a run in every way after a bit of it was flipped; returns what is lost, or ""."""
  expected = jax.tree.leaves(loading.load_run(whole)[2])
  try:
    found = jax.tree.leaves(loading.load_run(workdir)[2])
    if not all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)):
      return "load_run gives other parameters"
  except UserError as error:
    if why := refused(error):
      return f"load_run: {why}"
  try:
    teacher = teachers.load(workdir)
    found = jax.tree.leaves(teacher.variables)
    if not all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)):
      return "a teacher has other parameters"
    if teacher.noise_sha256 != reading.noise_npz(whole / "noise.npz").sha256():
      return "a teacher has other labels"
  except UserError as error:
    if why := refused(error):
      return f"as a teacher: {why}"
  if not (workdir / "result.json").exists():
    return ""
  return reported(workdir, whole)


def reported(workdir, whole):
  """Returns what is wrong with a report of the run, which shows the right numbers or none."""
  try:
    reports.write(workdir, workdir.parent / "report")
  except reports.ResultsError as error:
    return refused(error)
  reports.write(whole, whole.parent / "report")
  rows = []
  for where in (workdir, whole):
    (row,) = files.read_json(where.parent / "report/results.json")
    # These two name the directory of the run.
    rows.append({k: v for k, v in row.items() if k not in ("cell", "config_hash")})
  is_right = rows[0]["status"] == "missing" or rows[0] == rows[1]
  return "" if is_right else "report shows other numbers or settings of the run"


def go_on(config, workdir, whole, is_result_lost):
  """Starts the run again; returns what is lost, or ""."""
  try:
    execution.train_and_evaluate(config, workdir)
  except UserError as error:
    return refused(error)
  # Files that a finished run does not read again keep their flipped bit until something reads them.
  if not is_result_lost:
    same = reading.result_json(workdir) == reading.result_json(whole)
    return "" if same else "result.json differs"
  for name in ("result.json", "metrics.jsonl"):
    if (workdir / name).read_bytes() != (whole / name).read_bytes():
      return f"{name} differs"
  labels = [reading.noise_npz(where / "noise.npz").sha256() for where in (workdir, whole)]
  if labels[0] != labels[1]:
    return "the labels differ"
  return jobs.other_arrays(workdir, whole)


def flip_all(attack, run, choose):
  """Flips a bit for each case; `choose` returns the file. Half of the runs had not ended yet."""
  config, workdir, whole = run
  for case in attack.cases:
    draws = attack.draws(case)
    shutil.rmtree(workdir)
    shutil.copytree(whole, workdir)
    path = choose(workdir, draws)
    flip(path, draws)
    is_result_lost = case % 2 == 1 and path.name != "result.json"
    if is_result_lost:
      (workdir / "result.json").unlink()
    try:
      with in_time():
        why = used(config, workdir, whole) or go_on(config, workdir, whole, is_result_lost)
    except Exception as error:
      why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    attack.record(case, why)


@line("flip_checkpoints", parts=2)
def test_checkpoints(attack, run):
  """Half of the bits lie in the largest file, which holds the arrays; most in the newest."""

  def choose(workdir, draws):
    step = draws.choice((3, 6, 9, 9, 9))
    found = [p for p in (workdir / f"checkpoints/{step}").rglob("*") if p.is_file()]
    found.sort(key=lambda p: (-p.stat().st_size, p.parent.name, p.name))
    return found[0] if draws.random() < 0.5 else draws.choice(found)

  flip_all(attack, run, choose)


@line("flip_noise")
def test_noise(attack, run):
  flip_all(attack, run, lambda workdir, draws: workdir / "noise.npz")


@line("flip_metrics")
def test_metrics(attack, run):
  flip_all(attack, run, lambda workdir, draws: workdir / "metrics.jsonl")


@line("flip_result")
def test_result(attack, run):
  flip_all(attack, run, lambda workdir, draws: workdir / "result.json")


@line("flip_config")
def test_config(attack, run):
  flip_all(attack, run, lambda workdir, draws: workdir / "config.json")
