"""What every benchmark is made of: timings in alternation, rows, and one command-line face."""

import argparse
import dataclasses
import importlib.metadata
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax

from lsjax import experiment, files


@dataclasses.dataclass(frozen=True)
class Target:
  """What a row's median should be: its value's, or its ratio's."""

  of: Literal["value", "ratio"]
  bound: Literal["at least", "at most"]
  number: float


@dataclasses.dataclass(frozen=True)
class Row:
  """One measured quantity.

  Attributes:
    name: what was measured, unique in its benchmark.
    unit: of values.
    values: every repetition.
    ratios: of each repetition to the reference of the same round; None for a row without one.
    ratio_to: that reference, in words.
    target: what it should be, if that is set.
    peak_host_mib: largest resident size of the process while this was measured, with all
      that the process holds besides.
    peak_device_mib: of the accelerator's memory so far in the process; None on a CPU.
    details: anything else, by name.
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
    """Returns the row as it stands in a results file."""
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


@dataclasses.dataclass
class Timing:
  """Repetitions of one call: seconds each, and memory as `Row` has it."""

  seconds: list[float] = dataclasses.field(default_factory=list)
  peak_host_mib: float = 0.0
  peak_device_mib: float | None = None

  def rates(self, work: float) -> list[float]:
    """Returns work per second."""
    return [work / t for t in self.seconds]

  @property
  def memory(self) -> dict[str, Any]:
    """The fields of a `Row`."""
    return {"peak_host_mib": self.peak_host_mib, "peak_device_mib": self.peak_device_mib}


def alternate(
  calls: Sequence[Callable[[], Any]], *, repetitions: int, warm_up: int = 2
) -> list[Timing]:
  """Times calls in turn, round after round, so that a slow spell of the machine hits all.

  Args:
    calls: each blocks until its work is done.
    repetitions: rounds that count.
    warm_up: rounds before them (compilation, autotuning, graph capture).
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


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
  """Returns the ratio of each round."""
  return [a / b for a, b in zip(of, to, strict=True)]


def reset_peak_host() -> None:
  """Starts the peak resident size anew, where the kernel can (Linux)."""
  try:
    with open("/proc/self/clear_refs", "w") as f:
      f.write("5")
  except OSError:
    pass  # the peak then counts from the start of the process


def peak_host_mib() -> float:
  """Returns the largest resident size of this process since the last reset, in MiB."""
  try:
    with open("/proc/self/status") as f:
      (kib,) = [line.split()[1] for line in f if line.startswith("VmHWM")]
    return int(kib) / 1024
  except (OSError, ValueError):
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peak_device_mib() -> float | None:
  """Returns the most memory that the first accelerator has held so far; None on a CPU."""
  stats = jax.local_devices()[0].memory_stats()
  return stats["peak_bytes_in_use"] / 2**20 if stats else None


def run(
  name: str,
  doc: str | None,
  measure: Callable[[argparse.Namespace], Iterator[Row]],
  *,
  repetitions: int = 5,
  arguments: Callable[[argparse.ArgumentParser], Any] | None = None,
) -> None:
  """Is a benchmark's command: prints each row as it comes, and writes all as JSON.

  Args:
    name: of the benchmark.
    doc: its module's docstring.
    measure: yields rows, given the parsed flags.
    repetitions: unless --repetitions says.
    arguments: adds flags of its own to the parser.
  """
  parser = argparse.ArgumentParser(description=doc)
  parser.add_argument("--out", help="JSON file to write")
  parser.add_argument("--repetitions", type=int, default=repetitions)
  if arguments is not None:
    arguments(parser)
  args = parser.parse_args()
  rows = []
  for row in measure(args):
    rows.append(row.to_json())
    print(line(rows[-1]), flush=True)
  if args.out:
    result = {"benchmark": name, "environment": environment(), "rows": rows}
    files.write_json(args.out, result)


def line(row: dict[str, Any]) -> str:
  """Returns a row of a results file as a line of text."""
  value, ratio = row["value"], row["ratio"]
  text = f"{row['name']:44} {value['median']:12.5g} {row['unit']}"
  if ratio is not None:
    text += (
      f"; {ratio['median']:.3g} ({ratio['min']:.3g} to {ratio['max']:.3g}) of {row['ratio_to']}"
    )
  return text


def environment() -> dict[str, Any]:
  """Returns where the numbers come from."""
  packages = ("jax", "jaxlib", "flax", "optax", "numpy")
  return {
    "date": time.strftime("%Y-%m-%d"),
    "commit": experiment.commit(),
    "device": jax.devices()[0].device_kind,
    "backend": jax.default_backend(),
    "cpu": _cpu(),
    "xla_flags": os.environ.get("XLA_FLAGS", ""),
    "python": sys.version.split()[0],
    **{name: importlib.metadata.version(name) for name in packages},
  }


def _cpu() -> str:
  try:
    with open("/proc/cpuinfo") as f:
      lines = [line for line in f if line.startswith("model name")]
  except OSError:
    return platform.processor()
  return f"{lines[0].partition(':')[2].strip()} x {len(lines)}" if lines else platform.processor()


def _summary(values: Sequence[float]) -> dict[str, float]:
  return {"median": statistics.median(values), "min": min(values), "max": max(values)}
