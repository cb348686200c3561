"""The noise layer in two forms, which bracket the rate."""

import dataclasses

import numpy as np

from lsjax import estimate

# The least entry of q T^-1, which may be negative; the examples and the repetitions of the fits to
# its logarithm, after which the rate changes by less than 0.01; and the normal quantile beyond
# which one of two models is better.
_LEAST_CHANCE, _EARLY, _REPETITIONS, _BETTER = 1e-3, 10_000, 3, 2.0


@dataclasses.dataclass(frozen=True)
class Layers:
  """Two forms of the noise layer, of which exact logits fit both and real ones mostly the first.

  The logits themselves reach the plateau late: where they are exact, no noise at all explains the
  labels as well, and the rate is too low. The logarithm of q T^-1, from a T with too much noise,
  reaches it early, and finds the most noise that explains the labels.

  Attributes:
    chosen: the form with the logits if it is significantly more likely, and else the other.
    other: the other one.
    differ: whether the first is significantly more likely, by the test of Vuong (1989).
  """

  chosen: estimate.NoiseLayer
  other: estimate.NoiseLayer
  differ: bool

  @property
  def late(self) -> estimate.NoiseLayer:
    """The form with the logits, whose p is less sure and ranks suspects better."""
    return self.chosen if self.differ else self.other

  @classmethod
  def of(
    cls, z: np.ndarray, q: np.ndarray, labels: np.ndarray, start: np.ndarray, seed: int
  ) -> "Layers":
    late = estimate.noise_layer(z, labels, start, seed=seed)
    matrix = start
    for _ in range(_REPETITIONS):
      sharp = np.log(np.maximum(q @ np.linalg.pinv(matrix), _LEAST_CHANCE))
      early = estimate.noise_layer(sharp, labels, matrix, seed=seed, max_examples=_EARLY)
      matrix = early.transition
    gains = np.log(_likely(late, labels)) - np.log(_likely(early, labels))
    differ = bool(gains.mean() * np.sqrt(len(gains)) > _BETTER * gains.std())
    return cls(late, early, True) if differ else cls(early, late, False)


def _likely(layer: estimate.NoiseLayer, labels: np.ndarray) -> np.ndarray:
  """Returns the probability of each label."""
  found = (layer.probabilities * layer.transition.T[labels]).sum(axis=1)
  return np.maximum(found, np.finfo(float).tiny)
