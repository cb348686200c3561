"""Runs the items of `benchmarks.gpu` within a budget of time, and tells what came of them."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.gpu_steps import Item, Progress, Step
from lsjax import files

HEADER = ("item", "state", "seconds", "minutes left")
# Seconds between looks at a running command.
_PATIENCE = 0.1


class Stopped(Exception):
  """A signal asked to stop.

  Attributes:
    signum: the number of the signal.
  """

  def __init__(self, signum: int):
    super().__init__(signal.Signals(signum).name)
    self.signum = signum


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
  """Yields a list that collects SIGTERM and SIGINT, which do not kill the process meanwhile."""
  received: list[int] = []
  before = {
    s: signal.signal(s, lambda signum, _: received.append(signum))
    for s in (signal.SIGTERM, signal.SIGINT)
  }
  try:
    yield received
  finally:
    for signum, handler in before.items():
      signal.signal(signum, handler)


class Session:
  """Commands that run until a time, with a note of each in state.json.

  Attributes:
    out: the directory of the results, with state.json and logs/.
    work: the directory in which commands run.
    until: the time, by time.monotonic, at which everything has ended.
    environment: the environment of the commands.
    stop: the signals received so far.
    state: the content of state.json; "steps" has seconds and the last ending of each step.
  """

  def __init__(
    self,
    out: pathlib.Path,
    work: pathlib.Path,
    seconds: float,
    environment: Mapping[str, str],
    stop: Sequence[int] = (),
  ):
    """Reads what earlier sessions noted.

    Args:
      out: the directory of the results.
      work: the directory in which commands run.
      seconds: the time from now until everything has ended.
      environment: the environment of the commands.
      stop: the signals received so far.
    """
    self.out, self.work, self.environment, self.stop = out, work, dict(environment), stop
    self.until = time.monotonic() + seconds
    path = out / "state.json"
    self.state: dict[str, Any] = files.read_json(path) if path.exists() else {}
    self.steps: dict[str, dict[str, Any]] = self.state.setdefault("steps", {})

  @property
  def left(self) -> float:
    """The seconds that are left."""
    return self.until - time.monotonic()

  def run(self, make_items: Callable[[], Sequence[Item]]) -> None:
    """Runs items in their order until all are finished or the time is over.

    An item may take its share of the time that is left when it begins. If time is left after the
    last one, the items that are not finished go on. A step that ended without progress is not run
    again.

    Args:
      make_items: a function that returns the items; it is called before each one, because the
        commands of later items follow from the results of earlier ones.

    Raises:
      Stopped: after a signal, once every command has ended.
    """
    given_up: set[str] = set()
    is_going_on = True
    while is_going_on:
      is_going_on = False
      for index in range(len(make_items())):
        item = make_items()[index]
        until = time.monotonic() + item.share * max(self.left, 0.0)
        if item.together:
          is_going_on |= self._run_together(item, until, given_up)
          given_up |= {step.name for step in item.steps}
        else:
          is_going_on |= self._run_in_turn(item, until, given_up)

  def _run_in_turn(self, item: Item, until: float, given_up: set[str]) -> bool:
    """Runs the steps of an item one after another; returns whether any has come further."""
    has_come_further, announced = False, ""
    for i, step in enumerate(item.steps):
      later = sum(s.reserve for s in item.steps[i + 1 :])
      own = min(until - later, self.until) if not step.reserve else self.until
      before = step.progress()
      if self._is_due(step, before, given_up) and self._fits(step, own):
        if item.title != announced:
          self._announce(item)
          announced = item.title
        self._wait({step.name: (step, self._start(step))}, own)
        after = step.progress()
        if after.work_done <= before.work_done:
          given_up.add(step.name)
        else:
          has_come_further = True
    return has_come_further

  def _run_together(self, item: Item, until: float, given_up: set[str]) -> bool:
    """Runs the steps of an item at once, as many as there are cores; returns False.

    What they do is of no use by itself.
    """
    queue = [step for step in item.steps if self._is_due(step, step.progress(), given_up)]
    if queue:
      self._announce(item)
    running: dict[str, tuple[Step, subprocess.Popen[bytes]]] = {}
    while queue or running:
      while queue and len(running) < (os.cpu_count() or 1) and until > time.monotonic():
        running[queue[0].name] = (queue[0], self._start(queue[0]))
        del queue[0]
      if not running:
        break
      self._wait(running, until, until_one_ends=bool(queue))
    return False

  def _is_due(self, step: Step, progress: Progress, given_up: set[str]) -> bool:
    if step.left_out:
      self._note(step, 0.0, f"left out: {step.left_out}")
      return False
    return step.name not in given_up and not progress.is_finished and step.is_ready()

  def _fits(self, step: Step, until: float) -> bool:
    return until - time.monotonic() >= step.shortest + step.grace

  def _announce(self, item: Item) -> None:
    print(f"{item.title} ({max(self.left, 0) / 60:.1f} minutes left)", flush=True)

  def _start(self, step: Step) -> "subprocess.Popen[bytes]":
    environment = dict(self.environment)
    if step.flags:
      environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {step.flags}".strip()
    log = self.out / "logs" / f"{step.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    self._note(step, 0.0, "running")
    with log.open("ab") as f:
      return subprocess.Popen(
        [sys.executable, *step.command],
        cwd=self.work,
        env=environment,
        stdout=f,
        stderr=f,
        start_new_session=True,  # a group of its own, to end its children too
      )

  def _wait(
    self,
    running: dict[str, tuple[Step, "subprocess.Popen[bytes]"]],
    until: float,
    *,
    until_one_ends: bool = False,
  ) -> None:
    """Waits for processes, removes those that end, and ends the others in time."""
    begun = time.monotonic()
    while running:
      has_one_ended = False
      for name, (step, process) in list(running.items()):
        is_late = time.monotonic() >= until - step.grace or self.stop
        if process.poll() is None and is_late:
          _end(process, step.grace if self.stop else max(until - time.monotonic(), 1.0))
        if process.poll() is not None:
          ending = "ended"
          if process.returncode:
            ending = "stopped" if is_late else f"failed with status {process.returncode}"
          if not process.returncode and step.mark is not None:
            step.mark.parent.mkdir(parents=True, exist_ok=True)
            step.mark.touch()
          self._note(step, time.monotonic() - begun, ending)
          self._tell(step, ending, time.monotonic() - begun)
          del running[name]
          has_one_ended = True
      if has_one_ended and until_one_ends:
        break
      time.sleep(_PATIENCE)
    if self.stop:
      raise Stopped(self.stop[0])

  def _tell(self, step: Step, ending: str, seconds: float) -> None:
    p = step.progress()
    print(f"  {step.name}: {ending}, {p.done} of {p.total} {p.unit}, {seconds:.0f} s", flush=True)

  def _note(self, step: Step, seconds: float, ending: str) -> None:
    """Adds seconds to a step, says how it ended, and writes state.json."""
    note = self.steps.setdefault(step.name, {"seconds": 0.0, "ending": ""})
    note["seconds"] = round(note["seconds"] + seconds, 1)
    note["ending"] = ending
    self.write()

  def write(self) -> None:
    """Writes state.json."""
    files.write_json(self.out / "state.json", self.state)


def _end(process: "subprocess.Popen[bytes]", grace: float) -> None:
  """Ends a process and its children: SIGTERM to it, and SIGKILL to the group after some seconds."""
  process.terminate()
  with contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(grace)
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)
  process.wait()


def table(
  items: Sequence[Item], notes: Mapping[str, Mapping[str, Any]], speed: float | None
) -> list[tuple[str, ...]]:
  """Returns rows under `HEADER`: how far each item is, and the time that it still needs.

  Args:
    items: the items.
    notes: seconds and last ending of each step.
    speed: the steps of runs per second of the fastest packing, for sweeps that have not begun.
  """
  measured = [step for item in items for step in item.steps]
  spent = {step.name: float(notes.get(step.name, {}).get("seconds", 0.0)) for step in measured}
  rows = [(step, step.progress()) for step in measured if step.progress().unit == "rows"]
  done = sum(progress.work_done for _, progress in rows)
  per_row = sum(spent[step.name] for step, _ in rows) / done if done else None
  lines: list[tuple[str, ...]] = []
  for item in items:
    parts = [(step, step.progress()) for step in item.steps if not step.left_out]
    left_out = [f"{step.name} left out: {step.left_out}" for step in item.steps if step.left_out]
    counts: dict[str, list[int]] = {}
    needed: float | None = 0.0
    for step, p in parts:
      if p.unit != "files" or len(parts) == 1 or item.together:
        of_unit = counts.setdefault(p.unit, [0, 0])
        of_unit[0], of_unit[1] = of_unit[0] + p.done, of_unit[1] + p.total
      if p.is_finished or needed is None:
        continue
      guess = {"rows": per_row, "runs": 1 / speed if speed else None, "files": step.shortest}
      # The time to the first result, with compilation, counts as that of the work done.
      each = spent[step.name] / p.work_done if p.work_done else guess[p.unit]
      needed = None if each is None else needed + each * p.work_left
    is_begun = any(notes.get(step.name, {}).get("seconds") for step, _ in parts)
    of = ", ".join(f"{a} of {b} {unit}" for unit, (a, b) in counts.items())
    if all(p.is_finished for _, p in parts):
      state = "finished"
    else:
      state = of if is_begun else f"not begun, {of}"
    failed = [
      f"{step.name} {ending}"
      for step, p in parts
      if (ending := str(notes.get(step.name, {}).get("ending", ""))).startswith("failed")
      and not p.is_finished
    ]
    lines.append(
      (
        item.title,
        "; ".join([state, *failed, *left_out]),
        f"{sum(spent[step.name] for step in item.steps):.0f}",
        "?" if needed is None else f"{needed / 60:.1f}",
      )
    )
  return lines
