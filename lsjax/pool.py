"""A sweep's directory read back: cells, their runs' results, and 2-D boundaries.

No JAX: what is read is sweep.json, theory.json and the work directories' files.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsjax import files

METHOD_OF_LOSS = {
  "cross_entropy": "CE",
  "label_smoothing": "LS",
  "forward_correction": "FC",
  "backward_correction": "BC",
}
METHODS = tuple(METHOD_OF_LOSS.values())


@dataclasses.dataclass(frozen=True)
class Cell:
  """A cell with its runs' results.

  Attributes:
    name: of the cell.
    config: nested, of its first run; only seeds differ in the others.
    workdirs: by seed.
    results: by seed, the content of result.json; None where there is none.
  """

  name: str
  config: Mapping[str, Any]
  workdirs: Mapping[int, pathlib.Path]
  results: Mapping[int, Mapping[str, Any] | None]

  @property
  def method(self) -> str:
    """CE, LS, FC or BC; another loss goes by its own name."""
    return METHOD_OF_LOSS.get(self.config["loss"]["name"], self.config["loss"]["name"])

  @property
  def alpha(self) -> float:
    return 0.0 if self.method == "CE" else float(self.config["loss"]["alpha"])

  @property
  def rate(self) -> float:
    return float(self.config["noise"]["rate"])

  @property
  def data(self) -> str:
    return self.config["data"]["name"]

  @property
  def model(self) -> str:
    return self.config["model"]["name"]

  @property
  def teacher(self) -> str:
    """The method that trained the teacher; "" for an ordinary cell."""
    if "teacher" not in self.config:
      return ""
    return METHOD_OF_LOSS[self.config["teacher"]["loss"]["name"]]

  @property
  def temperature(self) -> float:
    return float(self.config["student"]["temperature"]) if "student" in self.config else 0.0

  @property
  def convention(self) -> str:
    return self.config["student"]["convention"] if "student" in self.config else ""

  def values(self, metric: str) -> dict[int, float]:
    """Returns "split.metric" of the final step by seed, of finished runs that have it."""
    split, _, name = metric.partition(".")
    found = {}
    for seed, result in self.results.items():
      if result is not None and result["status"] == "finished":
        value = result["final"].get(split, {}).get(name)
        if value is not None:
          found[seed] = float(value)
    return found

  @property
  def problems(self) -> str:
    """What is not there: "2 of 5 diverged", "1 of 5 missing"; "" if all is."""
    statuses = [result["status"] if result else "missing" for result in self.results.values()]
    return ", ".join(
      f"{statuses.count(status)} of {len(statuses)} {status}"
      for status in ("diverged", "missing")
      if status in statuses
    )


@dataclasses.dataclass(frozen=True)
class Pool:
  """A sweep's directory, read.

  Attributes:
    path: of the directory.
    name: of the sweep.
    label: of the data.
    cells: all of them.
    theory: the content of theory.json, or None.
    environment: versions and device of the first run that is there, or None.
  """

  path: pathlib.Path
  name: str
  label: str
  cells: Sequence[Cell]
  theory: Mapping[str, Any] | None
  environment: Mapping[str, Any] | None

  @property
  def main(self) -> tuple[str, str]:
    """Data set and model of most cells: those the figures show."""
    kinds = [(cell.data, cell.model) for cell in self.cells]
    return max(kinds, key=kinds.count)

  def select(self, **wanted: Any) -> list[Cell]:
    """Returns ordinary cells of the main data and model that agree with `wanted`, unless those
    are given; with teacher given, students."""
    data, model = self.main
    wanted = {"teacher": "", "data": data, "model": model, "noise_kind": None, **wanted}
    kind = wanted.pop("noise_kind")
    return [
      cell
      for cell in self.cells
      if all(getattr(cell, key) == value for key, value in wanted.items())
      and (kind is None or cell.config["noise"]["kind"] == kind)
    ]

  def one(self, **wanted: Any) -> Cell | None:
    """Returns the only such cell, None where there is none."""
    found = self.select(**wanted)
    return found[0] if found else None


class PoolError(Exception):
  """A directory that is no sweep's, told in one line."""


def read(path: pathlib.Path) -> Pool:
  """Reads a sweep's directory.

  Raises:
    PoolError: if it holds no readable sweep.json.
  """
  try:
    index = files.read_json(path / "sweep.json")
    listed = [(cell["name"], cell["config"], cell["runs"]) for cell in index["cells"]]
    name, label = index["name"], index["label"]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise PoolError(f"{path} holds no readable sweep.json ({error})") from error

  def optional(file: pathlib.Path) -> Any:
    return files.read_json(file) if file.exists() else None

  cells, environment = [], None
  for cell_name, config, runs in listed:
    workdirs = {run["seed"]: path / run["workdir"] for run in runs}
    results = {seed: optional(workdir / "result.json") for seed, workdir in workdirs.items()}
    cells.append(Cell(cell_name, config, workdirs, results))
    for workdir in workdirs.values():
      environment = environment or (optional(workdir / "config.json") or {}).get("environment")
  return Pool(path, name, label, cells, optional(path / "theory.json"), environment)


def alphas(pool: Pool, method: str, rate: float) -> list[tuple[float, Cell]]:
  """Returns (alpha, cell) of a method at a noise rate; alpha 0 is cross-entropy."""
  found = [*pool.select(method="CE", rate=rate), *pool.select(method=method, rate=rate)]
  return sorted(((c.alpha, c) for c in found), key=lambda pair: pair[0])


def plane_cells(pool: Pool) -> list[Cell]:
  """Returns the cells of the 2-D experiment under one-sided noise, by alpha."""
  found = pool.select(data="gaussians", model="linear", noise_kind="one_sided")
  return sorted(found, key=lambda cell: cell.alpha)


def boundary(cell: Cell) -> dict[str, dict[int, float]]:
  """Returns, by seed, a 2-D linear run's angle to the Bayes line x + y = 0 in degrees and its
  distance from the origin, both in raw coordinates."""
  angles, offsets = {}, {}
  for seed, workdir in cell.workdirs.items():
    line = boundary_line(workdir)
    if line is not None:
      normal, offset = line
      cosine = float(normal @ np.array([1.0, 1.0])) / math.sqrt(2)
      angles[seed] = math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
      offsets[seed] = abs(offset)
  return {"angle": angles, "offset": offsets}


def boundary_line(workdir: pathlib.Path) -> tuple[np.ndarray, float] | None:
  """Returns (unit normal towards class 0, offset) of a 2-D linear run: normal . x + offset = 0."""
  file = workdir / "diagnostics.npz"
  if not (workdir / "result.json").exists() or not file.exists():
    return None
  inputs = files.read_json(workdir / "config.json")["inputs"]
  with np.load(file, allow_pickle=False) as arrays:
    if "kernel" not in arrays.files:
      return None
    kernel, bias = arrays["kernel"].astype(float), arrays["bias"].astype(float)
  # The network sees (x - mean) / std.
  normal = (kernel[:, 0] - kernel[:, 1]) / np.array(inputs["std"])
  offset = bias[0] - bias[1] - normal @ np.array(inputs["mean"])
  length = float(np.linalg.norm(normal))
  return normal / length, float(offset) / length
