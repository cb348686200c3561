"""Results read back from directories: the cells of a sweep, or runs that were made by hand.

A sweep directory holds sweep.json (the cells and the directories of their runs), theory.json,
sessions.jsonl and one directory per run.
"""

import collections
import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from lsjax.methods import PAPER
from lsjax.reports import reading
from lsjax.reports.cell import CellResults, Moment
from lsjax.reports.paper import RATE
from lsjax.reports.statistics import summarise
from lsjax.validation import UserError

_Value = TypeVar("_Value", bound=Hashable)

# The place of a run whose directory lies outside the sweep's.
_NOWHERE = "no directory of this sweep"
_NOT_OTHER = ("none", "one_sided")  # the latter is that of the 2-D data
_ENVIRONMENT = ("device", "backend", "python", "jax", "flax", "optax", "lsjax", "commit")


class ResultsError(UserError):
  """An error about a directory that holds no results; its message is one line."""


class AmbiguousError(LookupError):
  """Several cells fit where one is meant; the message names them."""


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
    unreadable: what is damaged, a line for each file or run; such a run counts as missing.
    sessions: rows that each process wrote when it began, with its `date`, and when it ended, with
      its `seconds`, too.
  """

  path: pathlib.Path
  name: str
  label: str
  cells: Sequence[CellResults]
  theory: Mapping[str, Any] | None
  environment: Mapping[str, Any] | None
  unreadable: Sequence[str] = ()
  sessions: Sequence[Mapping[str, Any]] = ()

  @functools.cached_property
  def listed(self) -> list[CellResults]:
    """The cells without those that are only another point of another cell's grid."""
    return [cell for cell in self.cells if not cell.candidate_of]

  @functools.cached_property
  def main(self) -> tuple[str, str]:
    """The names of the data set and the model that most cells have, which the figures show."""
    return _most_frequent((cell.data, cell.model) for cell in self.listed)

  @functools.cached_property
  def setting(self) -> frozenset[tuple[str, Any]]:
    """The fields besides method, noise and seeds that most cells of the main data have."""
    settings = (cell.setting for cell in self.listed if (cell.data, cell.model) == self.main)
    return _most_frequent(settings)

  @functools.cached_property
  def is_of_paper(self) -> bool:
    """Whether at least half of the cells are of the methods that the paper compares."""
    return 2 * sum(cell.method in PAPER for cell in self.listed) >= len(self.listed)

  def select(self, **wanted: str | float) -> list[CellResults]:
    """Returns the cells whose attributes have the wanted values.

    Args:
      **wanted: value of an attribute or property of `CellResults`. Unless they are given, data
        and model are those of `main`, and cells with teachers are left out. Cells of the main
        data set have the main setting, and candidates of other cells are left out.
    """
    data, model = self.main
    wanted = {"teacher": "", "data": data, "model": model, **wanted}
    fewest = min((self._having(name, value) for name, value in wanted.items()), key=len)
    return [
      cell for cell in fewest if all(getattr(cell, name) == value for name, value in wanted.items())
    ]

  def _having(self, name: str, value: str | float) -> Sequence[CellResults]:
    """Returns the cells that may be selected and have a value, without a look at the others."""
    if name not in self._by_attribute:
      by_value: dict[Any, list[CellResults]] = collections.defaultdict(list)
      for cell in self.listed:
        if cell.data != self.main[0] or cell.setting == self.setting:
          by_value[getattr(cell, name)].append(cell)
      self._by_attribute[name] = dict(by_value)
    return self._by_attribute[name].get(value, [])

  @functools.cached_property
  def _by_attribute(self) -> dict[str, dict[Any, list[CellResults]]]:
    """What `_having` has found: {name of an attribute: {its value: cells}}."""
    return {}

  def find(self, **wanted: str | float) -> CellResults | None:
    """Returns the cell that `select` returns, or None if it returns none.

    Raises:
      AmbiguousError: if it returns several.
    """
    found = self.select(**wanted)
    if len(found) > 1:
      raise AmbiguousError(f"{len(found)} cells fit: {'; '.join(cell.name for cell in found)}")
    return found[0] if found else None

  @functools.cached_property
  def other_noise(self) -> str:
    """The noise that stands for the paper's in a sweep without symmetric noise; or empty.

    It is the only noise of such a sweep, 2-D data left out.
    """
    noises = {c.noise: c.noise_kind for c in self.listed if c.noise_kind not in _NOT_OTHER}
    is_only = len(noises) == 1 and "symmetric" not in noises.values()
    return next(iter(noises)) if is_only else ""

  def noise_of(self, rate: float) -> dict[str, Any]:
    """Returns the attributes of a cell with symmetric noise of a rate, or none at rate 0.

    At the paper's rate it is `other_noise` if the sweep has one.
    """
    if rate == RATE and self.other_noise:
      return {"noise": self.other_noise}
    return symmetric(rate)

  def trained(self, label: str, rate: float, **wanted: str | float) -> CellResults | None:
    """Returns the cell of a loss, such as "LS 0.1", under `noise_of` a rate, or None."""
    return self.find(label=label, **self.noise_of(rate), **wanted)

  def student(
    self, teacher: str, rate: float, temperature: float, convention: str
  ) -> CellResults | None:
    """Returns the cell of the students of a loss under `noise_of` a rate, or None."""
    return self.find(
      teacher=teacher, temperature=temperature, convention=convention, **self.noise_of(rate)
    )

  def curve(self, method: str, noise: str) -> list[CellResults]:
    """Returns the cells of cross-entropy and a method under a noise, in the order of alpha."""
    cells = [
      cell
      for name in ("CE", method)
      for cell in self.select(method=name, noise=noise)
      if cell.label in ("CE", f"{name} {cell.alpha:g}")  # not those with a matrix of their own
    ]
    return sorted(cells, key=lambda cell: cell.alpha)

  def noises(self, **wanted: str | float) -> list[str]:
    """Returns the noises of the cells that `select` returns, in the order of rate and name."""
    found = {cell.noise: cell for cell in self.select(**wanted)}
    return sorted(found, key=lambda noise: (found[noise].noise_kind != "none", _rate(found[noise])))

  def grid(self, cell: CellResults) -> list[CellResults]:
    """Returns a cell and the other points of its grid of hyper-parameters, if it has one."""
    others = self._candidates.get(cell.name, [])
    return [cell, *others] if others else []

  @functools.cached_property
  def _candidates(self) -> dict[str, list[CellResults]]:
    """The cells that are other points of a cell's grid, by the name of that cell."""
    found: dict[str, list[CellResults]] = collections.defaultdict(list)
    for cell in self.cells:
      if cell.candidate_of:
        found[cell.candidate_of].append(cell)
    return dict(found)

  def tuned(self, cell: CellResults, moment: Moment = "final") -> CellResults | None:
    """Returns the point of a cell's grid with the best accuracy on noisy validation, or None.

    The accuracy is that of the final step or, with the moment "best", of each run's best
    noisy-validation step; it is the mean over seeds, and a diverged run counts as guessing.
    Without a grid there is none.
    """
    points = [p for p in self.grid(cell) if p.values("validation.accuracy", moment)]
    if not points:
      return None
    return max(points, key=lambda p: summarise(list(p.validated(moment).values())).mean)

  @property
  def students(self) -> list[CellResults]:
    """The cells whose runs learn from a teacher."""
    return [cell for cell in self.listed if cell.is_student]

  @property
  def planes(self) -> dict[str, tuple[CellResults | None, list[CellResults]]]:
    """The cells of linear models on 2-D data by their spread: without noise; with it, by alpha."""
    by_spread: dict[str, list[CellResults]] = collections.defaultdict(list)
    for cell in self.listed:
      if (cell.data, cell.model) == ("gaussians", "linear"):
        by_spread[spread(cell)].append(cell)
    planes = {}
    for name, cells in sorted(by_spread.items()):
      clean = next((cell for cell in cells if cell.noise_kind == "none"), None)
      noisy = [cell for cell in cells if cell.noise_kind == "one_sided"]
      planes[name] = (clean, sorted(noisy, key=lambda cell: cell.alpha))
    return planes


def _most_frequent(values: Iterable[_Value]) -> _Value:
  """Returns the value that occurs most often, of several the one that occurs first."""
  return collections.Counter(values).most_common(1)[0][0]


def symmetric(rate: float) -> dict[str, Any]:
  """Returns the attributes of a cell with symmetric noise of a rate, without noise at rate 0."""
  return {"noise_kind": "symmetric" if rate else "none", "rate": rate}


def spread(cell: CellResults) -> str:
  """Returns the standard deviation of the clusters of 2-D data, such as "0.1"."""
  return f"{float(cell.config['data'].get('cluster_std', 1.0)):g}"


def read(path: pathlib.Path) -> SweepResults:
  """Reads a sweep directory, or the work directory of a run.

  Raises:
    ResultsError: if it holds neither. A single run of a sweep that cannot be read is no error.
  """
  if not (path / "sweep.json").exists() and (path / "config.json").exists():
    return read_runs([path])
  try:
    index = reading.parsed(path / "sweep.json")
    listed = [
      (cell["name"], cell["config"], cell["runs"], cell.get("candidate_of") or "")
      for cell in index["cells"]
    ]
    name, label = index["name"], index["label"]
    if not listed or not all(isinstance(t, str) for t in (name, label, *(c[0] for c in listed))):
      raise ValueError("it lists no cells, or names that are no texts")
    damage: list[str] = []
    cells = [
      _cell(name, config, _workdirs(path, runs, damage), damage, candidate_of)
      for name, config, runs, candidate_of in listed
    ]
  except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
    why = reading.plain(f"{path} holds no readable sweep.json ({type(error).__name__}: {error})")
    raise ResultsError(why) from error
  theory = None
  try:
    theory = reading.theory(path / "theory.json")
  except reading.DamagedError as error:
    damage.append(str(error))
  sessions = reading.rows(path / "sessions.jsonl", "date")
  environment = _environment(cells)
  return SweepResults(path, name, label, cells, theory, environment, _once(damage), sessions)


def read_runs(paths: Sequence[pathlib.Path]) -> SweepResults:
  """Reads work directories of runs that were made one by one, as the cells of a sweep.

  Runs whose configs differ in nothing but seeds are one cell, named by the loss, the noise and
  the names of their directories.

  Raises:
    ResultsError: if one of them is not the work directory of a run.
  """
  groups: dict[str, list[tuple[pathlib.Path, Mapping[str, Any]]]] = collections.defaultdict(list)
  for path in paths:
    try:
      config = reading.parsed(path / "config.json")["config"]
      key = {name: section for name, section in config.items() if name != "seed"}
    except (*(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError),) as error:
      why = reading.plain(f"{path} holds no readable config.json ({error})")
      raise ResultsError(why) from error
    groups[repr(key)].append((path, config))
  cells, damage = [], list[str]()
  for runs in groups.values():
    workdirs = {seed: path for seed, (path, _) in enumerate(runs)}
    try:
      cell = _cell("", runs[0][1], workdirs, damage)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
      why = reading.plain(f"{runs[0][0]} holds no readable config.json ({error})")
      raise ResultsError(why) from error
    names = reading.plain(", ".join(path.name for path, _ in runs))
    kind = f"student of {cell.teacher}" if cell.is_student else cell.label
    cells.append(dataclasses.replace(cell, name=f"{kind}, {cell.noise} ({names})"))
  label = ", ".join(sorted({cell.data for cell in cells}))
  name = reading.plain(paths[0].name) if len(paths) == 1 else f"{len(paths)} runs"
  return SweepResults(paths[0], name, label, cells, None, _environment(cells), _once(damage))


def _cell(
  name: str,
  config: Mapping[str, Any],
  workdirs: Mapping[int, pathlib.Path],
  damage: list[str],
  candidate_of: str = "",
) -> CellResults:
  """Returns a cell with the results of its runs; what cannot be read is added to `damage`.

  Raises:
    KeyError, TypeError, ValueError, AttributeError: if its config is not that of a run.
  """
  results: dict[int, Mapping[str, Any] | None] = {}
  for seed, workdir in workdirs.items():
    results[seed] = None
    try:
      results[seed] = reading.result(workdir)
    except reading.DamagedError as error:
      damage.append(str(error))
  cell = CellResults(name, config, workdirs, results, candidate_of)
  cell.check_config()
  return cell


def _workdirs(
  path: pathlib.Path, runs: Sequence[Mapping[str, Any]], damage: list[str]
) -> dict[int, pathlib.Path]:
  """Returns the directories of a cell's runs by seed, all inside that of the sweep."""
  found = {}
  for run in runs:
    try:
      found[int(run["seed"])] = reading.within(path, run["workdir"])
    except reading.DamagedError as error:
      damage.append(str(error))
      found[int(run["seed"])] = path / _NOWHERE
  return found


def _once(damage: Sequence[str]) -> list[str]:
  """Returns lines without those that stand before; cells may share a run."""
  return list(dict.fromkeys(damage))


def _environment(cells: Sequence[CellResults]) -> Mapping[str, Any] | None:
  """Returns the environment of the first run that has begun."""
  for workdir in (workdir for cell in cells for workdir in cell.workdirs.values()):
    with contextlib.suppress(reading.DamagedError):
      begun = reading.read_json(workdir / "config.json")
      environment = begun.get("environment") if isinstance(begun, dict) else None
      if isinstance(environment, dict) and environment.keys() >= {*_ENVIRONMENT}:
        return dict(environment)
  return None


def _rate(cell: CellResults) -> tuple[float, str]:
  return (cell.rate if cell.rate == cell.rate else 1.0, cell.noise)  # NaN: kinds without a rate
