"""How large the runs of an advice are: they follow from the size and the kind of the data."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from lsjax.advice import candidates
from lsjax.advice.problem import Problem

EVALUATIONS = 12  # of each run; the steps among which the best noisy-validation step is chosen
_IMAGES_SEEN = 400_000  # by each run on vectors, if that is 12 to 100 epochs
_LEAST_STEPS = 20 * EVALUATIONS


@dataclasses.dataclass(frozen=True)
class Sizes:
  """What all runs of an advice have in common.

  Attributes:
    model: the network, a value of the config field model.name.
    hidden: the width of an MLP.
    learning_rate: the learning rate.
    batch_size: the number of examples in a batch.
    num_steps: the number of steps of a run that is trained to the end.
    folds: the number of parts, each of which is held out once.
    seeds: the number of seeds, each of which divides the examples anew.
    methods: the names of the candidates, in their order.
    left_out: what `within` left out for want of time, a sentence each.
  """

  model: str
  hidden: int
  learning_rate: float
  batch_size: int
  num_steps: int
  folds: int
  seeds: int
  methods: tuple[str, ...]
  left_out: tuple[str, ...] = ()

  @property
  def eval_every(self) -> int:
    """The number of steps between evaluations."""
    return self.num_steps // EVALUATIONS

  @property
  def num_runs(self) -> int:
    """The number of runs that are trained to the end."""
    return len(self.methods) * self.folds * self.seeds


def of(problem: Problem) -> Sizes:
  """Chooses the sizes for a problem, whatever time the runs take.

  Few examples get small batches, many epochs, five folds and three seeds; many examples get three
  folds and one seed, since each of their intervals is short anyway.
  """
  count, is_image = len(problem), problem.is_image
  folds = 5 if count < 2000 and not is_image else 3
  train = count - math.ceil(count / folds)
  batch_size = 2 ** int(math.log2(min(128, max(4, train / 8))))
  epochs = min(max(_IMAGES_SEEN / train, 12), 30 if is_image else 100)
  evaluation_steps = max(_LEAST_STEPS, epochs * train / batch_size) / EVALUATIONS
  return Sizes(
    model="small_cnn" if is_image else "mlp",
    hidden=512 if count >= 10_000 else 128 if count >= 1000 else 64,
    learning_rate=0.05 if batch_size >= 64 else 0.02,
    batch_size=batch_size,
    num_steps=round(evaluation_steps) * EVALUATIONS,
    folds=folds,
    seeds=1 if is_image else 3 if count < 1000 else 2 if count < 5000 else 1,
    methods=tuple(candidates.BY_NAME),
  )


def within(sizes: Sizes, minutes: float, estimate: Callable[[Sizes], float]) -> Sizes:
  """Makes sizes smaller until their runs fit into the time.

  Seeds go first, then methods, then folds, then steps, down to a quarter.

  Args:
    sizes: the sizes as the data asks for them.
    minutes: the time for all runs.
    estimate: a function that estimates the minutes that the runs of given sizes take.
  """
  steps = sizes.num_steps
  smaller: tuple[tuple[str, str, Any], ...] = (
    ("one seed instead of {}", "seeds", 1),
    ("{} methods are left out", "methods", candidates.CORE),
    ("two folds instead of {}", "folds", 2),
    ("half of the {} steps", "num_steps", _whole(steps / 2)),
    ("a quarter of the {} steps", "num_steps", _whole(steps / 4)),
  )
  for why, field, value in smaller:
    if estimate(sizes) <= minutes:
      break
    old = getattr(sizes, field)
    if old == value:
      continue
    said = len(old) - len(value) if field == "methods" else steps if field == "num_steps" else old
    sizes = dataclasses.replace(
      sizes,
      **{field: value},
      left_out=(
        *(x for x in sizes.left_out if "steps" not in x or "steps" not in why),
        why.format(said),
      ),
    )
  return sizes


def _whole(steps: float) -> int:
  return max(round(steps / EVALUATIONS), 1) * EVALUATIONS
