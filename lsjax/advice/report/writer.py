"""The report as a file: report.html, which refers to nothing outside it."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from lsjax import files
from lsjax.advice.report import evidence, matrix, screen, steps, suspects, wording
from lsjax.reports import page, reading, resources


def write(directory: str | os.PathLike[str]) -> None:
  """Writes report.html of an advice from the other files of its directory.

  The same files give the same bytes.

  Args:
    directory: the directory, which holds advice.json, suspects.csv and, for pictures, data.npz.

  Raises:
    DamagedError: one line, if one of these files is not what an advice writes.
    OSError: if the report cannot be written.
  """
  where = files.path(directory)
  content = reading.read_json(where / "advice.json")
  if content is None:
    raise reading.DamagedError(reading.plain(f"{where} holds no advice.json"))
  rows = suspects.read(where / "suspects.csv")
  try:
    text = _page(content, rows, where)
  except reading.DamagedError:
    raise
  except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
    why = f"it has no {error}" if isinstance(error, KeyError) else error
    raise reading.DamagedError(
      reading.plain(f"{where / 'advice.json'} is damaged ({why})")
    ) from error
  with files.replacing(where / "report.html") as f:
    f.write(text.encode())


def _page(content: Mapping[str, Any], rows: list[suspects.Suspect], directory: pathlib.Path) -> str:
  sections = [
    steps.next_steps(content, directory),
    evidence.ranking(content),
    evidence.noise(content),
    matrix.section(content),
    suspects.section(content, rows, directory),
    steps.notes(content),
  ]
  return page.filled(
    f"Advice on {wording.name(content)}",
    style=resources.text("report.css", __package__ or ""),
    about=screen.lines(content, directory),
    claims=[],
    contents=page.contents({section.id: section.title for section in sections}),
    parts=[line for section in sections for line in section.html],
  )
