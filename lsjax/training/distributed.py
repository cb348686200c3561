"""Several processes as one job: their ranks, their start, and what they tell each other."""

import contextlib
import errno
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from lsjax.validation import UserError, one_line

# After so long a silence JAX takes a process for dead and ends the others with an error.
# LSJAX_HEARTBEAT_SECONDS sets another time.
HEARTBEAT_SECONDS = 60
# A process that has not met the others for so long ends; LSJAX_START_SECONDS sets another time.
START_SECONDS = 300

_OWN = ("LSJAX_COORDINATOR", "LSJAX_NUM_PROCESSES", "LSJAX_PROCESS_ID")


class PeerLostError(UserError):
  """Another process of the job was lost or never came: a new start of all of them may help."""


# How JAX's runtime says that the job itself is described wrongly, which no new start mends.
_WRONG_JOB = "INVALID_ARGUMENT"


def is_peer_lost(error: BaseException | None) -> bool:
  """Returns whether an error of this process means that another process of the job is gone.

  It does if it came from a message between processes, itself or as the cause of an error of Orbax.
  """
  if jax.process_count() == 1:
    return False
  seen: set[int] = set()
  while error is not None and id(error) not in seen:
    # A collective on CPUs that fails while it is dispatched comes as a ValueError.
    is_from_gloo = isinstance(error, ValueError) and "Gloo" in str(error)
    if isinstance(error, (jax.errors.JaxRuntimeError, PeerLostError)) or is_from_gloo:
      return True
    seen.add(id(error))
    error = error.__cause__ or error.__context__
  return False


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
  several_tasks = "SLURM_PROCID" in environment and _is_count(tasks) and int(tasks) > 1
  several_workers = "," in environment.get("TPU_WORKER_HOSTNAMES", "")
  return {} if asked or several_tasks or several_workers else None


def _own_arguments(own: Mapping[str, str]) -> dict[str, Any]:
  for name in _OWN:
    if name not in own:
      raise UserError(f"{name}: is missing beside {' and '.join(sorted(own))}")
  address, count, index = (own[name] for name in _OWN)
  port = address.rpartition(":")[2]
  if not re.fullmatch(r"\S+:[0-9]+", address) or not _is_count(port) or int(port) >= 2**16:
    raise UserError(f"LSJAX_COORDINATOR = {address!r}: must be host:port, a port below 65536")
  if not _is_count(count) or int(count) < 1:
    raise UserError(f"LSJAX_NUM_PROCESSES = {count!r}: must be an integer from 1")
  if not _is_count(index) or int(index) >= int(count):
    raise UserError(f"LSJAX_PROCESS_ID = {index!r}: must be in [0, {count})")
  return {
    "coordinator_address": address,
    "num_processes": int(count),
    "process_id": int(index),
  }


def _is_count(text: str) -> bool:
  """Returns whether a text is a number of at most 9 of the digits that `int` and shells know."""
  return re.fullmatch("[0-9]{1,9}", text) is not None


def initialize(asked: bool, environment: Mapping[str, str]) -> None:
  """Starts JAX's multi-host runtime if the job has several processes; else does nothing.

  Raises:
    PeerLostError: one line, if the others do not come in time.
    validation.UserError: one line, if the job is described wrongly or its port is taken.
  """
  found = arguments(asked, environment)
  if found is None:
    return
  # CPU devices run simultaneous calls in any order, so that the collectives of two calls could
  # cross. Accelerators keep the order and are not affected by this setting.
  jax.config.update("jax_cpu_enable_async_dispatch", False)
  heartbeat = _seconds("LSJAX_HEARTBEAT_SECONDS", HEARTBEAT_SECONDS, environment)
  start = _seconds("LSJAX_START_SECONDS", START_SECONDS, environment)
  os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # the error below says it in one line
  if found.get("process_id") == 0:
    _check_port(found["coordinator_address"])
  try:
    jax.distributed.initialize(
      **found, initialization_timeout=start, heartbeat_timeout_seconds=heartbeat
    )
  except Exception as error:  # JAX and gRPC raise many kinds
    is_runtime = isinstance(error, jax.errors.JaxRuntimeError)
    is_wrong = not is_runtime or str(error).startswith(_WRONG_JOB)
    kind = UserError if is_wrong else PeerLostError
    raise kind(f"--distributed: the processes did not meet ({one_line(error)})") from error


def _check_port(coordinator: str) -> None:
  """Raises `UserError` if another program has the port, which may crash JAX's runtime."""
  port = int(coordinator.rpartition(":")[2])
  with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      probe.bind(("", port))
    except OSError as error:
      if error.errno == errno.EADDRINUSE:
        why = f"port {port} of this host is taken by another program"
        raise UserError(f"LSJAX_COORDINATOR = {coordinator!r}: {why}") from None


def _seconds(name: str, default: int, environment: Mapping[str, str]) -> int:
  """Returns a time from the environment."""
  value = environment.get(name, str(default))
  if not (_is_count(value) and 5 <= int(value) <= 10**6):
    raise UserError(f"{name} = {value!r}: must be an integer in [5, 1000000]")
  return int(value)


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


def check_equal(facts: Mapping[str, object]) -> None:
  """Checks that all processes of the job have the same facts; all of them must call this.

  Args:
    facts: values that JSON can hold, by the names that a message should show.

  Raises:
    UserError: in every process, naming the first fact that differs and the processes.
  """
  if jax.process_count() == 1:
    return
  first, *others = _gather(dict(facts))
  for index, other in enumerate(others, 1):
    for name in {**first, **other}:
      if first.get(name) != other.get(name):
        _linger()
        raise UserError(
          f"{name}: {first.get(name)!r} in process 0, {other.get(name)!r} in process {index}; "
          "the processes of a job must agree"
        )


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
  """Runs a block that may fail in one process; then it fails in all, which would wait for ever.

  Raises:
    PeerLostError: at once, if it is the process's own error.
    UserError: the process's own error, or one that names the process that failed.
  """
  own: UserError | OSError | None = None
  try:
    yield
  except PeerLostError:
    raise  # there is nobody to tell
  except (UserError, OSError) as error:
    own = error
  failures = _gather(str(own) if own else None) if jax.process_count() > 1 else []
  if any(failures):
    _linger()
  if own is not None:
    raise own
  for index, failure in enumerate(failures):
    if failure:
      raise UserError(f"process {index} of the job: {failure}")


def _linger() -> None:
  """Lets the other processes end before the first one, whose end would abort them."""
  if is_first_process():
    time.sleep(2)


def _gather(value: object) -> list[Any]:
  """Returns a value that JSON can hold from every process; all of them must call this."""
  encoded = np.frombuffer(json.dumps(value).encode(), np.uint8)
  sizes = _multihost().process_allgather(np.array(len(encoded)))
  padded = np.zeros(int(sizes.max()), np.uint8)
  padded[: len(encoded)] = encoded
  rows = np.asarray(_multihost().process_allgather(padded))
  return [json.loads(bytes(row[:size])) for row, size in zip(rows, sizes)]


def _multihost() -> Any:
  from jax.experimental import multihost_utils  # jobs of one process do without it

  return multihost_utils
