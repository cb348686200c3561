"""The parts that all benchmarks share: alternating timings, rows of results, and the command."""

import argparse
import dataclasses
import importlib.metadata
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import jax

from lsjax import files
from lsjax.runs import environment as environment_lib

# What rows of one results file have in common.
_SAME = ("device", "backend", "xla_flags", "jax", "jaxlib")


@dataclasses.dataclass(frozen=True)
class Target:
  """The bound that the median of a row should keep.

  Attributes:
    of: whether the bound is for the values or for the ratios.
    bound: whether the median should be at least or at most the number.
    number: the bound, in the unit of the values for "value".
  """

  of: Literal["value", "ratio"]
  bound: Literal["at least", "at most"]
  number: float


@dataclasses.dataclass(frozen=True)
class Row:
  """A measured quantity.

  Attributes:
    name: the quantity's name, unique in its benchmark.
    unit: the unit of the values.
    values: the value of every repetition.
    ratios: the ratio of every repetition to the reference in the same round; None for a row that
      is not compared with another.
    ratio_to: the name of the reference.
    target: the bound that the median should keep, or None.
    peak_host_mib: the largest resident size of the process in MiB during the measurement, with
      everything else that the process holds; None if it was not measured.
    peak_device_mib: the largest memory of the first accelerator in MiB since the process began;
      None on a CPU.
    details: other measured numbers by name.
  """

  name: str
  unit: str
  values: Sequence[float]
  ratios: Sequence[float] | None = None
  ratio_to: str = ""
  target: Target | None = None
  peak_host_mib: float | None = None
  peak_device_mib: float | None = None
  details: dict[str, Any] = dataclasses.field(default_factory=dict)

  def to_json(self) -> dict[str, Any]:
    """Returns the row as it is written to a results file."""
    return {
      "name": self.name,
      "unit": self.unit,
      "value": _summary(self.values),
      "ratio": None if self.ratios is None else _summary(self.ratios),
      "ratio_to": self.ratio_to,
      "target": None if self.target is None else dataclasses.asdict(self.target),
      "peak_host_mib": self.peak_host_mib,
      "peak_device_mib": self.peak_device_mib,
      "repetitions": list(self.values),
      "details": self.details,
    }


@dataclasses.dataclass(frozen=True)
class Failure:
  """A row that could not be measured, and why."""

  name: str
  why: str


@dataclasses.dataclass
class Timing:
  """The repetitions of a call.

  Attributes:
    seconds: the time of each repetition.
    peak_host_mib: see `Row`.
    peak_device_mib: see `Row`.
  """

  seconds: list[float] = dataclasses.field(default_factory=list)
  peak_host_mib: float = 0.0
  peak_device_mib: float | None = None

  def rates(self, work: float) -> list[float]:
    """Returns the work per second of each repetition, for the work that a repetition does."""
    return [work / t for t in self.seconds]

  @property
  def memory(self) -> dict[str, Any]:
    """The memory as keyword arguments of `Row`."""
    return {"peak_host_mib": self.peak_host_mib, "peak_device_mib": self.peak_device_mib}


def alternate(
  calls: Sequence[Callable[[], Any]], *, repetitions: int, warm_up: int = 2
) -> list[Timing]:
  """Times calls in turn, round after round, so that a slow spell of the machine hits all of them.

  Args:
    calls: the functions to time; each returns after its work is done.
    repetitions: the number of rounds that count.
    warm_up: the number of rounds before these, for compilation, autotuning and graph capture.

  Returns:
    The timing of each call.
  """
  timings = [Timing() for _ in calls]
  for i in range(warm_up + repetitions):
    for call, timing in zip(calls, timings):
      reset_peak_host()
      start = time.perf_counter()
      call()
      seconds = time.perf_counter() - start
      if i >= warm_up:
        timing.seconds.append(seconds)
        timing.peak_host_mib = max(timing.peak_host_mib, peak_host_mib())
        timing.peak_device_mib = peak_device_mib()
  return timings


def chosen(names: Sequence[str], only: str) -> list[str]:
  """Returns the names that contain a match of a regular expression, in their order."""
  return [name for name in names if re.search(only, name)]


def compare(
  makers: Mapping[str, Callable[[], Callable[[], Any]]],
  work: Mapping[str, float],
  args: argparse.Namespace,
  *,
  unit: str,
  details: Mapping[str, dict[str, Any]] | None = None,
) -> Iterator["Row | Failure"]:
  """Times calls one after another, each in turn with the first one; yields a row as soon as it can.

  A call that does not fit into the device's memory, or that the backend cannot compile, becomes a
  failure, and the next one is tried.

  Args:
    makers: functions that make the calls, by the names of their rows.
    work: the work of each call, in the unit without "/s".
    args: the parsed flags; rows that were measured before (`args.measured`) are left out.
    unit: the unit of the values.
    details: other facts of each row.
  """
  names = [*makers]
  left = [name for name in names if name not in args.measured]
  if not left:
    return
  reference = makers[names[0]]()
  for name in left:
    try:
      other = [] if name == names[0] else [makers[name]()]
      first, *rest = alternate([reference, *other], repetitions=args.repetitions)
    except jax.errors.JaxRuntimeError as error:
      if name == names[0]:
        raise
      yield Failure(name, str(error).splitlines()[0][:200])
      continue
    timing = rest[0] if rest else first
    values = timing.rates(work[name])
    yield Row(
      name=name,
      unit=unit,
      values=values,
      ratios=ratios(values, first.rates(work[names[0]])),
      ratio_to=names[0],
      **timing.memory,
      details=dict((details or {}).get(name, {})),
    )


def ratios(values: Sequence[float], reference: Sequence[float]) -> list[float]:
  """Returns the ratio of value to reference in each round."""
  return [a / b for a, b in zip(values, reference, strict=True)]


def reset_peak_host() -> None:
  """Forgets the peak resident size so far, if the kernel can do that (Linux)."""
  try:
    with open("/proc/self/clear_refs", "w") as f:
      f.write("5")
  except OSError:
    pass  # the peak is then that since the start of the process


def peak_host_mib() -> float:
  """Returns the largest resident size of this process since the last reset, in MiB."""
  try:
    with open("/proc/self/status") as f:
      (kib,) = [line.split()[1] for line in f if line.startswith("VmHWM")]
    return int(kib) / 1024
  except (OSError, ValueError):
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peak_device_mib() -> float | None:
  """Returns the largest memory of the first accelerator so far, in MiB; None on a CPU."""
  stats = jax.local_devices()[0].memory_stats()
  return stats["peak_bytes_in_use"] / 2**20 if stats else None


def run(
  name: str,
  doc: str | None,
  measure: Callable[[argparse.Namespace], Iterator[Row | Failure]],
  *,
  repetitions: int = 5,
  arguments: Callable[[argparse.ArgumentParser], Any] | None = None,
) -> None:
  """Runs the command of a benchmark: prints each row when it is measured and writes all as JSON.

  The file is written anew after each row, so that a kill leaves the rows before it.

  Args:
    name: the benchmark's name.
    doc: the docstring of the benchmark's module, for --help.
    measure: a function that takes the parsed flags, among them `measured`, the names of the rows
      that it may leave out, and yields rows.
    repetitions: the default of --repetitions.
    arguments: a function that adds the benchmark's own flags to the parser.
  """
  parser = argparse.ArgumentParser(description=doc)
  parser.add_argument("--out", help="JSON file to write")
  parser.add_argument("--resume", action="store_true", help="keep the rows that --out has")
  parser.add_argument("--repetitions", type=int, default=repetitions)
  parser.add_argument("--only", default="", help="regular expression of the rows to measure")
  if arguments is not None:
    arguments(parser)
  args = parser.parse_args()
  if args.resume and not args.out:
    parser.error("--resume: needs --out")
  result: dict[str, Any] = {"benchmark": name, "environment": environment(), "rows": []}
  if args.resume and os.path.exists(args.out):
    result = resumed(args.out, result)
  args.measured = {row["name"] for row in result["rows"]} | {*result.get("failed", {})}
  for row in measure(args):
    if isinstance(row, Failure):
      result.setdefault("failed", {})[row.name] = row.why
      print(f"{row.name:44} not measured: {row.why}", flush=True)
    else:
      others = [r for r in result["rows"] if r["name"] != row.name]
      result["rows"] = [*others, row.to_json()]
      print(line(result["rows"][-1]), flush=True)
    if args.out:
      files.write_json(args.out, result)


def resumed(where: str, begun: dict[str, Any]) -> dict[str, Any]:
  """Returns the results in a file to add rows to, if speeds of this process belong beside them.

  That is so on the same device with the same JAX and flags; what else differs is noted beside what
  is there.

  Args:
    where: the results file.
    begun: the results of this process, without rows.

  Raises:
    SystemExit: with one line on stderr and status 2, if they do not belong there.
  """
  before: dict[str, Any] = files.read_json(where)
  noted = before["environment"]
  for key, value in begun["environment"].items():
    was = noted.get(key)
    if key in _SAME and was != value:
      print(f"{where}: {key} was {was!r} and is {value!r}; choose another --out", file=sys.stderr)
      sys.exit(2)
    if str(value) not in str(was).split("; "):
      noted[key] = f"{was}; {value}"
  return before


def line(row: dict[str, Any]) -> str:
  """Formats a row of a results file as a line of text."""
  value, ratio = row["value"], row["ratio"]
  text = f"{row['name']:44} {value['median']:12.5g} {row['unit']}"
  if ratio is not None:
    text += (
      f"; {ratio['median']:.3g} ({ratio['min']:.3g} to {ratio['max']:.3g}) of {row['ratio_to']}"
    )
  return text


def environment() -> dict[str, Any]:
  """Returns what the numbers depend on: date, commit, machine and versions."""
  packages = ("jax", "jaxlib", "flax", "optax", "numpy")
  return {
    "date": time.strftime("%Y-%m-%d"),
    "commit": environment_lib.commit(),
    "device": jax.devices()[0].device_kind,
    "backend": jax.default_backend(),
    "driver": _driver(),
    "cpu": _cpu(),
    "xla_flags": os.environ.get("XLA_FLAGS", ""),
    "python": sys.version.split()[0],
    **{name: importlib.metadata.version(name) for name in packages},
  }


def _driver() -> str | None:
  """Returns the version of the driver of an NVIDIA GPU, or None without one."""
  if jax.default_backend() != "gpu":
    return None
  command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
  try:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
  except (OSError, subprocess.CalledProcessError, IndexError):
    return None


def _cpu() -> str:
  try:
    with open("/proc/cpuinfo") as f:
      lines = [line for line in f if line.startswith("model name")]
  except OSError:
    return platform.processor()
  return f"{lines[0].partition(':')[2].strip()} x {len(lines)}" if lines else platform.processor()


def _summary(values: Sequence[float]) -> dict[str, float]:
  return {"median": statistics.median(values), "min": min(values), "max": max(values)}
