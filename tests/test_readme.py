"""What README tells people to type works, and its numbers are those of the results."""

import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from lsjax import config as config_lib
from lsjax import files, shipped
from lsjax.runs import loading

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GET_STARTED = (ROOT / "docs/get-started.md").read_text()
RESULTS = ROOT / "results/digits"


def blocks(text, language=""):
  fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
  return [code for name, code in fenced if name == language]


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
  """Runs the command of the first line; returns (work directory, what it printed)."""
  workdir = tmp_path_factory.mktemp("readme") / "run"
  _, command = blocks(README)[0].splitlines()[0].split(" && ")
  assert command == "python -m lsjax.main --config=configs/digits_noisy.py"
  words = [*shlex.split(command)[1:], f"--workdir={workdir}"]
  done = subprocess.run(
    [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr
  return workdir, done.stdout


def table_of(text):
  """Returns {line's text: numbers} of a run's summary."""
  rows = {}
  for line in text.splitlines():
    name = re.split(r"\s{2,}(?=[\d-])", line.rstrip())[0]
    if name and name != line.rstrip():
      rows[name] = [float(x) for x in re.findall(r"-?\d+\.\d+", line.removeprefix(name))]
  return rows


def test_readme_is_short_and_opens_with_the_two_commands():
  assert len(README.split()) <= 900
  assert README.splitlines()[:5] == [
    "# lsjax",
    "",
    "```",
    "pip install -r requirements.lock && python -m lsjax.main --config=configs/digits_noisy.py",
    "pip install -r requirements-dev.lock && python -m pytest -q",
  ]


def test_first_command_prints_the_table(first_run):
  """Text and noise to the letter; numbers to what another processor's rounding may change."""
  _, printed = first_run
  shown = next(b for b in blocks(GET_STARTED) if b.startswith("label noise"))
  assert shown.splitlines()[0] == printed.splitlines()[0]
  assert f"files: runs/digits_noisy/{_digits_hash()}" in shown
  expected, found = table_of(shown), table_of(printed)
  assert list(expected) == list(found)
  assert len(expected) == 10
  for name, values in expected.items():
    scale = 1 if max(values) < 2 else 100  # shares are shown in per cent
    assert found[name] == pytest.approx(values, abs=0.03 * scale), name


def _digits_hash():
  return config_lib.config_hash(config_lib.from_config_dict(shipped.load("digits_noisy")))


def test_last_step_of_the_table_is_that_of_the_results():
  rows = files.read_json(RESULTS / "results.json")
  (row,) = [row for row in rows if (row["cell"], row["seed"]) == ("LS 0.1, noise 0.2", 0)]
  final = row["final"]
  shown = table_of(next(b for b in blocks(GET_STARTED) if b.startswith("label noise")))
  expected = {
    "test accuracy (clean labels)": 100 * final["test"]["accuracy"],
    "test NLL (nats)": final["test"]["nll"],
    "test Brier score (0 to 2)": final["test"]["brier"],
    "test ECE (15 bins)": 100 * final["test"]["ece"],
    "train accuracy, true labels": 100 * final["train"]["true_accuracy"],
    "  on the part labelled right": 100 * final["train"]["clean_accuracy"],
    "  on the mislabelled part": 100 * final["train"]["mislabelled_accuracy"],
    "memorisation (predicts the wrong label)": 100 * final["train"]["memorisation"],
    "train accuracy, labels trained on": 100 * final["train"]["label_accuracy"],
    "validation accuracy, noisy labels": 100 * final["validation"]["accuracy"],
  }
  assert {name: values[0] for name, values in shown.items()} == {
    name: pytest.approx(value, abs=0.00501) for name, value in expected.items()
  }


def test_losses_in_a_plain_optax_loop():
  code = next(b for b in blocks(README, "python") if "optax.sgd" in b)
  assert len([line for line in code.splitlines() if line and "import" not in line]) == 10
  scope = {}
  exec(code, scope)
  right = np.argmax(scope["x"] @ np.asarray(scope["params"]), 1) == scope["clean"]
  assert 0.25 < scope["noisy"].changed.mean() < 0.35
  assert right.mean() > 0.95


def test_size_and_time_of_the_sweep_are_those_of_the_results():
  report = (RESULTS / "report.md").read_text()
  cells, runs = re.search(r"(\d+) cells, (\d+) distinct runs", report).groups()
  seconds = re.search(r"Trained in (\d+) s", report)[1]
  text = " ".join(README.split())
  assert f"trains {runs} runs, {int(runs) // int(cells)} seeds for each of {cells} cells" in text
  assert f"in {seconds} s on a CPU" in text
  for page in ("docs/reproduction.md",):
    text = " ".join((ROOT / page).read_text().split())
    assert f"trains {cells} cells with {int(runs) // int(cells)} seeds each, {runs} runs" in text
    assert f"took {seconds} s on a CPU" in text


def test_run_is_loaded_back_as_the_files_page_says(first_run):
  from lsjax.data import sources

  workdir, _ = first_run
  code = next(b for b in blocks((ROOT / "docs/files.md").read_text(), "python") if "load_run" in b)
  named = re.search(r'load_run\("(.*?)"\)', code)[1]
  assert named == f"runs/digits_noisy/{_digits_hash()}"
  digits = sources.digits()
  scope = {"images": digits.test_images}
  exec(code.replace(named, str(workdir)), scope)
  accuracy = np.mean(np.asarray(scope["logits"]).argmax(1) == digits.test_labels)
  assert accuracy == files.read_json(workdir / "result.json")["final"]["test"]["accuracy"]
  assert loading.load_run(workdir)[0] == scope["config"]


def test_files_page_has_every_file_and_key(first_run):
  workdir, _ = first_run
  page = (ROOT / "docs/files.md").read_text()
  named = set(re.findall(r"`([^`]+)`", page))

  def check(found, where):
    assert set(found) <= named, f"{where}: {sorted(set(found) - named)}"

  def section(title):
    return set(re.findall(r"`([^`]+)`", page.split(f"### {title}\n")[1].split("\n#")[0]))

  paths = [p.name for p in workdir.iterdir()]
  known = {n.rstrip("/").removesuffix("/<step>") for n in named}
  assert {re.sub(r"tfevents\..*", "tfevents.*", p) for p in paths} <= known

  description = files.read_json(workdir / "config.json")
  check([*description, *description["inputs"], *description["environment"]], "config.json")
  assert set(description) <= section("config.json")
  result = files.read_json(workdir / "result.json")
  check([*result, *result["noise"]], "result.json")
  assert set(result) <= section("result.json")
  for row in files.read_rows(workdir / "metrics.jsonl"):
    assert set(row) <= section("metrics.jsonl")
  for name in ("noise.npz", "diagnostics.npz"):
    with np.load(workdir / name) as arrays:
      assert set(arrays.files) <= section(name)
