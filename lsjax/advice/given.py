"""Labels, votes and trusted labels from columns, keys or arrays, however they are written."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lsjax import estimate
from lsjax.advice.problem import UNKNOWN
from lsjax.data import classes as classes_lib
from lsjax.data import images
from lsjax.data.classes import Coded, Name, listed

_MANY = 10  # votes of an annotator that cannot all be classes of nobody else by chance
_TIE = 1e-9  # posteriors of two classes that differ by less are equal


@dataclasses.dataclass(frozen=True)
class Column:
  """What one column, key or array says of the class of each row.

  Attributes:
    name: the name of the column, of the key or of the annotator.
    what: what messages call it, such as "column 'species'".
    coded: its values.
  """

  name: str
  what: str
  coded: Coded


@dataclasses.dataclass(frozen=True)
class Given:
  """The labels of the examples that have any; see `Problem` for what is not explained here.

  Attributes:
    rows: the positions of these n examples among all rows, increasing.
    labels: int32 [n].
    classes: the names of the L classes.
    true_labels: int32 [n].
    votes: int32 [n, A], or None.
    annotators: the names of the annotators.
    notes: what is odd, a sentence each.
  """

  rows: np.ndarray
  labels: np.ndarray
  classes: tuple[Name, ...]
  true_labels: np.ndarray
  votes: np.ndarray | None = None
  annotators: tuple[str, ...] = ()
  notes: tuple[str, ...] = ()


def find(
  label: Column | None,
  votes: Sequence[Column] = (),
  trusted: Column | None = None,
  classes: tuple[Name, ...] = (),
) -> Given:
  """Finds the labels of all rows that have one.

  Args:
    label: the given labels; None if there are votes.
    votes: the votes of each annotator. The label is then the most probable class by
      `lsjax.estimate.votes`; of classes that are equally probable it is the first.
    trusted: true labels, of some rows.
    classes: the values that labels may have, in the order of the classes; empty to take those that
      the labels or votes have.

  Raises:
    ValueError: one line that names the column, the row and the value.
  """
  columns = [label] if label is not None else list(votes)
  what = columns[0].what if len(columns) == 1 else "the votes"
  classes = classes or classes_lib.ordered(v for column in columns for v in column.coded.values)
  table = np.stack([_known(column, classes) for column in columns], axis=1)
  rows = np.flatnonzero((table != UNKNOWN).any(axis=1))
  if not len(rows):
    raise ValueError(f"{what} holds no label")
  notes = []
  if absent := len(table) - len(rows):
    lacking = f"without a label in {what}" if label is not None else "without a vote"
    notes.append(f"{absent} rows {lacking} are left out")
  kept = table[rows]
  true_labels = np.full(len(rows), UNKNOWN, np.int32)
  if trusted is not None:
    true_labels = _known(trusted, classes)[rows]
    notes += _trusted_notes(true_labels, trusted.what)
  if label is not None:
    notes += classes_lib.check(kept[:, 0], classes, what, rows)
    return Given(rows, kept[:, 0], classes, true_labels, notes=tuple(notes))
  _check_votes(columns, kept, classes, rows)
  _check_agreement(columns, kept, classes, rows)
  labels = _most_probable(kept, len(classes))
  notes += classes_lib.check(labels, classes, "the most probable class of the votes")
  annotators = tuple(column.name for column in columns)
  return Given(rows, labels, classes, true_labels, kept, annotators, tuple(notes))


def _known(column: Column, classes: tuple[Name, ...]) -> np.ndarray:
  """Returns the class of each row, or raises ValueError for a value that is no class."""
  labels = column.coded.labels(classes)
  if (labels == -2).any():
    row = int((labels == -2).argmax())
    value = column.coded.values[column.coded.codes[row]]
    raise ValueError(
      f"{column.what}, row {row}: {value!r} is none of the given classes ({listed(classes)})"
    )
  return labels


def _trusted_notes(true_labels: np.ndarray, what: str) -> list[str]:
  count = int((true_labels != UNKNOWN).sum())
  if not count:
    raise ValueError(f"{what} is empty in all rows with a label; leave trusted out")
  return [
    f"{count} true labels of {what} count as those of a uniform random sample: if the examples "
    "were chosen otherwise, what is measured on them is biased"
  ]


def _check_votes(
  columns: Sequence[Column], votes: np.ndarray, classes: tuple[Name, ...], rows: np.ndarray
) -> None:
  """Raises ValueError for votes that look like a quantity or an id."""
  annotators, positions = np.nonzero(votes.T != UNKNOWN)
  pooled = votes[positions, annotators]
  if odd := classes_lib.odd_value(pooled, classes):
    at, why = odd
    raise ValueError(
      f"{columns[annotators[at]].what}, row {rows[positions[at]]}: {classes[pooled[at]]!r} is one "
      f"of {len(np.unique(pooled))} different values among {len(pooled)} votes: {why}"
    )


def _check_agreement(
  columns: Sequence[Column], votes: np.ndarray, classes: tuple[Name, ...], rows: np.ndarray
) -> None:
  """Raises ValueError for an annotator of many votes, none of whose classes another one gave."""
  given = np.stack([np.bincount(v[v >= 0], minlength=len(classes)) for v in votes.T])
  alone = given * ((given > 0).sum(axis=0) == 1)  # [annotator, class]
  lonely = (alone.sum(axis=1) == given.sum(axis=1)) & (given.sum(axis=1) >= _MANY)
  if len(columns) > 1 and lonely.any():
    annotator = int(lonely.argmax())
    row = int((votes[:, annotator] >= 0).argmax())
    raise ValueError(
      f"{columns[annotator].what}, row {rows[row]}: {classes[votes[row, annotator]]!r} is no class "
      f"that another annotator gave, and nor are its other {given[annotator].sum() - 1} values"
    )


def _most_probable(votes: np.ndarray, num_classes: int) -> np.ndarray:
  """Returns the most probable class of each example, int32 [n], the first of several."""
  if num_classes < 2:
    raise ValueError("all votes are for one class; at least two are needed")
  size = 8 * num_classes * (3 * votes.shape[1] * num_classes + 2 * len(votes))
  images.check_memory(size, "estimating the annotators needs fewer classes, annotators or rows")
  posterior = estimate.votes(votes, num_classes).posterior
  best = posterior.max(axis=1, keepdims=True)
  return (posterior >= best - _TIE).argmax(axis=1).astype(np.int32)
