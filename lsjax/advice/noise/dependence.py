"""Whether the noise depends on the class alone, and how far its rate may be off."""

import numpy as np
from scipy import special

from lsjax import estimate
from lsjax.advice.noise.findings import (
  ALONE,
  EXAMPLE,
  LEVEL,
  MISTAKES,
  UNKNOWN,
  Dependence,
)

# With 4 classes there are 24 orders of their names, the fewest for a p-value below 0.05.
_LEAST_CLASSES = 4
# Noise follows the likeness of classes if more of it does than does not.
_HALF = 0.5
# The share of the overlap (the confident joint's rate less the noise layer's) by which the layer's
# rate may be off: networks that are never sure leave some overlap in it, above all those that
# overfit.
_LEFT = 0.25
# By benchmarks/advice_simulated.py, on 3,000 examples of 10 Gaussian classes each.
_ERRORS = (
  "in simulations such a test said otherwise for 3 of 120 label sets whose noise depends on the "
  "class alone, and noticed 23 of 40 whose mistakes fall on hard examples"
)


def dependence_of(layer: estimate.NoiseLayer, upper: float, count: int, seed: int) -> Dependence:
  size = len(layer.prior)
  if size < _LEAST_CLASSES:
    sentence = f"{size} classes are too few to compare which ones are mistaken with how they look"
    return Dependence(UNKNOWN, None, sentence)
  found = estimate.likeness(layer.prior[:, None] * layer.transition, layer.probabilities, seed=seed)
  compared = (
    f"how often classes are mistaken for one another correlates by {found.correlation:.2f} with "
    f"how much they overlap, and {found.share:.0%} of the noise is in proportion to it"
  )
  if layer.rate <= margin(layer.rate, upper, count) + MISTAKES:
    return Dependence(
      UNKNOWN, found.p_value, f"{compared}, but sure examples have hardly any noise"
    )
  compared += f"; {_ERRORS}"
  if found.p_value < 0.05 and found.share > _HALF and found.correlation > _HALF:
    return Dependence(EXAMPLE, found.p_value, compared)
  return Dependence(ALONE, found.p_value, compared)


def by_chance(rate: float, count: int) -> float:
  """Returns half the width of an interval for a rate among as many labels."""
  spread = np.sqrt(max(rate * (1 - rate), 1 / count) / count)
  return float(special.ndtri((1 + LEVEL) / 2) * spread)


def margin(rate: float, upper: float, count: int) -> float:
  """Returns how far the layer's rate may be off: by overlap that it kept, and by chance."""
  return _LEFT * max(upper - rate, 0.0) + by_chance(rate, count)
