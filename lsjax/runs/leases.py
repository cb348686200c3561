"""Leases on work directories, for processes on any hosts that share a disk.

The lease on a directory is the directory `.lease` in it, with one file that names the process which
holds the lease. The file's own name is a random token. The holder touches it every few seconds.

* To take a free lease, a process renames a directory with its own file to `.lease`. The disk lets
  one process alone do that, because a rename replaces no directory that has a file.
* To take over from a holder that is gone, a process first renames the holder's file. Again one
  process alone can do that. If the file was touched after all, it gets its name back.
* A holder that was taken for dead finds that its file is gone, and must write nothing more.

No two clocks are compared: whoever wants the lease measures, by its own clock, how long the file
stays untouched.
"""

import contextlib
import errno
import os
import pathlib
import shutil
import threading
import time
import uuid
from collections.abc import Iterator

from lsjax import files
from lsjax.runs import processes
from lsjax.runs.reading import WorkdirError
from lsjax.training import distributed

# Seconds between two touches of a holder's file.
BEAT_SECONDS = 5.0
# A holder whose file stays untouched for so many seconds is gone, unless it can be seen to live.
SILENCE_SECONDS = 60.0
_PATIENCE = 1.0  # seconds between two looks
_NAME = ".lease"


class InUseError(WorkdirError):
  """A work directory that another process has reserved.

  Attributes:
    is_alive: whether the other process is known to live, rather than not known to be gone.
  """

  def __init__(self, directory: pathlib.Path, holder: object = None, *, is_alive: bool = False):
    super().__init__(f"{directory} is in use by another process{f' ({holder})' if holder else ''}")
    self.is_alive = is_alive


class LostError(WorkdirError):
  """A work directory that another process has taken over from this one."""


class Lease:
  """A directory that this process has reserved.

  Attributes:
    directory: the directory.
  """

  def __init__(self, directory: str | os.PathLike[str], file: pathlib.Path | None = None):
    """Begins to show that the process lives.

    Args:
      directory: the directory.
      file: the lease's file; None for a directory that no other process can want.
    """
    self.directory, self._file = files.path(directory), file
    self._is_over = threading.Event()
    if file is not None:
      threading.Thread(target=self._keep, name=f"lease on {directory}", daemon=True).start()

  def _keep(self) -> None:
    while not self._is_over.wait(BEAT_SECONDS):
      with contextlib.suppress(WorkdirError, OSError):  # whoever is about to write will hear of it
        self.check()

  def check(self) -> None:
    """Checks that the lease is still held, and shows that the process lives.

    Then no other process takes the directory over within `SILENCE_SECONDS`.

    Raises:
      LostError: if it is not.
    """
    try:
      if self._file is not None:
        os.utime(self._file)
    except OSError as error:
      if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
        raise
      why = "was taken over by another process while this one was not seen to live"
      raise LostError(f"{self.directory} {why}") from error

  def release(self) -> None:
    """Lets other processes have the directory."""
    self._is_over.set()
    if self._file is not None:
      _remove(self._file)


class Watch:
  """Takes leases, also from holders that are gone, which may show only after several looks."""

  def __init__(self) -> None:
    """Starts without having seen anything."""
    # By directory: file of the lease, when it was touched, time of the look, seconds of silence.
    self._seen: dict[pathlib.Path, tuple[pathlib.Path, int, float, float]] = {}

  def lease(self, directory: pathlib.Path) -> Lease:
    """Returns a lease on a directory, which is created if there is none.

    Raises:
      InUseError: if another process holds one and is not known to be gone.
      OSError: if the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # there is no lease, or no longer
      for name in os.listdir(directory / _NAME):
        if not name.startswith("."):  # NFS hides what is removed while it is open
          self._take_away(directory, directory / _NAME / name)
    file = _take(directory)
    if file is None:
      raise InUseError(directory)
    return Lease(directory, file)

  def _take_away(self, directory: pathlib.Path, file: pathlib.Path) -> None:
    """Removes the lease of a holder that is gone; raises `InUseError` if it may live."""
    with open(file) as f:  # opened, because then NFS asks the server, and not its cache
      beat, holder = os.fstat(f.fileno()).st_mtime_ns, processes.from_json(f.read())
    is_alive = holder.is_alive() if holder else None
    if is_alive is None:
      is_alive = self._is_touched(directory, file, beat)
    if is_alive is not False:
      raise InUseError(directory, holder, is_alive=bool(is_alive))
    mine = file.with_name(uuid.uuid4().hex)
    os.rename(file, mine)
    if mine.stat().st_mtime_ns != beat:
      os.rename(mine, file)
      raise InUseError(directory, holder, is_alive=True)
    _remove(mine)

  def _is_touched(self, directory: pathlib.Path, file: pathlib.Path, beat: int) -> bool | None:
    """Returns whether the file of a lease is touched all the time; None if it is early to say."""
    now = time.monotonic()
    old_file, old_beat, then, silence = self._seen.get(directory, (file, beat, now, 0.0))
    is_touched = file == old_file and beat != old_beat
    # A longer time without a look may be a disk that hung, for the holder too.
    silence = (
      silence + min(now - then, BEAT_SECONDS) if (file, beat) == (old_file, old_beat) else 0.0
    )
    self._seen[directory] = (file, beat, now, silence)
    return False if silence >= SILENCE_SECONDS else is_touched or None


def _take(directory: pathlib.Path) -> pathlib.Path | None:
  """Takes the lease on a directory; returns its file, or None if another process has it."""
  token = uuid.uuid4().hex
  prepared = directory / f"{_NAME}.{token}"
  try:
    prepared.mkdir()
    (prepared / token).write_text(processes.this_process().to_json())
    os.rename(prepared, directory / _NAME)
  except BaseException as error:
    shutil.rmtree(prepared, ignore_errors=True)
    if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
      return None
    raise
  return directory / _NAME / token


def _remove(file: pathlib.Path) -> None:
  with contextlib.suppress(OSError):  # what is left is the lease of a process that is gone
    file.unlink()
    file.parent.rmdir()


@contextlib.contextmanager
def claim(workdir: str | os.PathLike[str], watch: Watch | None = None) -> Iterator[Lease]:
  """Reserves a work directory for this process until the block or the process ends.

  In a job of several processes the first process reserves it for all. In a bucket, which has no
  leases, nobody is refused.

  Args:
    workdir: the directory.
    watch: what this process has seen of other leases. Without it this function waits until
      another holder shows that it lives, or is gone.

  Raises:
    InUseError: if another process has reserved it.
    WorkdirError: if it cannot be created or written.
  """
  if not distributed.is_first_process() or not files.is_local(workdir):
    yield Lease(workdir)
    return
  try:
    lease = _wait_for(files.path(workdir)) if watch is None else watch.lease(files.path(workdir))
    try:
      yield lease
    finally:
      lease.release()
  except OSError as error:
    raise WorkdirError(f"{workdir} cannot be written ({error})") from error


def _wait_for(directory: pathlib.Path) -> Lease:
  watch, is_said = Watch(), False
  while True:
    try:
      return watch.lease(directory)
    except InUseError as error:
      if error.is_alive:
        raise
      if not is_said:
        print(f"{error}, or was; waiting up to {SILENCE_SECONDS:.0f} s for a sign of life")
        is_said = True
    time.sleep(_PATIENCE)
