"""Training the runs of a sweep, packed, while other processes may train others of them."""

import contextlib
import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from lsjax import data, files, models, theory
from lsjax.distillation import stages
from lsjax.distillation import teachers as teachers_lib
from lsjax.runs import contents, leases
from lsjax.runs import directory as run_directory
from lsjax.runs import execution as run_execution
from lsjax.sweeps import plan
from lsjax.sweeps.plan import PlannedCell, PlannedRun
from lsjax.training import devices, loop, setup
from lsjax.training.teachers import FrozenTeacher
from lsjax.validation import UserError

# The most runs of a device at once that can be asked for.
MOST_AT_ONCE = 1024
# Seconds between looks at runs that another process is training.
_PATIENCE = 1.0


def packing_of(text: str) -> tuple[devices.Packing, int]:
  """Returns the kind of packing and the number of runs that a text such as "vmap:4" names.

  Raises:
    UserError: one line, for a text that names none.
  """
  kind, colon, number = text.partition(":")
  if kind in devices.PACKINGS and colon and number.isascii() and number.isdecimal():
    width = int(number)
    if 1 <= width <= MOST_AT_ONCE:
      return kind, width
  raise UserError(
    f"--packing = {text!r}: must be {' or '.join(devices.PACKINGS)}, a colon and the number of "
    f"runs, 1 to {MOST_AT_ONCE}, such as vmap:4"
  )


def layout_for(
  run: PlannedRun, count: int, packing: tuple[devices.Packing, int] | None = None
) -> devices.Layout:
  """Returns the layout of packs of so many runs like this one, on all devices.

  Where a device trains its runs one after another, an idle slot costs as much as a run, so that
  there are no more slots than few runs need. A run's numbers do not depend on that.

  Args:
    run: one of the runs.
    count: the number of runs.
    packing: the kind of packing and the number of runs of a device; None for the fastest that was
      measured for the backend.
  """
  if packing is None:
    is_convolutional = run.config.model.name in models.CONVOLUTIONAL
    layout = devices.packed_layout(devices.choose(0), is_convolutional)
  else:
    layout = devices.Layout(tuple(devices.choose(0)), width=packing[1], packing=packing[0])
  if layout.packing == "sequential":
    needed = -(-count // len(layout.devices))
    layout = dataclasses.replace(layout, width=min(layout.width, needed))
  return layout


class Runner:
  """Trains runs of a sweep in this process.

  Attributes:
    stop: the signals received so far; training stops once there is one.
    bar: the progress bar, in steps of all runs together.
    on_call: a function that is called with the number of steps done after each compiled call.
    packing: see `layout_for`.
  """

  def __init__(
    self,
    stop: Sequence[int],
    bar: "tqdm[Any]",
    on_call: Callable[[int], None] | None = None,
    packing: tuple[devices.Packing, int] | None = None,
  ):
    self.stop, self.bar, self.on_call, self.packing = stop, bar, on_call, packing
    self._watch = leases.Watch()
    self._teachers: dict[str, FrozenTeacher] = {}
    self._dataset: tuple[Any, data.Dataset] | None = None

  def train(self, runs: Sequence[PlannedRun]) -> None:
    """Trains runs to their end and waits for those that other processes are training.

    Raises:
      ConfigError, loop.Stopped: see `runs.execution.train_and_evaluate`.
    """
    while True:
      groups: dict[Any, list[PlannedRun]] = {}
      for run in runs:
        if not run.has_ended:
          start = run_directory.latest_step(run.workdir)
          key = (start, plan.pack_key(run.config), run.config.given_labels)
          groups.setdefault(key, []).append(run)
      if not groups:
        return
      trained = [self._train_group(group, start) for (start, *_), group in groups.items()]
      if not any(trained):
        time.sleep(_PATIENCE)

  def _train_group(self, group: Sequence[PlannedRun], start: int) -> bool:
    """Trains runs of one shape from one step, pack by pack.

    Returns:
      False if other processes are training all of them.
    """
    layout = layout_for(group[0], len(group), self.packing)
    is_any_free = False
    for i in range(0, len(group), layout.capacity):
      with contextlib.ExitStack() as stack:
        free, claimed = [], []
        for run in group[i : i + layout.capacity]:
          with contextlib.suppress(leases.InUseError):
            lease = stack.enter_context(leases.claim(run.workdir, self._watch))
            # Another process may have trained it in the meantime.
            if run.steps_left == run.config.train.num_steps - start:
              free.append(run)
              claimed.append(lease)
        if claimed:
          is_any_free = True
          prepared = [self._prepare(run) for run in free]
          # If steps differ after all, the next look groups the runs anew.
          try:
            run_execution.train_pack(
              prepared, claimed, layout, stop=self.stop, bar=self.bar, on_call=self.on_call
            )
          except run_directory.StepsDifferError:
            pass
          except leases.LostError as error:
            print(f"{error}; going on with the other runs")
    return is_any_free

  def _prepare(self, run: PlannedRun) -> setup.PreparedRun:
    given, seed = run.config.given_labels, plan.dataset_seed(run.config)
    digests = contents.digests_of(run.config)
    content = [digests.get(field) for field in ("data.path", "data.test_path")]
    key = (dataclasses.replace(run.config.data, fold=0), given, seed, content)
    if self._dataset is None or self._dataset[0] != key:
      self._dataset = (key, setup.load_dataset(run.config))
    workdirs = stages.teacher_workdirs(run.config, run.workdir)
    loaded = [self._teacher(workdir) for workdir in workdirs]
    return setup.prepare(run.config, loaded, self._dataset[1])

  def _teacher(self, workdir: str | os.PathLike[str]) -> FrozenTeacher:
    name = str(workdir)
    if name not in self._teachers:
      self._teachers[name] = teachers_lib.load(name)
    return self._teachers[name]


def run_sweep(
  planned: Sequence[PlannedCell],
  directory: pathlib.Path,
  label: str,
  shard: tuple[int, int],
  *,
  on_call: Callable[[int], None] | None = None,
  packing: tuple[devices.Packing, int] | None = None,
) -> tuple[int, int]:
  """Trains one shard's part of a sweep.

  A student whose teacher diverged is not trained; the report shows it as missing.

  Args:
    planned: all cells of the sweep.
    directory: the sweep's directory.
    label: the name of the data in figures and tables.
    shard: (index, count) of this process's part.
    on_call: a function that is called with the number of steps done after each compiled call.
    packing: see `layout_for`.

  Returns:
    The number of this shard's runs, and the number of runs that other shards still have to do.
  """
  all_runs = plan.runs_of(planned, directory)
  index, count = shard
  own_runs = all_runs[index::count]
  ordinary = [run for run in own_runs if run.config.teacher is None]
  students = [run for run in own_runs if run.config.teacher is not None]
  teachers = plan.teachers_of(students)
  plan.write_index(planned, directory, label)
  distinct = {run.workdir: run for run in [*own_runs, *teachers]}
  startable = [run for run in distinct.values() if plan.has_teacher(run)]
  unended = {run.workdir: run.steps_to_end for run in startable if not run.has_ended}
  ended = {run.workdir for run in startable} - unended.keys()  # none of them is looked at again
  steps = sum(unended.values())
  bar = tqdm(total=steps, unit="step", unit_scale=True, desc=directory.name, smoothing=0.1)
  with _timed(directory, shard, steps), bar, loop.stop_signals() as stop:
    runner = Runner(stop, bar, on_call, packing)
    runner.train([run for run in ordinary if run.workdir not in ended])
    runner.train([run for run in teachers if run.workdir not in ended])
    unended_students = [run for run in students if run.workdir not in ended]
    runner.train([run for run in unended_students if plan.has_teacher(run)])
  if index == 0:
    files.write_json(directory / "theory.json", theory.check())
  others = [run for run in all_runs if run.workdir not in ended]
  left = sum(1 for run in others if run.steps_left and plan.has_teacher(run))
  return len(own_runs), left


@contextlib.contextmanager
def _timed(directory: pathlib.Path, shard: tuple[int, int], steps: int) -> Iterator[None]:
  """Adds rows to sessions.jsonl: that this process began, and how long it trained until its end."""

  def add(**row: Any) -> None:
    with (directory / "sessions.jsonl").open("a") as f:
      f.write(json.dumps({"date": time.strftime("%Y-%m-%d"), **row}) + "\n")

  if not steps:
    yield
    return
  start = time.perf_counter()
  add(shard=f"{shard[0]}/{shard[1]}", steps=steps)
  try:
    yield
  finally:
    add(shard=f"{shard[0]}/{shard[1]}", seconds=round(time.perf_counter() - start, 1))
