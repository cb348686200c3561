"""Doing the same for several things at once, in threads."""

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import TypeVar

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
