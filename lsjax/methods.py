"""The methods that can be compared: one row each, with everything that a method consists of.

A row names the loss in `lsjax.losses`, turns the loss section's numbers into the loss's arrays,
states the defaults that come with the method's name and gives its short name for tables. Adding
a method is one function and one row here. JAX is not imported, so that reports can read names.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from lsjax import transition as transition_lib

__all__ = ["METHODS", "SHORT_NAMES", "VARIANTS", "Method", "Strengths", "label", "short_name"]


@dataclasses.dataclass(frozen=True)
class Strengths:
  """What a config and its data say about a loss, from which a method makes its arrays.

  Attributes:
    num_classes: L.
    alpha: smoothing strength, or the strength of the symmetric noise that is corrected.
    r: strength of generalised smoothing, in (-inf, 1].
    matrix: M of a smearing loss, [L, L], or None for the other methods.
    transition: T[true, noisy], [L, L], that a correction assumes, or None for the other methods.
  """

  num_classes: int
  alpha: float
  r: float
  matrix: np.ndarray | None = None
  transition: np.ndarray | None = None

  @property
  def identity(self) -> np.ndarray:
    """The float64 identity matrix [L, L]."""
    return np.eye(self.num_classes)


# A pair of float64 arrays [L, L]: M and T of `losses.smeared_forward`.
Arrays = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Method:
  """A way to train on noisy labels.

  Attributes:
    name: of the method in the config field `loss.name`.
    arrays: function that makes the arrays of the loss.
    loss: name of the function in `lsjax.losses` that takes these arrays; methods with the same
      one are trained by the same compiled program.
    short: name in tables and figures; empty for a method that has none but `name`.
    shown: config field of the loss section that tells two runs of the method apart.
    variant: name behind the colon of a config file; empty for a method that needs more fields.
    defaults: config fields that `variant` sets besides `loss.name`.
    needs: the kinds of matrix that the arrays are made from: "matrix", "transition" or none.
    invertible: whether the transition matrix has to be invertible.
  """

  name: str
  arrays: Callable[[Strengths], Arrays]
  loss: str = "smeared_forward"
  short: str = ""
  shown: str = ""
  variant: str = ""
  defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  needs: str = ""
  invertible: bool = False

  @property
  def changes(self) -> dict[str, Any]:
    """Config fields, {"section.field": value}, that choose this method."""
    return {"loss.name": self.name, **self.defaults}


def _cross_entropy(s: Strengths) -> Arrays:
  return s.identity, s.identity


def _smoothing(s: Strengths, strength: float) -> Arrays:
  return (1 - strength) * s.identity + strength / s.num_classes, s.identity


def _label_smoothing(s: Strengths) -> Arrays:
  return _smoothing(s, s.alpha)


def _generalized_smoothing(s: Strengths) -> Arrays:
  return _smoothing(s, s.r)


def _smearing(s: Strengths) -> Arrays:
  assert s.matrix is not None
  return s.matrix, s.identity


def _forward_correction(s: Strengths) -> Arrays:
  assert s.transition is not None
  return s.identity, s.transition


def _backward_correction(s: Strengths) -> Arrays:
  assert s.transition is not None
  return transition_lib.inverse(s.transition)[0], s.identity


_ROWS = (
  Method("cross_entropy", _cross_entropy, short="CE", variant="cross_entropy"),
  Method("label_smoothing", _label_smoothing, short="LS", shown="alpha", variant="label_smoothing"),
  Method(
    "forward_correction",
    _forward_correction,
    short="FC",
    shown="alpha",
    variant="forward",
    needs="transition",
  ),
  # The loss of backward correction is unbounded below and its logits run away at a high
  # learning rate, so its variant clips gradients and starts with cross-entropy.
  Method(
    "backward_correction",
    _backward_correction,
    short="BC",
    shown="alpha",
    variant="backward",
    defaults={"loss.cross_entropy_steps": 100, "optim.clip_norm": 1.0},
    needs="transition",
    invertible=True,
  ),
  Method("generalized_smoothing", _generalized_smoothing, shown="r"),
  Method("smearing", _smearing, shown="matrix", needs="matrix"),
)

METHODS = {row.name: row for row in _ROWS}  # by their names in the config
VARIANTS = {row.variant: row for row in _ROWS if row.variant}  # by their names behind a colon
SHORT_NAMES = tuple(row.short for row in _ROWS if row.short)


def short_name(name: str) -> str:
  """Returns a method's name in tables and figures.

  Args:
    name: of the method in the config field `loss.name`.

  >>> short_name("forward_correction"), short_name("smearing")
  ('FC', 'smearing')
  """
  return (METHODS[name].short if name in METHODS else "") or name


def label(loss: Mapping[str, Any]) -> str:
  """Returns a method with its strength or its matrix, by which tables tell runs apart.

  Args:
    loss: the loss section of a config, by field.

  >>> label({"name": "forward_correction", "alpha": 0.1, "transition": "alpha"})
  'FC 0.1'
  >>> label({"name": "forward_correction", "alpha": 0.1, "transition": "noise"})
  'FC, T of the noise'
  """
  name = short_name(loss["name"])
  row = METHODS.get(loss["name"])
  if row is None or not row.shown:
    return name
  if row.needs == "transition" and loss["transition"] == "noise":
    return f"{name}, T of the noise"
  if row.needs == "transition" and loss["transition"] == "file":
    return f"{name}, T of {PurePath(loss['transition_path']).name}"
  value = loss[row.shown]
  shown = PurePath(value).name if isinstance(value, str) else f"{value:g}"
  return f"{name} {shown}" if row.short else f"{name}, {row.shown} {shown}"
