"""Label smoothing, loss correction and distillation under label noise, in JAX.

The library is `losses`, `transition`, `noise`, `estimate`, `metrics`, `diagnostics` and `theory`:
pure functions of arrays. `methods` lists the methods that can be compared. The packages `data`,
`models`, `training`, `runs`, `distillation`, `sweeps` and `reports` train and compare them, and
`advise` says which one to use on your own noisy labels; they need the extras of the package. Each
module is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from lsjax import config as config
  from lsjax import diagnostics as diagnostics
  from lsjax import estimate as estimate
  from lsjax import losses as losses
  from lsjax import methods as methods
  from lsjax import metrics as metrics
  from lsjax import noise as noise
  from lsjax import theory as theory
  from lsjax import transition as transition
  from lsjax.advice import advise as advise

__version__ = "0.2.0"

__all__ = [
  "advise",
  "config",
  "diagnostics",
  "estimate",
  "losses",
  "methods",
  "metrics",
  "noise",
  "theory",
  "transition",
]


def __getattr__(name: str) -> Any:
  if name == "advise":
    return importlib.import_module("lsjax.advice").advise
  if name in __all__:
    return importlib.import_module(f"lsjax.{name}")
  raise AttributeError(f"module 'lsjax' has no attribute {name!r}")


def __dir__() -> list[str]:
  return sorted([*globals(), *__all__])
