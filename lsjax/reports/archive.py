"""What a report keeps of its runs, from which its tables can be made again without them.

Beside results.json, which has the metrics of every run, a report writes cells.json: the configs of
the cells, as changes to the first one, and what else the tables say of the sweep. `read` takes the
two for the results of a sweep. Figures that need more than metrics are then left out.
"""

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsjax.reports import reading
from lsjax.reports.cell import Boundary, CellResults
from lsjax.reports.results import ResultsError, SweepResults

CELLS, RUNS = "cells.json", "results.json"


@dataclasses.dataclass(frozen=True)
class ArchivedCell(CellResults):
  """A cell whose runs are not there any more.

  Attributes:
    classes: the number of classes.
    lines: the boundary of each run by seed.
  """

  classes: int = 0
  lines: Mapping[int, Boundary] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def num_classes(self) -> int:
    return self.classes

  @functools.cached_property
  def boundaries(self) -> dict[int, Boundary]:
    return dict(self.lines)


def cells_json(sweep: SweepResults) -> dict[str, Any]:
  """Returns the content of cells.json, in which absolute paths are names of files."""
  first = _portable(sweep.cells[0].flat)

  def cell_json(cell: CellResults) -> dict[str, Any]:
    flat = _portable(cell.flat)
    changes = {n: v for n, v in flat.items() if n not in first or first[n] != v}
    absent = [name for name in first if name not in flat]
    classes = cell.num_classes if any(cell.results.values()) else 0
    about = {"candidate_of": cell.candidate_of, "classes": classes}
    return {"name": cell.name, **about, "changes": changes, "absent": absent}

  return {
    "name": sweep.name,
    "label": sweep.label,
    "environment": sweep.environment,
    "theory": sweep.theory,
    "sessions": list(sweep.sessions),
    "unreadable": list(sweep.unreadable),
    "config": first,
    "cells": [cell_json(cell) for cell in sweep.cells],
  }


def run_json(cell: CellResults, seed: int) -> dict[str, Any]:
  """Returns what the tables need of a run, for its row of results.json."""
  result = cell.results[seed] or {}
  is_plane = (cell.data, cell.model) == ("gaussians", "linear")
  line = cell.boundaries.get(seed) if is_plane else None
  boundary = line and {"normal": line.normal.tolist(), "offset": line.offset}
  return {
    "realised_rate": (result.get("noise") or {}).get("realised_rate"),
    "test_labels": result.get("test_labels"),
    "boundary": boundary,
    **{moment: result.get(moment) for moment in ("final", "best")},
  }


def is_one(path: pathlib.Path) -> bool:
  """Returns whether a directory holds the files of a report and not of a sweep."""
  return (path / CELLS).exists() and not (path / "sweep.json").exists()


def read(path: pathlib.Path) -> SweepResults:
  """Reads the results of a sweep from what its report kept.

  Raises:
    ResultsError: one line, if one of the two files cannot be read.
  """
  try:
    content = reading.parsed(path / CELLS)
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in reading.parsed(path / RUNS):
      rows.setdefault(row["cell"], []).append(row)
    cells = [_cell(path, cell, content["config"], rows[cell["name"]]) for cell in content["cells"]]
    return SweepResults(
      path,
      content["name"],
      content["label"],
      cells,
      content["theory"],
      content["environment"],
      content["unreadable"],
      content["sessions"],
    )
  except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
    why = f"{path} holds no readable {CELLS} and {RUNS} ({type(error).__name__}: {error})"
    raise ResultsError(reading.plain(why)) from error


def _portable(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a flat config that says nothing of the machine's directories."""
  return {
    name: os.path.basename(value) if isinstance(value, str) and os.path.isabs(value) else value
    for name, value in flat.items()
  }


def _cell(
  path: pathlib.Path,
  cell: Mapping[str, Any],
  first: Mapping[str, Any],
  rows: Sequence[Mapping[str, Any]],
) -> ArchivedCell:
  """Returns a cell of cells.json with its rows of results.json."""
  flat = {name: value for name, value in first.items() if name not in cell["absent"]}
  results, lines = {}, {}
  for row in rows:
    results[row["seed"]] = _result(row)
    if line := row["boundary"]:
      offset = float(line["offset"])
      lines[row["seed"]] = Boundary(np.array(line["normal"], float), offset)
      if not math.isfinite(offset):
        raise ValueError(f"the boundary of {cell['name']!r} has the offset {offset}")
  found = ArchivedCell(
    cell["name"],
    _nested({**flat, **cell["changes"]}),
    {row["seed"]: path / row["config_hash"] for row in rows},
    results,
    cell["candidate_of"],
    int(cell["classes"]),
    lines,
  )
  found.check_config()
  return found


def _result(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
  """Returns what result.json said of a run; None for a run that had none."""
  if row["status"] == "missing":
    return None
  content = {name: row[name] for name in ("status", "test_labels", "final", "best")}
  content["noise"] = {"realised_rate": row["realised_rate"]}
  reading.check_result(content)
  return content


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
  nested: dict[str, Any] = {}
  for name, value in flat.items():
    *sections, field = name.split(".")
    holder = nested
    for section in sections:
      holder = holder.setdefault(section, {})
    holder[field] = value
  return nested
