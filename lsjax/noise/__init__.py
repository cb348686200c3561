"""Label noise, drawn once for each example from its true label, its id and a seed.

The noise of `corrupt` depends on the class alone, as its transition matrix says; that of
`corrupt_by_instance` depends on the image too.
"""

from lsjax.noise.draws import Draw, Ids, NoisyLabels, check_labels, corrupt, given, uniform
from lsjax.noise.instance import corrupt_by_instance, instance_transition

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "Ids",
  "NoisyLabels",
  "corrupt",
  "corrupt_by_instance",
  "instance_transition",
  "given",
  "Draw",
  "uniform",
  "check_labels",
]
