"""How much memory this process may still take, to refuse at once what cannot fit."""

import os
import pathlib

_MEMINFO = pathlib.Path("/proc/meminfo")
# The limits of a container, by the version of control groups.
_LIMITS = (
  pathlib.Path("/sys/fs/cgroup/memory.max"),
  pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def available() -> int:
  """Returns the number of bytes of memory that are free, or that the system can free.

  It is the smaller of what the machine has and the limit of the process's container. Where the
  system does not tell, it is the whole memory of the machine.
  """
  found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
  for path in (_MEMINFO, *_LIMITS):
    try:
      found.append(_bytes(path.read_text()))
    except (OSError, ValueError):
      continue  # no such file, or no limit
  return min(found)


def _bytes(text: str) -> int:
  """Returns the number in a file of a limit, or that of MemAvailable in /proc/meminfo."""
  for line in text.splitlines():
    if line.startswith("MemAvailable:"):
      return int(line.split()[1]) << 10
  return int(text)


def size(count: int) -> str:
  """Returns a number of bytes for a message, such as "1.5 GiB"."""
  for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
    if count >= 1 << shift:
      return f"{count / (1 << shift):.1f} {unit}"
  return f"{count} bytes"
