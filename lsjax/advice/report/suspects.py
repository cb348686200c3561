"""The labels that are probably wrong: a table, pictures, and how sure that is."""

import base64
import csv
import io
import pathlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from lsjax import files, regular
from lsjax.advice.report import evidence, figures, parts, wording
from lsjax.advice.report.parts import Section
from lsjax.reports import reading
from lsjax.reports.table import Table

_ROWS, _PICTURES = 20, 24
_SIDE = 160  # pixels of the longer side of a picture; larger ones are made smaller
_COLUMNS = ("id", "given", "proposed", "probability_wrong", "margin", "area_under_margin")

Suspect = Mapping[str, str]


def read(path: pathlib.Path) -> list[Suspect]:
  """Returns the rows of suspects.csv, whose numbers are checked to be numbers.

  Raises:
    DamagedError: if the file cannot be read or lacks a column or a number.
  """
  try:
    regular.check(path)
    with files.path(path).open(encoding="utf-8", newline="") as f:
      rows: list[Suspect] = list(csv.DictReader(f))
    for row in rows:
      for name in _COLUMNS[3:]:
        float(row[name])
      if None in row.values() or not set(_COLUMNS) <= row.keys():
        raise ValueError(f"a row has the columns {', '.join(map(str, row))}")
  except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
    raise reading.DamagedError(reading.plain(f"{path} cannot be read ({error})")) from error
  return rows


def section(
  content: Mapping[str, Any], rows: Sequence[Suspect], directory: pathlib.Path
) -> Section:
  """Returns the most suspicious labels.

  Args:
    content: the content of advice.json.
    rows: the rows of suspects.csv.
    directory: the directory of the advice, whose data.npz holds the pictures.
  """
  lines = _gallery(content, rows[:_PICTURES], directory / "data.npz")
  lines += parts.table(_table(content, rows[:_ROWS]))
  lines += parts.table(evidence.expected_precision(content))
  chances = [float(row["probability_wrong"]) for row in rows]
  lines += parts.figure(figures.probabilities(content, chances))
  return Section("suspects", "Which labels are wrong", lines)


def _plain(text: str, most: int = 40) -> str:
  return wording.shortened(reading.plain(text), most)


def _table(content: Mapping[str, Any], rows: Sequence[Suspect]) -> Table:
  caption = (
    f"{wording.setting(content)} The {len(rows)} most suspicious labels; suspects.csv has all. The "
    "probability of being wrong follows from out-of-fold predictions of cross-entropy and the "
    "recommended transition matrix. Margin: logit of the given label less the largest other one, "
    "mean over ways to train and seeds that did not see the example; below 0, networks disagree "
    "with the label. Area under the margin: the margin while cross-entropy was trained on the "
    "label, mean over its steps; low where training resisted it. Single examples have no intervals."
  )
  header = (
    "id",
    "given label",
    "proposed label",
    "probability wrong, %",
    "margin",
    "area under margin",
  )
  cells = [
    [
      _plain(row["id"], 60),
      _plain(row["given"]),
      _plain(row["proposed"]),
      f"{100 * float(row['probability_wrong']):.1f}",
      f"{float(row['margin']):.1f}",
      f"{float(row['area_under_margin']):.1f}",
    ]
    for row in rows
  ]
  return Table("most-suspicious", "The most suspicious labels", caption, header, cells)


def _gallery(content: Mapping[str, Any], rows: Sequence[Suspect], path: pathlib.Path) -> list[str]:
  """Returns the pictures of the most suspicious labels; nothing if the inputs are no images."""
  if not content["data"]["is_image"] or not path.exists():
    return []
  try:
    with files.opened(path) as f, np.load(f, allow_pickle=False) as found:
      places = {str(id): i for i, id in enumerate(found["train_ids"].tolist())}
      shown = [row for row in rows if row["id"] in places]
      images = found["train_images"][[places[row["id"]] for row in shown]]
  except (OSError, ValueError, KeyError, IndexError) as error:
    raise reading.DamagedError(reading.plain(f"{path} cannot be read ({error})")) from error
  caption = (
    f"{wording.setting(content)} The {len(shown)} most suspicious examples: given label → proposed "
    "label, probability that the given one is wrong, and id."
  )
  return [
    '<h3 id="gallery">The most suspicious pictures</h3>',
    f'<p class="caption">{escape(caption)}</p>',
    '<div class="gallery">',
    *(_picture(row, image) for row, image in zip(shown, images, strict=True)),
    "</div>",
  ]


def _picture(row: Suspect, image: np.ndarray) -> str:
  given, proposed = (escape(_plain(row[name], 28)) for name in ("given", "proposed"))
  chance = wording.percent(float(row["probability_wrong"]), 0)
  name, source = escape(_plain(row["id"], 28)), base64.b64encode(png(image)).decode()
  return (
    f'<figure><img alt="{name}" src="data:image/png;base64,{source}"><figcaption>'
    f"<s>{given}</s> → <b>{proposed}</b><br>{chance} · {name}</figcaption></figure>"
  )


def png(image: np.ndarray) -> bytes:
  """Returns a PNG file of an image [H, W, C]; one that is neither grey nor RGB becomes grey.

  Floating-point values are stretched to the range of a picture.
  """
  from PIL import Image  # comes with Matplotlib

  pixels = image if image.shape[-1] == 3 else image.mean(axis=-1)
  if image.dtype != np.uint8:
    low, high = float(pixels.min()), float(pixels.max())
    pixels = 255 * (pixels - low) / (high - low or 1)
  picture = Image.fromarray(np.asarray(pixels).round().astype(np.uint8))
  picture.thumbnail((_SIDE, _SIDE))
  buffer = io.BytesIO()
  picture.save(buffer, "png")
  return buffer.getvalue()
