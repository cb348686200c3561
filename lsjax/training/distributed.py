"""Several processes as one job: their ranks, their start, and what they tell each other."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lsjax.validation import UserError, one_line

# After so long a silence JAX takes a process for dead and ends the others with an error.
# LSJAX_HEARTBEAT_SECONDS sets another time.
HEARTBEAT_SECONDS = 60

_OWN = ("LSJAX_COORDINATOR", "LSJAX_NUM_PROCESSES", "LSJAX_PROCESS_ID")


def arguments(asked: bool, environment: Mapping[str, str]) -> dict[str, Any] | None:
  """Returns the arguments of `jax.distributed.initialize`; None for a job of one process.

  Args:
    asked: whether the user asked for several processes, which JAX then finds by itself (Cloud
      TPU, GKE, SLURM, Open MPI).
    environment: the process's environment variables. LSJAX_COORDINATOR (host:port),
      LSJAX_NUM_PROCESSES and LSJAX_PROCESS_ID describe the job completely. SLURM with several
      tasks, or a TPU slice of several workers whose names are in the environment (GKE), has
      the same effect as `asked`.

  Raises:
    validation.UserError: one line, for variables that do not fit.
  """
  own = {name: environment[name] for name in _OWN if name in environment}
  if own:
    return _own_arguments(own)
  tasks = environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1"))
  several_tasks = "SLURM_PROCID" in environment and tasks.isdigit() and int(tasks) > 1
  several_workers = "," in environment.get("TPU_WORKER_HOSTNAMES", "")
  return {} if asked or several_tasks or several_workers else None


def _own_arguments(own: Mapping[str, str]) -> dict[str, Any]:
  for name in _OWN:
    if name not in own:
      raise UserError(f"{name}: is missing beside {' and '.join(sorted(own))}")
  address, count, index = (own[name] for name in _OWN)
  if not re.fullmatch(r"\S+:\d+", address):
    raise UserError(f"LSJAX_COORDINATOR = {address!r}: must be host:port")
  if not count.isdigit() or int(count) < 1:
    raise UserError(f"LSJAX_NUM_PROCESSES = {count!r}: must be an integer from 1")
  if not index.isdigit() or int(index) >= int(count):
    raise UserError(f"LSJAX_PROCESS_ID = {index!r}: must be in [0, {count})")
  return {
    "coordinator_address": address,
    "num_processes": int(count),
    "process_id": int(index),
  }


def initialize(asked: bool, environment: Mapping[str, str]) -> None:
  """Starts JAX's multi-host runtime if the job has several processes; else does nothing.

  Raises:
    validation.UserError: one line, if the others cannot be found or reached.
  """
  found = arguments(asked, environment)
  if found is None:
    return
  # CPU devices run simultaneous calls in any order, so that the collectives of two calls could
  # cross. Accelerators keep the order and are not affected by this setting.
  jax.config.update("jax_cpu_enable_async_dispatch", False)
  seconds = environment.get("LSJAX_HEARTBEAT_SECONDS", str(HEARTBEAT_SECONDS))
  if not seconds.isdigit() or int(seconds) < 5:
    raise UserError(f"LSJAX_HEARTBEAT_SECONDS = {seconds!r}: must be an integer from 5")
  try:
    jax.distributed.initialize(**found, heartbeat_timeout_seconds=int(seconds))
  except Exception as error:  # JAX and gRPC raise many kinds
    raise UserError(f"--distributed: the processes did not meet ({one_line(error)})") from error


def is_first_process() -> bool:
  """Returns whether this is the process that writes the files of a job."""
  return jax.process_index() == 0


def process() -> tuple[int, int]:
  """Returns the index of this process and the number of processes."""
  return jax.process_index(), jax.process_count()


def sum_over_processes(x: np.ndarray) -> np.ndarray:
  """Returns the sum of an array over all processes; all of them must call this."""
  if jax.process_count() == 1:
    return x
  return np.asarray(_multihost().process_allgather(x)).sum(0)


def any_process(flag: bool) -> bool:
  """Returns whether the flag is set in any process; all of them must call this."""
  if jax.process_count() == 1:
    return flag
  return bool(_multihost().process_allgather(np.array(flag)).any())


def barrier(name: str) -> None:
  """Waits until every process of the job has arrived."""
  if jax.process_count() > 1:
    _multihost().sync_global_devices(name)


def _multihost() -> Any:
  from jax.experimental import multihost_utils  # slow to import, and not needed by one process

  return multihost_utils
