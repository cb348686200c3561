"""The steps of `benchmarks.gpu`: commands, how far each has come, and the list of items.

What a step has done is read from its files alone, so that another process, on another machine, goes
on where the last one stopped.
"""

import dataclasses
import importlib.util
import itertools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Progress:
  """How far a step has come.

  Attributes:
    done: the number of rows or runs that are finished.
    total: the number that there will be.
    unit: what is counted.
    work_done: the work behind them, in training steps for runs; a row is one unit of work.
    work_left: the work that is left.
  """

  done: int
  total: int
  unit: str
  work_done: float
  work_left: float

  @property
  def is_finished(self) -> bool:
    return self.done >= self.total


@dataclasses.dataclass(frozen=True)
class Step:
  """A command that measures something.

  Attributes:
    name: the name of its log, and of its results.
    command: the arguments of Python.
    progress: a function that reads how far it has come.
    flags: XLA's flags.
    needs: a package without which it is left out.
    grace: the seconds that it may take to end after SIGTERM.
    shortest: the seconds without which it is not worth a start.
    reserve: the seconds that earlier steps of the item leave for it.
    mark: a file that is made when the command has ended well; None without one.
    rows: the names of the rows that it measures, if it is a benchmark.
    is_ready: a function that tells whether it has anything to work on.
  """

  name: str
  command: tuple[str, ...]
  progress: Callable[[], Progress]
  flags: str = ""
  needs: str = ""
  grace: float = 1.0
  shortest: float = 10.0
  reserve: float = 0.0
  mark: pathlib.Path | None = None
  rows: tuple[str, ...] = ()
  is_ready: Callable[[], bool] = lambda: True

  @property
  def left_out(self) -> str:
    """Why the step is left out here, or an empty string."""
    is_missing = self.needs and importlib.util.find_spec(self.needs) is None
    return f"{self.needs} is not installed" if is_missing else ""


@dataclasses.dataclass(frozen=True)
class Item:
  """Steps that belong together.

  Attributes:
    title: what they measure.
    share: the share of the time left that the item may take.
    steps: the steps in their order.
    together: whether they run at once; none of them is timed then.
  """

  title: str
  share: float
  steps: tuple[Step, ...]
  together: bool = False


def read_results(path: pathlib.Path) -> dict[str, Any]:
  """Returns the results of a benchmark; none if there is no file yet."""
  return json.loads(path.read_text()) if path.exists() else {"rows": []}


def rows_progress(path: pathlib.Path, names: Sequence[str]) -> Progress:
  """Counts the rows of a results file that a step is to measure, with those that failed."""
  results = read_results(path)
  ended = {row["name"] for row in results["rows"]} | {*results.get("failed", {})}
  done = sum(name in ended for name in names)
  return Progress(done, len(names), "rows", done, len(names) - done)


def file_progress(path: pathlib.Path) -> Progress:
  """Tells whether a file is there."""
  return _one_file(path.exists())


def report_progress(path: pathlib.Path, sweep: pathlib.Path) -> Progress:
  """Tells whether the results.json of a report has all runs of a sweep that have ended."""
  rows = json.loads(path.read_text()) if path.exists() else []
  told = {row["config_hash"] for row in rows if row["status"] != "missing"}
  index = sweep / "sweep.json"
  cells = json.loads(index.read_text())["cells"] if index.exists() else []
  runs = {run["workdir"] for cell in cells for run in cell["runs"]}
  ended = {name for name in runs if (sweep / name / "result.json").exists()}
  return _one_file(bool(ended) and ended <= told)


def _one_file(is_done: bool) -> Progress:
  return Progress(int(is_done), 1, "files", int(is_done), int(not is_done))


def runs_progress(runs: Sequence[tuple[pathlib.Path, int]]) -> Progress:
  """Counts the runs of a sweep that have ended, and the training steps that are left.

  Args:
    runs: (work directory, number of training steps) of each.
  """
  done, work_done, work_left = 0, 0, 0
  for workdir, num_steps in runs:
    if (workdir / "result.json").exists():
      done, work_done = done + 1, work_done + num_steps
      continue
    saved = [int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdecimal()]
    reached = max(saved, default=0)
    work_done, work_left = work_done + reached, work_left + num_steps - reached
  return Progress(done, len(runs), "runs", work_done, work_left)


def fastest_packing(results: dict[str, Any], runs: int) -> tuple[str, float] | None:
  """Returns the packing that trains so many runs soonest, and its run-steps/s.

  The last pack may have idle slots, which cost as much as runs.

  Args:
    results: the results of benchmarks/packing.py, whose failed rows count for nothing.
    runs: the number of runs of the same shape.

  Returns:
    ("vmap:4", 885.0), for instance; None without a measured row.
  """
  found = []
  for row in results["rows"]:
    packing = row["details"]["packing"]
    width = int(packing.partition(":")[2])
    share = runs / (-(-runs // width) * width)
    found.append((row["value"]["median"] * share, -width, packing))
  if not found:
    return None
  speed, _, packing = max(found)
  return packing, speed


def exactly(names: Sequence[str]) -> str:
  """Returns the --only of a benchmark that chooses rows by their whole names."""
  escaped = "|".join(name.replace("+", r"\+") for name in names)
  return f"--only=^({escaped})$"


def packing_names(model: str, dtype: str, kinds: Sequence[str], widths: Sequence[int]) -> list[str]:
  """Returns the names of rows of benchmarks/packing.py, the narrowest packs first."""
  packed = [f"{model} {dtype} {kind} x {n}" for n, kind in itertools.product(widths, kinds)]
  return [f"{model} {dtype} sequential x 1", *packed]
