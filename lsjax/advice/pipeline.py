"""The whole advice: every stage in order, each of which is skipped where its files are there."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from lsjax import __version__, files
from lsjax.advice import (
  answer,
  candidates,
  checklist,
  noise,
  outputs,
  ranking,
  sizes,
  stages,
  storage,
)
from lsjax.advice.problem import UNKNOWN, Problem
from lsjax.advice.sizes import Sizes
from lsjax.advice.training import FINAL, GIVEN, Trainer
from lsjax.estimate import Interval, to_check
from lsjax.estimate.clean import mean_interval
from lsjax.runs import leases, reading
from lsjax.validation import UserError

_TO_CHECK = 100  # labels that check_these.csv proposes
_SEED = 0


def run(
  problem: Problem, workdir: str | os.PathLike[str], *, minutes: float | None = None
) -> dict[str, Any]:
  """Answers what is wrong with the labels of a problem, and how to train on them.

  Args:
    problem: the examples; see `inputs.read`.
    workdir: a directory for this advice alone; an advice that was begun there goes on.
    minutes: the time that all runs may take, by an estimate; None for no bound.

  Returns:
    The content of advice.json.

  Raises:
    UserError: one line, if the directory holds an advice on other examples or cannot be written.
    loop.Stopped: after SIGTERM or SIGINT, with every finished run and checkpoint on the disk.
  """
  directory = files.path(workdir)
  with leases.claim(directory):
    start = time.perf_counter()
    measured = measure(problem, directory, minutes=minutes)
    found = noise.with_twin(problem, measured.logits, measured.found, seed=_SEED)
    found = noise.with_known(found, problem.true_labels, problem.labels)
    judged = measured.judged
    final = _final_model(measured.trainer, problem, judged[0].entry)
    curves = {method.candidate.name: method.curve for method in measured.trained}
    content = answer.content(problem, measured.trainer.sizes, found, judged, curves, final)
    content["lsjax"] = __version__
    content["seconds"] = round(time.perf_counter() - start, 1)
    outputs.write(directory, problem, found, judged, measured.area)
    to_fill = directory / "check_these.csv"
    if not len(problem.checked) and not to_fill.exists():  # a person may be filling it in
      sample = to_check(found.wrong, min(_TO_CHECK, len(problem)), seed=_SEED)
      checklist.write_check_list(to_fill, problem, sample, found.proposed)
    files.write_json(directory / "advice.json", content)
  return content


@dataclasses.dataclass(frozen=True)
class Measured:
  """What was measured before a model is made of it.

  Attributes:
    trainer: trains the runs.
    logits: logits of the given label by networks that did not see the example, [N, L].
    area: area under the margin of each label in cross-entropy's training, [N].
    found: what is known of the noise.
    trained: the methods, trained to the end.
    judged: the ways to train, the best first.
  """

  trainer: Trainer
  logits: np.ndarray
  area: np.ndarray
  found: noise.Findings
  trained: Sequence[stages.Trained]
  judged: Sequence[ranking.Judged]


def measure(problem: Problem, directory: pathlib.Path, *, minutes: float | None = None) -> Measured:
  """Trains and judges all methods; see `run` for the arguments and errors."""
  trainer = _begin(problem, directory, minutes)
  chosen = [candidates.BY_NAME[name] for name in trainer.sizes.methods]
  trained = stages.train(trainer, [c.name for c in chosen if not c.needs], {})
  base = next(method for method in trained if method.candidate.name == candidates.BASE)
  if base.diverged:
    raise UserError(f"{directory}: the loss of cross-entropy was not finite on these examples")
  logits = stages.noisy_logits(trainer, base)
  found = noise.find(problem, logits, seed=_SEED)
  told = {
    "transition": os.fspath(stages.save_transition(directory, found.transition)),
    "rate": found.rate.estimate,
  }
  trained += stages.train(trainer, [c.name for c in chosen if c.needs], told)
  found = stages.with_learned(trainer, trained, problem.labels, found)
  listed = stages.entries(trainer, trained)
  judged = stages.judge(found, problem, listed, _SEED)
  area = trainer.area_under_margin(base.configs)
  return Measured(trainer, logits, area, found, trained, judged)


def _begin(problem: Problem, directory: pathlib.Path, minutes: float | None) -> Trainer:
  """Writes the examples and the plan, or checks that those of an earlier call are the same."""
  # The runs that judge methods do not see checked labels, so that they last when these come.
  given = dataclasses.replace(
    problem,
    true_labels=np.full_like(problem.true_labels, UNKNOWN),
    chances=np.full_like(problem.chances, np.nan),
  )
  digest, path = storage.content_digest(given), directory / "plan.json"
  if path.exists():
    if files.read_json(path)["data"] != digest:
      raise UserError(
        f"{directory} holds an advice on other examples or labels; choose another --workdir"
      )
    return resumed(directory)
  try:
    storage.save(given, directory)
  except ValueError as error:
    raise UserError(f"{problem.name}: {error}") from error
  is_photo = problem.is_image and problem.inputs.shape[-1] == 3
  trainer = Trainer(directory, sizes.of(problem), is_photo)
  if minutes is not None:
    planned = sizes.within(trainer.sizes, minutes, trainer.minutes)
    trainer = dataclasses.replace(trainer, sizes=planned)
  plan = {"data": digest, "is_photo": is_photo, "sizes": dataclasses.asdict(trainer.sizes)}
  files.write_json(path, plan)
  return trainer


def resumed(directory: pathlib.Path) -> Trainer:
  """Returns the trainer of an advice that was begun."""
  plan = files.read_json(directory / "plan.json")
  saved: dict[str, Any] = {
    k: tuple(v) if isinstance(v, list) else v for k, v in plan["sizes"].items()
  }
  return Trainer(directory, Sizes(**saved), plan["is_photo"])


def _final_model(trainer: Trainer, problem: Problem, best: stages.Entry) -> dict[str, Any]:
  """Trains the recommended way on all examples, with the checked labels in place."""
  data = GIVEN
  if len(problem.checked):
    data = FINAL
    storage.save(problem, trainer.directory, data.file)
  candidate = candidates.BY_NAME[best.name]
  schedule = candidate.until(best.step, trainer.sizes.num_steps) or {}
  config = trainer.config({**best.changes, **schedule, "train.num_steps": best.step}, data=data)
  trainer.train([config], "the model")
  outputs.write_config(trainer.directory, config)
  workdir = trainer.workdir(config)
  result = reading.result_json(workdir)
  accuracy: Interval | None = None
  if problem.test_labels is not None and result and result["final"]:
    count = len(problem.test_labels)
    correct = round(result["final"]["test"]["accuracy"] * count)
    accuracy = mean_interval(np.repeat([1.0, 0.0], [correct, count - correct]), bounds=(0, 1))
  return {
    "workdir": os.fspath(workdir.relative_to(trainer.directory)),
    "test_accuracy": answer.interval(accuracy),
  }
