"""Runs commands in forks of a process that has imported what all of them import.

Each line of the standard input asks for something, as JSON; each line of the output answers:

* {"start": command, "args": [...], "output": path, "variables": {...}, "patches": [...]} forks a
  process that runs the command as `lsjax COMMAND` would, and what it left for its exit; the answer
  is its number. What it prints on stdout and stderr goes to `output`.out and `output`.err.
* {"wait": number, "seconds": s} waits for its end; the answer is its status, negative for a signal,
  and the most memory that it used in MiB, or null if it has not ended in time.

The modules of the commands themselves, which define flags, are imported in the fork.
"""

import atexit
import gc
import importlib
import json
import os
import resource
import signal
import sys
import threading
import time

_IMPORTED = (
  *("lsjax.cli", "lsjax.sweeps.execution", "lsjax.sweeps.estimate", "lsjax.distillation.stages"),
  *("lsjax.reports", "lsjax.advice.pipeline", "lsjax.advice.inputs", "lsjax.advice.report"),
  *("orbax.checkpoint", "flax.linen", "tensorboardX", "tensorboardX.event_file_writer"),
  *(
    "attack.mutations",
    "pandas",
    "pyarrow.parquet",
    "matplotlib.pyplot",
    "sklearn.datasets",
    "PIL.Image",
  ),
)
_COMMANDS = {
  "train": "lsjax.main",
  "sweep": "lsjax.sweep",
  "report": "lsjax.report",
  "advise": "lsjax.advice.__main__",
}
_MOST_MEMORY = 16 << 30  # bytes of addresses; the runtime of JAX reserves a few GiB


def _begin(request):
  """Makes a fork the process of a command: its own streams, variables, signals and limits."""
  os.setpgid(0, 0)
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
    signal.signal(number, signal.SIG_DFL)
  signal.signal(signal.SIGINT, signal.default_int_handler)
  for descriptor, (path, flags) in enumerate(
    (
      (os.devnull, os.O_RDONLY),
      (f"{request['output']}.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
      (f"{request['output']}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    )
  ):
    opened = os.open(path, flags, 0o600)
    os.dup2(opened, descriptor)
    os.close(opened)
  os.environ.update(request["variables"])
  resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  sys.argv = [f"lsjax {request['start']}", *request["args"]]


def _answer(value):
  sys.stdout.write(json.dumps(value) + "\n")
  sys.stdout.flush()


def _ended(number, seconds):
  """Returns the status and memory of a process that ends in time, else None."""
  deadline = time.monotonic() + seconds
  while True:
    found, status, used = os.wait4(number, os.WNOHANG)
    if found:
      return [os.waitstatus_to_exitcode(status), used.ru_maxrss >> 10]
    if time.monotonic() > deadline:
      return None
    time.sleep(0.005)


def serve():
  """Answers until the input ends. In a fork this returns the request that the fork is for."""
  for name in _IMPORTED:
    importlib.import_module(name)
  gc.freeze()  # a collection would copy the memory that forks share
  _answer("ready")
  while text := sys.stdin.readline():
    request = json.loads(text)
    if "wait" in request:
      _answer(_ended(request["wait"], request["seconds"]))
    elif number := os.fork():
      _answer(number)
    else:
      return request
  return None


def run(request):
  """Runs a command in a fork, whose process ends with it."""
  status = 0
  try:
    _begin(request)
    if request["patches"]:
      from attack import patches

      for name in request["patches"]:
        getattr(patches, name)()
    importlib.import_module(_COMMANDS[request["start"]]).run()
  except SystemExit as end:
    status = end.code if isinstance(end.code, int) else int(end.code is not None)
  except BaseException as error:
    sys.excepthook(type(error), error, error.__traceback__)
    status = 130 if isinstance(error, KeyboardInterrupt) else 1
  # As at the end of an interpreter, without taking apart all that is shared with the server.
  threading._shutdown()
  atexit._run_exitfuncs()
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os._exit(status)


if __name__ == "__main__" and (asked := serve()):
  run(asked)
