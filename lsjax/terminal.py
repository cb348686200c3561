"""Standard streams that are no reason to stop: closed, full, or a pipe that nobody reads."""

import io
import os
import signal
import sys
import types
from typing import TextIO

_INTERRUPTED = "\nlsjax: interrupted; what was saved before stays"  # below a progress bar


class _Output(io.FileIO):
  """A file descriptor for output. The first write that fails turns it into /dev/null."""

  def write(self, data: object, /) -> int:
    """Writes bytes; those that cannot be written are dropped, and all that follow."""
    try:
      return super().write(data)  # type: ignore[arg-type]
    except OSError:
      _to_null(self.fileno())
      return memoryview(data).nbytes  # type: ignore[arg-type]


def open_output(descriptor: int, encoding: str = "utf-8") -> TextIO:
  """Returns a text stream on a file descriptor that never raises an error when written to.

  A character that the encoding has not is written by its code.

  Args:
    descriptor: a file descriptor that is open for writing; the stream does not close it.
    encoding: the name of the encoding.
  """
  raw = _Output(descriptor, "wb", closefd=False)
  return io.TextIOWrapper(
    io.BufferedWriter(raw),
    encoding=encoding,
    errors="backslashreplace",
    line_buffering=descriptor != 1 or raw.isatty(),
  )


def protect() -> None:
  """Makes this process go on whatever becomes of its standard streams.

  Descriptors 0, 1 and 2 that are closed are opened on /dev/null: otherwise the next file that the
  process opens would take their place, and messages of libraries would be written into it. Streams
  that something else has replaced, such as those of a notebook, stay as they are.

  An interrupt from the keyboard that nothing catches ends in one line instead of a traceback, also
  one that Python could not raise.
  """
  for descriptor in range(3):
    try:
      os.fstat(descriptor)
    except OSError:
      _to_null(descriptor)
  for name, descriptor in (("stdout", 1), ("stderr", 2)):
    own = getattr(sys, f"__{name}__")
    if getattr(sys, name) is own:
      encoding = "utf-8" if own is None else own.encoding
      setattr(sys, name, open_output(descriptor, encoding))
  if sys.excepthook is sys.__excepthook__:
    sys.excepthook = _print_error
  if sys.unraisablehook is sys.__unraisablehook__:
    sys.unraisablehook = _print_unraisable


def _print_error(
  kind: type[BaseException], error: BaseException, traceback: types.TracebackType | None
) -> None:
  """Prints an error that nothing catches; Python ends after it as the signal would end it."""
  if issubclass(kind, KeyboardInterrupt):
    print(_INTERRUPTED, file=sys.stderr)
  else:
    sys.__excepthook__(kind, error, traceback)


def _print_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
  """Prints an error that cannot be raised where it occurs; ends the process if it is an interrupt.

  Python would drop an interrupt that comes inside a callback, such as that of JAX at each
  collection of garbage, and go on.
  """
  if not isinstance(unraisable.exc_value, KeyboardInterrupt):
    sys.__unraisablehook__(unraisable)
    return
  print(_INTERRUPTED, file=sys.stderr)
  signal.signal(signal.SIGINT, signal.SIG_DFL)
  signal.raise_signal(signal.SIGINT)


def _to_null(descriptor: int) -> None:
  """Makes a file descriptor one of /dev/null."""
  null = os.open(os.devnull, os.O_RDWR)
  if null != descriptor:
    os.dup2(null, descriptor)
    os.close(null)
