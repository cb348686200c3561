"""Which part of a sweep a process trains."""

import re
from collections.abc import Mapping

from lsjax.validation import UserError


def shard_of(flag: str | None, environment: Mapping[str, str]) -> tuple[int, int]:
  """Returns (index, count) of this process's part.

  Args:
    flag: "i/n", "n" or None.
    environment: of the process, for job arrays.

  Raises:
    UserError: one line.
  """
  slurm, kubernetes = (environment.get(k) for k in ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"))
  index, count = None, None
  if flag is not None:
    if not re.fullmatch(r"(\d+/)?\d+", flag):
      raise UserError(f"--shard = {flag!r}: must be i/n with 0 <= i < n, or n")
    first, _, second = flag.partition("/")
    index, count = (int(first), int(second)) if second else (None, int(first))
  elif slurm is not None and "SLURM_ARRAY_TASK_COUNT" in environment:
    count = int(environment["SLURM_ARRAY_TASK_COUNT"])
  elif slurm is not None or kubernetes is not None:
    raise UserError("--shard: is missing; a job array needs --shard=<number of jobs>")
  if count is None:
    return 0, 1
  if index is None and slurm is not None:
    index = int(slurm) - int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
  elif index is None and kubernetes is not None:
    index = int(kubernetes)
  if index is None:
    raise UserError(
      f"--shard = {flag!r}: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set; use i/n"
    )
  if not 0 <= index < count:
    raise UserError(f"--shard: index {index} must be in [0, {count})")
  return index, count
