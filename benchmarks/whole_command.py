"""The time of whole commands, from the start of the process to its end, with an owner per second.

    git worktree add --detach ../before 34506dc
    python -m benchmarks.whole_command --baseline=../before \
      --out=results/benchmarks/whole_command.json

Every command is a process of its own with a warm compilation cache and compiled Python files, in
a new work directory. With --baseline the same command of another checkout is run in turn with this
one's, round after round; the first round fills the caches and does not count. A command has a row
for the time on the clock and one for the time of processors (user and system, of child processes
too), which depends less on what else a shared machine does. The last round runs under
`benchmarks.owners`, and its `details` say how many seconds of both kinds each part took. About half
an hour on 2 cores.
"""

import argparse
import contextlib
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
_CLOCKS = ("clock", "processors")


@dataclasses.dataclass(frozen=True)
class Command:
  """A command to time.

  Attributes:
    module: the module that Python runs, or "-c".
    arguments: its arguments.
    is_run: whether a work directory and a compilation cache are added to them.
    target: the bound for its time on the clock, or None.
  """

  module: str
  arguments: Sequence[str] = ()
  is_run: bool = True
  target: harness.Target | None = None


_JAX = "import jax"
# What has been said to be there is imported when it is used, so that `import lsjax` is not all.
_LIBRARY = f"{_JAX}, lsjax; [getattr(lsjax, x) for x in lsjax.__all__ if x != 'advise']"
COMMANDS = {
  "import jax": Command("-c", (_JAX,), is_run=False),
  "import lsjax": Command(
    "-c", ("import lsjax",), is_run=False, target=harness.Target("value", "at most", 0.3)
  ),
  "import jax and all of the library": Command("-c", (_LIBRARY,), is_run=False),
  "lsjax train, digits_noisy": Command(
    "lsjax",
    ("train", "--config=configs/digits_noisy.py"),
    target=harness.Target("value", "at most", 5),
  ),
  "lsjax sweep, table_a_digits": Command(
    "lsjax",
    ("sweep", "--config=configs/sweeps/table_a_digits.py"),
    target=harness.Target("ratio", "at most", 0.333),
  ),
  "lsjax sweep, paper_digits": Command(
    "lsjax",
    ("sweep", "--config=configs/sweeps/paper_digits.py"),
    target=harness.Target("value", "at most", 60),
  ),
}


class Checkout:
  """A checkout of lsjax whose commands are timed, with caches of its own."""

  def __init__(self, root: pathlib.Path, caches: pathlib.Path):
    """Names its caches.

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

  def run(
    self,
    command: Command,
    *,
    workdir: pathlib.Path | None = None,
    watch: pathlib.Path | None = None,
  ) -> tuple[float, float, float]:
    """Runs a command; returns its seconds on the clock and of processors, and its size in MiB.

    Args:
      command: the command.
      workdir: where its run/ goes; None for a directory that is removed afterwards.
      watch: the file for the seconds of each owner; None to run it as it is.
    """
    with contextlib.ExitStack() as stack:
      if workdir is None:
        workdir = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
      output = stack.enter_context(tempfile.TemporaryFile())
      arguments = [command.module, *command.arguments]
      if command.module != "-c":
        arguments = ["-m" if watch is None else f"{owners.__file__}", *arguments]
      if watch is not None:
        arguments.insert(1, str(watch))
      if command.is_run:
        arguments += [f"--workdir={workdir}/run", f"--compilation_cache={self.caches / 'jax'}"]
      start = time.perf_counter()
      process = subprocess.Popen(
        [sys.executable, *arguments],
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
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

  def watch(self, command: Command) -> tuple[tuple[float, float, float], dict[str, list[float]]]:
    """Runs a command; returns what `run` does and {part: [seconds on the clock, of processors]}."""
    with tempfile.TemporaryDirectory() as directory:
      out, start = pathlib.Path(directory) / "owners.json", time.time()
      spent = self.run(command, watch=out)
      watched = json.loads(out.read_text())
    parts = watched["seconds"]
    parts[owners.START][0] = watched["began"] - start
    parts[owners.EXIT] = [
      spent[0] - (watched["ended"] - start),
      spent[1] - sum(of_processors for _, of_processors in parts.values()),
    ]
    rounded = {name: [round(t, 2) for t in seconds] for name, seconds in parts.items()}
    return spent, dict(sorted(rounded.items(), key=lambda part: -part[1][1]))


def rows(
  name: str, command: Command, checkouts: Sequence[Checkout], repetitions: int, warm_up: int
) -> Iterator[harness.Row]:
  """Times a command in each checkout in turn and yields its rows; the last is the reference."""
  spent: list[list[tuple[float, float, float]]] = [[] for _ in checkouts]
  parts: list[dict[str, list[float]]] = [{} for _ in checkouts]
  for i in range(warm_up + repetitions):
    for j, checkout in enumerate(checkouts):
      if command.is_run and i == warm_up + repetitions - 1:
        seconds, parts[j] = checkout.watch(command)
      else:
        seconds = checkout.run(command)
      if i >= warm_up:
        spent[j].append(seconds)
  for found, details, state in zip(spent, parts, ("", ", before")):
    for i, clock in enumerate(_CLOCKS):
      values = [seconds[i] for seconds in found]
      target = command.target if clock == "clock" and not state else None
      if target is not None and target.of == "ratio" and len(checkouts) == 1:
        target = None  # there is nothing to compare with
      yield harness.Row(
        name=f"{name}{state}, {clock}",
        unit="s",
        values=values,
        ratios=None
        if len(spent) == 1
        else harness.ratios(values, [seconds[i] for seconds in spent[-1]]),
        ratio_to="before",
        target=target,
        peak_host_mib=max(mib for _, _, mib in found),
        details=details if clock == "clock" else {},
      )


def measure(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Times every command."""
  with tempfile.TemporaryDirectory() as place:
    caches = args.caches or pathlib.Path(place)
    roots = [ROOT, *([args.baseline.resolve()] if args.baseline else [])]
    checkouts = [Checkout(r, caches / name) for r, name in zip(roots, ("now", "before"))]
    for name in harness.chosen(list(COMMANDS), args.only):
      warm_up = 0 if args.caches else 1
      yield from rows(name, COMMANDS[name], checkouts, args.repetitions, warm_up)


def flags(parser: argparse.ArgumentParser) -> None:
  """Adds the flags for another checkout and for the caches."""
  parser.add_argument("--baseline", type=pathlib.Path, help="another checkout to alternate with")
  parser.add_argument(
    "--caches",
    type=pathlib.Path,
    help="the caches of an earlier call; there is no first round to fill them then",
  )


if __name__ == "__main__":
  harness.run("whole_command", __doc__, measure, repetitions=3, arguments=flags)
