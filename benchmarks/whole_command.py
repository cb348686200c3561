"""The time of whole commands, from the start of the process to its end, with an owner per second.

    git worktree add --detach ../before 34506dc
    python -m benchmarks.whole_command --baseline=../before \
      --out=results/benchmarks/whole_command.json

Every command is a process of its own with a warm compilation cache and compiled Python files, in
a new work directory. With --baseline the same command of another checkout is run in turn with this
one's, round after round. A command has a row for the time on the clock and one for the time of its
processors (user and system, of its child processes too), which depends less on what else a shared
machine does. Then each command runs once more under `benchmarks.owners`, and `details` of its first
row say how many seconds each part of it took. About half an hour on 2 cores.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from benchmarks import harness, owners

ROOT = pathlib.Path(__file__).parent.parent


@dataclasses.dataclass(frozen=True)
class Command:
  """A command to time.

  Attributes:
    module: the module that Python runs.
    arguments: its arguments; a work directory and a compilation cache are added to them unless
      there are none.
    wall: the bound for its seconds on the clock, or None.
    ratio: the bound for its seconds on the clock as a share of those of the baseline, or None.
  """

  module: str
  arguments: Sequence[str] = ()
  wall: float | None = None
  ratio: float | None = None


COMMANDS = {
  "import lsjax": Command("lsjax.version_only", wall=0.3),
  "lsjax train, digits_noisy": Command(
    "lsjax", ("train", "--config=configs/digits_noisy.py"), wall=5.0
  ),
  "lsjax sweep, table_a_digits": Command(
    "lsjax", ("sweep", "--config=configs/sweeps/table_a_digits.py"), ratio=1 / 3
  ),
  "lsjax sweep, paper_digits": Command(
    "lsjax", ("sweep", "--config=configs/sweeps/paper_digits.py"), wall=60.0
  ),
}


@dataclasses.dataclass
class Spent:
  """What the runs of one command in one checkout took: seconds, and the largest size in MiB."""

  wall: list[float] = dataclasses.field(default_factory=list)
  cpu: list[float] = dataclasses.field(default_factory=list)
  peak_host_mib: float = 0.0


class Checkout:
  """A checkout of lsjax whose commands are timed, with caches of its own."""

  def __init__(self, root: pathlib.Path, caches: pathlib.Path):
    """Creates its caches.

    Args:
      root: the checkout.
      caches: a directory for compiled programs and compiled Python files.
    """
    self.root, self.caches = root, caches
    self.environment = os.environ | {
      "PYTHONPATH": str(root),
      "PYTHONPYCACHEPREFIX": str(caches / "python"),
    }
    # Where it is set, every process would compile every Python file that it imports.
    self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

  def run(self, command: Command, *, watch: pathlib.Path | None = None) -> tuple[float, float, int]:
    """Runs a command; returns its seconds on the clock and of processors, and its size in KiB.

    Args:
      command: the command.
      watch: the file for the seconds of each owner; None to run it as it is.
    """
    with tempfile.TemporaryDirectory() as workdir, open(f"{workdir}/output", "w+b") as output:
      arguments = [command.module, *command.arguments]
      if command.arguments:
        arguments += [f"--workdir={workdir}/run", f"--compilation_cache={self.caches / 'jax'}"]
      watched = ["-m"] if watch is None else [str(pathlib.Path(owners.__file__)), str(watch)]
      start = time.perf_counter()
      process = subprocess.Popen(
        [sys.executable, *watched, *arguments],
        cwd=self.root,
        env=self.environment,
        stdout=output,
        stderr=output,
      )
      _, status, usage = os.wait4(process.pid, 0)
      seconds = time.perf_counter() - start
      process.returncode = os.waitstatus_to_exitcode(status)
      if process.returncode:
        output.seek(0)
        sys.exit(f"{arguments} failed in {self.root}: {output.read()[-2000:].decode()}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss

  def owners(self, command: Command) -> dict[str, float]:
    """Returns the seconds of each part of a command, which is run once more for that."""
    with tempfile.TemporaryDirectory() as directory:
      out, start = pathlib.Path(directory) / "owners.json", time.time()
      self.run(command, watch=out)
      end, watched = time.time(), json.loads(out.read_text())
    parts = {
      owners.START: watched["began"] - start,
      **watched["seconds"],
      owners.EXIT: end - watched["ended"],
    }
    return {name: round(t, 3) for name, t in sorted(parts.items(), key=lambda part: -part[1])}


def rows(
  name: str, command: Command, checkouts: Sequence[Checkout], repetitions: int
) -> Iterator[harness.Row]:
  """Times a command in each checkout in turn and yields its rows; the last one is the reference."""
  spent = [Spent() for _ in checkouts]
  for i in range(repetitions + 1):
    for checkout, found in zip(checkouts, spent):
      wall, cpu, kib = checkout.run(command)
      if i:  # the first round fills the caches
        found.wall.append(wall)
        found.cpu.append(cpu)
        found.peak_host_mib = max(found.peak_host_mib, kib / 1024)
  before = spent[-1] if len(spent) > 1 else None
  states = ("", ", before")
  for checkout, found, state in zip(checkouts, spent, states):
    details = checkout.owners(command) if command.arguments else {}
    for clock in ("wall", "cpu"):
      values = getattr(found, clock)
      target = None
      if clock == "wall" and not state and command.wall is not None:
        target = harness.Target("value", "at most", command.wall)
      if clock == "wall" and not state and command.ratio is not None and before is not None:
        target = harness.Target("ratio", "at most", round(command.ratio, 3))
      kind = "processors" if clock == "cpu" else "clock"
      yield harness.Row(
        name=f"{name}{state}, {kind}",
        unit="s",
        values=values,
        ratios=None if before is None else harness.ratios(values, getattr(before, clock)),
        ratio_to=f"before, {kind}",
        target=target,
        peak_host_mib=found.peak_host_mib,
        details=details if clock == "wall" else {},
      )


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Times every command."""
  with tempfile.TemporaryDirectory() as caches:
    roots = [ROOT, *([args.baseline.resolve()] if args.baseline else [])]
    checkouts = [Checkout(r, pathlib.Path(caches) / str(i)) for i, r in enumerate(roots)]
    for name in harness.chosen(list(COMMANDS), args.only):
      yield from rows(name, COMMANDS[name], checkouts, args.repetitions)


def flags(parser: argparse.ArgumentParser) -> None:
  """Adds the flag of another checkout."""
  parser.add_argument("--baseline", type=pathlib.Path, help="another checkout to alternate with")


if __name__ == "__main__":
  harness.run("whole_command", __doc__, measure, repetitions=3, arguments=flags)
