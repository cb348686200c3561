"""lsjax advise, as a user meets it: flags, the one line for what is wrong, and what it prints."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

import lsjax.advice
from lsjax import files
from lsjax.advice import __main__ as command
from lsjax.advice import pipeline, report
from lsjax.validation import UserError

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def table(tmp_path):
  """A table of 40 rows with a label and three votes."""
  rng = np.random.default_rng(0)
  kinds = np.where(np.arange(40) % 2, "dog", "cat")
  rows = [
    f"{a:.4f},{kind},{kind},{kind},{kinds[i // 2]}"
    for i, (a, kind) in enumerate(zip(rng.normal(size=40), kinds))
  ]
  return write(tmp_path / "pets.csv", "size,kind,ann,bob,cleo", rows)


def write(path, header, rows):
  path.write_text("\n".join([header, *rows, ""]))
  return path


@contextlib.contextmanager
def parsed(*args):
  """Sets flags as the command line would, for as long as the block runs; the other arguments."""
  with flagsaver.flagsaver():
    flags.FLAGS.set_gnu_getopt(True)
    yield flags.FLAGS(["lsjax advise", *map(str, args)])


def refusal(*args):
  """The message with which the command ends; `cli.run` makes a line and status 2 of it."""
  with parsed(*args) as argv, pytest.raises(UserError) as caught:
    command.main(argv)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def run(*args):
  env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  return subprocess.run(
    [sys.executable, "-m", "lsjax", "advise", *map(str, args)],
    cwd=ROOT,
    env=env,
    capture_output=True,
    text=True,
    timeout=300,
  )


@pytest.mark.parametrize(
  ("args", "message"),
  [
    (["/absent/pets.csv", "--label=kind"], "lsjax: /absent/pets.csv: no such file"),
    (["pets.csv", "--lable=kind"], "Unknown command line flag 'lable'. Did you mean: label"),
    (["pets.csv", "--minutes=-1"], "minutes"),
  ],
)
def test_bad_input_ends_in_one_line_and_status_2(tmp_path, args, message):
  done = run(*args, f"--workdir={tmp_path / 'advice'}")
  assert done.returncode == 2
  (line,) = [line for line in done.stderr.splitlines() if line.strip()]
  assert line.startswith("lsjax: ")
  assert message in line
  assert not (tmp_path / "advice").exists()


def test_help_names_every_flag():
  done = run("--help")
  assert done.returncode == 0
  assert done.stdout.startswith("Says what to use on noisy labels")
  module = flags.FLAGS.get_flags_for_module("lsjax.advice.__main__")
  assert {flag.name for flag in module} >= {"label", "votes", "checked", "minutes"}
  named = set(re.findall(r"^  --(\w+)\n      \S", done.stdout, re.MULTILINE))
  assert {*(flag.name for flag in module), "workdir"} <= named


def test_the_guide_has_every_flag():
  page = (ROOT / "docs/advice.md").read_text()
  for flag in (*flags.FLAGS.get_flags_for_module("lsjax.advice.__main__"), flags.FLAGS["workdir"]):
    assert f"\n| `--{flag.name}` |" in page, flag.name


@pytest.mark.parametrize(
  ("args", "message"),
  [
    ([], "the name of one file, folder or data set is needed: lsjax advise mine.csv"),
    (["{table}", "more.csv", "--label=kind"], "the name of one file"),
    (["{table}", "--label=kid"], "has no column 'kid'; did you mean 'kind'?"),
    (["{table}"], "say which column holds the given labels by `label`"),
    (["{table}", "--label=kind", "--votes=ann,bob"], "label is 'kind' and there are votes"),
    (["{table}", "--label=kind", "--test=/absent.csv"], "/absent.csv: no such file"),
    (["{table}", "--label=kind", "--checked=/absent.csv"], "/absent.csv: no such file"),
    (["{table}", "--label=kind", "--image_size=8"], "image_size is 8"),
    (["no_such_data", "--label=kind"], "no_such_data: no such file or folder"),
  ],
)
def test_arguments_that_are_wrong(table, args, message):
  assert message in refusal(*(arg.format(table=table) for arg in args))


@pytest.mark.parametrize(
  ("labels", "message"),
  [
    (["cat", "dog"] * 5, "has 10 examples with a label; more than 10 are needed to advise"),
    (["cat"] * 20, "one class"),
    ([""] * 20, "column 'kind' holds no label"),
  ],
)
def test_labels_of_which_nothing_can_be_learnt(tmp_path, labels, message):
  rows = [f"{0.1 * i},{label}" for i, label in enumerate(labels)]
  path = write(tmp_path / "few.csv", "size,kind", rows)
  line = refusal(path, "--label=kind")
  assert line.startswith(f"{path}: ")
  assert message in line


def test_a_list_of_other_data(table, tmp_path):
  checked = write(tmp_path / "checked.csv", "id,given,proposed,chance,true", ["40,cat,dog,1,dog"])
  line = refusal(table, "--label=kind", f"--checked={checked}")
  assert line == (
    f"{checked}: column 'id', row 0: '40' is no id of the data, whose ids begin 0, 1, 2, 3, 4"
  )


def test_flags_reach_the_advice(table, tmp_path, monkeypatch, capsys):
  """Stands in for what trains: `test_advice` trains."""
  calls = []

  def advise(problem, directory, *, minutes):
    calls.append((problem, directory, minutes))

  finished = types.SimpleNamespace(answers=["First.", "Second."])
  monkeypatch.setattr(lsjax.advice, "Advice", lambda directory: finished)
  monkeypatch.setattr(pipeline, "run", advise)
  monkeypatch.setattr(report, "write", calls.append)
  monkeypatch.chdir(tmp_path)
  args = (table, "--votes=ann,bob,cleo", "--minutes=0.5", "--compilation_cache=off")
  with parsed(*args) as argv:
    command.main(argv)
  (problem, directory, minutes), written = calls
  assert problem.annotators == ("ann", "bob", "cleo")
  assert problem.feature_names == ("size", "kind_cat", "kind_dog")
  assert "'kind'" in problem.notes[-1]
  assert minutes == 0.5
  assert directory == written == files.path("runs/advice-pets")
  assert capsys.readouterr().out == f"First.\n\nSecond.\n\n{directory / 'report.html'}\n"
