"""The stages of an advice: from the examples of a person to methods that are judged."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from lsjax import estimate, files
from lsjax.advice import noise as noise_lib
from lsjax.advice import ranking
from lsjax.advice.candidates import BASE, BY_NAME, Candidate
from lsjax.advice.problem import Problem
from lsjax.advice.ranking import Entry
from lsjax.advice.training import Trainer
from lsjax.config import Config

# Methods whose best accuracy on noisy labels lies so far below the best one's are not trained again
# until their best step: their chance to be recommended is small, and their runs cost as much.
_FAR_BEHIND = 0.02


@dataclasses.dataclass(frozen=True)
class Trained:
  """A method whose runs have ended.

  Attributes:
    candidate: the method.
    changes: the config fields that choose it.
    configs: the configs of its runs, by seed and fold.
    diverged: the number of runs whose loss was not finite.
    curve: the accuracy on held-out noisy labels, mean over seeds and folds, by step.
  """

  candidate: Candidate
  changes: Mapping[str, Any]
  configs: list[list[Config]]
  diverged: int
  curve: Mapping[int, float]

  @property
  def end(self) -> int:
    """The last step."""
    return max(self.curve)

  def stop(self, num_steps: int) -> int:
    """The step with the best accuracy at which the method can be stopped; the first of several."""
    allowed = [s for s in self.curve if self.candidate.until(s, num_steps) is not None]
    return max(allowed, key=lambda s: self.curve[s])


def train(trainer: Trainer, names: Sequence[str], noise: Mapping[str, Any]) -> list[Trained]:
  """Trains methods to the end, over all seeds and folds.

  Args:
    trainer: trains the runs.
    names: the names of the methods.
    noise: what `Candidate.after` takes; empty before the noise is estimated.
  """
  changes = {name: BY_NAME[name].after(noise) for name in names}
  # The margins of plain training alone tell how long it resisted a label.
  recorded = {BASE: {"train.margins": True}}
  configs = {n: trainer.over_folds({**changes[n], **recorded.get(n, {})}) for n in names}
  trainer.train((c for by_seed in configs.values() for cs in by_seed for c in cs), "methods")
  found = []
  for name in names:
    curve = {step: float(values.mean()) for step, values in trainer.curve(configs[name]).items()}
    diverged = trainer.diverged(configs[name])
    found.append(Trained(BY_NAME[name], changes[name], configs[name], diverged, curve))
  return found


def stopped(trainer: Trainer, trained: Sequence[Trained]) -> dict[str, list[list[Config]]]:
  """Trains methods again until their best noisy-validation steps, by the method's name.

  Methods that are best at the end, or that diverged, are left out.
  """
  configs, total = {}, trainer.sizes.num_steps
  for method in trained:
    if method.diverged or not (stop := method.stop(total)) < method.end:
      continue
    schedule = method.candidate.until(stop, total)
    assert schedule is not None
    changes = {**method.changes, **schedule, "train.num_steps": stop}
    configs[method.candidate.name] = trainer.over_folds(changes)
  trainer.train((c for by_seed in configs.values() for cs in by_seed for c in cs), "stopped early")
  return configs


def noisy_logits(trainer: Trainer, base: Trained) -> np.ndarray:
  """Returns logits of the given label, [N, L], by cross-entropy at its best noisy-validation step.

  They are the mean over the seeds' probabilities; each seed divides the examples into other folds.
  """
  configs = stopped(trainer, [base]).get(base.candidate.name, base.configs)
  log_p = special.log_softmax(trainer.out_of_fold(configs).astype(np.float64), axis=2)
  return special.logsumexp(log_p, axis=0) - np.log(len(log_p))


def with_learned(
  trainer: Trainer, trained: Sequence[Trained], labels: np.ndarray, found: noise_lib.Findings
) -> noise_lib.Findings:
  """Adds the matrices that methods trained with their networks to what estimators say."""
  estimates = list(found.estimates)
  for method in trained:
    if method.candidate.method.program.trained and not method.diverged:
      matrix = trainer.learned_transition(method.configs)
      rate = estimate.from_labels(matrix, labels).rate
      note = "trained with the network, to its last step"
      estimates.append(noise_lib.NamedEstimate(method.candidate.name, rate, matrix, note))
  return dataclasses.replace(found, estimates=tuple(estimates))


def save_transition(directory: pathlib.Path, matrix: np.ndarray) -> pathlib.Path:
  """Writes T to a file whose name says its content: a run never finds another matrix in it."""
  digest = hashlib.sha256(matrix.tobytes()).hexdigest()[:12]
  path = directory / f"transition-{digest}.npy"
  if not path.exists():
    with files.replacing(path) as f:
      np.save(f, matrix, allow_pickle=False)
  return path


def entries(trainer: Trainer, trained: Sequence[Trained]) -> list[Entry]:
  """Trains the contenders until their best steps, and lists every way to train."""
  able = [method for method in trained if not method.diverged]
  best = max(max(method.curve.values()) for method in able)
  contenders = [
    method
    for method in able
    if method.candidate.name == BASE or max(method.curve.values()) >= best - _FAR_BEHIND
  ]
  early = stopped(trainer, contenders)
  return [entry for method in trained for entry in _entries(trainer, method, early)]


def _entries(
  trainer: Trainer, method: Trained, early: Mapping[str, list[list[Config]]]
) -> Iterator[Entry]:
  name, changes = method.candidate.name, method.changes
  if method.diverged:
    yield Entry(name, changes, "end", trainer.sizes.num_steps, 0.0, method.diverged)
    return
  end, total = method.end, trainer.sizes.num_steps
  logits = trainer.out_of_fold(method.configs)
  yield Entry(name, changes, "end", end, method.curve[end], logits=logits)
  if (stop := method.stop(total)) == end:
    return
  at_stop = Entry(name, changes, "stopped early", stop, method.curve[stop])
  if name in early:
    yield dataclasses.replace(at_stop, logits=trainer.out_of_fold(early[name]))
  else:
    far = f"more than {100 * _FAR_BEHIND:g} points behind the best on noisy labels"
    yield dataclasses.replace(at_stop, why_not=f"not computed: {far}")


def judge(
  found: noise_lib.Findings, problem: Problem, listed: Sequence[Entry], seed: int
) -> list[ranking.Judged]:
  """Judges the ways to train by what is known of the noise."""
  sample, true_labels = None, None
  if len(problem.checked) >= ranking.LEAST_CHECKED:
    sample, true_labels = problem.sample, problem.true_labels[problem.checked]
  known = ranking.Noise(
    problem.labels, found.transition, found.resamples, found.predicted, sample, true_labels
  )
  return ranking.judge(listed, known, seed=seed)
