"""What `benchmarks.gpu` measures, in its order, at full size and rehearsed at a tiny one."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from benchmarks.gpu_steps import (
  Item,
  Step,
  exactly,
  fastest_packing,
  file_progress,
  packing_names,
  read_results,
  report_progress,
  rows_progress,
  runs_progress,
)
from benchmarks.gpu_sweeps import CACHE, FULL, TINY, WORK, Settings, sweeps

GRAPHS = "--xla_gpu_enable_command_buffer="
# The rows that one process compiles, beside the first of its benchmark.
COMPILED_TOGETHER = 3
WITH_WHILE = "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,COLLECTIVES,CONDITIONAL,WHILE"


class Builder:
  """Makes the items of a session from the files under its --out.

  Attributes:
    out: the directory of the results.
    work: the directory in which the commands run.
    settings: what is measured.
    size: how large it is.
  """

  def __init__(self, out: pathlib.Path, settings: Settings):
    self.out, self.work, self.settings = out, out / WORK, settings
    self.size = TINY if settings.rehearse else FULL
    self.sweeps = sweeps(settings)
    self._runs: dict[str, list[tuple[pathlib.Path, int]]] = {}

  def packing(self, runs: int) -> tuple[str, float] | None:
    """Returns the fastest packing measured so far for so many runs; see `fastest_packing`."""
    return fastest_packing(read_results(self.out / f"packing_{self.size.dtype}.json"), runs)

  def runs(self, name: str) -> list[tuple[pathlib.Path, int]]:
    """Lists the runs of a sweep; see `Sweep.runs`."""
    if name not in self._runs:
      self._runs[name] = self.sweeps[name].runs(self.work)
    return self._runs[name]

  def items(self) -> list[Item]:
    """Returns the items in their order."""
    measured = (*self._speed(), *self._packings())
    return [
      Item("compile what items 1 to 3 need", 0.25, self._compiled(measured), together=True),
      Item("1 step speed, PyTorch, floor", 0.35, self._speed()),
      Item("2 packing", 0.35, self._packings()),
      Item("3 table A; D and E", 0.75, self._sweep("table_a")),
      Item("4 accuracy against alpha", 0.5, self._sweep("alpha")),
      Item("5 table C, students", 0.5, self._sweep("table_c")),
      Item("6 human noise", 0.5, self._sweep("human")),
      Item("7 profile, large table A", 1.0, (self._profile(), *self._sweep("table_a_large"))),
    ]

  def _benchmark(
    self, name: str, module: str, rows: Sequence[str], *more: str, **fields: Any
  ) -> Step:
    """Returns the step that measures some rows of a benchmark."""
    out = self.out / f"{name}.json"
    repetitions = f"--repetitions={self.size.repetitions}"
    command = ("-m", f"benchmarks.{module}", f"--out={out}", "--resume", repetitions, *more)
    progress = lambda: rows_progress(out, rows)  # noqa: E731 (a closure over two names)
    return Step(name, (*command, exactly(rows)), progress, rows=tuple(rows), **fields)

  def _speed(self) -> tuple[Step, ...]:
    small, large = self.size.models
    scans = f"--scans={','.join(map(str, self.size.scans))}"
    forms = ["plain" if n == 1 else f"scan of {n}" for n in self.size.scans]

    def speed(name: str, model: str, rows: Sequence[str], flags: str = "") -> Step:
      rows = [f"{model} {row}" for row in rows]
      return self._benchmark(name, "step_time", rows, f"--models={model}", scans, flags=flags)

    def peer(name: str, form: str, others: tuple[str, ...]) -> Step:
      rows, steps = [f"PyTorch {form}", *others], f"--steps={self.size.peer_steps}"
      return self._benchmark(f"peer_torch_{name}", "peer_torch", rows, steps, needs="torch")

    bfloat16 = [f"bfloat16 {form}" for form in forms]
    floor = ("floor", [f"{small} step, {self.size.dtype}"], f"--models={small}")
    steps = [
      speed("step_time", small, [*(f"float32 {form}" for form in forms), *bfloat16]),
      *(peer(*each) for each in self.size.peers),
      self._benchmark(f"floor_{self.size.dtype}", *floor, f"--dtype={self.size.dtype}"),
      speed("step_time_no_graphs", small, bfloat16, GRAPHS),
      speed("step_time_while_graphs", small, bfloat16[1:], GRAPHS + WITH_WHILE),
    ]
    if large != small:
      rows = [*bfloat16, f"float32 {forms[-1]}"]
      steps.append(speed(f"step_time_{large}", large, rows))
    return tuple(steps)

  def _packings(self) -> tuple[Step, ...]:
    size = self.size
    model, steps = size.models[0], f"--steps={size.packing_steps}"
    rows = packing_names(model, size.dtype, size.kinds, size.widths)
    more = (f"--models={model}", steps, f"--dtype={size.dtype}")
    return (self._benchmark(f"packing_{size.dtype}", "packing", rows, *more),)

  def _sweep(self, name: str) -> tuple[Step, ...]:
    """Returns the steps that train a sweep with the fastest packing and report what it has."""
    sweep, report = self.sweeps[name], self.out / name
    packing = self.packing(len(self.runs(name)))
    command = sweep.command if packing is None else (*sweep.command, f"--packing={packing[0]}")
    return (
      Step(
        name,
        command,
        lambda: runs_progress(self.runs(name)),
        grace=self.size.sweep_grace,
        shortest=self.size.sweep_seconds,
      ),
      Step(
        f"{name}_report",
        ("-m", "lsjax.report", name, f"--out={report}"),
        lambda: report_progress(report / "results.json", self.work / name),
        shortest=5.0,
        reserve=15.0,
        is_ready=lambda: any((self.work / name).glob("*/result.json")),
      ),
    )

  def _profile(self) -> Step:
    size = self.size
    model = size.models[0]
    packing = self.packing(len(self.runs("table_a")))
    kind = packing[0] if packing else "sequential:1"
    out = self.out / "step_profile.json"
    command = (
      *("-m", "benchmarks.step_profile", f"--out={out}", f"--model={model}"),
      *(f"--dtype={size.dtype}", f"--packing={kind}", f"--steps={size.packing_steps}"),
    )
    # In a CUDA graph, kernels do not tell their operations.
    return Step("step_profile", command, lambda: file_progress(out), flags=GRAPHS)

  def _compiled(self, measured: Sequence[Step]) -> tuple[Step, ...]:
    """Returns steps that fill the caches of compiled programs for those that are not finished."""

    def warming(name: str, command: tuple[str, ...], flags: str = "") -> Step:
      mark = self.work / CACHE / "ended" / name
      return Step(name, command, lambda: file_progress(mark), flags=flags, mark=mark)

    steps = []
    for step in measured:
      is_wanted = step.name.startswith(self.size.compiled) and not step.left_out
      if not is_wanted or step.progress().is_finished:
        continue
      first, *rest = step.rows
      changed = ("--out", "--resume", "--repetitions", "--only")
      kept = [a for a in step.command if not a.startswith(changed)]
      for i in range(0, len(rest), COMPILED_TOGETHER):
        only = exactly([first, *rest[i : i + COMPILED_TOGETHER]])
        command = (*kept, "--repetitions=1", only)
        steps.append(warming(f"compile_{step.name}_{i}", command, step.flags))
    sweep = self.sweeps["table_a"]
    # The same programs as for many steps.
    short = {"train.num_steps": 400, "optim.boundaries": (200, 300), "train.eval_every": 400}
    base = {**sweep.base, **({} if self.settings.rehearse else short)}
    for packing in () if runs_progress(self.runs("table_a")).done else self.size.warmed:
      name = f"compile_sweep_{packing.replace(':', '_')}"
      warm = dataclasses.replace(sweep, name=name, seeds=1, base=base)
      steps.append(warming(name, (*warm.command, f"--packing={packing}")))
    return tuple(steps)
