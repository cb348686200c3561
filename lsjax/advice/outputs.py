"""The files of an advice: suspects.csv, methods.csv, labels_cleaned.npz and recommended.py."""

import csv
import io
import pathlib
import pprint
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lsjax import config as config_lib
from lsjax import files
from lsjax.advice import answer
from lsjax.advice.noise import Findings
from lsjax.advice.problem import Problem
from lsjax.advice.ranking import Judged

_CONFIG = '''"""The recommended run of an advice: lsjax train --config={name}"""

import pathlib

from lsjax import config as config_lib

HERE = pathlib.Path(__file__).resolve().parent
FIELDS = {fields}


def get_config():
  config = config_lib.default_config()
  config.update_from_flattened_dict(FIELDS)
  config.data.path = str(HERE / config.data.path)
{transition}  return config
'''
_TRANSITION = "  config.loss.transition_path = str(HERE / config.loss.transition_path)\n"


def write(
  directory: pathlib.Path,
  problem: Problem,
  found: Findings,
  judged: Sequence[Judged],
  area: np.ndarray,
) -> None:
  """Writes suspects.csv, methods.csv and labels_cleaned.npz."""
  _write_csv(directory / "suspects.csv", suspects(problem, found, judged, area))
  _write_csv(directory / "methods.csv", methods(judged))
  with files.replacing(directory / "labels_cleaned.npz") as f:
    np.savez_compressed(
      f,
      ids=problem.ids,
      given=problem.labels,
      replaced=np.where(found.wrong > 0.5, found.proposed, problem.labels),
      keep=found.wrong <= 0.5,
      wrong=found.wrong.astype(np.float32),
      classes=np.array(problem.classes),
    )


def suspects(
  problem: Problem, found: Findings, judged: Sequence[Judged], area: np.ndarray
) -> Iterable[Sequence[Any]]:
  """Yields the rows of suspects.csv, the most suspicious label first.

  The margin is the logit of the given label less the largest other one, by networks that did not
  see the example, mean over all methods and seeds. The area under the margin is the same in
  cross-entropy's training on that label, mean over its steps (Pleiss et al., 2020).
  """
  rows = np.arange(len(problem))
  margins = []
  for logits in (one.entry.logits for one in judged if one.entry.logits is not None):
    for own in logits.astype(np.float32):
      given = own[rows, problem.labels]
      others = own.copy()
      others[rows, problem.labels] = -np.inf
      margins.append(given - others.max(axis=1))
  margin = np.mean(margins, axis=0)
  yield "id", "given", "proposed", "score", "probability_wrong", "margin", "area_under_margin"
  for n in np.argsort(-found.score, kind="stable"):
    yield (
      problem.ids[n],
      problem.classes[problem.labels[n]],
      problem.classes[found.proposed[n]],
      f"{found.score[n]:.6g}",
      f"{found.wrong[n]:.4f}",
      f"{margin[n]:.4f}",
      f"{area[n]:.4f}",
    )


def methods(judged: Sequence[Judged]) -> Iterable[Sequence[Any]]:
  """Yields the rows of methods.csv, the best way to train first."""
  header: list[str] = []
  for one in judged:
    flat = config_lib.flatten(answer.row(one))
    if not header:
      header = [name.replace(".", "_") for name in flat]
      yield header
    yield ["" if value is None else value for value in flat.values()]


def write_config(directory: pathlib.Path, config: config_lib.Config) -> None:
  """Writes recommended.py, the config file of a run on the advice's own data."""
  default = config_lib.flatten(config_lib.to_dict(config_lib.Config()))
  fields: dict[str, Any] = {
    name: tuple(value) if isinstance(value, list) else value
    for name, value in config_lib.flatten(config_lib.to_dict(config)).items()
    if value != default[name]
  }
  transition = ""
  for name in ("data.path", "loss.transition_path"):
    if name in fields:
      fields[name] = pathlib.Path(fields[name]).name
  if "loss.transition_path" in fields:
    transition = _TRANSITION
  text = _CONFIG.format(
    name="recommended.py", fields=pprint.pformat(fields, width=98), transition=transition
  )
  with files.replacing(directory / "recommended.py") as f:
    f.write(text.encode())


def _write_csv(path: pathlib.Path, rows: Iterable[Sequence[Any]]) -> None:
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator="\n").writerows(rows)
  with files.replacing(path) as f:
    f.write(buffer.getvalue().encode())
