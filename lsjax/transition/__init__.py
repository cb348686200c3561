"""Transition matrices of label noise, made once on the host in float64 NumPy.

A transition matrix T says how labels are corrupted: T[i, j] is the probability that an example of
true class i carries the noisy label j. Rows are true classes and sum to 1.
"""

from lsjax.transition.checks import ROW_SUM_TOLERANCE, estimate, inverse, validate
from lsjax.transition.cifar import cifar10_asymmetric, cifar10_groups, cifar100_superclass
from lsjax.transition.matrices import one_sided, pair, symmetric, within_groups
from lsjax.transition.reading import from_file, read_matrix

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "ROW_SUM_TOLERANCE",
  "symmetric",
  "pair",
  "one_sided",
  "within_groups",
  "cifar10_asymmetric",
  "cifar10_groups",
  "cifar100_superclass",
  "estimate",
  "validate",
  "inverse",
  "read_matrix",
  "from_file",
]
