"""How often the advice's intervals and its test of dependence are right, on simulated examples.

    python -m benchmarks.advice_simulated --out=results/benchmarks/advice_simulated.json

Ten Gaussian classes overlap by chance, and logits are those of the exact probabilities with errors.
Labels are wrong by class (symmetric, pair or random matrices, or not at all), or because people see
another view of the example and mistake it where classes overlap. Counted are the verdicts of the
test, how often the interval of the rate holds the true rate, and how often the point is nearer to
it than that of the confident joint. About two minutes on 2 cores.
"""

import argparse
import collections
import pathlib
from typing import Any

import numpy as np
from scipy import special

from benchmarks import harness
from lsjax import files, transition
from lsjax.advice import noise
from lsjax.advice.problem import UNKNOWN, Problem

KINDS = ("symmetric", "pair", "random", "none", "people")
_CLASSES, _DIMENSIONS, _EXAMPLES = 10, 6, 3000
_ERROR = 0.3  # standard deviation of the errors of logits
_FIRST_SEED = 1000  # the estimation was developed on smaller ones


def simulated(kind: str, seed: int) -> tuple[np.ndarray, Problem, np.ndarray]:
  """Draws logits of the noisy label, a problem and its true labels."""
  rng = np.random.default_rng(seed)
  centres = rng.normal(size=(_CLASSES, _DIMENSIONS)) * rng.uniform(1.2, 2.2)
  true = rng.integers(0, _CLASSES, _EXAMPLES)
  # What people see and what the network sees have a part of the example in common.
  common = rng.uniform(0.5, 0.9)
  shape = (_EXAMPLES, _DIMENSIONS)
  by_people = centres[true] + common * rng.normal(size=shape)
  by_network = by_people + np.sqrt(1 - common**2) * rng.normal(size=shape)

  def scores(x: np.ndarray) -> np.ndarray:
    return x @ centres.T - 0.5 * (centres**2).sum(axis=1)

  if kind == "people":
    chances = special.softmax(scores(by_people) * rng.uniform(0.3, 1.0), axis=1)
    slips = rng.uniform(0, 0.05)
    chances = (1 - slips) * chances + slips / _CLASSES
    q = special.softmax(0.8 * scores(by_network), axis=1)
  else:
    matrix = _matrix(kind, rng)
    chances, q = matrix[true], special.softmax(scores(by_network), axis=1) @ matrix
  drawn = (rng.uniform(size=(_EXAMPLES, 1)) > chances.cumsum(axis=1)).sum(axis=1)
  logits = np.log(np.clip(q, 1e-4, 1)) + _ERROR * rng.normal(size=q.shape)
  problem = Problem(
    name=kind,
    inputs=by_network.astype(np.float32),
    labels=np.minimum(drawn, _CLASSES - 1).astype(np.int32),
    ids=np.arange(_EXAMPLES),
    classes=tuple(range(_CLASSES)),
    true_labels=np.full(_EXAMPLES, UNKNOWN, np.int32),
    chances=np.full(_EXAMPLES, np.nan),
  )
  return logits, problem, true


def _matrix(kind: str, rng: np.random.Generator) -> np.ndarray:
  """Draws a transition matrix."""
  rate = rng.uniform(0.08, 0.45)
  match kind:
    case "symmetric":
      return transition.symmetric(_CLASSES, rate)
    case "pair":
      return transition.pair(_CLASSES, min(rate, 0.4))
    case "random":
      off = rng.dirichlet(np.full(_CLASSES, 0.5), _CLASSES) * (1 - np.eye(_CLASSES))
      return (1 - rate) * np.eye(_CLASSES) + rate * off / off.sum(axis=1, keepdims=True)
  return np.eye(_CLASSES)


def measure(kind: str, repetitions: int) -> dict[str, Any]:
  """Counts what the advice says of a kind of noise."""
  verdicts: collections.Counter[str] = collections.Counter()
  covered, nearer = 0, 0
  for seed in range(_FIRST_SEED, _FIRST_SEED + repetitions):
    logits, problem, true = simulated(kind, seed)
    found = noise.find(problem, logits, seed=0)
    rate = float(np.mean(problem.labels != true))
    (joint,) = [one.rate for one in found.estimates if one.name == "confident joint"]
    verdicts[found.class_conditional.verdict] += 1
    covered += found.rate.low <= rate <= found.rate.high
    nearer += abs(found.rate.estimate - rate) <= abs(joint - rate)
  return {
    "noise": kind,
    "repetitions": repetitions,
    "verdicts": dict(sorted(verdicts.items())),
    "covered": covered,
    "nearer_than_confident_joint": nearer,
  }


def main() -> None:
  """Measures every kind of noise and writes the counts."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--repetitions", type=int, default=40)
  args = parser.parse_args()
  rows = []
  for kind in KINDS:
    rows.append(measure(kind, args.repetitions))
    print(rows[-1], flush=True)
  files.write_json(args.out, {"environment": harness.environment(), "rows": rows})


if __name__ == "__main__":
  main()
