"""A problem from inputs and labels of any origin, and the checks that all of them share."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from lsjax.advice.given import Given
from lsjax.advice.problem import Problem
from lsjax.data import classes as classes_lib
from lsjax.data import npz

_FEWEST = 10  # examples that are too few to be divided into parts


@contextlib.contextmanager
def about(source: str | os.PathLike[str]) -> Iterator[None]:
  """Puts the name of a file before the message of a ValueError of the block."""
  try:
    yield
  except ValueError as error:
    raise ValueError(f"{os.fspath(source)}: {error}") from error


def assemble(
  name: str,
  inputs: np.ndarray,
  ids: np.ndarray,
  given: Given,
  test: tuple[np.ndarray, np.ndarray] | None,
  **table: Any,
) -> Problem:
  """Makes a problem of the examples that have labels.

  Args:
    name: what the report calls the data.
    inputs: images or vectors of the n examples.
    ids: their ids.
    given: their labels.
    test: inputs to test on and the numbers of their classes, or None.
    **table: the attributes of a problem that only a table has.

  Raises:
    ValueError: one line, if there are too few examples or too many classes, and if all inputs are
      equal.
  """
  if len(inputs) <= _FEWEST:
    raise ValueError(
      f"has {len(inputs)} examples with a label; more than {_FEWEST} are needed to advise"
    )
  if len(given.classes) > classes_lib.MOST_CLASSES:
    raise ValueError(
      f"has {len(given.classes)} classes; at most {classes_lib.MOST_CLASSES} are possible"
    )
  if all(
    (inputs[start : start + 1024] == inputs[0]).all() for start in range(0, len(inputs), 1024)
  ):
    raise ValueError("has the same inputs for every example: nothing can be learnt from them")
  return Problem(
    name=name,
    inputs=inputs,
    labels=given.labels,
    ids=ids,
    classes=given.classes,
    true_labels=given.true_labels,
    chances=np.full(len(ids), np.nan),
    votes=given.votes,
    annotators=given.annotators,
    test_inputs=None if test is None else test[0],
    test_labels=None if test is None else test[1],
    notes=given.notes,
    **table,
  )


def as_inputs(values: Any, what: str) -> np.ndarray:
  """Returns images [N, H, W, C], uint8 or float32, or vectors [N, D], float32.

  Grey images [N, H, W] get a channel. Integers become what a network takes.

  Raises:
    ValueError: one line, for another shape or type, and for a number that is not finite.
  """
  array = np.asarray(values)
  if array.ndim == 3:
    array = array[..., None]
  if array.ndim == 2 and array.dtype.kind in "iub":
    array = array.astype(np.float32)
  elif array.dtype.kind in "ib" and array.size and array.min() >= 0 and array.max() <= 255:
    array = array.astype(np.uint8)
  checked = npz.check_images(array, what)
  return checked.astype(np.float32) if checked.ndim == 2 else checked
