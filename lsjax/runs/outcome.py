"""The outcome of a run: what result.json says of it, from the logged rows alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from lsjax import config as config_lib
from lsjax.runs import environment
from lsjax.training.setup import PreparedRun


def content(
  run: PreparedRun,
  rows: Sequence[Mapping[str, Any]],
  realised_rate: float | None,
  *,
  is_finished: bool,
) -> dict[str, Any]:
  """Returns the fields of result.json that follow from a run and its rows.

  Args:
    run: the run.
    rows: the rows that it logged, in order.
    realised_rate: the share of wrong labels over the parts of all processes; None if unknown.
    is_finished: whether the run was trained to its end; a run that diverged has no final step.
  """
  evaluations: dict[int, dict[str, Any]] = {}
  for row in rows:
    if row["split"] != "batches":
      values = {k: v for k, v in row.items() if k not in ("step", "split")}
      evaluations.setdefault(row["step"], {"step": row["step"]})[row["split"]] = values
  history = list(evaluations.values())
  validated = [row for row in history if "validation" in row]
  return {
    "config_hash": config_lib.config_hash(run.config),
    "final": history[-1] if is_finished else None,
    # Among equally good steps `max` keeps the first.
    "best": max(validated, key=lambda r: r["validation"]["accuracy"]) if validated else None,
    "noise": {
      "kind": run.noise_config.kind,
      "asked_rate": run.noise_config.rate,
      "includes_own_class": run.noise_config.includes_own_class,
      "realised_rate": realised_rate,
      "sha256": run.noisy_labels.sha256(),
    },
    "num_train": run.sizes["train"],
    "num_test": run.sizes["test"],
    "test_labels": "noisy" if run.test_is_noisy else "clean",
    **environment.teachers_entry(run),
  }
