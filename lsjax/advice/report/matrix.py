"""The transition matrix: a heat map of text, which any browser can show in any script."""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from lsjax.advice.report import parts, wording
from lsjax.advice.report.parts import Section
from lsjax.reports.table import Table

_MOST_CLASSES = 20  # of a heat map
_LONGEST = 5  # letters of a heading that lies; longer ones stand
_MOST_PAIRS = {True: 10, False: 30}  # beside a heat map; without one


def section(content: Mapping[str, Any]) -> Section:
  """Returns which classes are confused with which."""
  is_small = len(content["data"]["classes"]) <= _MOST_CLASSES
  lines = _heat_map(content) if is_small else []
  lines += parts.table(_pairs(content, _MOST_PAIRS[is_small]))
  return Section("matrix", "Which classes are confused", lines)


def _about(content: Mapping[str, Any]) -> str:
  return (
    f"{wording.setting(content)} Transition matrix ({content['transition']['estimator']}): the "
    "share of the examples of a true class that carry a given label, in %."
  )


def _heat_map(content: Mapping[str, Any]) -> list[str]:
  names = [wording.shortened(name, 14) for name in content["data"]["classes"]]
  found = {key: np.array(content["transition"][key]) for key in ("matrix", "low", "high")}
  matrix = found["matrix"]
  most = (matrix * (1 - np.eye(len(matrix)))).max() or 1
  caption = (
    f"{_about(content)} Rows: true class; columns: given label. Orange: wrong labels, the darker "
    "the more frequent; grey: right labels. 95 % intervals of the largest entries are in the table "
    "below, all of them in advice.json."
  )
  tall = " tall" if max(map(len, names)) > _LONGEST else ""
  rows = []
  for i, name in enumerate(content["data"]["classes"]):
    cells = "".join(_cell(float(matrix[i, j]), i == j, most) for j in range(len(names)))
    rows.append(f'<tr><th scope="row">{escape(wording.shortened(name, 24))}</th>{cells}</tr>')
  return [
    '<h3 id="transition">Transition matrix</h3>',
    f'<p class="caption">{escape(caption)}</p>',
    '<p class="hint">Scroll sideways to see the whole matrix.</p>',
    f'<div class="scroll"><table class="heat{tall}"><thead><tr><th scope="col">true ↓ given →</th>',
    *(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names),
    "</tr></thead><tbody>",
    *rows,
    "</tbody></table></div>",
  ]


def _cell(value: float, is_right: bool, most: float) -> str:
  """Returns a cell; the colour of a wrong label is relative to the most frequent one."""
  digits = 1 if 0 < value < 0.0995 else 0
  text = f"{100 * value:.{digits}f}"
  if is_right:
    return f'<td class="right">{text}</td>'
  return f'<td style="background: rgb(213 94 0 / {0.75 * value / most:.2f})">{text}</td>'


def _pairs(content: Mapping[str, Any], most: int) -> Table:
  names, found = content["data"]["classes"], content["transition"]
  matrix = np.array(found["matrix"])
  wrong = matrix * (1 - np.eye(len(matrix)))
  order = [i for i in np.argsort(-wrong, axis=None, kind="stable")[:most] if wrong.flat[i] > 0]
  rows = []
  for true, given in zip(*np.unravel_index(np.array(order, int), matrix.shape)):
    ends = {key: found[name][true][given] for key, name in _ENDS.items()}
    texts = [wording.shortened(names[k]) for k in (true, given)]
    rows.append([*texts, wording.bracketed(ends)])
  total = int((wrong > 0).sum())
  caption = (
    f"{_about(content)} The {len(rows):,} largest of {total:,} entries for wrong labels; [ ]: 95 % "
    "interval. advice.json holds the whole matrix."
  )
  header = ("true class", "given label", "share, %")
  return Table("confusions", "Most frequent confusions", caption, header, rows)


_ENDS = {"estimate": "matrix", "low": "low", "high": "high"}
