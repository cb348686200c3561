"""The names of methods in tables and figures."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from lsjax.methods.rows import METHODS


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

  Of a method's own parameters it says those that the row asks to show, and those whose values are
  not the defaults.

  Args:
    loss: the loss section of a config, by field.

  >>> label({"name": "forward_correction", "alpha": 0.1, "transition": "alpha"})
  'FC 0.1'
  >>> label({"name": "forward_correction", "alpha": 0.1, "transition": "noise"})
  'FC, T of the noise'
  >>> label({"name": "generalized_cross_entropy", "generalized_cross_entropy": {"q": 0.7}})
  'GCE q 0.7'
  """
  name = short_name(loss["name"])
  row = METHODS.get(loss["name"])
  if row is None:
    return name
  if row.parameters:
    values = loss.get(row.name, {})
    said = [
      f"{key} {values[key]:g}"
      for key, parameter in row.parameters.items()
      if key in values and (key == row.shown or values[key] != parameter.default)
    ]
    return " ".join([name, ", ".join(said)]).strip()
  if not row.shown:
    return name
  if row.needs == "transition" and loss["transition"] != "alpha":
    return f"{name}, T {_source_of_transition(loss)}"
  value = loss[row.shown]
  shown = PurePath(value).name if isinstance(value, str) else f"{value:g}"
  return f"{name} {shown}" if row.short else f"{name}, {row.shown} {shown}"


def _source_of_transition(loss: Mapping[str, Any]) -> str:
  match loss["transition"]:
    case "file":
      return f"of {PurePath(loss['transition_path']).name}"
    case "estimated":
      return {"dual_t": "by dual T", "anchor": "by anchor points"}[loss["estimator"]]
  return "of the noise"
