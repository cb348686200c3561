"""A table as a problem: its columns of labels, votes, ids, images and features."""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from lsjax import config as config_lib
from lsjax.advice import assembly
from lsjax.advice import given as given_lib
from lsjax.advice.given import Column
from lsjax.advice.problem import Problem
from lsjax.data import classes as classes_lib
from lsjax.data import features, frames, separated, table
from lsjax.data.classes import Name
from lsjax.data.features import Encoder


@dataclasses.dataclass(frozen=True)
class Names:
  """The columns of a table that are no features; see `inputs.read`."""

  label: str
  id: str
  image: str
  votes: tuple[str, ...]
  trusted: str

  @property
  def all(self) -> list[str]:
    """The names that are given."""
    return [name for name in (self.label, *self.votes, self.trusted, self.id, self.image) if name]


def read(source: Any, names: Names, test: Any, image_size: int) -> Problem:
  """Reads a table; see `inputs.read`.

  Args:
    source: the path of a file, or a pandas DataFrame.
    names: its columns.
    test: another such table, with true labels, or None.
    image_size: the side of images in pixels.

  Raises:
    ValueError: one line that does not name the table.
  """
  frame, directory, name = _opened(source, names)
  frame = frames.cleaned(frame, names.id)
  # With votes, the column of true labels may be in the table of test data alone, which checks it.
  of_test = names.votes and test is not None and names.trusted not in frame.columns
  here = dataclasses.replace(names, trusted="") if of_test else names
  separated.check_columns(list(frame.columns), here.all)

  def column(name: str) -> Column:
    what = f"column {name!r}"
    return Column(name, what, classes_lib.coded(frame[name], what))

  label = column(names.label) if names.label else None
  votes = [column(name) for name in names.votes]
  trusted = column(here.trusted) if here.trusted else None
  given = given_lib.find(label, votes, trusted)
  notes = [n for c in (label, *votes) if c for n in frames.names_of_nothing(c.coded.values, c.what)]
  frame = frame.iloc[given.rows]
  ids = frames.ids(frame[names.id], names.id) if names.id else given.rows
  facts: dict[str, Any] = {}
  if names.image:
    inputs = frames.pictures(frame[names.image], names.image, directory, image_size)
    encoder = None
  else:
    columns = features.storable(frames.features(frame, names.all, notes))
    encoder = features.fit(columns, np.arange(len(columns)))
    inputs = encoder.encode(columns)
    notes += (*encoder.notes, *_more_labels(columns, given.classes))
    facts = {
      "normalization": encoder.normalization(inputs),
      "feature_names": encoder.names,
      "columns": columns[list(encoder.kinds)].reset_index(drop=True),
    }
  part = None
  if test is not None:
    is_file = isinstance(test, (str, os.PathLike))
    with assembly.about(test if is_file else "the table of test data"):
      part = _test(test, names, given.classes, encoder, image_size)
  given = dataclasses.replace(given, notes=(*given.notes, *notes))
  return assembly.assemble(name, inputs, ids, given, part, **facts)


def _more_labels(columns: Any, classes: tuple[Name, ...]) -> list[str]:
  """Says which features hold the names of the classes, as a forgotten column of labels does."""
  names = {name for name in classes if isinstance(name, str)}
  found = [name for name in columns.columns if {*columns[name].dropna().unique()} == names]
  if not found:
    return []
  return [
    f"column {found[0]!r} holds the names of the classes and is a feature: if it is a label too, "
    "name it in votes or trusted, or take it out of the table"
  ]


def _opened(source: Any, names: Names) -> tuple[Any, pathlib.Path, str]:
  """Returns a table, the directory of its images, and what a report calls it."""
  if not isinstance(source, (str, os.PathLike)):
    return source, pathlib.Path(), "table"
  path = pathlib.Path(os.path.expanduser(source))
  labels = (names.label, *names.votes, names.trusted)
  return frames.read(path, labels=labels, texts=(names.id, names.image)), path.parent, path.name


def _test(
  source: Any, names: Names, classes: tuple[Name, ...], encoder: Encoder | None, image_size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the inputs and the classes of a table to test on."""
  if not names.label and not names.trusted:
    raise ValueError(
      "say which column holds true labels by `trusted`: with votes there is no label"
    )
  frame, directory, _ = _opened(source, names)
  section = config_lib.Data(
    name="table",
    label=names.label or names.trusted,
    true_label=names.trusted if names.label else "",
    image=names.image,
    image_size=image_size,
  )
  test = table.read_test(frame, section, directory, classes)
  inputs = test.images if encoder is None else encoder.encode(test.columns)
  labels = test.labels if test.true_labels is None else test.true_labels
  assert inputs is not None
  return inputs, labels
