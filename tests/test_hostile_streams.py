"""A command trains, writes and ends as it should whatever becomes of its standard streams."""

import os
import pathlib
import shlex
import signal
import subprocess
import sys

import pytest

from lsjax import files, terminal

ROOT = pathlib.Path(__file__).parent.parent
RUN = ("main", "--config=configs/digits_noisy.py", "--config.train.num_steps=2")
SWEEP = """
import ml_collections
from lsjax import shipped
from lsjax.sweeps import cells

def get_config():
  config = ml_collections.ConfigDict({"label": "digits", "seeds": 1})
  config.base = shipped.load("digits_noisy", "cross_entropy")
  config.base.train.num_steps = config.base.train.eval_every = config.base.checkpoint.every = 20
  config.cells = [{"name": name, "changes": cells.method(name)} for name in ("CE", "LS")]
  return config
"""

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


def status(streams, module, *args, **variables):
  """The exit status of a command whose streams a shell redirects."""
  command = shlex.join([sys.executable, "-m", f"lsjax.{module}", *map(str, args)])
  line = f"set -o pipefail; {command} {streams}"
  done = subprocess.run(
    ["bash", "-c", line], cwd=ROOT, env=os.environ | variables, timeout=300, capture_output=True
  )
  assert b"Traceback" not in done.stderr
  assert b"Exception ignored" not in done.stderr
  return done.returncode


@pytest.mark.parametrize(
  "streams",
  [
    "2>&-",
    pytest.param("<&- >&- 2>&-", marks=pytest.mark.slow),
    ">/dev/full 2>/dev/full",
    pytest.param("2>&1 | head -c 1 >/dev/null", marks=pytest.mark.slow),
    pytest.param("| true", marks=pytest.mark.slow),
  ],
)
def test_a_run_ends_as_it_should(tmp_path, streams):
  assert status(streams, *RUN, f"--workdir={tmp_path / 'run'}") == 0
  assert files.read_json(tmp_path / "run/result.json")["status"] == "finished"
  # No message of a library is in a file of the run.
  assert len(files.read_rows(tmp_path / "run/metrics.jsonl")) == 4


@pytest.mark.slow
def test_a_sweep_and_its_report(tmp_path):
  config, workdir = tmp_path / "sweep.py", tmp_path / "sweep"
  config.write_text(SWEEP)
  assert status("2>&- | true", "sweep", f"--config={config}", f"--workdir={workdir}") == 0
  before = (workdir / "report.md").read_bytes()
  for streams in (">/dev/full 2>&-", ">&- 2>/dev/full"):
    (workdir / "report.md").unlink()
    assert status(streams, "report", workdir) == 0
    assert (workdir / "report.md").read_bytes() == before


@pytest.mark.parametrize("streams", [">&- 2>&-", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("command", [("report", "/absent"), ("main", "--config=/absent.py")])
def test_bad_input_keeps_its_status(streams, command):
  assert status(streams, *command) == 2


def test_characters_that_a_terminal_has_not(tmp_path):
  with open(tmp_path / "out", "wb") as file, terminal.open_output(file.fileno(), "ascii") as out:
    out.write("± ✓\n")
  assert (tmp_path / "out").read_text() == "\\xb1 \\u2713\n"


# The second as one that comes while garbage is collected, where Python cannot raise it.
INTERRUPTED = (
  "raise KeyboardInterrupt",
  "import gc\ndef called(*_): raise KeyboardInterrupt\ngc.callbacks.append(called)\ngc.collect()",
)


@pytest.mark.parametrize("code", [*INTERRUPTED, "raise ValueError(3)"])
def test_an_interrupt_that_nothing_catches_is_one_line(code):
  """The process ends as the signal would end it, which a shell shows as status 130."""
  code = f"from lsjax import terminal\nterminal.protect()\n{code}\nprint('went on')"
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
  lines = [line for line in done.stderr.splitlines() if line]
  if "Interrupt" in code:
    assert done.returncode == -signal.SIGINT
    assert lines == ["lsjax: interrupted; what was saved before stays"]
  else:
    assert done.returncode == 1
    assert lines[-1] == "ValueError: 3"
  assert not done.stdout


def test_what_has_replaced_a_stream_stays(capsys):
  stream = sys.stdout
  terminal.protect()
  assert sys.stdout is stream
  assert os.fstat(0)
