"""The cells of a sweep as lists, to write a sweep's config file with.

Such a file builds a ConfigDict that holds

* label: the name of the data in figures and tables;
* base: the config of an ordinary run;
* seeds: the number of seeds of each cell, which are 0, 1, ...;
* cells: a tuple of dictionaries with `name`, `changes` ({"section.field": value}; changes of
  teacher or student make the cell a distillation), `seeds` if it differs, and `candidate_of`,
  the name of another cell, if the cell is there to choose that one's hyper-parameters.

`plan.plan` turns it into runs. A config that two cells share is one run.
"""

import itertools
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import ml_collections

from lsjax import config as config_lib
from lsjax import methods
from lsjax.validation import UserError

_BY_SHORT_NAME = {row.short: row for row in methods.METHODS.values() if row.short}


def method(
  name: str, alpha: float | None = None, *, defaults: bool = True, **parameters: float
) -> dict[str, Any]:
  """Returns the changes that make a run use a method.

  Args:
    name: the method's short name, such as "LS".
    alpha: the strength of smoothing or correction; None for the base's, and for other methods.
    defaults: whether the method brings its own defaults besides its loss, such as clipping and
      first steps of cross-entropy for BC.
    parameters: the method's own parameters that are not at their defaults.

  >>> method("GCE", q=0.5)["loss.generalized_cross_entropy.q"]
  0.5
  """
  row = _BY_SHORT_NAME[name]
  changes = row.changes if defaults else {"loss.name": row.name}
  own = {f"loss.{row.name}.{key}": value for key, value in parameters.items()}
  return changes | own | ({} if alpha is None or name == "CE" else {"loss.alpha": alpha})


def symmetric_noise(rate: float) -> dict[str, Any]:
  """Returns the changes that set symmetric noise of a rate; at rate 0 there is no noise."""
  return {"noise.kind": "symmetric" if rate else "none", "noise.rate": rate}


def under(
  methods: Mapping[str, Mapping[str, Any]], noises: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
  """Lists a cell for every method under every noise.

  Args:
    methods: {name: changes that choose the method}; see `method`.
    noises: {name: changes that set the noise}.

  >>> noises = {"pair 40 %": {"noise.kind": "pair", "noise.rate": 0.4}}
  >>> [cell["name"] for cell in under({"CE": method("CE"), "LS": method("LS", 0.1)}, noises)]
  ['CE, pair 40 %', 'LS, pair 40 %']
  """
  return [
    {"name": f"{name}, {noise}", "changes": {**changes, **of_noise}}
    for noise, of_noise in noises.items()
    for name, changes in methods.items()
  ]


def estimated_transition(name: str, estimator: str, first_steps: int) -> dict[str, Any]:
  """Returns the changes that correct by a matrix which a first run of cross-entropy tells.

  Args:
    name: the short name of a correction, FC or BC.
    estimator: the estimator of the matrix, a value of loss.estimator.
    first_steps: the number of steps of the first run, few enough that it memorises little.
  """
  return {
    **method(name),
    "loss.transition": "estimated",
    "loss.estimator": estimator,
    "student.beta": 0.0,
    "teacher.loss.name": "cross_entropy",
    "teacher.train.num_steps": first_steps,
    "teacher.checkpoint.every": first_steps,
  }


def grid(axes: Mapping[str, Iterable[Any]], **changes: Any) -> list[dict[str, Any]]:
  """Lists a cell for every combination of values; the values give it its name.

  Args:
    axes: {"section.field": values}.
    changes: changes that all cells have, written as section__field=value.

  >>> [cell["name"] for cell in grid({"loss.alpha": (0.1, 0.4), "noise.rate": (0.2,)})]
  ['loss.alpha 0.1, noise.rate 0.2', 'loss.alpha 0.4, noise.rate 0.2']
  """
  common = {name.replace("__", "."): value for name, value in changes.items()}
  return [{"name": _named(point), "changes": common | point} for point in _points(axes)]


def candidates(
  cells: Iterable[Mapping[str, Any]],
  axes: Mapping[str, Iterable[Any]],
  base: ml_collections.ConfigDict,
) -> list[dict[str, Any]]:
  """Lists, for each of some cells, the other points of a grid of hyper-parameters.

  A report chooses among a cell and its candidates by their accuracy on the noisy validation set.

  Args:
    cells: cells of the same sweep.
    axes: {"section.field": values}.
    base: the config that the sweep's cells change. The point with a cell's own values is that
      cell, and therefore left out.
  """
  listed = []
  for cell in cells:
    own = config_lib.flatten(base.to_dict()) | cell["changes"]
    for point in _points(axes):
      if any(own[field] != value for field, value in point.items()):
        listed.append(
          {
            **cell,
            "name": f"{cell['name']}; {_named(point)}",
            "changes": cell["changes"] | point,
            "candidate_of": cell["name"],
          }
        )
  return listed


def _points(axes: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
  """Lists {"section.field": value} for every combination of values."""
  return [dict(zip(axes, values)) for values in itertools.product(*axes.values())]


def _named(point: Mapping[str, Any]) -> str:
  """Returns the part of a cell's name that says its values."""
  return ", ".join(f"{field} {value}" for field, value in point.items())


def curves(
  alphas: Iterable[float],
  rates: Iterable[float],
  *,
  model: str = "",
  bare: Container[float] = (),
  **extra: Any,
) -> list[dict[str, Any]]:
  """Lists CE, and LS, FC and BC over alpha, for each noise rate.

  With alpha 0.1 and rate 0.2 these are the cells of table A, from which tables D and E come too.

  Args:
    alphas: strengths above 0; at 0 every method is cross-entropy, which is always listed.
    rates: rates of symmetric noise.
    model: a model to use instead of the base's; it becomes part of the cells' names.
    bare: alphas at which the methods go without their own defaults; see `method`.
    extra: other entries of each cell, such as seeds.
  """
  prefix, of_model = (f"{model}: ", {"model.name": model}) if model else ("", {})
  cells = []
  for rate in rates:
    compared = [("CE", method("CE"))]
    for name, alpha in itertools.product(("LS", "FC", "BC"), alphas):
      changes = method(name, alpha, defaults=alpha not in bare)
      compared.append((f"{name} {alpha:g}", changes))
    for name, changes in compared:
      all_changes = changes | symmetric_noise(rate) | of_model
      cells.append({"name": f"{prefix}{name}, noise {rate:g}", "changes": all_changes, **extra})
  return cells


def union(*lists: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
  """Joins lists of cells; a cell of several lists occurs once, with the largest number of seeds.

  Raises:
    UserError: if a name has different changes in two lists.
  """
  joined: dict[str, dict[str, Any]] = {}
  for cell in itertools.chain(*lists):
    old = joined.setdefault(cell["name"], dict(cell))
    if old["changes"] != cell["changes"]:
      raise UserError(f"cell {cell['name']!r} occurs twice with different changes")
    if "seeds" in cell and "seeds" in old:
      old["seeds"] = max(cell["seeds"], old["seeds"])
    else:  # every seed of the sweep
      old.pop("seeds", None)
  return tuple(joined.values())


def students(
  rates: Iterable[float],
  temperatures: Iterable[float],
  alpha: float = 0.1,
  *,
  conventions: Sequence[str] = ("teacher_only", "both", "both_t_squared"),
  bare: Container[float] = (),
) -> list[dict[str, Any]]:
  """Lists students of CE, LS, FC and BC teachers (table C).

  Args:
    rates: rates of symmetric noise.
    temperatures: temperatures of distillation.
    alpha: strength of the teachers' losses.
    conventions: values of student.convention at each temperature but 1, where they are the same
      and one cell stands for all.
    bare: alphas at which the teachers' methods go without their own defaults; see `method`.
  """
  cells = []
  for rate, name, temperature in itertools.product(rates, methods.PAPER, temperatures):
    loss = method(name, alpha, defaults=alpha not in bare)
    for convention in conventions if temperature != 1 else ("teacher_only",):
      how = f"T {temperature:g}" + (f" {convention}" if temperature != 1 else "")
      cells.append(
        {
          "name": f"student of {name}, {how}, noise {rate:g}",
          "changes": method("CE")
          | symmetric_noise(rate)
          | {f"teacher.{key}": value for key, value in loss.items()}
          | {"student.temperature": temperature, "student.convention": convention},
        }
      )
  return cells


def boundaries(alphas: Iterable[float], rate: float, cluster_std: float) -> list[dict[str, Any]]:
  """Lists linear models on two Gaussians (claim C7).

  They are CE without noise, and CE and LS under one-sided noise. Their data and training do not
  depend on the base: 10,000 points and steps enough to come near the boundary that minimises the
  loss on the population. Weight decay would move it, and there is none.

  Args:
    alphas: strengths of LS.
    rate: rate of the one-sided noise.
    cluster_std: standard deviation of the clusters.
  """
  steps = 1000
  linear = {
    "data.name": "gaussians",
    "data.cluster_std": cluster_std,
    "data.points": 10_000,
    "data.validation_examples": 0,
    "data.crop_padding": 0,
    "data.flip": False,
    "model.name": "linear",
    "optim.learning_rate": 3.0,
    "optim.boundaries": (),
    "optim.polynomial_steps": steps,
    "optim.power": 1.0,
    "optim.weight_decay": 0.0,
    "train.num_steps": steps,
    "train.batch_size": 250,
    "train.eval_every": steps,
    "train.eval_batch_size": 10_000,
    "checkpoint.every": steps,
  }
  noisy = {"noise.kind": "one_sided", "noise.rate": rate}
  compared = [("CE, no noise", method("CE") | symmetric_noise(0))]
  for name, changes in (("CE", method("CE")), *((f"LS {a:g}", method("LS", a)) for a in alphas)):
    compared.append((f"{name}, one-sided noise {rate:g}", changes | noisy))
  return [
    {"name": f"2-D, sigma {cluster_std:g}: {name}", "changes": changes | linear}
    for name, changes in compared
  ]
