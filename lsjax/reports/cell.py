"""A cell of a sweep: a setting with the results of its runs, which differ only in their seeds."""

import contextlib
import dataclasses
import functools
import math
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from lsjax import archives, methods
from lsjax.reports import reading
from lsjax.reports.statistics import Summary, summarise

# The step whose metrics count: the last one, or the one with the best accuracy on the noisy
# validation split.
Moment = Literal["final", "best"]

# What makes runs of different methods, noises or seeds differ; the rest of a config is a setting.
_NO_SETTING = ("loss", "noise", "seed", "teacher", "student", "checkpoint")
_OF_METHODS = {field for row in methods.METHODS.values() for field in row.defaults}


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
  """A cell of a sweep with the results of its runs.

  Attributes:
    name: name of the cell.
    config: nested config of the cell's first run.
    workdirs: directory of each run, by seed.
    results: content of each run's result.json, by seed; None for a run that has none.
    candidate_of: name of the cell for which this one is another point of a grid; empty for an
      ordinary cell.
  """

  name: str
  config: Mapping[str, Any]
  workdirs: Mapping[int, pathlib.Path]
  results: Mapping[int, Mapping[str, Any] | None]
  candidate_of: str = ""

  @functools.cached_property
  def method(self) -> str:
    """The short name of the loss, such as CE; the name in the config if it has no short one."""
    return methods.short_name(self.config["loss"]["name"])

  @functools.cached_property
  def label(self) -> str:
    """The loss with its strength or matrix, such as "LS 0.1"."""
    return methods.label(self.config["loss"])

  @functools.cached_property
  def alpha(self) -> float:
    """The strength of smoothing or correction; 0 for cross-entropy."""
    return 0.0 if self.method == "CE" else float(self.config["loss"]["alpha"])

  @functools.cached_property
  def noise(self) -> str:
    """The label noise in words, such as "symmetric 20 %"."""
    noise = self.config["noise"]
    match noise["kind"]:
      case "none":
        return "no noise"
      case "given":
        return f"given labels {noise['labels'] or self.config['data'].get('label') or ''}".rstrip()
      case "file":
        return f"noise by {pathlib.PurePath(noise['path']).name}"
    own_class = ", own class included" if noise["includes_own_class"] else ""
    return f"{noise['kind'].replace('_', ' ')} {100 * noise['rate']:g} %{own_class}"

  @functools.cached_property
  def noise_kind(self) -> str:
    """The kind of label noise."""
    return self.config["noise"]["kind"]

  @functools.cached_property
  def rate(self) -> float:
    """The noise rate that was asked for; 0 without noise, NaN for noise that has no such rate."""
    kind = self.noise_kind
    return {"none": 0.0, "given": math.nan, "file": math.nan}.get(
      kind, float(self.config["noise"]["rate"])
    )

  @property
  def realised_rate(self) -> float:
    """The share of wrong training labels, mean over runs; NaN if it is not known."""
    noises = [result.get("noise") or {} for result in self.results.values() if result]
    known = [n["realised_rate"] for n in noises if n.get("realised_rate") is not None]
    return float(np.mean(known)) if known else math.nan

  @functools.cached_property
  def test_is_noisy(self) -> bool:
    """Whether the test labels of its runs are as noisy as their training labels."""
    found = [result for result in self.results.values() if result]
    return any(result.get("test_labels") == "noisy" for result in found)

  @functools.cached_property
  def data(self) -> str:
    """The name of the data set."""
    return self.config["data"]["name"]

  @functools.cached_property
  def model(self) -> str:
    """The name of the network."""
    return self.config["model"]["name"]

  @functools.cached_property
  def teacher(self) -> str:
    """The loss of the teacher, such as "LS 0.1"; empty for a cell without teachers."""
    return methods.label(self.config["teacher"]["loss"]) if self.is_student else ""

  @functools.cached_property
  def is_student(self) -> bool:
    """Whether the runs of the cell learn from a teacher; a first run may tell a matrix alone."""
    return "teacher" in self.config and self.config["student"]["beta"] > 0

  @functools.cached_property
  def temperature(self) -> float:
    """The temperature of distillation; 0 for a cell without teachers."""
    return float(self.config["student"]["temperature"]) if self.is_student else 0.0

  @functools.cached_property
  def convention(self) -> str:
    """The convention of distillation: empty without teachers, "any" at temperature 1."""
    if not self.is_student:
      return ""
    return "any" if self.temperature == 1 else self.config["student"]["convention"]

  def check_config(self) -> None:
    """Reads what reports read of the config, which raises an error where it is not there."""
    hash(self.setting)
    names = ("label", "noise", "data", "model", "teacher", "convention")
    texts = [getattr(self, name) for name in names]
    numbers = [self.alpha, self.rate, self.temperature, self.config["train"]["num_steps"]]
    numbers += [self.config["loss"]["cross_entropy_steps"], self.config["optim"]["clip_norm"]]
    if not all(isinstance(text, str) for text in texts):
      raise TypeError(f"a name in {texts} is no text")
    if not all(isinstance(number, (int, float)) for number in numbers):
      raise TypeError(f"a field in {numbers} is no number")

  @functools.cached_property
  def flat(self) -> dict[str, Any]:
    """The config as {"section.field": value}."""
    return dict(_flatten(self.config))

  @functools.cached_property
  def setting(self) -> frozenset[tuple[str, Any]]:
    """The fields that are the same for every method, noise and seed of an experiment."""
    return frozenset(
      (name, value)
      for name, value in self.flat.items()
      if name.split(".")[0] not in _NO_SETTING and name not in _OF_METHODS and name != "model.name"
    )

  @functools.cached_property
  def statuses(self) -> dict[int, str]:
    """The status of each run by seed: that in its result.json, or "missing"."""
    return {
      seed: result["status"] if result else "missing" for seed, result in self.results.items()
    }

  @functools.cached_property
  def problems(self) -> str:
    """The number of runs that diverged or are missing, "2 of 5 diverged"; empty if none is."""
    statuses = list(self.statuses.values())
    return ", ".join(
      f"{statuses.count(status)} of {len(statuses)} {status}"
      for status in ("diverged", "missing")
      if status in statuses
    )

  @property
  def diverged(self) -> list[int]:
    """The seeds whose runs diverged."""
    return [seed for seed, status in self.statuses.items() if status == "diverged"]

  def values(self, metric: str, moment: Moment = "final") -> dict[int, float]:
    """Returns a metric by seed, for the finished runs that have it.

    Args:
      metric: "split.name", such as "test.accuracy", or "boundary.angle" or "boundary.distance" of
        a linear model on 2-D data.
      moment: the step whose metric counts; a boundary is that of the final step.
    """
    split, _, name = metric.partition(".")
    if split == "boundary":
      return {seed: getattr(line, name) for seed, line in self.boundaries.items()}
    found = {
      seed: (result.get(moment) or {}).get(split, {}).get(name)
      for seed, result in self.results.items()
      if result and result["status"] == "finished"
    }
    return {seed: float(value) for seed, value in found.items() if value is not None}

  def scored(self, moment: Moment = "final") -> dict[int, float]:
    """Returns the test accuracy by seed, in which a diverged run counts as guessing, 1 / L."""
    return self._with_guesses("test.accuracy", moment)

  def validated(self, moment: Moment = "final") -> dict[int, float]:
    """Returns the noisy-validation accuracy by seed, in which a diverged run counts as guessing."""
    return self._with_guesses("validation.accuracy", moment)

  def _with_guesses(self, metric: str, moment: Moment) -> dict[int, float]:
    values = self.values(metric, moment)
    return values | {seed: 1 / self.num_classes for seed in self.diverged}

  @functools.cached_property
  def num_classes(self) -> int:
    """The number of classes L."""
    for seed in sorted(self.results, key=lambda seed: self.results[seed] is None):
      with contextlib.suppress(reading.DamagedError, KeyError, TypeError, ValueError):
        return int(reading.read_json(self.workdirs[seed] / "config.json")["inputs"]["num_classes"])
    raise FileNotFoundError(f"no run of the cell {self.name!r} has begun")

  def summary(self, metric: str, moment: Moment = "final", scale: float = 1) -> Summary:
    """Returns statistics of a metric over the runs that have it, in units of 1 / scale."""
    return summarise(list(self.values(metric, moment).values()), scale)

  def history(self, metric: str) -> dict[int, list[float]]:
    """Returns a metric of the training split over training: {step: a value per run}."""
    by_step: dict[int, list[float]] = {}
    for at_step, value in reading.numbers(self._training_rows, metric):
      by_step.setdefault(at_step, []).append(value)
    return dict(sorted(by_step.items()))

  @functools.cached_property
  def _training_rows(self) -> list[dict[str, Any]]:
    paths = [workdir / "metrics.jsonl" for workdir in self.workdirs.values()]
    rows = [row for path in paths for row in reading.rows(path, "step", "split")]
    return [row for row in rows if row["split"] == "train"]

  def diagnostics(self, *names: str) -> dict[int, dict[str, np.ndarray]]:
    """Returns arrays of diagnostics.npz by name, by seed, of the runs that have all of them.

    A file that cannot be read has none.
    """
    found = {}
    for seed, workdir in sorted(self.workdirs.items()):
      path = workdir / "diagnostics.npz"
      if self.results[seed] is not None and path.exists():
        with contextlib.suppress(OSError, ValueError):
          arrays = archives.load(path, names)
          if isinstance(arrays, dict) and len(arrays) == len(names):
            found[seed] = arrays
    return found

  @functools.cached_property
  def boundaries(self) -> dict[int, Boundary]:
    """The boundary of each run by seed; empty unless the model is linear on 2-D data."""
    found = {}
    for seed, arrays in self.diagnostics("kernel", "bias").items():
      inputs = reading.read_json(self.workdirs[seed] / "config.json")["inputs"]
      kernel, bias = arrays["kernel"].astype(float), arrays["bias"].astype(float)
      # The network sees (x - mean) / std.
      normal = (kernel[:, 0] - kernel[:, 1]) / np.array(inputs["std"])
      offset = bias[0] - bias[1] - normal @ np.array(inputs["mean"])
      length = float(np.linalg.norm(normal))
      found[seed] = Boundary(normal / length, float(offset) / length)
    return found


def _flatten(section: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
  pairs: list[tuple[str, Any]] = []
  for name, value in section.items():
    if isinstance(value, Mapping):
      pairs += _flatten(value, f"{prefix}{name}.")
    else:
      pairs.append((prefix + name, _frozen(value)))
  return pairs


def _frozen(value: Any) -> Any:
  """Returns a value of JSON with tuples for its lists."""
  return tuple(map(_frozen, value)) if isinstance(value, list) else value
