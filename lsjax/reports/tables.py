"""The tables of a report: those of the paper with its own numbers beside them, and leaderboards."""

import re
from collections.abc import Mapping, Sequence

from lsjax.methods import PAPER
from lsjax.reports import entries, leaderboard, overview, paper, rankings
from lsjax.reports.captions import words
from lsjax.reports.cell import CellResults, Moment
from lsjax.reports.claims import BEST, FINAL, TUNED, Claim, Comparison
from lsjax.reports.results import SweepResults
from lsjax.reports.table import Entry, Table


def tables(sweep: SweepResults, claims: Sequence[Claim]) -> list[Table]:
  """Returns the table of claims, every table of the paper that a sweep has, and leaderboards."""
  made = {"claims": _claims(claims)}
  if claims:
    made |= {
      "table_a": _accuracy(sweep),
      "table_tuned": _tuned(sweep),
      "table_alpha": _curves(sweep),
      "table_c": _students(sweep),
      "table_d": _calibration(sweep),
      "table_e": _denoising(sweep),
      "table_2d": _boundaries(sweep),
    }
  found = [_table(id, sweep, content) for id, content in made.items() if content[1]]
  if over := overview.overview(sweep):
    noises = ", ".join(over.noises)
    found.append(_table("overview", sweep, rankings.overview(over), noises=noises))
    found.append(_table("gains_by_noise", sweep, rankings.gains_by_noise(over)))
  if paths := overview.paths(sweep):
    found.append(_table("path", sweep, rankings.paths(paths)))
  for cells in leaderboard.groups(sweep, students=not claims):
    header, rows = rankings.leaderboard(sweep, cells)
    first = cells[0]
    kind = f"{first.data}, {first.model}, {first.noise}"
    values = {"kind": kind, "realised": _realised(first)}
    if rows:
      made_one = _table("leaderboard", sweep, (header, rows), **values)
      found.append(made_one.renamed("leaderboard_" + re.sub(r"[^a-z0-9]+", "_", kind.lower())))
  return found


def _table(id: str, sweep: SweepResults, content: entries.Content, **values: str) -> Table:
  """Returns a table with its title and caption, in which n is said once."""
  header, rows = content
  shown = [cell for m in PAPER if (cell := _only(sweep, m))] if id == "table_a" else []
  title, caption = words(id, sweep, shown, **values)
  return Table.saying_n_once(id, title, caption, header, rows)


def _claims(claims: Sequence[Claim]) -> entries.Content:
  """Returns a row per statement of each empirical claim."""
  settings = [s for s in (FINAL, BEST, TUNED) if any(s in claim.tests for claim in claims)]
  rows: list[list[Entry]] = []
  for claim in claims:
    tests = {s: list(zip(claim.tests.get(s, ()), claim.verdicts(s))) for s in settings}
    for i, (test, _) in enumerate(tests.get(FINAL, [])):
      row: list[Entry] = [claim.id if i == 0 else "", f"{test.what}: claimed {test.claimed}"]
      for setting in settings:
        found = tests[setting][i : i + 1]
        row.append("; ".join(_verdict(*pair) for pair in found) or "-")
      rows.append(row)
  return ["claim", "statement", *settings], rows


def _verdict(test: Comparison, verdict: str) -> str:
  seeds = f"; {test.seeds}" if verdict == "inconclusive" else ""
  return f"{verdict}: {test.measured}{seeds}"


def _accuracy(sweep: SweepResults) -> entries.Content:
  """Returns table A, the test accuracy of the four methods for every model that has them."""
  data, main_model = sweep.main
  others = {cell.model for cell in sweep.listed if cell.data == data} - {main_model}
  rows: list[list[Entry]] = []
  for model in (main_model, *sorted(others)):
    cells = {m: _only(sweep, m, model=model) for m in PAPER}
    published = paper.ACCURACY if model in ("resnet32", main_model) else {}
    ranked = _ranked([cell for cell in cells.values() if cell])
    for method, cell in cells.items():
      if cell:
        row: list[Entry] = [model, cell.label]
        for moment in entries.MOMENTS:
          row.append(_accuracy_of(cell, moment, ranked))
          row.append("" if method == "CE" else entries.less(cell, cells["CE"], moment))
        rows.append(row + _published(method, published))
  header = ["model", "loss"]
  for name in entries.MOMENTS.values():
    header += [f"test accuracy, %, {name}", f"less CE, pp, {name}"]
  return _with_paper(sweep, header, rows)


def _tuned(sweep: SweepResults) -> entries.Content:
  """Returns the settings that noisy validation chooses for each method, beside the sweep's own."""
  rows: list[list[Entry]] = []
  for cell in sweep.listed:
    chosen = sweep.tuned(cell)
    if chosen is None:
      continue
    optim = chosen.config["optim"]
    row: list[Entry] = [cell.label, f"{optim['learning_rate']:g}", f"{optim['weight_decay']:g}"]
    row += [
      entries.number(c, "test.accuracy", moment)
      for c in (cell, chosen)
      for moment in entries.MOMENTS
    ]
    rows.append(row)
  header = ["loss", "chosen rate", "chosen decay"]
  for setting in ("own setting", "chosen setting"):
    header += [f"test accuracy, %, {setting}, {name}" for name in entries.MOMENTS.values()]
  return header, rows


def _curves(sweep: SweepResults) -> entries.Content:
  """Returns a row for every noise, method and alpha."""
  metrics: dict[str, tuple[str, Moment]] = {
    "test accuracy, %, best noisy-validation step": ("test.accuracy", "best"),
    "ECE, %": ("test.ece", "final"),
    "mislabelled part, true labels, %": ("train.mislabelled_accuracy", "final"),
    "memorised, %": ("train.memorisation", "final"),
  }
  rows: list[list[Entry]] = []
  for noise in sweep.noises():
    cells = [
      cell
      for method in ("LS", "FC", "BC")
      for cell in sweep.curve(method, noise)
      if cell.alpha or method == "LS"
    ]
    ranked = _ranked(cells)
    for cell in cells:
      row: list[Entry] = [noise, cell.method, f"{cell.alpha:g}"]
      row.append(_accuracy_of(cell, "final", ranked))
      row += [
        _accuracy_of(cell, moment, ranked)
        if metric == "test.accuracy"
        else entries.number(cell, metric, moment)
        for metric, moment in metrics.values()
      ]
      rows.append(row)
  return ["noise", "loss", "alpha", "test accuracy, %, final step", *metrics], rows


def _students(sweep: SweepResults) -> entries.Content:
  """Returns table C, students by teacher, noise, temperature and convention."""
  kinds = sorted(
    {(c.noise, c.rate, c.temperature, c.convention) for c in sweep.students},
    key=lambda kind: (-kind[1], kind[2], kind[3]),
  )
  rows: list[list[Entry]] = []
  for noise, rate, temperature, convention in kinds:
    students = [
      cell
      for cell in sweep.students
      if (cell.noise, cell.temperature, cell.convention) == (noise, temperature, convention)
    ]
    of_ce = next((cell for cell in students if cell.teacher == "CE"), None)
    published = paper.STUDENT_ACCURACY if rate == paper.RATE and temperature == 1 else {}
    ranked = _ranked(students)
    for cell in students:
      row: list[Entry] = [noise, f"{temperature:g}", convention, cell.teacher]
      row.append(_teacher_accuracy(sweep, cell))
      row.append(_accuracy_of(cell, "final", ranked))
      row.append("" if cell is of_ce else entries.less(cell, of_ce, "final"))
      row.append(_accuracy_of(cell, "best", ranked))
      row.append(entries.number(cell, "test.teacher_agreement"))
      rows.append(row + _published(cell.teacher.split()[0], published))
  header = ["noise", "T", "convention", "teacher", "teacher accuracy, %"]
  header += ["student accuracy, %, final step", "less student of CE, pp"]
  header += ["student accuracy, %, best noisy-validation step", "agreement, %"]
  return _with_paper(sweep, header, rows)


def _teacher_accuracy(sweep: SweepResults, student: CellResults) -> Entry:
  """Returns the accuracy of the cell that trained a student's teachers, if the sweep has it."""
  found = sweep.select(label=student.teacher, noise=student.noise)
  return entries.number(found[0], "test.accuracy") if len(found) == 1 else "-"


def _calibration(sweep: SweepResults) -> entries.Content:
  """Returns table D, the calibration error by method and alpha."""
  rows: list[list[Entry]] = []
  for method, alpha, published in paper.CALIBRATION:
    if cell := _only(sweep, method, alpha):
      numbers = [entries.number(cell, "test.ece", moment, 1, 3) for moment in entries.MOMENTS]
      rows.append([method, f"{alpha:g}", *numbers, f"{published:.3f}"])
  header = ["loss", "alpha", *(f"ECE, {name}" for name in entries.MOMENTS.values())]
  return _with_paper(sweep, header, rows, "paper (data set not named)")


def _denoising(sweep: SweepResults) -> entries.Content:
  """Returns table E, the accuracy of LS on the parts of the training set."""
  parts = {"all": "true_accuracy", "clean": "clean_accuracy", "mislabelled": "mislabelled_accuracy"}
  rows: list[list[Entry]] = []
  for alpha, *published in paper.DENOISING:
    if cell := _only(sweep, "LS" if alpha else "CE", alpha):
      numbers = [
        entries.number(cell, f"train.{part}", moment)
        for moment in entries.MOMENTS
        for part in parts.values()
      ]
      rows.append([f"{alpha:g}", *numbers, " / ".join(f"{value:.2f}" for value in published)])
  columns = [f"{part}, %, {name}" for name in entries.MOMENTS.values() for part in parts]
  return _with_paper(sweep, ["alpha", *columns], rows, f"paper: {' / '.join(parts)}")


def _boundaries(sweep: SweepResults) -> entries.Content:
  """Returns the distances and angles of the boundaries of linear models on 2-D data."""
  rows: list[list[Entry]] = []
  for spread, (clean, noisy) in sweep.planes.items():
    for cell in (*([clean] if clean else []), *noisy):
      row: list[Entry] = [spread, cell.noise, cell.label]
      row += [
        entries.number(cell, f"boundary.{name}", "final", 1, 3) for name in ("distance", "angle")
      ]
      rows.append([*row, entries.number(cell, "test.accuracy")])
  header = ["deviation of the clusters", "noise", "loss", "distance from the origin"]
  return [*header, "angle to the Bayes line, degrees", "test accuracy, %"], rows


def _ranked(cells: Sequence[CellResults]) -> dict[tuple[Moment, str], leaderboard.Standing]:
  """Returns the standings of cells at both moments, by moment and name."""
  return {
    (moment, found.cell.name): found
    for moment in entries.MOMENTS
    for found in leaderboard.standings(cells, moment)
  }


def _accuracy_of(
  cell: CellResults,
  moment: Moment,
  ranked: Mapping[tuple[Moment, str], leaderboard.Standing],
) -> Entry:
  found = ranked.get((moment, cell.name))
  return entries.standing(found) if found else cell.problems or "-"


def _only(
  sweep: SweepResults, method: str, alpha: float = paper.ALPHA, **wanted: str
) -> CellResults | None:
  """Returns the cell of a method at the paper's noise; none if several fit, which claims name."""
  label = f"{method} {alpha:g}" if method != "CE" else method
  found = sweep.select(label=label, **sweep.noise_of(paper.RATE), **wanted)
  return found[0] if len(found) == 1 else None


def _with_paper(
  sweep: SweepResults, header: list[str], rows: list[list[Entry]], *columns: str
) -> entries.Content:
  """Returns a table with the paper's numbers in the last columns, under its noise alone.

  Args:
    sweep: results that the table is made from.
    header: the columns before those of the paper.
    rows: the rows with the paper's numbers at their ends.
    *columns: the columns of the paper; by default one for each of its data sets.
  """
  if sweep.other_noise:
    return header, [row[: len(header)] for row in rows]
  return [*header, *(columns or [f"paper, {data}" for data in paper.DATA_SETS])], rows


def _published(
  method: str, numbers: Mapping[str, Mapping[str, paper.MeanAndDeviation]]
) -> list[Entry]:
  """Returns the paper's number for a method on each data set, if it is among the numbers."""
  texts: list[Entry] = []
  for data in paper.DATA_SETS:
    pair = numbers.get(data, {}).get(method)
    text = "not known" if pair is None else f"{pair[0]:.2f} ± {pair[1]:.2f}"
    is_suspect = (
      pair is not None
      and numbers is paper.STUDENT_ACCURACY
      and (paper.ACCURACY[data][method][0] == pair[0])
    )
    texts.append(text + (" (suspect)" if is_suspect else ""))
  return texts


def _realised(cell: CellResults) -> str:
  rate = cell.realised_rate
  return "unknown" if rate != rate else f"{100 * rate:.1f} %"
