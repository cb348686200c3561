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
    if not re.fullmatch(r"([0-9]{1,9}/)?[0-9]{1,9}", flag):
      raise UserError(f"--shard = {flag!r}: must be i/n with 0 <= i < n, or n")
    first, _, second = flag.partition("/")
    index, count = (int(first), int(second)) if second else (None, int(first))
  elif slurm is not None and "SLURM_ARRAY_TASK_COUNT" in environment:
    count = _number("SLURM_ARRAY_TASK_COUNT", environment)
  elif slurm is not None or kubernetes is not None:
    raise UserError("--shard: is missing; a job array needs --shard=<number of jobs>")
  if count is None:
    return 0, 1
  if index is None and slurm is not None:
    least = {"SLURM_ARRAY_TASK_MIN": "0", **environment}
    index = _number("SLURM_ARRAY_TASK_ID", least) - _number("SLURM_ARRAY_TASK_MIN", least)
  elif index is None and kubernetes is not None:
    index = _number("JOB_COMPLETION_INDEX", environment)
  if index is None:
    raise UserError(
      f"--shard = {flag!r}: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set; use i/n"
    )
  if not 0 <= index < count:
    raise UserError(f"--shard: index {index} must be in [0, {count})")
  return index, count


def _number(name: str, environment: Mapping[str, str]) -> int:
  """Returns the number in an environment variable."""
  value = environment[name]
  if not re.fullmatch("[0-9]{1,9}", value):
    raise UserError(f"{name} = {value!r}: must be an integer from 0 to 999999999")
  return int(value)
