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
