"""Starts commands by the server, and says whether one ended as it should."""

import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
# No command here needs more memory, in MiB, but those that a config or a file makes large.
MOST_MEMORY = 6000


@dataclasses.dataclass(frozen=True)
class Ended:
  """How a command ended.

  Attributes:
    status: its exit status; negative for the signal that killed it, None if it did not end in time.
    out: what it printed on stdout.
    err: what it printed on stderr, without the progress bars.
    memory: the most memory that it used, in MiB.
  """

  status: int | None
  out: str
  err: str
  memory: int

  @property
  def lines(self):
    """The lines on stderr that are not empty."""
    return [line for line in self.err.splitlines() if line.strip()]

  def why_lost(self, statuses=(0, 2)):
    """Returns what is wrong with the end of the command, "" if nothing is.

    It must end in time with one of some statuses, without a traceback. If that is not 0, one line
    on stderr says why.
    """
    if self.status is None:
      return "did not end in time"
    if "Traceback" in self.err or "Exception ignored" in self.err:
      return f"printed a traceback: {self.lines[-1]}"
    if self.status not in statuses:
      return f"ended with status {self.status}: {' / '.join(self.lines[-2:])[-300:]}"
    said = [line for line in self.lines if not line.startswith("lsjax: warning: ")]
    if self.status > 0 and (len(said) != 1 or not said[0].startswith("lsjax: ")):
      return f"ended with status {self.status} and {len(said)} lines: {' / '.join(said)[-300:]}"
    if self.memory > MOST_MEMORY:
      return f"used {self.memory} MiB of memory"
    return ""


class Server:
  """A server of commands; see `server`."""

  def __init__(self, cache):
    """Starts it.

    Args:
      cache: the directory of compiled programs, which all commands share.
    """
    left_out = ("XLA_FLAGS", "PYTEST_CURRENT_TEST")
    environment = {k: v for k, v in os.environ.items() if k not in left_out}
    environment |= {
      "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
      "JAX_PLATFORMS": "cpu",
      "JAX_COMPILATION_CACHE_DIR": str(cache),
      "OPENBLAS_NUM_THREADS": "1",
      "MPLCONFIGDIR": str(cache),
    }
    self._process = subprocess.Popen(
      [sys.executable, str(pathlib.Path(__file__).with_name("server.py"))],
      cwd=ROOT,
      env=environment,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self._outputs = tempfile.TemporaryDirectory()
    self._count = 0
    self._read()

  def close(self):
    """Ends the server, not its commands."""
    self._process.stdin.close()
    self._process.stdout.close()
    self._process.wait()
    self._outputs.cleanup()

  def _read(self):
    return json.loads(self._process.stdout.readline())

  def _ask(self, request):
    self._process.stdin.write(json.dumps(request) + "\n")
    self._process.stdin.flush()
    return self._read()

  def start(self, command, *args, patches=(), **variables):
    """Starts a command; returns it running.

    Args:
      command: train, sweep, report or advise.
      *args: its arguments.
      patches: names of functions in `patches`, which are called in the process before.
      **variables: variables of its environment.
    """
    self._count += 1
    output = os.path.join(self._outputs.name, str(self._count))
    request = {
      "start": command,
      "args": [str(arg) for arg in args],
      "output": output,
      "variables": variables,
      "patches": list(patches),
    }
    return Running(self, self._ask(request), output)

  def wait(self, number, seconds):
    """Returns the status and memory of a process, None if it does not end in time."""
    return self._ask({"wait": number, "seconds": seconds})

  def run(self, command, *args, seconds=120, patches=(), **variables):
    """Runs a command to its end; one that does not end in time is killed."""
    return self.start(command, *args, patches=patches, **variables).end(seconds)


class Running:
  """A command that runs.

  Attributes:
    number: of its process.
  """

  def __init__(self, server, number, output):
    self._server, self.number, self._output = server, number, output
    self._found = None

  def wait(self, seconds):
    """Returns whether the command has ended after at most so many seconds."""
    if self._found is None:
      self._found = self._server.wait(self.number, seconds)
    return self._found is not None

  def send(self, signum):
    """Sends a signal to the process, which exists until its end was waited for."""
    if self._found is None:
      os.kill(self.number, signum)

  def end(self, seconds=120):
    """Waits for the end and returns it; the process is killed where it takes longer."""
    is_late = not self.wait(seconds)
    if is_late:
      self.send(signal.SIGKILL)
      self.wait(60)
    status, memory = self._found
    texts = []
    for suffix in (".out", ".err"):
      path = pathlib.Path(self._output + suffix)
      texts.append(path.read_text(errors="replace") if path.exists() else "")
      path.unlink(missing_ok=True)
    return Ended(None if is_late else status, texts[0], without_bars(texts[1]), memory)


def without_bars(text):
  """Returns a text without the progress bars, which end with a carriage return or a line."""
  parts = (part for line in text.split("\n") for part in line.split("\r"))
  return "\n".join(part for part in parts if not re.search(r"step/s|s/step|\d+%\|", part))
