"""What the labels and the network say alone."""

import numpy as np

from lsjax import estimate
from lsjax.advice.noise.dependence import by_chance, margin
from lsjax.advice.noise.findings import (
  ALONE,
  LEVEL,
  MISTAKES,
  RESAMPLES,
  Answer,
  Dependence,
)
from lsjax.advice.noise.joints import joint_of, rows_of, with_rate
from lsjax.advice.noise.layers import Layers
from lsjax.estimate import Interval

# The gain of log-likelihood below which probabilities with one fitted number, the temperature, say
# no more of the labels than their frequencies (half the 0.95 quantile of chi-squared).
_NO_GAIN = 1.92


def by_labels(
  labels: np.ndarray,
  layers: Layers,
  joint: estimate.ConfidentJoint,
  dependence: Dependence,
  seed: int,
) -> Answer:
  """Returns what the labels and the network say alone."""
  layer, other, count = layers.chosen, layers.other.rate, len(labels)
  lower, upper = layer.rate, max(joint.rate, layer.rate)
  off = margin(lower, upper, count)
  low = max(0.0, min(lower - off, other - by_chance(other, count)) - MISTAKES)
  lower = lower if low else 0.0  # no noise at all then explains the labels as well
  seen = estimate.suspects(layer.probabilities, labels, layer.transition).posterior
  ends = [with_rate(joint_of(seen, labels), lower), joint.joint.T]
  middle = 0.0 if dependence.verdict == ALONE else 0.5
  high = layer.rate if dependence.verdict == ALONE and layers.differ else upper
  high = min(1.0, max(high + off, other + by_chance(other, count)))
  rate = (1 - middle) * lower + middle * upper
  between = (1 - middle) * ends[0] + middle * ends[1]
  draws = estimate.plausible_transitions(
    layer.probabilities, labels, layer.transition, num=RESAMPLES, seed=seed
  )
  # The draws vary around the layer; where in between the truth lies, nobody knows.
  rng = np.random.default_rng(seed)
  rates = rng.uniform(low, high, RESAMPLES)
  noise = draws - layer.transition
  resamples = []
  rival = estimate.suspects(layers.other.probabilities, labels, layers.other.transition).posterior
  forms = np.stack([joint_of(seen, labels), joint_of(rival, labels)])
  for wanted, change in zip(rates, noise, strict=True):
    part = np.clip((wanted - lower) / max(upper - lower, 1e-12), 0, 1)
    form = np.tensordot(rng.dirichlet([1, 1]), forms, 1)
    mixed = rows_of(with_rate((1 - part) * form + part * ends[1], wanted)) + change
    resamples.append(rows_of(np.maximum(mixed, 0)))
  if dependence.verdict == ALONE:
    reason = (
      "wrong labels do not follow the likeness of classes, so that overlap is told from noise"
    )
    estimator = "noise layer"
  else:
    reason = (
      "the noise layer does not see noise that sure examples lack and the confident joint counts "
      "the overlap of classes as noise: the middle is off by half their distance at most"
    )
    estimator = "between noise layer and confident joint"
  identified = (
    f"Without checked labels, noise of hard examples cannot be told from classes that overlap: "
    f"rates from {low:.1%} to {high:.1%} explain the labels about as well."
  )
  return Answer(
    Interval(rate, low, high, LEVEL),
    estimate.tilt(seen, labels, rate),
    rows_of(between),
    between.sum(axis=1),
    np.array(resamples),
    estimator,
    reason,
    identified,
  )


def says_nothing(q: np.ndarray, labels: np.ndarray) -> bool:
  """Returns whether probabilities say no more of the labels than their frequencies do."""
  counts = np.bincount(labels)
  counts = counts[counts > 0]
  by_frequencies = counts @ np.log(counts / len(labels))
  found = np.log(q[np.arange(len(labels)), labels]).sum()
  return bool(found < by_frequencies + _NO_GAIN)


def by_nothing(
  labels: np.ndarray, q: np.ndarray, joint: estimate.ConfidentJoint, seed: int
) -> Answer:
  """Returns what is left to say where the network does not predict the labels at all."""
  rng = np.random.default_rng(seed)
  draws = (with_rate(joint.joint.T, rate) for rate in rng.uniform(0, 1, RESAMPLES))
  return Answer(
    Interval(joint.rate, 0.0, 1.0, LEVEL),
    estimate.tilt(q, labels, joint.rate),
    joint.transition,
    joint.prior,
    np.array([rows_of(drawn) for drawn in draws]),
    "confident joint",
    "the network predicts the labels no better than their frequencies do",
    "Nothing is known of the noise: the labels may be noise, or the inputs not tell the classes.",
  )
