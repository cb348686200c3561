"""How good an advice is where the truth is known, beside cleanlab on the same predictions.

    python -m benchmarks.advice --out=results/advice --embeddings=features.npz

Every case is a data set with a label noise: digits, wine and breast cancer from scikit-learn and,
with --embeddings, the features in an .npz file (train_images, train_labels and, for the noises of
people, label sets by name), without noise, with symmetric noise of 20 and 50 %, pair noise of 30 %
and noise that depends on the example of 20 %. An advice sees the noisy labels alone; the truth
judges it afterwards: the noise rate, T and the suspects, beside cleanlab's (if it is installed:
pip install cleanlab) from the same out-of-fold probabilities; the interval of the clean accuracy;
and the regret, how much better the best way to train would have been. With labels that are checked,
--checked of them, chosen as check_these.csv chooses, the rate and T are estimated again, in
--repetitions draws of the sample.

Each case writes a JSON file under --out when it is done and is skipped when it is there; the runs
live under --workdir and are taken up again. A case on digits takes about a minute on 2 cores, one
on 50,000 vectors about five.
"""

import argparse
import dataclasses
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from scipy import special
from sklearn import datasets, metrics

from benchmarks import harness
from lsjax import estimate, files, noise, transition
from lsjax.advice import noise as advice_noise
from lsjax.advice import pipeline
from lsjax.advice.problem import UNKNOWN, Problem

# The estimation was developed on other draws of the noises, and on aggre_label, random_label1 and
# worse_label.
SEED = 7
PEOPLE = ("aggre_label", "random_label2", "worse_label")
_PRECISION_AT = 100


@dataclasses.dataclass(frozen=True)
class Case:
  """A data set with a label noise.

  Attributes:
    data: the name of the data set.
    noise: the name of the noise.
    inputs: vectors, float32 [N, D].
    true: true labels, int32 [N].
    given: noisy labels, int32 [N].
  """

  data: str
  noise: str
  inputs: np.ndarray
  true: np.ndarray
  given: np.ndarray

  @property
  def name(self) -> str:
    """The name of the case in tables and files."""
    return f"{self.data}-{self.noise}"

  @property
  def num_classes(self) -> int:
    """The number of classes L."""
    return int(self.true.max()) + 1

  @property
  def problem(self) -> Problem:
    """What the advice sees of the case."""
    count = len(self.given)
    return Problem(
      name=self.name,
      inputs=self.inputs,
      labels=self.given,
      ids=np.arange(count),
      classes=tuple(range(self.num_classes)),
      true_labels=np.full(count, UNKNOWN, np.int32),
      chances=np.full(count, np.nan),
    )


def noises(inputs: np.ndarray, true: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
  """Yields the labels of every synthetic noise by its name."""
  size = int(true.max()) + 1
  yield "none", true
  for rate in (0.2, 0.5):
    # With two classes and half of the labels wrong, they would say nothing.
    shown = rate if size > 2 else min(rate, 0.4)
    drawn = noise.corrupt(true, transition.symmetric(size, shown), seed=SEED)
    yield f"symmetric_{round(100 * shown)}", drawn.labels
  yield "pair_30", noise.corrupt(true, transition.pair(size, 0.3), seed=SEED).labels
  moments = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-6)
  by_instance = noise.corrupt_by_instance(
    inputs, true, size, rate=0.2, seed=SEED, mean=moments[0].tolist(), std=moments[1].tolist()
  )
  yield "instance_20", by_instance.labels


def cases(embeddings: str) -> Iterator[Case]:
  """Yields all cases, the small data sets first."""
  for name in ("wine", "breast_cancer", "digits"):
    bunch = getattr(datasets, f"load_{name}")()
    inputs, true = bunch.data.astype(np.float32), bunch.target.astype(np.int32)
    for kind, given in noises(inputs, true):
      yield Case(name, kind, inputs, true, given)
  if embeddings:
    with np.load(embeddings) as saved:
      inputs = saved["train_images"].astype(np.float32)
      true = saved["train_labels"].astype(np.int32)
      people = {key: saved[key].astype(np.int32) for key in PEOPLE if key in saved.files}
    for kind, given in (*people.items(), *noises(inputs, true)):
      yield Case("embeddings", kind, inputs, true, given)


def measure(case: Case, directory: pathlib.Path, checked: int, repetitions: int) -> dict[str, Any]:
  """Returns everything that is measured of a case."""
  is_new = not directory.exists()
  start = time.perf_counter()
  pipeline.run(case.problem, directory)
  seconds = time.perf_counter() - start if is_new else None  # of a whole advice alone
  measured = pipeline.measure(case.problem, directory)  # reads what is there
  found = advice_noise.with_twin(case.problem, measured.logits, measured.found, seed=SEED)
  p = special.softmax(measured.logits, axis=1)
  truth = _truth(case)
  row = {
    "data": case.data,
    "noise": case.noise,
    "examples": len(case.true),
    "classes": case.num_classes,
    "seconds": seconds,
    "true_rate": truth["rate"],
    "advice": _noise_errors(case, truth, found.rate.estimate, found.transition, found.score)
    | {
      "rate_low": found.rate.low,
      "rate_high": found.rate.high,
      "estimator": found.estimator,
      "class_conditional": found.class_conditional.verdict,
    },
    "twin": None if found.twin is None else dataclasses.asdict(found.twin),
    "estimators": {
      e.name: {"rate": e.rate, "transition_error": _distance(e.transition, truth["transition"])}
      for e in found.estimates
    },
    "cleanlab": cleanlab(case, truth, p),
    "area_under_margin": _auroc(truth, -measured.area),
    "methods": _methods(case, measured.judged),
  }
  if checked:
    row["checked"] = _checked(case, truth, found, min(checked, len(case.true) // 2), repetitions)
  return row


def _truth(case: Case) -> dict[str, Any]:
  size = case.num_classes
  return {
    "rate": float(np.mean(case.given != case.true)),
    "transition": transition.estimate(case.true, case.given, size),
    "wrong": case.given != case.true,
  }


def _distance(one: np.ndarray, other: np.ndarray) -> float:
  """Returns the mean absolute difference of the entries."""
  return float(np.abs(one - other).mean())


def _noise_errors(
  case: Case, truth: dict[str, Any], rate: float, matrix: np.ndarray, score: np.ndarray
) -> dict[str, float | None]:
  """Returns how far a rate, a matrix and a ranking of suspects are from the truth."""
  first = np.argsort(-score, kind="stable")[:_PRECISION_AT]
  wrong = truth["wrong"]
  return {
    "rate": rate,
    "transition_error": _distance(matrix, truth["transition"]),
    "auroc": _auroc(truth, score),
    "precision_at_100": float(wrong[first].mean()),
  }


def _auroc(truth: dict[str, Any], score: np.ndarray) -> float | None:
  wrong = truth["wrong"]
  return float(metrics.roc_auc_score(wrong, score)) if wrong.any() else None


def cleanlab(case: Case, truth: dict[str, Any], p: np.ndarray) -> dict[str, float | None] | None:
  """Returns the errors of cleanlab on the same probabilities; None where it is not installed."""
  try:
    from cleanlab import count, rank
  except ModuleNotFoundError:
    return None
  # With multi-label or small data cleanlab prints and warns; its defaults are used.
  joint = count.estimate_joint(case.given, p)  # [noisy, true]
  prior = joint.sum(axis=0)
  matrix = np.where(prior > 0, joint / np.where(prior > 0, prior, 1), np.eye(len(joint))).T
  score = 1 - rank.get_label_quality_scores(case.given, p)
  return _noise_errors(case, truth, float(1 - np.trace(joint)), matrix, score)


def _methods(case: Case, judged: Any) -> dict[str, Any]:
  """Compares the recommendation with the truth: its accuracy interval, and the regret."""
  accuracies = {
    f"{one.entry.name}, {one.entry.moment}": float(np.mean(one.entry.predictions == case.true))
    for one in judged
    if one.entry.predictions is not None
  }
  best = judged[0]
  name = f"{best.entry.name}, {best.entry.moment}"
  interval = None if best.accuracy is None else dataclasses.asdict(best.accuracy)
  return {
    "recommended": name,
    "clean_accuracy": accuracies[name],
    "expected": interval,
    "refused": best.refused,
    "best": max(accuracies, key=lambda k: accuracies[k]),
    "regret": max(accuracies.values()) - accuracies[name],
    "accuracies": accuracies,
  }


def _checked(
  case: Case, truth: dict[str, Any], found: Any, count: int, repetitions: int
) -> dict[str, Any]:
  """Estimates rate and T again with checked labels, for several draws of the sample."""
  rates, errors, covered = [], [], []
  for seed in range(repetitions):
    sample = estimate.to_check(found.wrong, count, seed=seed)
    true_labels = np.full(len(case.true), UNKNOWN, np.int32)
    true_labels[sample.indices] = case.true[sample.indices]
    chances = np.full(len(case.true), np.nan)
    chances[sample.indices] = sample.chances
    problem = dataclasses.replace(case.problem, true_labels=true_labels, chances=chances)
    again = advice_noise.with_checks(problem, found, seed=seed)
    rates.append(again.rate.estimate - truth["rate"])
    errors.append(_distance(again.transition, truth["transition"]))
    covered.append(again.rate.low <= truth["rate"] <= again.rate.high)
  return {
    "count": count,
    "repetitions": repetitions,
    "mean_rate_error": float(np.mean(np.abs(rates))),
    "rate_within_3_points": float(np.mean(np.abs(rates) <= 0.03)),
    "transition_error": float(np.mean(errors)),
    "covered": float(np.mean(covered)),
  }


def main() -> None:
  """Measures every case that has no result yet, and prints a table."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/advice"))
  parser.add_argument("--embeddings", default="", help=".npz file with features of images")
  parser.add_argument("--only", default="", help="part of the names of cases")
  parser.add_argument("--checked", type=int, default=200, help="labels to check; 0 for none")
  parser.add_argument("--repetitions", type=int, default=100)
  args = parser.parse_args()
  for case in cases(args.embeddings):
    path = args.out / f"{case.name}.json"
    if args.only not in case.name:
      continue
    if not path.exists():
      row = measure(case, args.workdir / case.name, args.checked, args.repetitions)
      files.write_json(path, row | {"environment": harness.environment()})
    print(line(json.loads(path.read_text())), flush=True)


def line(row: dict[str, Any]) -> str:
  """Returns a case as one line of a table."""
  own, other, chosen = row["advice"], row["cleanlab"] or {}, row["methods"]
  expected = chosen["expected"]
  interval = "refused"
  if expected:
    interval = f"[{100 * expected['low']:.1f}, {100 * expected['high']:.1f}]"
  seconds = "resumed" if row["seconds"] is None else f"{row['seconds']:.0f} s"
  auroc = "-" if own["auroc"] is None else f"{own['auroc']:.3f}"
  return (
    f"{row['data']:14}{row['noise']:14} rate {100 * row['true_rate']:5.1f} -> "
    f"{100 * own['rate']:5.1f} [{100 * own['rate_low']:.1f}, {100 * own['rate_high']:.1f}] "
    f"(cleanlab {100 * other.get('rate', float('nan')):5.1f})  AUROC {auroc}  "
    f"{chosen['recommended']}: {100 * chosen['clean_accuracy']:.1f} % in {interval}, "
    f"regret {100 * chosen['regret']:.1f}  {seconds}"
  )


if __name__ == "__main__":
  jax.config.update("jax_num_cpu_devices", 2)
  main()
