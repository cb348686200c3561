"""What README tells people to type works."""

import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np

from benchmarks import run_all
from lsjax import files

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
  return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_losses_in_a_plain_optax_loop():
  code = next(b for b in blocks("python") if "optax.sgd" in b)
  assert len([line for line in code.splitlines() if line and "import" not in line]) == 10
  scope = {}
  exec(code, scope)
  right = np.argmax(scope["x"] @ np.asarray(scope["params"]), 1) == scope["clean"]
  assert 0.25 < scope["noisy"].changed.mean() < 0.35
  assert right.mean() > 0.95


def test_npz_route(tmp_path):
  command = next(b for b in blocks("") if "mine.npz" in b).replace("\\\n", " ")
  rng = np.random.default_rng(0)
  clean = rng.integers(0, 3, 400)
  images = rng.normal(size=(400, 6)) + 3 * np.eye(3, 6)[clean]
  crowd = np.where(rng.random(400) < 0.2, (clean + 1) % 3, clean)
  test_labels = rng.integers(0, 3, 100)
  np.savez(
    tmp_path / "mine.npz",
    train_images=images,
    crowd=crowd,
    train_labels=clean,
    test_images=rng.normal(size=(100, 6)) + 3 * np.eye(3, 6)[test_labels],
    test_labels=test_labels,
  )
  words = shlex.split(command.replace("mine.npz", str(tmp_path / "mine.npz")))
  assert words[0] == "python"
  more = ["--config.train.num_steps=200", f"--workdir={tmp_path / 'run'}"]
  done = subprocess.run(
    [sys.executable, *words[1:], *more], cwd=ROOT, capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr
  assert f"label noise: given, {np.mean(crowd != clean):.4f} of the labels are wrong" in done.stdout
  assert "memorisation" in done.stdout


def test_files_named_in_readme_exist():
  for name in re.findall(
    r"(?:configs|lsjax|benchmarks|results|launch|docs|tests)/[\w/]+\.(?:py|json|sh|yaml|md|sbatch)",
    README,
  ):
    assert (ROOT / name).exists(), name


def test_claims_are_those_of_the_results():
  """README's verdicts are the lines that the report wrote into results/digits."""
  text = (ROOT / "results/digits/report.md").read_text()
  rows = [line for line in text.splitlines() if re.match(r"\| (claim|C\d) \|", line)]
  assert len(rows) == 10
  assert all(row in README for row in rows)
  report = files.read_json(ROOT / "results/digits/report.json")
  assert {c["id"]: c["verdict"] for c in report["claims"]} == {
    row.split(" | ")[0].strip("| "): row.split(" | ")[2] for row in rows[1:]
  }


def test_tables_of_speed_are_those_of_the_results():
  """`run_all.py --readme` would change nothing."""
  for path, text in run_all.pages().items():
    assert text in path.read_text(), path


def test_measured_numbers_of_scaling_are_those_of_the_results():
  text = " ".join((ROOT / "docs/scaling.md").read_text().split())

  def median(name, row):
    rows = files.read_json(ROOT / f"results/benchmarks/{name}.json")["rows"]
    return next(r["value"]["median"] for r in rows if row in r["name"])

  workers = median("input_pipeline", "worker processes")
  for said in (
    f"{median('input_pipeline', 'one thread'):.0f} images/s decoded",
    f"2 worker processes {workers:.0f} images/s, that is {workers / 2:.0f} a core",
    f"cores at {workers / 2:.0f} images/s",
    f"{median('scaling', 'on disk'):.0f} MB measured",
    f"waits {median('scaling', 'waits'):.2f} s",
    f"whole after {median('scaling', 'written'):.2f} s",
    f"read in {median('scaling', 'read in'):.2f} s",
    f"{median('scaling', '1 process(es) x 4'):.1e} after 300 steps",
    f"{median('scaling', '1 process(es) x 8'):.1e} |",
    f"{median('scaling', '2 process(es) x 2'):.1e} |",
  ):
    assert said in text, said


def test_targets():
  row = {"value": {"median": 2.0}, "ratio": {"median": 0.4}}
  targets = {
    ("value", "at most", 2.0): True,
    ("value", "at most", 1.9): False,
    ("ratio", "at least", 0.4): True,
    ("ratio", "at least", 0.5): False,
  }
  for (of, bound, number), expected in targets.items():
    target = {"of": of, "bound": bound, "number": number}
    assert run_all.met(row | {"target": target}) is expected
  assert run_all.met(row | {"target": None}) is None
