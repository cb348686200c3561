"""The runs of an advice: every one an ordinary run in a work directory of its own."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from lsjax import config as config_lib
from lsjax import files
from lsjax.advice import storage
from lsjax.advice.candidates import BY_NAME
from lsjax.advice.sizes import Sizes
from lsjax.config import Config
from lsjax.runs import folds, reading
from lsjax.sweeps import estimate, execution
from lsjax.sweeps.plan import PlannedRun
from lsjax.training import loop, setup


class Labels(NamedTuple):
  """Labels in a file of the advice's directory: the name of the file and of the labels in it."""

  file: str
  name: str


GIVEN = Labels(storage.DATA, "given")
FINAL = Labels("final.npz", "final")  # with the checked labels in place of wrong ones


@dataclasses.dataclass(frozen=True)
class Trainer:
  """Trains the runs of an advice in its directory, packed, and finds them again when it resumes.

  Attributes:
    directory: the directory of the advice, which holds `GIVEN`.
    sizes: what all runs have in common.
    is_photo: whether the inputs are images in colour, which may be mirrored.
  """

  directory: pathlib.Path
  sizes: Sizes
  is_photo: bool

  def config(
    self,
    changes: Mapping[str, Any],
    *,
    seed: int = 0,
    fold: int | None = None,
    data: Labels = GIVEN,
  ) -> Config:
    """Returns the config of a run.

    Args:
      changes: what differs from plain cross-entropy, {"section.field": value}.
      seed: the seed of everything that is drawn.
      fold: the part that is held out; None to train on all examples.
      data: the labels to train on.
    """
    sizes = self.sizes
    steps = int(changes.get("train.num_steps", sizes.num_steps))
    fields: dict[str, Any] = {
      "data.name": "npz",
      "data.path": os.fspath(self.directory / data.file),
      "data.folds": 0 if fold is None else sizes.folds,
      "data.fold": fold or 0,
      "data.flip": self.is_photo,
      "noise.kind": "given",
      "noise.labels": data.name,
      "model.name": sizes.model,
      "model.hidden": sizes.hidden,
      "optim.learning_rate": sizes.learning_rate,
      "optim.boundaries": (sizes.num_steps // 2, 3 * sizes.num_steps // 4),
      "train.num_steps": steps,
      "train.batch_size": sizes.batch_size,
      "train.log_every": sizes.eval_every,
      "train.eval_every": sizes.eval_every,
      "train.eval_batch_size": 1000,
      "checkpoint.every": steps,
      "checkpoint.keep": 1,
      **changes,
      **{f"seed.{name}": seed for name in ("data", "init", "noise")},
    }
    nested: dict[str, Any] = {}
    for name, value in fields.items():
      *sections, field = name.split(".")
      holder = nested
      for section in sections:
        holder = holder.setdefault(section, {})
      holder[field] = value
    return config_lib.from_config_dict(nested)

  def over_folds(self, changes: Mapping[str, Any]) -> list[list[Config]]:
    """Returns the configs of a method's runs, by seed and fold."""
    return [
      [self.config(changes, seed=seed, fold=fold) for fold in range(self.sizes.folds)]
      for seed in range(self.sizes.seeds)
    ]

  def workdir(self, config: Config) -> pathlib.Path:
    """Returns the work directory of a run."""
    return self.directory / "runs" / config_lib.config_hash(config)

  def train(self, configs: Iterable[Config], what: str) -> None:
    """Trains runs that are not finished yet.

    Args:
      configs: the configs of the runs.
      what: what the progress bar calls them.

    Raises:
      ConfigError, loop.Stopped: see `runs.execution.train_and_evaluate`.
    """
    runs = {self.workdir(config): PlannedRun(config, self.workdir(config)) for config in configs}
    steps = sum(run.steps_left for run in runs.values())
    if not steps:
      return
    bar = tqdm(total=steps, unit="step", unit_scale=True, desc=what, smoothing=0.1, leave=False)
    with bar, loop.stop_signals() as stop:
      execution.Runner(stop, bar).train(list(runs.values()))

  def minutes(self, sizes: Sizes) -> float:
    """Estimates the minutes that all runs of given sizes take on this machine.

    One program of cross-entropy is timed for a moment. Runs that are stopped early and the final
    model cost about half as much again.
    """
    run = setup.prepare(self.config({}, fold=0))
    planned = PlannedRun(run.config, self.workdir(run.config))
    count = self.sizes.folds * self.sizes.seeds
    layout = execution.layout_for(planned, count)
    timing = estimate.time_run(run, layout)
    each = timing.pack / layout.capacity + timing.files
    return _minutes(self.sizes, sizes, each, timing.compile)

  def diverged(self, configs: Sequence[Sequence[Config]]) -> int:
    """Returns how many runs ended at a loss that was not finite."""
    results = [reading.result_json(self.workdir(c)) for seeds in configs for c in seeds]
    return sum(result is not None and result["status"] == "diverged" for result in results)

  def curve(self, configs: Sequence[Sequence[Config]]) -> dict[int, np.ndarray]:
    """Returns the accuracy on the noisy labels of the held-out fold, [seeds, folds], by step."""
    found: dict[int, list[list[float]]] = {}
    for seeds in configs:
      for config in seeds:
        for row in files.read_rows(self.workdir(config) / "metrics.jsonl"):
          if row["split"] == "validation":
            found.setdefault(row["step"], []).append(row["accuracy"])
    return {step: np.array(values) for step, values in sorted(found.items())}

  def out_of_fold(self, configs: Sequence[Sequence[Config]]) -> np.ndarray:
    """Returns the logits of every example by networks that did not see it, [seeds, N, L]."""
    found = [folds.out_of_fold([self.workdir(c) for c in seeds]).logits for seeds in configs]
    return np.stack(found)

  def area_under_margin(self, configs: Sequence[Sequence[Config]]) -> np.ndarray:
    """Returns each example's mean margin over training, mean over the runs that trained on it, [N].

    Only runs with `train.margins` have it.
    """
    total, count = np.zeros(0), np.zeros(0)
    for config in (c for seeds in configs for c in seeds):
      margins, examples, held_out = folds.diagnostics(
        self.workdir(config), "margins", "margin_examples", "validation_examples"
      )
      if not len(total):
        total, count = np.zeros((2, len(examples) + len(held_out)))
      total[examples] += margins
      count[examples] += 1
    return total / count

  def learned_transition(self, configs: Sequence[Sequence[Config]]) -> np.ndarray:
    """Returns the matrix that a method trained with its networks, mean over the runs, [L, L]."""
    workdirs = [self.workdir(config) for seeds in configs for config in seeds]
    return np.mean([folds.diagnostics(w, "transition")[0] for w in workdirs], axis=0)


def _minutes(timed: Sizes, sizes: Sizes, seconds: float, compiling: float) -> float:
  """Returns the minutes of all runs, if one of the timed sizes takes so many seconds."""
  share = sizes.num_steps / timed.num_steps
  num_programs = len({config_lib.program_of(_loss(name)) for name in sizes.methods})
  return (1.5 * sizes.num_runs * seconds * share + num_programs * compiling) / 60


def _loss(name: str) -> config_lib.Loss:
  return config_lib.Loss(name=BY_NAME[name].changes["loss.name"])
