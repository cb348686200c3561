"""Sweeps as named cells: changes of one base config, each trained with several seeds.

A sweep's config file builds, with the lists of this module, a ConfigDict that holds

* label: of the data, for figures and tables;
* base: the config of an ordinary run;
* seeds: how many of them each cell has, from 0 on;
* cells: a tuple of dictionaries with `name`, `changes` ({"section.field": value}; fields of
  teacher and student make the cell a distillation) and, if it differs, `seeds`.

`plan` turns it into runs. A config that two cells share is one run.
"""

import copy
import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import ml_collections

from lsjax import config as config_lib
from lsjax import variants

METHODS = {
  "CE": variants.VARIANTS["cross_entropy"],
  "LS": variants.VARIANTS["label_smoothing"],
  "FC": variants.VARIANTS["forward"],
  "BC": variants.VARIANTS["backward"],
}
# A student starts from other parameters than the teacher of the same seed.
STUDENT_SEED_OFFSET = 1000


@dataclasses.dataclass(frozen=True)
class Cell:
  """A named cell: its runs, by seed."""

  name: str
  runs: tuple[config_lib.Config, ...]


def method(name: str, alpha: float = 0.0) -> dict[str, Any]:
  """Returns the changes that make a run use CE, LS, FC or BC with alpha."""
  changes = dict(METHODS[name])
  return changes if name == "CE" else changes | {"loss.alpha": alpha}


def symmetric_noise(rate: float) -> dict[str, Any]:
  """Returns the changes that set symmetric noise; none for rate 0."""
  return {"noise.kind": "symmetric" if rate else "none", "noise.rate": rate}


def grid(axes: Mapping[str, Iterable[Any]], **changes: Any) -> list[dict[str, Any]]:
  """Lists a cell for every combination of values, named by them.

  Args:
    axes: {"section.field": values}.
    changes: of all cells, section and field joined by two underscores (noise__kind="pair").

  >>> [cell["name"] for cell in grid({"loss.alpha": (0.1, 0.4), "noise.rate": (0.2,)})]
  ['loss.alpha 0.1, noise.rate 0.2', 'loss.alpha 0.4, noise.rate 0.2']
  """
  common = {name.replace("__", "."): value for name, value in changes.items()}
  cells = []
  for values in itertools.product(*axes.values()):
    chosen = dict(zip(axes, values))
    name = ", ".join(f"{field} {value}" for field, value in chosen.items())
    cells.append({"name": name, "changes": common | chosen})
  return cells


def curves(
  alphas: Iterable[float], rates: Iterable[float], *, model: str = "", **extra: Any
) -> list[dict[str, Any]]:
  """Lists CE, and LS, FC and BC over alpha, for each noise rate.

  With alpha 0.1 and rate 0.2 these are the cells of table A; tables D and E are among them.

  Args:
    alphas: above 0; at 0 every method is cross-entropy, which is always there.
    rates: of symmetric noise.
    model: instead of the base's, and then part of the cells' names.
    extra: other entries of each cell, such as seeds.
  """
  prefix, same = (f"{model}: ", {"model.name": model}) if model else ("", {})
  cells = []
  for rate in rates:
    methods = [("CE", method("CE"))]
    for name, alpha in itertools.product(("LS", "FC", "BC"), alphas):
      methods.append((f"{name} {alpha:g}", method(name, alpha)))
    for name, changes in methods:
      every = changes | symmetric_noise(rate) | same
      cells.append({"name": f"{prefix}{name}, noise {rate:g}", "changes": every, **extra})
  return cells


def union(*lists: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
  """Joins lists of cells: one that is in several is there once, with the most seeds asked for."""
  joined: dict[str, dict[str, Any]] = {}
  for cell in itertools.chain(*lists):
    old = joined.setdefault(cell["name"], dict(cell))
    if old["changes"] != cell["changes"]:
      raise config_lib.ConfigError(f"cell {cell['name']!r} is there twice, with other changes")
    if "seeds" in cell and "seeds" in old:
      old["seeds"] = max(cell["seeds"], old["seeds"])
    else:  # all seeds of the sweep
      old.pop("seeds", None)
  return tuple(joined.values())


def students(
  rates: Iterable[float], temperatures: Iterable[float], alpha: float = 0.1
) -> list[dict[str, Any]]:
  """Lists students of CE, LS, FC and BC teachers (table C); at temperature 1 the two
  conventions are one."""
  cells = []
  for rate, name, temperature in itertools.product(rates, METHODS, temperatures):
    conventions = ("teacher_only", "both_t_squared") if temperature != 1 else ("teacher_only",)
    for convention in conventions:
      how = f"T {temperature:g}" + (f" {convention}" if temperature != 1 else "")
      cells.append(
        {
          "name": f"student of {name}, {how}, noise {rate:g}",
          "changes": method("CE")
          | symmetric_noise(rate)
          | {f"teacher.{key}": value for key, value in method(name, alpha).items()}
          | {"student.temperature": temperature, "student.convention": convention},
        }
      )
  return cells


def boundaries(alphas: Iterable[float], rate: float) -> list[dict[str, Any]]:
  """Lists linear models on two Gaussians (claim C7): under one-sided noise CE and LS, and CE
  without noise."""
  linear = {
    "data.name": "gaussians",
    "data.crop_padding": 0,
    "data.flip": False,
    "model.name": "linear",
  }
  noisy = {"noise.kind": "one_sided", "noise.rate": rate}
  methods = [("CE", method("CE")), *((f"LS {a:g}", method("LS", a)) for a in alphas)]
  cells = [{"name": "2-D: CE, no noise", "changes": method("CE") | symmetric_noise(0) | linear}]
  for name, changes in methods:
    cells.append(
      {"name": f"2-D: {name}, one-sided noise {rate:g}", "changes": changes | linear | noisy}
    )
  return cells


def plan(sweep: ml_collections.ConfigDict) -> list[Cell]:
  """Returns the cells with the configs of their runs, checked.

  Raises:
    config.ConfigError: one line that names the cell.
  """
  for key in ("label", "base", "seeds", "cells"):
    if key not in sweep:
      raise config_lib.ConfigError(
        f"config.{key}: is missing; a sweep has label, base, seeds and cells"
      )
  if not isinstance(sweep.seeds, int) or sweep.seeds < 1:
    raise config_lib.ConfigError(f"config.seeds = {sweep.seeds!r}: must be an integer from 1")
  base, planned = sweep.base.to_dict(), []
  for cell in sweep.cells:
    seeds = min(cell.get("seeds", sweep.seeds), sweep.seeds)
    try:
      runs = tuple(_run(base, cell["changes"], seed) for seed in range(seeds))
    except config_lib.ConfigError as error:
      raise config_lib.ConfigError(f"cell {cell['name']!r}: {error}") from None
    planned.append(Cell(cell["name"], runs))
  names = [cell.name for cell in planned]
  twice = sorted({name for name in names if names.count(name) > 1})
  if twice:
    raise config_lib.ConfigError(f"config.cells: {twice[0]!r} is there twice; names are distinct")
  if any(run.train.num_devices != 1 for cell in planned for run in cell.runs):
    config_lib.fail("base.train.num_devices", "", "must be 1: a sweep gives each run one device")
  return planned


def _run(base: Mapping[str, Any], changes: Mapping[str, Any], seed: int) -> config_lib.Config:
  """Returns the config of a cell's run: data, init and noise have the same seed."""
  seeds = {f"seed.{name}": seed for name in ("data", "init", "noise")}
  nested = copy.deepcopy(dict(base))
  if any(key.startswith(("teacher.", "student.")) for key in changes):
    ordinary = ml_collections.ConfigDict(base)
    nested = config_lib.with_teacher(ordinary, ordinary).to_dict()
    seeds |= {f"teacher.{key}": value for key, value in seeds.items()}
    seeds["seed.init"] = seed + STUDENT_SEED_OFFSET
  for key, value in {**changes, **seeds}.items():
    *sections, name = key.split(".")
    holder = nested
    for section in sections:
      holder = holder.setdefault(section, {})
    holder[name] = value
  return config_lib.from_config_dict(nested)
