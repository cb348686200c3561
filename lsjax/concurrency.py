"""Doing the same for several things at once, or one thing after another, in threads."""

import concurrent.futures
import types
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Threads beyond these wait for the interpreter, not for the disk.
_THREADS = 8


def each(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
  """Calls a function for every item, for several at once if there are several.

  Args:
    function: the function; it must be able to run in several threads at once.
    items: its arguments. A single one is treated in the thread of the caller.

  Returns:
    The results in the order of the items.

  Raises:
    Exception: what the function raises for the first item for which it raises something, once it
      has been called for every item.
  """
  if len(items) <= 1:
    return [function(item) for item in items]
  with concurrent.futures.ThreadPoolExecutor(min(len(items), _THREADS)) as pool:
    futures = [pool.submit(function, item) for item in items]
  return [future.result() for future in futures]


class Follower:
  """Calls functions in a thread of its own, one at a time, while the caller goes on.

  The end of its `with` block waits for the last function. An error of the block is told, and not
  what the function raised meanwhile.
  """

  def __init__(self) -> None:
    """Starts no thread yet."""
    self._pool = concurrent.futures.ThreadPoolExecutor(1)
    self._last: concurrent.futures.Future[Any] | None = None

  def call(self, function: Callable[[], Any]) -> None:
    """Begins a function once the one before has ended.

    Raises:
      Exception: what the one before raised; the new one is begun all the same.
    """
    before, self._last = self._last, self._pool.submit(function)
    if before is not None:
      before.result()

  def __enter__(self) -> "Follower":
    """Returns itself."""
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    _: types.TracebackType | None,
  ) -> None:
    """Waits for the last function; raises what it raised, unless the block raised something."""
    self._pool.shutdown()
    if error is None and self._last is not None:
      self._last.result()
