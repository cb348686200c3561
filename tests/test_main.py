"""The command line, as a user meets it: exit status and messages, in a process of its own."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from lsjax import files

ROOT = pathlib.Path(__file__).parent.parent
DIGITS = "--config=configs/digits_noisy.py"
DISTILL = "--config=configs/digits_distill.py"


def run(*args, **kwargs):
  env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  return subprocess.run(
    [sys.executable, "-W", "error::DeprecationWarning:lsjax", "-m", "lsjax.main", *args],
    cwd=ROOT,
    env=env,
    capture_output=True,
    text=True,
    timeout=300,
    **kwargs,
  )


def error_line(done):
  """The one line of a refusal."""
  lines = [line for line in done.stderr.splitlines() if line.strip()]
  assert len(lines) == 1, done.stderr
  assert lines[0].startswith("lsjax: ")
  return lines[0]


@pytest.mark.parametrize(
  ("args", "message"),
  [
    ([], "--config=<file> is missing"),
    (["--config=configs/absent.py"], "absent.py"),
    ([DIGITS + ":lable_smoothing"], "must be one of cross_entropy, label_smoothing"),
    ([DIGITS, "--config.loss.alfa=1"], "did you mean config.loss.alpha?"),
    ([DIGITS, "--config.losss.alpha=1"], "did you mean config.loss.alpha?"),
    ([DIGITS, "--config.=x"], "config.: no such field; known: "),
    ([DIGITS, "--config.loss.alpha=x"], "alpha"),
    ([DIGITS, "--config.train.num_steps=a\nb"], "flag --config.train.num_steps=a b: invalid"),
    ([DIGITS, "--config.loss.alpha"], "write the value as"),
    ([DIGITS, "--config.loss.alpha=7"], "config.loss.alpha = 7.0: must be in [0, 1]"),
    ([DIGITS, "--config.model.name=vgg"], "must be one of linear, mlp"),
    ([DIGITS, "--config.data.name=npz", "--config.data.path=/absent.npz"], "no such file"),
    ([DIGITS, "--config.teacher.workdir=x"], "config.teacher: this config file trains without"),
    ([DISTILL, "--config.teacher.workdir=/absent"], "config.teacher.workdir = '/absent': there is"),
    ([DISTILL, "--config.teacher.loss.alfa=1"], "did you mean config.teacher.loss.alpha?"),
    (
      [DISTILL, "--config.student.temperature=0"],
      "config.student.temperature = 0.0: must be in (0",
    ),
    (
      [DISTILL, "--config.teacher.workdir=x", "--config.teacher.loss.alpha=0.2"],
      "config.teacher.loss.alpha: does nothing",
    ),
    ([DIGITS, "--wrkdir=x"], "wrkdir"),
    ([DIGITS, "stray"], "unexpected argument 'stray'"),
  ],
)
def test_bad_input_ends_in_one_line_and_status_2(tmp_path, args, message):
  done = run(*args, *([f"--workdir={tmp_path / 'run'}"] if args else []))
  assert message in error_line(done)
  assert done.returncode == 2
  assert not (tmp_path / "run").exists()


def test_a_config_file_with_a_name_that_is_no_text(tmp_path):
  (tmp_path / "odd.py").write_text(
    "from lsjax import config\n"
    "def get_config():\n"
    "  made = config.default_config()\n"
    "  with made.unlocked():\n"
    "    made[1.5] = 3\n"
    "  return made\n"
  )
  done = run(f"--config={tmp_path / 'odd.py'}", f"--workdir={tmp_path / 'run'}")
  assert error_line(done) == "lsjax: the config has a field whose name is no text"
  assert done.returncode == 2


@pytest.mark.parametrize(
  ("code", "message"),
  [
    ("raise TypeError('argument is not iterable')\n", "argument is not iterable"),
    ("def get_config():\n  pass\n", "get_config returns None"),
  ],
)
def test_a_config_file_that_does_not_work_is_named(tmp_path, code, message):
  (tmp_path / "odd.py").write_text(code)
  done = run(f"--config={tmp_path / 'odd.py'}", f"--workdir={tmp_path / 'run'}")
  assert error_line(done) == f"lsjax: --config={tmp_path / 'odd.py'}: {message}"
  assert done.returncode == 2


def test_main_job(tmp_path):
  args = [DIGITS, "--config.train.num_steps=200", f"--workdir={tmp_path / 'run'}"]
  done = run(*args)
  assert done.returncode == 0, done.stderr
  for line in (
    "label noise: symmetric, rate 0.2 asked, 0.1",
    "test accuracy (clean labels)",
    "test ECE (15 bins)",
    "on the mislabelled part",
    "memorisation",
    "final, step 200",
    "best validation, step",
    f"files: {tmp_path / 'run'}",
  ):
    assert line in done.stdout
  accuracy = files.read_json(tmp_path / "run/result.json")["final"]["test"]["accuracy"]
  assert f"{100 * accuracy:.2f} %" in done.stdout
  assert accuracy > 0.8
  again = run(*args)
  assert again.returncode == 0
  assert again.stdout == done.stdout
  other = run(*args, "--config.seed.noise=1")
  assert other.returncode == 2
  assert "seed.noise: 0 there, 1 here" in error_line(other)


def test_diverged_exits_3(tmp_path):
  args = [DIGITS + ":backward", "--config.optim.learning_rate=1e9", "--config.optim.clip_norm=0.0"]
  done = run(*args, f"--workdir={tmp_path / 'run'}")
  assert done.returncode == 3, done.stderr
  assert re.search(r"DIVERGED: loss \S+ at step \d+; last good checkpoint", done.stdout)


def killed_at_first_checkpoint(args, workdir, signum):
  """Starts main, sends the signal when a checkpoint of workdir is there; (status, stderr)."""
  process = subprocess.Popen(
    [sys.executable, "-m", "lsjax.main", *args],
    cwd=ROOT,
    stderr=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  deadline = time.monotonic() + 120
  while not list(workdir.glob("checkpoints/[1-9]00")):
    assert time.monotonic() < deadline
    assert process.poll() is None, process.communicate()
    time.sleep(0.02)
  process.send_signal(signum)
  _, errors = process.communicate(timeout=120)
  assert not (workdir / "result.json").exists()
  return process.returncode, errors


def finish(args):
  """Runs main to its end, on as many devices as `killed_at_first_checkpoint` does."""
  done = subprocess.run(
    [sys.executable, "-m", "lsjax.main", *args],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


FREQUENT = [
  "--config.train.num_steps=3000",
  "--config.checkpoint.every=100",
  "--config.train.steps_per_call=50",
]


@pytest.mark.parametrize(
  ("signum", "status"),
  [
    (signal.SIGTERM, 143),
    pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
  ],
)
def test_stopped_and_resumed_is_the_same_run(tmp_path, signum, status):
  args = [DIGITS, *FREQUENT]
  parts = f"--workdir={tmp_path / 'parts'}"
  code, errors = killed_at_first_checkpoint([*args, parts], tmp_path / "parts", signum)
  assert code == status, errors
  if signum == signal.SIGTERM:
    assert re.search(r"lsjax: stopped by SIGTERM at step \d+, saved", errors)
  assert "resuming" in finish([*args, parts])
  assert "resuming" not in finish([*args, f"--workdir={tmp_path / 'whole'}"])
  for name in ("result.json", "metrics.jsonl", "noise.npz"):
    assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_distillation_killed_in_each_stage_is_the_same_job(tmp_path):
  frequent = [a.replace("config.", "config.teacher.") for a in FREQUENT]
  args = [DISTILL, *FREQUENT, *frequent]
  student = f"--workdir={tmp_path / 'whole/student'}"
  finish([*args, student])
  (own,) = (p.name for p in (tmp_path / "whole").iterdir() if p.name != "student")
  student = f"--workdir={tmp_path / 'parts/student'}"
  for stage in (own, "student"):
    workdir = tmp_path / "parts" / stage
    code, errors = killed_at_first_checkpoint([*args, student], workdir, signal.SIGKILL)
    assert code == -9, errors
  assert f"resuming {tmp_path / 'parts/student'}" in finish([*args, student])
  for name in ("metrics.jsonl", "noise.npz"):
    for stage in (own, "student"):
      parts, whole = (tmp_path / part / stage / name for part in ("parts", "whole"))
      assert parts.read_bytes() == whole.read_bytes()
  # They name the directory of the teacher, which counts in their digests.
  results = [files.read_json(tmp_path / p / "student/result.json") for p in ("parts", "whole")]
  for result in results:
    del result["sha256"], result["teachers"][0]["workdir"]
  assert results[0] == results[1]


def test_default_workdir(tmp_path):
  env = os.environ | {"PYTHONPATH": str(ROOT)}
  done = subprocess.run(
    [
      sys.executable,
      "-m",
      "lsjax.main",
      f"--config={ROOT}/configs/digits_noisy.py",
      "--config.train.num_steps=3",
    ],
    cwd=tmp_path,
    env=env,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  (workdir,) = (tmp_path / "runs/digits_noisy").iterdir()
  assert re.fullmatch("[0-9a-f]{8}", workdir.name)
  assert files.read_json(workdir / "config.json")["config_hash"] == workdir.name


@pytest.mark.slow
def test_compilation_cache_and_profile(tmp_path):
  """On by default in the user's cache directory, off by flag."""
  names = ("JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS")
  env = {k: v for k, v in os.environ.items() if k not in names}
  env |= {"XDG_CACHE_HOME": str(tmp_path / "user")}

  def main(name, *args):
    args = [DIGITS, "--config.train.num_steps=2", f"--workdir={tmp_path / name}", *args]
    done = subprocess.run(
      [sys.executable, "-m", "lsjax.main", *args],
      cwd=ROOT,
      env=env,
      capture_output=True,
      text=True,
      timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return (tmp_path / name / "result.json").read_bytes()

  plain = main("off", "--compilation_cache=off", f"--profile={tmp_path / 'trace'}")
  assert not (tmp_path / "user").exists()
  assert list((tmp_path / "trace").rglob("*.xplane.pb"))
  assert main("default") == plain
  (kept,) = (tmp_path / "user/lsjax").iterdir()
  before = {p.name for p in kept.glob("*-cache")}
  assert before
  assert main("again") == plain
  assert {p.name for p in kept.glob("*-cache")} == before  # nothing was compiled anew


@pytest.mark.parametrize(
  ("code", "absent"),
  [
    (
      "import lsjax.losses, lsjax.noise",
      {"orbax", "matplotlib", "sklearn", "tensorboardX", "scipy"},
    ),
    (
      "import lsjax.distillation.stages, lsjax.sweeps.execution",
      {"matplotlib", "sklearn", "tensorboardX", "scipy", "torch"},
    ),
    ("import lsjax.report", {"jax", "sklearn", "matplotlib"}),
    (
      "from lsjax import config, data; data.load(config.Data(name='digits'))",
      {"orbax", "matplotlib", "tensorboardX", "sklearn", "scipy"},
    ),
  ],
)
def test_heavy_packages_are_imported_where_they_are_used(code, absent):
  code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
  )
  assert not set(done.stdout.split()) & (absent | {"tensorflow_datasets", "tensorflow"})
