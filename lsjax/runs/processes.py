"""Which process is meant by a record on a shared disk, and whether it is known to live."""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket


@dataclasses.dataclass(frozen=True)
class Process:
  """A process on some host.

  Attributes:
    host: the name of its host.
    kernel: what its numbers belong to: a boot of the host, and namespaces; empty if unknown.
    pid: its number.
    start: when it began, as the kernel counts, because numbers are used again.
  """

  host: str
  kernel: list[str]
  pid: int
  start: str

  def is_alive(self) -> bool | None:
    """Returns whether the process lives; None if that cannot be known from here."""
    here = this_process()
    if not self.kernel or (self.host, self.kernel) != (here.host, here.kernel):
      return None
    try:
      os.kill(self.pid, 0)
      state, start = _state_and_start(str(self.pid))
    except ProcessLookupError:
      return False
    except OSError:  # another user's, whose processes may be hidden
      return None
    return start == self.start and state not in "ZX"  # a zombie writes nothing more

  def __str__(self) -> str:
    return f"process {self.pid} on {self.host}"

  def to_json(self) -> str:
    """Returns the record of the process."""
    return json.dumps(dataclasses.asdict(self))


def this_process() -> Process:
  """Returns the process that calls this."""
  kernel, start = [], ""
  # Without /proc, or with that of other namespaces, a number does not tell which process it is.
  with contextlib.suppress(OSError):
    if os.readlink("/proc/self") == str(os.getpid()):
      spaces = pathlib.Path("/proc/self/ns")
      boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
      names = [name for name in ("pid", "time") if name in os.listdir(spaces)]
      start = _state_and_start("self")[1]
      kernel = [boot, *(os.readlink(spaces / name) for name in names)]
  return Process(socket.gethostname(), kernel, os.getpid(), start)


def from_json(text: str) -> Process | None:
  """Returns the process of a record, None for a damaged record."""
  try:
    process = Process(**json.loads(text))
    is_sound = process.host.isprintable() and 0 < process.pid < 2**31
  except (TypeError, ValueError, AttributeError):
    return None
  return process if is_sound else None


def _state_and_start(pid: str) -> tuple[str, str]:
  # The name of the program, in parentheses, may hold anything.
  fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
  return fields[0], fields[19]
