"""Which part of a command the seconds of its main thread belong to, by looks at its stack.

    python benchmarks/owners.py OUT.json lsjax train --config=digits_noisy

runs the command that follows and writes {owner: [seconds on the clock, seconds of processors]}. A
thread looks at the stack of the main thread every ten milliseconds; the time since the look before
belongs to the first of `OWNERS` that the innermost frames name, also the time of processors that
other threads used meanwhile. This file imports nothing of lsjax, so that it can watch any version.
"""

import collections
import functools
import gc
import json
import runpy
import sys
import threading
import time
from types import CodeType, FrameType

PERIOD = 0.01  # seconds between two looks

# Owner, part of the file's name, and the functions of that file; no functions: all of them. The
# innermost frame that any row names decides, and of several rows the first.
OWNERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
  ("imports", "<frozen importlib", ()),
  ("checkpoints", "orbax/checkpoint", ()),
  ("checkpoints", "lsjax/runs/checkpoints.py", ()),
  ("checkpoints", "lsjax/runs/integrity.py", ()),
  ("events", "tensorboardX", ()),
  ("events", "lsjax/runs/events.py", ()),
  ("leases", "lsjax/runs/leases.py", ()),
  ("leases", "lsjax/runs/processes.py", ()),
  ("figures", "matplotlib", ()),
  ("figures", "lsjax/reports/figures.py", ()),
  ("figures", "lsjax/reports/plotting.py", ()),
  ("figures", "lsjax/reports/overview_figures.py", ()),
  ("figures", "lsjax/reports/images.py", ()),
  ("report", "lsjax/reports", ()),
  ("theory", "lsjax/theory.py", ()),
  ("diagnostics", "lsjax/diagnostics.py", ()),
  ("diagnostics", "lsjax/training/inputs.py", ("diagnostics",)),
  ("evaluation", "lsjax/training/inputs.py", ("sums",)),
  ("evaluation", "lsjax/training/loop.py", ("evaluate",)),
  ("programs (trace, lower, load)", "jax/_src/pjit.py", ("_infer_params", "_resolve_and_lower")),
  ("programs (trace, lower, load)", "jax/_src/interpreters/pxla.py", ("compile",)),
  ("checkpoints", "lsjax/training/loop.py", ("save",)),
  ("files", "lsjax/training/loop.py", ("finish",)),
  ("stepping", "lsjax/training/loop.py", ("run", "_dispatch", "_flush", "_report", "advance")),
  ("stepping", "lsjax/training/inputs.py", ("train",)),
  ("data", "lsjax/data/", ()),
  ("data", "lsjax/noise/", ()),
  ("data", "lsjax/training/setup.py", ()),
  ("data", "lsjax/training/datasets.py", ()),
  ("data", "lsjax/training/splits.py", ()),
  ("parsing, validation, plan", "lsjax/validation.py", ()),
  ("parsing, validation, plan", "lsjax/config.py", ()),
  ("parsing, validation, plan", "ml_collections", ()),
  ("parsing, validation, plan", "lsjax/sweeps/plan.py", ()),
  ("parsing, validation, plan", "lsjax/sweeps/checking.py", ()),
  ("parsing, validation, plan", "absl/flags", ()),
  ("parsing, validation, plan", "lsjax/cli.py", ("_parse",)),
  ("files", "lsjax/files.py", ()),
  ("files", "lsjax/runs/", ()),
  ("files", "lsjax/compiled.py", ()),
)
START, OTHER, EXIT = "interpreter", "other", "exit"


def owner(frame: FrameType | None) -> str:
  """Returns whose work a thread does, from its innermost frame."""
  while frame is not None:
    if found := owner_of(frame.f_code):
      return found
    frame = frame.f_back
  return OTHER


@functools.cache
def owner_of(code: CodeType) -> str:
  """Returns the owner of a function; "" if no row of `OWNERS` names it."""
  for found, part, functions in OWNERS:
    if part in code.co_filename and (not functions or code.co_name in functions):
      return found
  return ""


def watch(thread: int, seconds: dict[str, list[float]], over: threading.Event) -> None:
  """Adds the seconds of a thread to their owners until the event is set."""
  last = time.perf_counter(), time.process_time()
  while not over.wait(PERIOD):
    spent = seconds[owner(_frame_of(thread))]
    now = time.perf_counter(), time.process_time()
    for i in range(2):
      spent[i] += now[i] - last[i]
    last = now


def _frame_of(thread: int) -> FrameType | None:
  """Returns the innermost frame of a thread.

  Python 3.11 holds a lock while it lists the frames. If it collected garbage meanwhile, JAX's
  callback for that could wait for a thread that waits for the lock, and all of them for ever.
  """
  was_enabled = gc.isenabled()
  gc.disable()
  try:
    return sys._current_frames().get(thread)
  finally:
    if was_enabled:
      gc.enable()


def main() -> None:
  """Runs the command and writes the seconds of each owner, and when the command ended."""
  out, module, *arguments = sys.argv[1:]
  seconds: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
  seconds[START], over, began = [0.0, time.process_time()], threading.Event(), time.time()
  watcher = threading.Thread(
    target=watch, args=(threading.main_thread().ident, seconds, over), daemon=True
  )
  watcher.start()
  sys.argv = [module, *arguments]
  sys.path[0] = ""
  try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
  finally:
    over.set()
    watcher.join()
    with open(out, "w") as f:
      json.dump({"began": began, "ended": time.time(), "seconds": seconds}, f)


if __name__ == "__main__":
  main()
