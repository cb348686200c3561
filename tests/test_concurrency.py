"""Calls in several threads: their order, their errors, and that they do run at once."""

import threading

import pytest

from lsjax import concurrency


def test_results_are_in_the_order_of_the_items():
  barrier = threading.Barrier(3, timeout=60)

  def square(x):
    barrier.wait()  # nobody passes unless all three run at once
    return x * x

  assert concurrency.each(square, (3, 1, 2)) == [9, 1, 4]
  assert concurrency.each(square, ()) == []


def test_a_single_item_stays_in_the_thread_of_the_caller():
  assert concurrency.each(lambda _: threading.current_thread(), [0]) == [threading.current_thread()]


def test_the_first_error_is_raised_once_all_were_called():
  called = set()

  def fail(x):
    called.add(x)
    if x != 0:
      raise ValueError(f"item {x}")

  with pytest.raises(ValueError, match="item 2"):
    concurrency.each(fail, (0, 2, 1))
  assert called == {0, 1, 2}


def test_follower_calls_one_after_another_in_its_thread():
  seen, may_end = [], threading.Event()

  def slow():
    may_end.wait(10)
    seen.append(("slow", threading.current_thread()))

  with concurrency.Follower() as follower:
    follower.call(slow)
    assert seen == []  # the caller goes on meanwhile
    may_end.set()
    follower.call(lambda: seen.append(("quick", threading.current_thread())))
  assert [name for name, _ in seen] == ["slow", "quick"]
  assert len({thread for _, thread in seen} | {threading.current_thread()}) == 2


def fail():
  raise OSError("full")


def follow(*functions, error=None):
  """Calls functions in a follower, whose block then raises an error."""
  with concurrency.Follower() as follower:
    for function in functions:
      follower.call(function)
    if error:
      raise error


def test_follower_tells_an_error_with_the_next_call_or_at_the_end():
  done = []
  with pytest.raises(OSError, match="full"):
    follow(fail, lambda: done.append(1))
  assert done == [1]
  with pytest.raises(OSError, match="full"):
    follow(fail)
  with pytest.raises(KeyError):  # that of the block is told
    follow(fail, error=KeyError())
