"""The list of labels that a person should check: written for a spreadsheet, and read back."""

import csv
import dataclasses
import io
import os
from collections.abc import Sequence

import numpy as np

from lsjax import files, regular
from lsjax.advice.assembly import about
from lsjax.advice.problem import UNKNOWN, Problem
from lsjax.data import separated
from lsjax.data.classes import Name, listed
from lsjax.estimate import Sample

COLUMNS = ("id", "given", "proposed", "chance", "true")
_ROUNDING = 1e-4  # relative, of chances that a spreadsheet may have rounded


def write_check_list(
  path: str | os.PathLike[str], problem: Problem, sample: Sample, proposed: np.ndarray
) -> None:
  """Writes which labels to check, a row each; the column `true` is empty, for a person to fill.

  The rows are in a random order, so that the first of them are a random part of the sample.

  Args:
    path: the .csv file to write.
    problem: the problem.
    sample: the examples to check, from `lsjax.estimate.to_check`.
    proposed: the proposed class of each of the N examples, integers [N] in [0, L).
  """
  text = io.StringIO(newline="")
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(COLUMNS)
  order = np.random.RandomState(0).permutation(len(sample.indices))
  for i, chance in zip(sample.indices[order], sample.chances[order]):
    names = (problem.classes[int(labels[i])] for labels in (problem.labels, proposed))
    writer.writerow([problem.ids[i].item(), *names, f"{chance:.6g}", ""])
  with files.replacing(path) as f:
    f.write(text.getvalue().encode())


def apply(problem: Problem, path: str | os.PathLike[str], sample: Sample | None = None) -> Problem:
  """Returns the problem with the true labels that a person wrote into the list.

  Rows without a true label are not checked yet. If there are some, the chances become those of a
  list from which the checked rows were drawn at random.

  Args:
    problem: the problem that the list was written for.
    path: the list, as `write_check_list` wrote it or as a spreadsheet saved it, with commas,
      semicolons or tabs.
    sample: the sample that the list was written from, with which its chances are compared; None
      if it is not known any more.

  Raises:
    ValueError: one line that names the file, the column, the row (counted from 0 below the header)
      and the value: for an id that the data do not have, for an id twice, for given labels that are
      not those of the data, for classes that do not exist, for chances that are none or not those
      of the sample, for true labels that contradict trusted ones, and if no row is filled in.
  """
  with about(path):
    rows = _rows(path)
    positions = _positions(rows, problem)
    _check_given(rows, positions, problem)
    chances = _chances(rows)
    if sample is not None:
      _check_chances(rows, positions, chances, sample)
    found = _true_labels(rows, problem.classes)
    known = found != UNKNOWN
    if not known.any():
      raise ValueError(f"column 'true' is empty in all {len(rows)} rows: fill in true labels")
    trusted = problem.true_labels[positions]
    clash = known & (trusted != UNKNOWN) & (trusted != found)
    if clash.any():
      row = int(clash.argmax())
      raise ValueError(
        f"column 'true', row {row}: {rows[row]['true']!r} contradicts the trusted label "
        f"{problem.classes[trusted[row]]!r} of example {rows[row]['id']}"
      )
  true_labels, all_chances = problem.true_labels.copy(), problem.chances.copy()
  true_labels[positions[known]] = found[known]
  all_chances[positions[known]] = chances[known] * known.mean()
  notes = list(problem.notes)
  if not known.all():
    notes.append(
      f"{int((~known).sum())} of {len(rows)} rows of the list are not checked yet: intervals hold "
      "if these rows are a random part, and not those that were hard to decide"
    )
  return dataclasses.replace(
    problem, true_labels=true_labels, chances=all_chances, notes=tuple(notes)
  )


def _rows(path: str | os.PathLike[str]) -> list[dict[str, str]]:
  """Returns the fields of each row by column, without spaces around them."""
  where = files.path(path)
  try:
    regular.check(where)
    with where.open(encoding="utf-8-sig", errors="replace") as file:
      first = file.readline()
    separator = max(",;\t", key=first.count)
    names = separated.header(where, separator)
    separated.check_columns(names, COLUMNS)
    with where.open(encoding="utf-8-sig", newline="") as file:
      rows = [row for row in csv.reader(file, delimiter=separator) if row][1:]
  except FileNotFoundError:
    raise ValueError("no such file") from None
  except OSError as error:
    raise ValueError(f"cannot be read ({error})") from error
  return [dict(zip(names, map(str.strip, row))) for row in rows]


def _positions(rows: Sequence[dict[str, str]], problem: Problem) -> np.ndarray:
  """Returns where the examples of the rows are, integers [m]."""
  index = {str(id).strip(): i for i, id in enumerate(problem.ids.tolist())}
  found: dict[int, int] = {}
  for row, fields in enumerate(rows):
    if fields["id"] not in index:
      known = listed(problem.ids[:5].tolist())
      raise ValueError(
        f"column 'id', row {row}: {fields['id']!r} is no id of the data, whose ids begin {known}"
      )
    position = index[fields["id"]]
    if position in found:
      raise ValueError(
        f"column 'id': rows {found[position]} and {row} have the same id {fields['id']!r}"
      )
    found[position] = row
  return np.array(list(found), np.intp)


def _check_given(rows: Sequence[dict[str, str]], positions: np.ndarray, problem: Problem) -> None:
  index = _index(problem.classes)
  for row, (fields, position) in enumerate(zip(rows, positions)):
    label = problem.labels[position]
    if index.get(fields["given"], index.get(fields["given"].casefold())) != label:
      raise ValueError(
        f"column 'given', row {row}: {fields['given']!r} is not the label of example "
        f"{fields['id']}, {problem.classes[label]!r}: is the list one of other data?"
      )


def _chances(rows: Sequence[dict[str, str]]) -> np.ndarray:
  chances = np.empty(len(rows))
  for row, fields in enumerate(rows):
    try:
      chances[row] = float(fields["chance"].replace(",", "."))
    except ValueError:
      chances[row] = np.nan
    if not 0 < chances[row] <= 1:
      raise ValueError(
        f"column 'chance', row {row}: {fields['chance']!r} is no number in (0, 1]; leave the "
        "chances as they were written"
      )
  return chances


def _check_chances(
  rows: Sequence[dict[str, str]], positions: np.ndarray, chances: np.ndarray, sample: Sample
) -> None:
  """Raises ValueError unless the list is the whole sample with the chances of the sample."""
  drawn = dict(zip(sample.indices.tolist(), sample.chances.tolist()))
  for row, (position, chance) in enumerate(zip(positions.tolist(), chances)):
    if position not in drawn:
      raise ValueError(f"column 'id', row {row}: {rows[row]['id']!r} was not in the list")
    if abs(chance - drawn[position]) > _ROUNDING * drawn[position]:
      raise ValueError(
        f"column 'chance', row {row}: {rows[row]['chance']!r} was {drawn[position]:.6g} when the "
        "list was written; leave the chances as they were written"
      )
  if len(rows) < len(drawn):
    raise ValueError(
      f"has {len(rows)} of the {len(drawn)} rows that were written: keep all rows, and leave "
      "column 'true' empty where nobody checked"
    )


def _true_labels(rows: Sequence[dict[str, str]], classes: tuple[Name, ...]) -> np.ndarray:
  index, labels = _index(classes), np.full(len(rows), UNKNOWN, np.int32)
  for row, fields in enumerate(rows):
    if name := fields["true"]:
      label = index.get(name, index.get(name.casefold()))
      if label is None:
        raise ValueError(
          f"column 'true', row {row}: {name!r} is none of the classes ({listed(classes)})"
        )
      labels[row] = label
  return labels


def _index(classes: tuple[Name, ...]) -> dict[str, int]:
  """Returns the classes by name, and by name in small letters where one class alone has it."""
  exact = {str(name).strip(): i for i, name in enumerate(classes)}
  small = [name.casefold() for name in exact]
  alone = {name.casefold(): i for name, i in exact.items() if small.count(name.casefold()) == 1}
  return alone | exact
