"""Tables that compare a leaderboard on people's labels with the published one of CIFAR-10N."""

import itertools
import json
import math
import pathlib
import tomllib
from typing import Any

from scipy import stats

from lsjax.reports import statistics

PUBLISHED = tomllib.loads((pathlib.Path(__file__).parent / "cifar10n.toml").read_text())["methods"]
_LABELS = {"aggre": "aggre_label", "random1": "random_label1", "worse": "worse_label"}
_SELECTIONS = {"final": "final step", "best": "best noisy-validation step"}
_RUNS = 5  # behind every published mean


def ranking(directory: pathlib.Path) -> dict[str, Any]:
  """Returns a table with a row per label set and method: the published accuracy and ours."""
  runs, rows = _runs(directory), []
  for labels in _LABELS:
    for row in sorted(_with(labels), key=lambda row: -row[labels][0]):
      mean, sd = row[labels]
      own = [statistics.summarise([*of(runs, row, labels, s).values()], 100) for s in _SELECTIONS]
      shown = [f"{s.mean:.1f} ± {s.sd:.1f}" for s in own]
      rows.append([labels, row["name"], f"{mean:.1f} ± {sd:.1f}", row["cell"], *shown])
  header = ["labels", "method", "published, %", "cell", *(f"{s}, %" for s in _SELECTIONS.values())]
  return {"id": "published_ranking", "header": header, "rows": rows}


def orderings(directory: pathlib.Path) -> dict[str, Any]:
  """Returns a table that counts which orderings of two methods agree with the published ones.

  An order counts where the 95 % interval of the difference leaves out 0: by Welch's t interval for
  published means and deviations, paired by seed for ours.
  """
  runs, rows = _runs(directory), []
  for labels, selection in itertools.product(_LABELS, _SELECTIONS):
    decided, same, opposite = 0, 0, []
    for better, worse in itertools.permutations(_with(labels), 2):
      if not _above(better[labels], worse[labels]):
        continue
      decided += 1
      own = [of(runs, row, labels, selection) for row in (better, worse)]
      gap = statistics.paired(*own)
      same += gap.low > 0
      if gap.high < 0:
        opposite.append(f"{better['name']} above {worse['name']} ({100 * gap.mean:+.1f})")
    count = len(_with(labels))
    open_ = decided - same - len(opposite)
    pairs = f"{decided} of {math.comb(count, 2)}"
    counts = (str(n) for n in (same, len(opposite), open_))
    rows.append([labels, _SELECTIONS[selection], pairs, *counts, "; ".join(opposite) or "-"])
  header = (
    *("labels", "selection", "pairs that the publication tells apart", "same order here"),
    *("opposite order here", "not told apart here"),
    "opposite: as published (difference here, points)",
  )
  return {"id": "orderings", "header": list(header), "rows": rows}


def of(runs: list[Any], row: dict[str, Any], labels: str, selection: str) -> dict[int, float]:
  """Returns the test accuracy by seed of the cell that stands for a published method."""
  cell = f"{row['cell']}, {_LABELS[labels]}"
  found = {r["seed"]: r[selection]["test"]["accuracy"] for r in runs if r["cell"] == cell}
  if not found:
    raise KeyError(f"no run of the cell {cell!r}")
  return found


def _with(labels: str) -> list[dict[str, Any]]:
  return [row for row in PUBLISHED if labels in row]


def _above(one: list[float], other: list[float]) -> bool:
  """Returns whether one published mean is above another by more than chance."""
  squares = [sd**2 / _RUNS for _, sd in (one, other)]
  freedom = sum(squares) ** 2 / sum(s**2 / (_RUNS - 1) for s in squares)
  return one[0] - other[0] > stats.t.ppf(0.975, freedom) * math.sqrt(sum(squares))


def _runs(directory: pathlib.Path) -> list[Any]:
  runs: list[Any] = json.loads((directory / "results.json").read_text())
  return runs
