"""What every benchmark row needs: device, versions, commit, repetitions, peak memory."""

import importlib.metadata
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from lsjax import experiment


def environment() -> dict[str, Any]:
  """Returns where the numbers come from."""
  packages = ("jax", "jaxlib", "flax", "optax", "numpy")
  return {
    "date": time.strftime("%Y-%m-%d"),
    "commit": experiment.commit(),
    "device": jax.devices()[0].device_kind,
    "backend": jax.default_backend(),
    "cpu": _cpu(),
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


def peak_host_mib() -> float:
  """Returns the largest resident size of this process so far, in MiB."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alternate(
  calls: Sequence[Callable[[], Any]], *, repetitions: int, warm_up: int = 2
) -> list[list[float]]:
  """Times calls in turn, round after round, so that a slow spell of the machine hits all.

  Args:
    calls: each blocks until its work is done.
    repetitions: rounds that count.
    warm_up: rounds before them (compilation, autotuning, graph capture).

  Returns:
    Seconds, [call][repetition].
  """
  seconds: list[list[float]] = [[] for _ in calls]
  for i in range(warm_up + repetitions):
    for call, times in zip(calls, seconds):
      start = time.perf_counter()
      call()
      if i >= warm_up:
        times.append(time.perf_counter() - start)
  return seconds


def summary(per_second: Sequence[float]) -> dict[str, float]:
  """Returns median, min and max of rates."""
  return {
    "median": statistics.median(per_second),
    "min": min(per_second),
    "max": max(per_second),
  }
