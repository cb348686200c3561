"""The tables of the paper from the results of a sweep, with the paper's own numbers beside them."""

import dataclasses
from collections.abc import Mapping, Sequence

from lsjax.methods import SHORT_NAMES
from lsjax.reports import paper
from lsjax.reports.captions import words
from lsjax.reports.claims import Claim, Comparison, difference
from lsjax.reports.results import CellResults, SweepResults

Text = tuple[Sequence[str], Sequence[Sequence[str]]]  # header and rows


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of text.

  Attributes:
    id: name of its files.
    title: title, with the paper's name of the table if it has one.
    caption: what was measured on what, and how often.
    header: headings of the columns.
    rows: text of the cells, by row.
  """

  id: str
  title: str
  caption: str
  header: Sequence[str]
  rows: Sequence[Sequence[str]]


def tables(sweep: SweepResults, claims: Sequence[Claim]) -> list[Table]:
  """Returns the table of claims, and every table of the paper for which a sweep has cells."""
  made = {
    "claims": _claims(claims),
    "table_a": _accuracy(sweep),
    "table_alpha": _curves(sweep),
    "table_c": _students(sweep),
    "table_d": _calibration(sweep),
    "table_e": _denoising(sweep),
    "table_2d": _boundaries(sweep),
  }
  return [Table(id, *words(id, sweep), header, rows) for id, (header, rows) in made.items() if rows]


def _claims(claims: Sequence[Claim]) -> Text:
  """Returns a row per claim."""
  rows = [
    [c.id, c.text, c.verdict, "; ".join([*map(str, c.tests), *([c.note] if c.note else [])])]
    for c in claims
  ]
  return ["claim", "what it says", "verdict", "measured"], rows


def _accuracy(sweep: SweepResults) -> Text:
  """Returns table A, the test accuracy of the four methods for every model that has them."""
  data, main_model = sweep.main
  others = {cell.model for cell in sweep.cells if cell.data == data} - {main_model}
  rows = []
  for model in (main_model, *sorted(others)):
    found = {m: sweep.trained(m, paper.ALPHA, paper.RATE, model=model) for m in SHORT_NAMES}
    published = paper.ACCURACY if model in ("resnet32", main_model) else {}
    for method, cell, less_ce in _existing(found):
      texts = [model, method, _text(cell, "test.accuracy"), less_ce]
      rows.append(texts + _published(method, published))
  header = ["model", "loss", "test accuracy, %", "less CE, 95 % interval"]
  return header + [f"paper, {data}" for data in paper.DATA_SETS], rows


def _curves(sweep: SweepResults) -> Text:
  """Returns a row for every noise rate, method and alpha."""
  metrics = {
    "test accuracy, %": "test.accuracy",
    "ECE, %": "test.ece",
    "mislabelled part, true labels, %": "train.mislabelled_accuracy",
    "memorised, %": "train.memorisation",
  }
  rows = []
  for rate in sweep.rates():
    for method in ("LS", "FC", "BC"):
      for cell in sweep.curve(method, rate):
        if cell.alpha or method == "LS":
          texts = [f"{rate:g}", method if cell.alpha else "CE", f"{cell.alpha:g}"]
          rows.append(texts + [_text(cell, metric) for metric in metrics.values()])
  return ["noise", "loss", "alpha", *metrics], rows


def _students(sweep: SweepResults) -> Text:
  """Returns table C, students by teacher, noise, temperature and convention."""
  kinds = sorted(
    {(c.rate, c.temperature, c.convention) for c in sweep.students},
    key=lambda kind: (-kind[0], kind[1], kind[2] != "teacher_only"),
  )
  rows = []
  for rate, temperature, convention in kinds:
    found = {m: sweep.student(m, rate, temperature, convention) for m in SHORT_NAMES}
    published = paper.STUDENT_ACCURACY if rate == paper.RATE and temperature == 1 else {}
    for method, cell, less_ce in _existing(found):
      texts = [f"{rate:g}", f"{temperature:g}"]
      texts += ["either (T = 1)" if temperature == 1 else convention, method]
      texts += [_text(sweep.trained(method, paper.ALPHA, rate), "test.accuracy")]
      texts += [_text(cell, "test.accuracy"), less_ce, _text(cell, "test.teacher_agreement")]
      rows.append(texts + _published(method, published))
  header = ["noise", "T", "convention", "teacher", "teacher accuracy, %", "student accuracy, %"]
  header += ["less student of CE, 95 % interval", "agreement, %"]
  return header + [f"paper, {data}" for data in paper.DATA_SETS], rows


def _calibration(sweep: SweepResults) -> Text:
  """Returns table D, the calibration error by method and alpha."""
  rows = [
    [method, f"{alpha:g}", _text(cell, "test.ece", 1, 3), f"{published:.3f}"]
    for method, alpha, published in paper.CALIBRATION
    if (cell := sweep.trained(method, alpha, paper.RATE))
  ]
  return ["loss", "alpha", "ECE", "paper (data set not named)"], rows


def _denoising(sweep: SweepResults) -> Text:
  """Returns table E, the accuracy of LS on the parts of the training set."""
  rows = []
  for alpha, *published in paper.DENOISING:
    if cell := sweep.trained("LS" if alpha else "CE", alpha, paper.RATE):
      parts = ("true_accuracy", "clean_accuracy", "mislabelled_accuracy")
      texts = [f"{alpha:g}", *(_text(cell, f"train.{part}") for part in parts)]
      rows.append([*texts, " / ".join(f"{value:.2f}" for value in published)])
  header = ["alpha", "all", "clean part", "mislabelled part", "paper: all / clean / mislabelled"]
  return header, rows


def _boundaries(sweep: SweepResults) -> Text:
  """Returns the angles and distances of the boundaries of linear models on 2-D data."""
  clean, noisy = sweep.plane
  rows = []
  for cell in (*clean, *noisy):
    texts = [f"{cell.rate:g}", cell.method, f"{cell.alpha:g}"]
    for name in ("angle", "distance"):
      s = cell.summary(f"boundary.{name}")
      mean = f"{s.mean:.2f}" if s.n else cell.problems
      texts.append(f"{mean} ± {s.sd:.2f} (n = {s.n})" if s.n > 1 else mean)
    rows.append([*texts, _text(cell, "test.accuracy")])
  header = ["one-sided noise", "loss", "alpha", "angle to the Bayes line, degrees"]
  return [*header, "distance from the origin", "test accuracy, %"], rows


def _text(cell: CellResults | None, metric: str, scale: float = 100, digits: int = 2) -> str:
  """Returns "mean ± sd (n = 5)" of a metric, and which runs diverged or are missing."""
  if cell is None:
    return "-"
  s = cell.summary(metric, scale)
  if not s.n:
    return cell.problems or "-"
  spread = f" ± {s.sd:.{digits}f}" if s.n > 1 else ""
  text = f"{s.mean:.{digits}f}{spread} (n = {s.n})"
  return f"{text}; {cell.problems}" if cell.problems else text


def _existing(found: Mapping[str, CellResults | None]) -> list[tuple[str, CellResults, str]]:
  """Returns method, cell and difference to the cell of CE, for the methods that have a cell."""
  return [
    (method, cell, "" if method == "CE" else Comparison("", difference(cell, found["CE"])).measured)
    for method, cell in found.items()
    if cell
  ]


def _published(
  method: str, numbers: Mapping[str, Mapping[str, paper.MeanAndDeviation]]
) -> list[str]:
  """Returns the paper's number for a method on each data set, if it is among the numbers."""
  known = [numbers.get(data, {}).get(method) for data in paper.DATA_SETS]
  return ["not known" if pair is None else f"{pair[0]:.2f} ± {pair[1]:.2f}" for pair in known]
