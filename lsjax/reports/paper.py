"""What the paper reports and claims, as constants that are read from paper.toml."""

from collections.abc import Mapping, Sequence
from typing import Any

from lsjax.reports import resources

_PAPER = resources.toml("paper.toml")
MeanAndDeviation = tuple[float, float]  # in per cent

RATE: float = _PAPER["rate"]
ALPHA: float = _PAPER["alpha"]
# By data set and method.
ACCURACY: Mapping[str, Mapping[str, MeanAndDeviation]] = _PAPER["accuracy"]
STUDENT_ACCURACY: Mapping[str, Mapping[str, MeanAndDeviation]] = _PAPER["student_accuracy"]
DATA_SETS = tuple(ACCURACY)
# Rows of (method, alpha, calibration error as a share).
CALIBRATION: Sequence[tuple[str, float, float]] = _PAPER["calibration"]["rows"]
# Rows of alpha and the accuracies in per cent on all examples, the clean and the mislabelled part.
DENOISING: Sequence[tuple[float, float, float, float]] = _PAPER["denoising"]["rows"]
CLAIMS: Sequence[Mapping[str, Any]] = _PAPER["claims"]
