"""What a forked process changes in its own modules before it runs a command."""

import fcntl
import socket

# Short enough that a takeover between hosts takes seconds, long enough for a busy machine.
_SILENCE, _BEAT = 4.0, 0.25


def locks_fail():
  """Makes locks of the file system fail, as on a disk without a lock service."""

  def flock(descriptor, operation):
    raise OSError(37, "No locks available")

  fcntl.flock = fcntl.lockf = flock


def locks_do_nothing():
  """Makes locks of the file system succeed for everybody."""
  fcntl.flock = fcntl.lockf = lambda *_: None


def on_another_host():
  """Gives the process a host of its own, so that other processes know of it by its lease alone."""
  import os

  from lsjax.runs import leases

  name = f"host-{os.getpid()}"
  socket.gethostname = lambda: name
  leases.SILENCE_SECONDS, leases.BEAT_SECONDS, leases._PATIENCE = _SILENCE, _BEAT, 0.1


def stop_before_training():
  """Ends the process well once its input has been read and found sound."""
  import sys

  from lsjax.advice import pipeline
  from lsjax.training import loop

  def stop(*_, **__):
    print("read and found sound")
    sys.exit(0)

  loop.Pack = pipeline.run = stop


def no_figures():
  """Leaves the figures of a report out, which take most of its time."""
  from lsjax.reports import figures

  figures.draw = lambda sweep: []
