"""Results of a sweep, read back from its directory: its cells, their runs and their boundaries.

A sweep directory holds sweep.json (the cells and the directories of their runs), theory.json,
sessions.jsonl and one directory per run.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsjax import files, methods
from lsjax.reports.statistics import Summary, summarise
from lsjax.runs import digests
from lsjax.validation import UserError


class ResultsError(UserError):
  """An error about a directory that is not a sweep's; its message is one line."""


@dataclasses.dataclass(frozen=True)
class Boundary:
  """Decision boundary of a linear model on 2-D data: the line normal . x + offset = 0.

  Attributes:
    normal: unit vector [2] that points towards class 0, in the coordinates of the data set.
    offset: signed distance of the origin from the line, in the same units.
  """

  normal: np.ndarray
  offset: float

  @property
  def angle(self) -> float:
    """The angle to the Bayes line x + y = 0, in degrees."""
    cosine = float(self.normal @ np.array([1.0, 1.0])) / math.sqrt(2)
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))

  @property
  def distance(self) -> float:
    """The distance from the origin."""
    return abs(self.offset)


@dataclasses.dataclass(frozen=True)
class CellResults:
  """A cell of a sweep with the results of its runs, which differ only in their seeds.

  Attributes:
    name: name of the cell.
    config: nested config of the cell's first run.
    workdirs: directory of each run, by seed.
    results: content of each run's result.json, by seed; None for a run that has none.
  """

  name: str
  config: Mapping[str, Any]
  workdirs: Mapping[int, pathlib.Path]
  results: Mapping[int, Mapping[str, Any] | None]

  @property
  def method(self) -> str:
    """The short name of the loss, such as CE; the name in the config if it has no short one."""
    return methods.short_name(self.config["loss"]["name"])

  @property
  def alpha(self) -> float:
    """The strength of smoothing or correction; 0 for cross-entropy."""
    return 0.0 if self.method == "CE" else float(self.config["loss"]["alpha"])

  @property
  def rate(self) -> float:
    """The noise rate."""
    return float(self.config["noise"]["rate"])

  @property
  def noise_kind(self) -> str:
    """The kind of label noise."""
    return self.config["noise"]["kind"]

  @property
  def data(self) -> str:
    """The name of the data set."""
    return self.config["data"]["name"]

  @property
  def model(self) -> str:
    """The name of the network."""
    return self.config["model"]["name"]

  @property
  def teacher(self) -> str:
    """The short name of the loss that trained the teacher; empty for a cell without teachers."""
    return methods.short_name(self.config["teacher"]["loss"]["name"]) if self.is_student else ""

  @property
  def is_student(self) -> bool:
    """Whether the runs of the cell learn from a teacher."""
    return "teacher" in self.config

  @property
  def temperature(self) -> float:
    """The temperature of distillation; 0 for a cell without teachers."""
    return float(self.config["student"]["temperature"]) if self.is_student else 0.0

  @property
  def convention(self) -> str:
    """The convention of distillation; empty for a cell without teachers."""
    return self.config["student"]["convention"] if self.is_student else ""

  @property
  def statuses(self) -> dict[int, str]:
    """The status of each run by seed: that in its result.json, or "missing"."""
    return {
      seed: result["status"] if result else "missing" for seed, result in self.results.items()
    }

  @property
  def problems(self) -> str:
    """The number of runs that diverged or are missing, "2 of 5 diverged"; empty if none is."""
    statuses = list(self.statuses.values())
    return ", ".join(
      f"{statuses.count(status)} of {len(statuses)} {status}"
      for status in ("diverged", "missing")
      if status in statuses
    )

  def values(self, metric: str) -> dict[int, float]:
    """Returns a metric by seed, for the runs that have it.

    Args:
      metric: "split.name" of the final step of a finished run, such as "test.accuracy", or
        "boundary.angle" or "boundary.distance" of a linear model on 2-D data.
    """
    split, _, name = metric.partition(".")
    if split == "boundary":
      return {seed: getattr(line, name) for seed, line in self.boundaries.items()}
    found = {
      seed: result["final"].get(split, {}).get(name)
      for seed, result in self.results.items()
      if result and result["status"] == "finished"
    }
    return {seed: float(value) for seed, value in found.items() if value is not None}

  def summary(self, metric: str, scale: float = 1) -> Summary:
    """Returns statistics of a metric over the runs that have it, in units of 1 / scale."""
    return summarise(list(self.values(metric).values()), scale)

  def history(self, metric: str) -> dict[int, list[float]]:
    """Returns a metric of the training split over training: {step: a value per run}."""
    by_step: dict[int, list[float]] = {}
    for row in self._training_rows:
      if row.get(metric) is not None:
        by_step.setdefault(row["step"], []).append(row[metric])
    return dict(sorted(by_step.items()))

  @functools.cached_property
  def _training_rows(self) -> list[dict[str, Any]]:
    rows = [row for path in self.workdirs.values() for row in read_rows(path / "metrics.jsonl")]
    return [row for row in rows if row["split"] == "train"]

  def diagnostics(self, *names: str) -> dict[int, dict[str, np.ndarray]]:
    """Returns arrays of diagnostics.npz by name, by seed, of the runs that have all of them."""
    found = {}
    for seed, workdir in sorted(self.workdirs.items()):
      path = workdir / "diagnostics.npz"
      if self.results[seed] is not None and path.exists():
        with np.load(path, allow_pickle=False) as arrays:
          if set(names) <= set(arrays.files):
            found[seed] = {name: arrays[name] for name in names}
    return found

  @functools.cached_property
  def boundaries(self) -> dict[int, Boundary]:
    """The boundary of each run by seed; empty unless the model is linear on 2-D data."""
    found = {}
    for seed, arrays in self.diagnostics("kernel", "bias").items():
      inputs = files.read_json(self.workdirs[seed] / "config.json")["inputs"]
      kernel, bias = arrays["kernel"].astype(float), arrays["bias"].astype(float)
      # The network sees (x - mean) / std.
      normal = (kernel[:, 0] - kernel[:, 1]) / np.array(inputs["std"])
      offset = bias[0] - bias[1] - normal @ np.array(inputs["mean"])
      length = float(np.linalg.norm(normal))
      found[seed] = Boundary(normal / length, float(offset) / length)
    return found


@dataclasses.dataclass(frozen=True)
class SweepResults:
  """The content of a sweep directory.

  Attributes:
    path: the directory.
    name: name of the sweep.
    label: name of the data set for readers.
    cells: every cell of the sweep.
    theory: content of theory.json, or None.
    environment: versions and device of the first run that has begun, or None.
  """

  path: pathlib.Path
  name: str
  label: str
  cells: Sequence[CellResults]
  theory: Mapping[str, Any] | None
  environment: Mapping[str, Any] | None

  @property
  def main(self) -> tuple[str, str]:
    """The names of the data set and the model that most cells have, which the figures show."""
    kinds = [(cell.data, cell.model) for cell in self.cells]
    return max(kinds, key=kinds.count)

  def select(self, **wanted: str | float) -> list[CellResults]:
    """Returns the cells whose attributes have the wanted values.

    Args:
      **wanted: value of an attribute or property of `CellResults`. Unless they are given, data
        and model are those of `main`, and cells with teachers are left out.
    """
    data, model = self.main
    wanted = {"teacher": "", "data": data, "model": model, **wanted}
    return [
      cell
      for cell in self.cells
      if all(getattr(cell, name) == value for name, value in wanted.items())
    ]

  def find(self, **wanted: str | float) -> CellResults | None:
    """Returns the first cell that `select` returns, or None if it returns none."""
    return next(iter(self.select(**wanted)), None)

  def trained(
    self, method: str, alpha: float, rate: float, **wanted: str | float
  ) -> CellResults | None:
    """Returns the cell of a method at an alpha, which CE ignores, and a noise rate, or None."""
    alpha = 0.0 if method == "CE" else alpha
    return self.find(method=method, alpha=alpha, rate=rate, **wanted)

  def student(
    self, teacher: str, rate: float, temperature: float, convention: str
  ) -> CellResults | None:
    """Returns the cell of the students of a method at a noise rate, or None."""
    return self.find(teacher=teacher, rate=rate, temperature=temperature, convention=convention)

  def curve(self, method: str, rate: float) -> list[CellResults]:
    """Returns the cells of cross-entropy and a method at a noise rate, in the order of alpha."""
    cells = [*self.select(method="CE", rate=rate), *self.select(method=method, rate=rate)]
    return sorted(cells, key=lambda cell: cell.alpha)

  def rates(self, **wanted: str | float) -> list[float]:
    """Returns the noise rates of the cells that `select` returns, in increasing order."""
    return sorted({cell.rate for cell in self.select(**wanted)})

  @property
  def students(self) -> list[CellResults]:
    """The cells whose runs learn from a teacher."""
    return [cell for cell in self.cells if cell.is_student]

  @property
  def plane(self) -> tuple[list[CellResults], list[CellResults]]:
    """The cells of the linear model on 2-D data: without noise; one-sided noise, by alpha."""
    clean, noisy = (
      self.select(data="gaussians", model="linear", noise_kind=kind)
      for kind in ("none", "one_sided")
    )
    return clean, sorted(noisy, key=lambda cell: cell.alpha)


def read(path: pathlib.Path) -> SweepResults:
  """Reads a sweep directory.

  Raises:
    ResultsError: if it holds no sweep.json that can be read.
  """
  try:
    index = files.read_json(path / "sweep.json")
    listed = [(cell["name"], cell["config"], cell["runs"]) for cell in index["cells"]]
    name, label = index["name"], index["label"]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise ResultsError(f"{path} holds no readable sweep.json ({error})") from error
  cells, environment = [], None
  for cell_name, config, runs in listed:
    workdirs = {run["seed"]: path / run["workdir"] for run in runs}
    results = {seed: _result(workdir) for seed, workdir in workdirs.items()}
    cells.append(CellResults(cell_name, config, workdirs, results))
    for workdir in workdirs.values():
      environment = environment or (_read_json(workdir / "config.json") or {}).get("environment")
  return SweepResults(path, name, label, cells, _read_json(path / "theory.json"), environment)


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the rows of a file of JSON lines; none if it is absent or a row cannot be read."""
  try:
    return files.read_rows(path) if path.exists() else []
  except ValueError:
    return []


def _result(workdir: pathlib.Path) -> Any:
  """Returns the content of a run's result.json, which has its digest; None if there is none."""
  path = workdir / "result.json"
  try:
    content = _read_json(path)
    if content is not None:
      digests.is_sealed(content)
  except (TypeError, ValueError) as error:
    raise ResultsError(f"{path} is damaged ({error})") from error
  return content


def _read_json(path: pathlib.Path) -> Any:
  return files.read_json(path) if path.exists() else None
