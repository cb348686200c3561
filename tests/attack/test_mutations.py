"""Mutated configs and flags: each is refused in one line, or the command runs."""

import re
import shutil
import signal

from attack import mutations
from attack.plugin import line

# A run that was asked for more steps than the others is stopped after so many seconds.
_SECONDS = 60


def tried(server, *args, statuses=(0, 2, 3), patches=()):
  """Runs a command; returns what is lost, or "". One that goes on is stopped by SIGTERM."""
  running = server.start(*args, patches=patches)
  if not running.wait(_SECONDS):
    running.send(signal.SIGTERM)
    return running.end(120).why_lost((*statuses, 143, -signal.SIGTERM))
  ended = running.end()
  if ended.status == 3 and "DIVERGED" in ended.out:
    return ""
  why = ended.why_lost(statuses)
  if (
    not why
    and ended.status == 2
    and not re.search(r"config|flag|key|--|cell|argument", ended.lines[-1])
  ):
    return f"does not name what is wrong: {ended.lines[-1]}"
  return why


@line("run_configs", parts=8)
def test_run_configs(attack, server, tmp_path):
  """Every fifth is a command line, the others are config files."""
  for case in attack.cases:
    draws, workdir = attack.draws(case), tmp_path / "run/here"
    if case % 5 == 0:
      args = ["--config=configs/digits_noisy.py", *mutations.flags(draws)]
    else:
      mutations.write_config(tmp_path / "run.py", "run_config", draws.random())
      args = [f"--config={tmp_path / 'run.py'}"]
    attack.record(case, tried(server, "train", *args, f"--workdir={workdir}"))
    shutil.rmtree(tmp_path / "run", ignore_errors=True)


@line("sweep_configs", parts=8)
def test_sweep_configs(attack, server, tmp_path):
  """Sound ones are planned and timed by --dry_run; every tenth case is trained instead."""
  for case in attack.cases:
    draws, workdir = attack.draws(case), tmp_path / "sweep"
    mutations.write_config(tmp_path / "config.py", "sweep_config", draws.random())
    args = [f"--config={tmp_path / 'config.py'}", f"--workdir={workdir}"]
    dry = [] if case % 10 == 0 else ["--dry_run"]
    attack.record(case, tried(server, "sweep", *args, *dry))
    shutil.rmtree(workdir, ignore_errors=True)
