"""Text files of separated fields, .csv and .tsv, checked line by line."""

import csv
import difflib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from lsjax.data.classes import listed

NAMELESS = "Unnamed: "  # a column whose header is empty, as pandas calls it


def header(path: pathlib.Path, separator: str) -> list[str]:
  """Checks that every row has the fields of the header; returns their names.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: one line that does not name the file.
  """
  with path.open(encoding="utf-8-sig", newline="") as file:
    rows = csv.reader(_plain(file), delimiter=separator)
    try:
      names = [name.strip() or f"{NAMELESS}{i}" for i, name in enumerate(next(rows, []))]
      if not names:
        raise ValueError("is empty: a header with the names of columns is needed")
      first, count = 1, 0
      for row in rows:
        if row and len(row) != len(names):
          quote = " (or is a quotation mark not closed?)" if rows.line_num > first + 1 else ""
          raise ValueError(
            f"line {first + 1} has {len(row)} fields, and the header {len(names)}{quote}"
          )
        first, count = rows.line_num, count + bool(row)
    except csv.Error as error:
      raise ValueError(f"line {rows.line_num} cannot be read ({error})") from None
    except UnicodeDecodeError:
      raise ValueError(f"line {_undecoded(path)} is not UTF-8; save the file as UTF-8") from None
  check_columns(names, [])
  if not count:
    raise ValueError("holds a header and no rows")
  other = next((s for s in ";\t," if s in names[0]), None) if len(names) == 1 else None
  if other is not None:
    raise ValueError(
      f"has one column, {names[0]!r}: separate the fields by {separator!r} instead of {other!r}"
    )
  return names


def _plain(lines: Any) -> Iterator[str]:
  for line in lines:
    if "\0" in line:
      raise csv.Error("it holds a zero byte")
    yield line


def _undecoded(path: pathlib.Path) -> int:
  """Returns the number of the first line that is not UTF-8, counted from 1."""
  with path.open("rb") as file:
    for number, line in enumerate(file, 1):
      try:
        line.decode()
      except UnicodeDecodeError:
        return number
  return 1


def check_columns(names: Sequence[str], wanted: Sequence[str]) -> None:
  """Raises ValueError, in one line, for a column that is there twice or that is not there."""
  if twice := [name for i, name in enumerate(names) if name and name in names[:i]]:
    raise ValueError(f"has two columns {twice[0]!r}")
  for name in wanted:
    if name not in names:
      near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
      known = f"did you mean {listed(near)}?" if near else f"it has {listed(names)}"
      raise ValueError(f"has no column {name!r}; {known}")
