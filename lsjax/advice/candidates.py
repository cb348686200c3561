"""The methods that an advice compares, by their names in its tables."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lsjax import methods
from lsjax.sweeps import cells


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A method with its strengths.

  Attributes:
    name: the name in tables.
    changes: the config fields that choose it, {"section.field": value}.
    needs: "transition" or "rate" if it needs what is estimated of the noise first; otherwise "".
  """

  name: str
  changes: Mapping[str, Any]
  needs: str = ""

  @property
  def method(self) -> methods.Method:
    """The row of the table of methods."""
    return methods.METHODS[self.changes["loss.name"]]

  def after(self, noise: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the changes once the noise is estimated.

    Args:
      noise: `transition`, the path of the matrix, and `rate`, the chance of a wrong label.
    """
    match self.needs:
      case "transition":
        estimated = {"loss.transition": "file", "loss.transition_path": noise["transition"]}
      case "rate":
        estimated = {"loss.small_loss.forget": round(min(max(noise["rate"], 0.02), 0.8), 2)}
      case _:
        estimated = {}
    return {**self.changes, **estimated}

  def until(self, step: int, num_steps: int) -> dict[str, Any] | None:
    """Returns the changes that stop a run early, after which it is what it was at that step.

    The schedule of a method counts in shares of all steps, which are fewer then.

    Returns:
      The changes; None where the schedule is not over at that step.
    """
    row, changes = self.method, {}
    for name in ("start", "full"):
      if name in row.parameters:
        field = f"loss.{row.name}.{name}"
        share = self.changes.get(field, row.parameters[name].default) * num_steps / step
        if share > 1:
          return None
        changes[field] = share
    return changes


_ALL = (
  Candidate("CE", cells.method("CE")),
  *(Candidate(f"LS {alpha}", cells.method("LS", alpha)) for alpha in (0.1, 0.2, 0.4, 0.6)),
  Candidate("FC", cells.method("FC"), "transition"),
  Candidate("BC", cells.method("BC"), "transition"),
  Candidate("GCE", cells.method("GCE")),
  Candidate("SCE", cells.method("SCE")),
  Candidate("ELR", cells.method("ELR")),
  Candidate("NCE+RCE", cells.method("NCE+RCE")),
  Candidate("JS", cells.method("JS")),
  Candidate("VolMinNet", cells.method("VolMinNet")),
  Candidate("Small loss", cells.method("Small loss"), "rate"),
)
BY_NAME = {candidate.name: candidate for candidate in _ALL}
CORE = ("CE", "LS 0.1", "LS 0.4", "FC", "GCE", "ELR")  # where time is short
BASE = "CE"  # whose predictions tell the noise
