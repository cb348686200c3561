"""Whether a sweep's config is one: its four fields and the entries of its cells, before any run."""

import unicodedata
from collections.abc import Mapping
from typing import Any

import ml_collections

from lsjax import config as config_lib
from lsjax import validation
from lsjax.config import ConfigError, UserError

_FIELDS = ("label", "base", "seeds", "cells")
_ENTRIES = ("name", "changes", "seeds", "candidate_of")
# More are a slip of the keyboard: their plan alone would take minutes, or for ever.
MOST_RUNS = 20_000


def check(sweep: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """Checks the parts of a sweep's config, but not the values that cells give to fields of runs.

  Args:
    sweep: the config, with label, base, seeds and cells.

  Returns:
    (base, cells): the base as nested dictionaries with every section, and the cells, which all
    have name, changes, seeds and candidate_of.

  Raises:
    UserError: one line that names the field of the sweep, or the cell and its entry.
  """
  for key in _FIELDS:
    if key not in sweep:
      raise ConfigError(key, why="is missing; a sweep has label, base, seeds and cells")
  _check_text("label", sweep["label"])
  _check_seeds("seeds", sweep["seeds"])
  cells = sweep["cells"]
  if not isinstance(cells, (tuple, list)) or not cells:
    raise ConfigError("cells", cells, "must be a tuple of dictionaries, at least one")
  listed = [_cell(index, cell, sweep["seeds"]) for index, cell in enumerate(cells)]
  total = sum(cell["seeds"] for cell in listed)
  if total > MOST_RUNS:
    why = f"with {len(listed)} cells makes {total} runs; at most {MOST_RUNS} are planned"
    raise ConfigError("seeds", sweep["seeds"], why)
  return _base(sweep["base"]), listed


def _base(base: Any) -> dict[str, Any]:
  """Returns the base as nested dictionaries, whose values may still not go together."""
  try:
    nested = base.to_dict() if isinstance(base, ml_collections.ConfigDict) else base
  except TypeError:  # ml_collections sorts the names
    raise ConfigError("base", why="has a field whose name is no text") from None
  if not isinstance(nested, Mapping):
    raise ConfigError("base", nested, "must be the config of a run")
  try:
    return config_lib.to_dict(validation.build(config_lib.Config, nested))
  except ConfigError as error:
    why = error.why.replace("did you mean config.", "did you mean config.base.")
    raise ConfigError(f"base.{error.path}", error.value, why) from None


def _cell(index: int, cell: Any, seeds: int) -> dict[str, Any]:
  """Returns a checked cell with all its entries."""
  what = f"cells[{index}]"
  if not isinstance(cell, Mapping):
    raise ConfigError(what, cell, "must be a dictionary with name and changes")
  for key in ("name", "changes"):
    if key not in cell:
      raise ConfigError(what, why=f"has no {key}")
  _check_text(f"{what} name", cell["name"])
  for key in cell:
    if key not in _ENTRIES:
      why = f"has the entry {key!r}; known: {', '.join(_ENTRIES)}"
      raise UserError(f"cell {cell['name']!r}: {why}")
  try:
    changes = cell["changes"]
    if not isinstance(changes, Mapping):
      raise ConfigError("changes", changes, 'must be a dictionary {"section.field": value}')
    for key in changes:
      if not isinstance(key, str):
        raise ConfigError("changes", key, "must be the name of a field, section.field")
      config_lib.check_field_name(key)
    of_cell = cell.get("seeds", seeds)
    _check_seeds("seeds", of_cell)
    candidate_of = cell.get("candidate_of")
    if candidate_of is not None:
      _check_text("candidate_of", candidate_of)
  except ConfigError as error:
    raise UserError(f"cell {cell['name']!r}: {error}") from None
  return {
    "name": cell["name"],
    "changes": changes,
    "seeds": min(of_cell, seeds),
    "candidate_of": candidate_of,
  }


def _check_text(path: str, value: Any) -> None:
  """Checks that a text can stand in a line of a table, in a file and on a terminal."""
  if not isinstance(value, str) or not value.strip():
    raise ConfigError(path, value, "must be a text that is not empty")
  for character in value:
    # Control characters, halves of surrogate pairs, separators of lines and paragraphs.
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
      raise ConfigError(path, value, f"must be one line of text, without {character!r}")


def _check_seeds(path: str, value: Any) -> None:
  if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_RUNS:
    raise ConfigError(path, value, f"must be an integer from 1 to {MOST_RUNS}")
