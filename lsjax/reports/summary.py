"""The result of a run as text for a terminal."""

import os
from collections.abc import Mapping
from typing import Any

# Heading, split, metric, and whether the metric is a share shown in per cent.
_LINES = (
  ("test accuracy", "test", "accuracy", True),
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


def table(result: Mapping[str, Any], workdir: str | os.PathLike[str]) -> str:
  """Returns a summary of a run: its noise, teachers and metrics, and where its files are.

  The metrics are those of the final step and, beside them, of the step with the best accuracy on
  the noisy validation split.

  Args:
    result: content of result.json.
    workdir: directory of the run.
  """
  lines = [_noise_line(result["noise"])]
  for teacher in result.get("teachers", []):
    accuracy = _number(teacher["test_accuracy"], is_share=True)
    lines.append(f"teacher: {teacher['workdir']}, step {teacher['step']}, test {accuracy}")
  if result["status"] == "diverged":
    bad = result["diverged"]
    checkpoint = bad["last_good_checkpoint"] or "none"
    lines.append(
      f"DIVERGED: loss {bad['loss']} at step {bad['step']}; last good checkpoint: {checkpoint}"
    )
  columns = [("final", result["final"]), ("best validation", result["best"])]
  columns = [(name, metrics) for name, metrics in columns if metrics is not None]
  if columns:
    headings = [f"{name}, step {metrics['step']}" for name, metrics in columns]
    lines.append(" " * 42 + "".join(f"{heading:>28}" for heading in headings))
    of_test = f"test accuracy ({result.get('test_labels', 'clean')} labels)"
    for name, split, metric, is_share in _LINES:
      heading = of_test if name == "test accuracy" else name
      values = [metrics.get(split, {}).get(metric) for _, metrics in columns]
      if any(value is not None for value in values):
        lines.append(f"{heading:42}" + "".join(f"{_number(v, is_share):>28}" for v in values))
  return "\n".join([*lines, f"files: {workdir}"])


def _noise_line(noise: Mapping[str, Any]) -> str:
  """Returns one line about the noise: what was asked for and what share of labels is wrong."""
  if noise["realised_rate"] is None:
    return f"label noise: {noise['kind']}, its rate unknown without clean labels"
  realised = f"{noise['realised_rate']:.4f} of the labels are wrong"
  if noise["kind"] in ("none", "given", "file"):
    return f"label noise: {noise['kind']}, {realised}"
  own = ", own class included" if noise["includes_own_class"] else ""
  return f"label noise: {noise['kind']}, rate {noise['asked_rate']:g}{own} asked, {realised}"


def _number(value: float | None, is_share: bool) -> str:
  if value is None:
    return "-"
  return f"{100 * value:.2f} %" if is_share else f"{value:.4f}"
