"""How often a command looks for garbage: Python's defaults are made for small programs."""

import atexit
import contextlib
import gc
from collections.abc import Iterator

# Objects that are made before a look at the youngest, and looks before one at older ones.
_THRESHOLDS = (10_000, 10, 10)


def collect_rarely() -> None:
  """Makes the collector of cyclic garbage look less often, and not while the process ends.

  Importing JAX and tracing a program make a million objects that stay. Looking through them over
  and over takes a fifth of the time of a short command.
  """
  gc.set_threshold(*_THRESHOLDS)
  atexit.unregister(gc.freeze)  # once is enough
  atexit.register(gc.freeze)


@contextlib.contextmanager
def not_collected() -> Iterator[None]:
  """Looks for no garbage in a block that keeps nearly all that it makes, as a report does."""
  was_enabled = gc.isenabled()
  gc.disable()
  try:
    yield
  finally:
    if was_enabled:
      gc.enable()
