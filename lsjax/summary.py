"""result.json as text for a terminal."""

import os
from collections.abc import Mapping
from typing import Any

# (heading, split, metric, is a share shown in per cent)
_LINES = (
  ("test accuracy (clean labels)", "test", "accuracy", True),
  ("test NLL (nats)", "test", "nll", False),
  ("test Brier score (0 to 2)", "test", "brier", False),
  ("test ECE (15 bins)", "test", "ece", True),
  ("train accuracy, true labels", "train", "true_accuracy", True),
  ("  on the part labelled right", "train", "clean_accuracy", True),
  ("  on the mislabelled part", "train", "mislabelled_accuracy", True),
  ("memorisation (predicts the wrong label)", "train", "memorisation", True),
  ("train accuracy, labels trained on", "train", "label_accuracy", True),
  ("validation accuracy, noisy labels", "validation", "accuracy", True),
  ("agreement with the teacher, test", "test", "teacher_agreement", True),
  ("KL from the teacher, test (nats)", "test", "teacher_kl", False),
  ("mislabelled part: teacher right", "train", "mislabelled_teacher_accuracy", True),
  ("  student right where the teacher is", "train", "mislabelled_accuracy_teacher_right", True),
  ("  student right where the teacher is not", "train", "mislabelled_accuracy_teacher_wrong", True),
)


def noise_line(noise: Mapping[str, Any]) -> str:
  """Returns one line: what noise was asked for and what came out."""
  if noise["realised_rate"] is None:
    return f"label noise: {noise['kind']}, its rate unknown without clean labels"
  realised = f"{noise['realised_rate']:.4f} of the labels are wrong"
  if noise["kind"] in ("none", "given", "file"):
    return f"label noise: {noise['kind']}, {realised}"
  own = ", own class included" if noise["includes_own_class"] else ""
  return f"label noise: {noise['kind']}, rate {noise['asked_rate']:g}{own} asked, {realised}"


def table(result: Mapping[str, Any], workdir: str | os.PathLike[str]) -> str:
  """Returns the summary of a run: final step, best by noisy validation beside it, files.

  Args:
    result: the content of result.json.
    workdir: where it lies.
  """
  lines = [noise_line(result["noise"])]
  for teacher in result.get("teachers", []):
    accuracy = _number(teacher["test_accuracy"], True)
    lines.append(f"teacher: {teacher['workdir']}, step {teacher['step']}, test {accuracy}")
  if result["status"] == "diverged":
    bad = result["diverged"]
    lines.append(
      f"DIVERGED: loss {bad['loss']} at step {bad['step']}; last good checkpoint: "
      f"{bad['last_good_checkpoint'] or 'none'}"
    )
  columns = [("final", result["final"]), ("best validation", result["best"])]
  columns = [(name, row) for name, row in columns if row is not None]
  if columns:
    headings = [f"{name}, step {row['step']}" for name, row in columns]
    lines.append("".join([" " * 42, *(f"{h:>28}" for h in headings)]))
    for heading, split, metric, percent in _LINES:
      values = [row.get(split, {}).get(metric) for _, row in columns]
      if any(v is not None for v in values):
        lines.append(f"{heading:42}" + "".join(f"{_number(v, percent):>28}" for v in values))
  lines.append(f"files: {workdir}")
  return "\n".join(lines)


def _number(value: float | None, percent: bool) -> str:
  if value is None:
    return "-"
  return f"{100 * value:.2f} %" if percent else f"{value:.4f}"
