"""The methods that can be compared: one row each, with everything that a method consists of.

`rows` lists them. A row names functions in `lsjax.losses` and states the method's parameters with
their defaults and bounds, its short name in tables and its sentence in the documentation; the
config section, the variant behind a colon, packing, names in reports and the documentation follow
from it. JAX is not imported, so that reports can read names.
"""

from lsjax.methods.method import Arrays, Method, Parameter, Program, Strengths
from lsjax.methods.names import label, short_name
from lsjax.methods.rows import METHODS, PAPER, VARIANTS

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "METHODS",
  "VARIANTS",
  "PAPER",
  "Method",
  "Parameter",
  "Program",
  "Strengths",
  "Arrays",
  "label",
  "short_name",
]
