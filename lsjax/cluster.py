"""Several processes as one job: who they are, and JAX's multi-host runtime started for them."""

import re
from collections.abc import Mapping
from typing import Any

import jax

from lsjax import config as config_lib

# A process that says nothing for so long is taken for dead, and JAX ends the others with an error;
# LSJAX_HEARTBEAT_SECONDS says otherwise.
HEARTBEAT_SECONDS = 60

_OWN = ("LSJAX_COORDINATOR", "LSJAX_NUM_PROCESSES", "LSJAX_PROCESS_ID")


def arguments(asked: bool, environment: Mapping[str, str]) -> dict[str, Any] | None:
  """Returns the arguments of `jax.distributed.initialize`; None for a job of one process.

  Args:
    asked: whether the user asked for several processes, which JAX then finds by itself (Cloud
      TPU, GKE, SLURM, Open MPI).
    environment: of the process. LSJAX_COORDINATOR (host:port), LSJAX_NUM_PROCESSES and
      LSJAX_PROCESS_ID say it all; SLURM with several tasks, or a TPU slice of several workers
      whose names are in the environment (GKE), mean the same as being asked.

  Raises:
    config.ConfigError: one line, for variables that do not fit.
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
      raise config_lib.ConfigError(f"{name}: is missing beside {' and '.join(sorted(own))}")
  address, count, index = (own[name] for name in _OWN)
  if not re.fullmatch(r"\S+:\d+", address):
    raise config_lib.ConfigError(f"LSJAX_COORDINATOR = {address!r}: must be host:port")
  if not count.isdigit() or int(count) < 1:
    raise config_lib.ConfigError(f"LSJAX_NUM_PROCESSES = {count!r}: must be an integer from 1")
  if not index.isdigit() or int(index) >= int(count):
    raise config_lib.ConfigError(f"LSJAX_PROCESS_ID = {index!r}: must be in [0, {count})")
  return {
    "coordinator_address": address,
    "num_processes": int(count),
    "process_id": int(index),
  }


def initialize(asked: bool, environment: Mapping[str, str]) -> None:
  """Starts JAX's multi-host runtime if the job has several processes; else does nothing.

  Raises:
    config.ConfigError: one line, if the others cannot be found or reached.
  """
  found = arguments(asked, environment)
  if found is None:
    return
  # CPU devices run calls that are in flight at the same time in any order, and the collectives of
  # two of them would meet crosswise. Accelerators keep the order; this is nothing to them.
  jax.config.update("jax_cpu_enable_async_dispatch", False)
  seconds = environment.get("LSJAX_HEARTBEAT_SECONDS", str(HEARTBEAT_SECONDS))
  if not seconds.isdigit() or int(seconds) < 5:
    raise config_lib.ConfigError(
      f"LSJAX_HEARTBEAT_SECONDS = {seconds!r}: must be an integer from 5"
    )
  try:
    jax.distributed.initialize(**found, heartbeat_timeout_seconds=int(seconds))
  except Exception as error:  # JAX and gRPC raise many kinds
    raise config_lib.ConfigError(
      f"--distributed: the processes did not meet ({config_lib.one_line(error)})"
    ) from error
