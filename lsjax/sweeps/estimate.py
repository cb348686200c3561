"""What a sweep would do, and how long it would take by a few timed calls."""

import collections
import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from lsjax.runs.directory import RunDirectory
from lsjax.runs.leases import Lease
from lsjax.sweeps import plan
from lsjax.sweeps.execution import layout_for
from lsjax.sweeps.plan import PlannedCell, PlannedRun
from lsjax.training import devices, loop, setup


@dataclasses.dataclass(frozen=True)
class Timing:
  """Seconds that a program takes.

  Attributes:
    compile: to compile the program.
    pack: to train and evaluate a pack of runs with it.
    files: to write the files of one run.
  """

  compile: float
  pack: float
  files: float


def time_run(run: setup.PreparedRun, layout: devices.Layout) -> Timing:
  """Times a call, an evaluation and the files of a run, in a temporary directory."""
  train = run.config.train
  pack = loop.Pack([run], layout)

  def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start

  def write() -> None:
    with tempfile.TemporaryDirectory() as workdir:
      directory = RunDirectory(run, Lease(workdir))
      training = loop.Loop(pack, [directory], trained.state, trained.step)
      training.evaluate()
      training.save()
      training.finish()
      directory.close()

  try:
    trained = loop.Loop(pack, [], pack.initial_state(), 0)
    steps = min(pack.call_steps, train.num_steps)
    # Each is timed twice, because the first time compiles.
    calls = [seconds(lambda: trained.advance(steps)) for _ in range(2)]
    variables = trained.state.variables
    evaluations = [
      seconds(lambda: [pack.inputs.sums(name, variables) for name in pack.inputs.evaluated])
      for _ in range(2)
    ]
    writes = [seconds(write) for _ in range(2)]
  finally:
    pack.inputs.close()
  times = -(-train.num_steps // train.eval_every)
  return Timing(
    compile=sum(max(first - second, 0.0) for first, second in (calls, evaluations, writes)),
    pack=train.num_steps / steps * calls[1] + times * evaluations[1],
    files=max(writes[1] - evaluations[1], 0.0),
  )


def dry_run(
  planned: Sequence[PlannedCell],
  directory: pathlib.Path,
  shard: tuple[int, int],
  packing: tuple[devices.Packing, int] | None = None,
) -> str:
  """Returns what a sweep would do: its cells, its programs, and the time that they would take.

  Args:
    planned: all cells of the sweep.
    directory: the sweep's directory; nothing is written to it.
    shard: (index, count) of this process's part.
    packing: see `execution.layout_for`.
  """
  lines = []
  for cell in planned:
    runs = plan.runs_of([cell], directory)
    done = sum(not run.steps_left for run in runs)
    lines.append(f"{cell.name:48} {len(runs)} runs, {done} done")
  all_runs = plan.runs_of(planned, directory)
  own_runs = all_runs[shard[0] :: shard[1]]
  distinct = {run.workdir: run for run in [*own_runs, *plan.teachers_of(own_runs)]}
  programs: dict[Any, list[PlannedRun]] = {}
  for run in distinct.values():
    if run.steps_left:
      programs.setdefault(plan.program_key(run.config), []).append(run)
  lines.append(
    f"{len(planned)} cells, {len(all_runs)} distinct runs; in shard {shard[0]}/{shard[1]} with "
    f"the teachers it needs {len(distinct)}, of which {sum(map(len, programs.values()))} are left"
  )
  total = 0.0
  for runs in programs.values():
    first = runs[0].config
    alike = collections.Counter(plan.pack_key(run.config) for run in runs)
    layout = layout_for(runs[0], max(alike.values()), packing)
    ordinary = dataclasses.replace(first, teacher=None, student=None)
    seconds = time_run(setup.prepare(ordinary), layout)
    left = sum(run.steps_left for run in runs) / first.train.num_steps
    packs = sum(-(-count // layout.capacity) for count in alike.values())
    work = packs * left / len(runs) * seconds.pack
    work += len(runs) * seconds.files
    total += seconds.compile + work
    kind = "students" if first.student else "ordinary"
    lines.append(
      f"program: {first.model.name} on {first.data.name}, {first.train.num_steps} steps, {kind}: "
      f"{len(runs)} runs, {layout.capacity} at once ({layout.packing}, {len(layout.devices)} "
      f"devices): {seconds.compile:.0f} s to compile, then about {work:.0f} s"
    )
  lines.append(
    f"estimate: {total:.0f} s on this machine, from one timed call, evaluation and set of files of "
    "each program; students were timed without a teacher, and the report is not counted"
  )
  return "\n".join(lines)
