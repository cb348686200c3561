"""What a method consists of."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# Arrays by the keyword of the function that takes them.
Arrays = dict[str, np.ndarray]

# Parameters of this name are the method's schedule, as shares of the training steps: the loss is
# cross-entropy before `start`, the method's own from `full` on, and moves linearly between them.
SCHEDULE = ("start", "full")


@dataclasses.dataclass(frozen=True)
class Parameter:
  """A number that a method has for itself, a field of its config section.

  Attributes:
    default: the value that the method's authors use, or ours where they choose it for the data. A
      float is an array of the compiled program; an integer is a constant of it, so that each value
      is compiled on its own.
    low: the least value that is allowed.
    high: the largest value that is allowed.
    open_high: whether `high` itself is not allowed.
  """

  default: float | int
  low: float = 0.0
  high: float = math.inf
  open_high: bool = False


@dataclasses.dataclass(frozen=True)
class Strengths:
  """What a config and its data say about a loss, from which a method makes its arrays.

  Attributes:
    num_classes: L.
    alpha: smoothing strength, or the strength of the symmetric noise that is corrected.
    r: strength of generalised smoothing, in (-inf, 1].
    matrix: M of a smearing loss, [L, L], or None for the other methods.
    transition: T[true, noisy], [L, L], that a correction assumes, or None for the other methods.
    parameters: the method's own parameters by name.
  """

  num_classes: int
  alpha: float
  r: float
  matrix: np.ndarray | None = None
  transition: np.ndarray | None = None
  parameters: Mapping[str, float | int] = dataclasses.field(default_factory=dict)

  @property
  def identity(self) -> np.ndarray:
    """The float64 identity matrix [L, L]."""
    return np.eye(self.num_classes)


@dataclasses.dataclass(frozen=True)
class Program:
  """What is compiled of a method; methods with equal programs are trained by the same one.

  Every name is that of a function in `lsjax.losses`, which receives those of the method's arrays
  and constants that it has keywords for.

  Attributes:
    loss: the function (logits, labels, *, ..., where) -> a loss for each example.
    constants: the parameters that are no arrays, as pairs of name and value.
    memory: the function (memory, logits, *, ...) -> new memory, rows of an array [N, L] that is
      zero at first; the loss takes the rows of its batch as `targets`. Empty for no memory.
    selection: the function (logits, labels, *, progress, axis_name, ...) -> mask of the examples
      of a batch that are trained on. Empty for all of them.
    trained: the function (num_classes) -> arrays by keyword of the loss that are parameters and
      are trained with the network. Empty for none.
    margins: whether the margins of each training example are summed up while it is trained on.
  """

  loss: str = "smeared_forward"
  constants: tuple[tuple[str, int | bool], ...] = ()
  memory: str = ""
  selection: str = ""
  trained: str = ""
  margins: bool = False

  @property
  def keeps_examples(self) -> bool:
    """Whether the state has an array of all training examples."""
    return bool(self.memory) or self.margins


def own_parameters(strengths: Strengths) -> Arrays:
  """Returns the own parameters of a method as arrays, without those of its schedule."""
  return {
    name: np.asarray(value)
    for name, value in strengths.parameters.items()
    if isinstance(value, float) and name not in SCHEDULE
  }


@dataclasses.dataclass(frozen=True)
class Method:
  """A way to train on noisy labels.

  Attributes:
    name: of the method in the config field `loss.name`, and of its section if it has parameters.
    about: a sentence with its formula, for the documentation.
    short: name in tables and figures; empty for a method that has none but `name`.
    shown: the field that its name in tables always says: of the loss section, or a parameter.
    variant: name behind the colon of a config file; empty for a method that needs more fields.
    parameters: the method's own parameters, {name: parameter}; see `SCHEDULE` for two names that
      have a meaning for every method.
    program: what is compiled of it.
    arrays: function that makes the arrays which the functions of the program take.
    defaults: config fields that `variant` sets besides `loss.name`.
    needs: the kinds of matrix that the arrays are made from: "matrix", "transition" or none.
    invertible: whether the transition matrix has to be invertible.
  """

  name: str
  about: str
  short: str = ""
  shown: str = ""
  variant: str = ""
  parameters: Mapping[str, Parameter] = dataclasses.field(default_factory=dict)
  program: Program = Program()
  arrays: Callable[[Strengths], Arrays] = own_parameters
  defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  needs: str = ""
  invertible: bool = False

  @property
  def changes(self) -> dict[str, Any]:
    """Config fields, {"section.field": value}, that choose this method."""
    return {"loss.name": self.name, **self.defaults}

  def compiled(self, parameters: Mapping[str, float | int]) -> Program:
    """Returns the program of the method with given values of its own parameters."""
    integers = tuple((name, v) for name, v in parameters.items() if isinstance(v, int))
    return dataclasses.replace(self.program, constants=self.program.constants + integers)
