"""Tables that rank methods: leaderboards, methods over all noises, the smearing path."""

from collections.abc import Mapping, Sequence

from lsjax.reports import entries
from lsjax.reports import leaderboard as leaderboard_lib
from lsjax.reports import overview as overview_lib
from lsjax.reports.cell import CellResults
from lsjax.reports.results import SweepResults
from lsjax.reports.table import Entry, Number


def leaderboard(sweep: SweepResults, cells: Sequence[CellResults]) -> entries.Content:
  """Returns cells by test accuracy at the final step, beside that at the best step.

  Where cells have grids, the point and the step that noisy validation chooses stand beside them.
  """
  final = leaderboard_lib.standings(cells, "final", stopped_early=True)
  best = {s.cell.name: s for s in leaderboard_lib.standings(cells, "best")}
  details = dict(
    zip((cell.name for cell in cells), leaderboard_lib.differences(cells), strict=True)
  )
  chosen = {cell.name: found for cell in cells if (found := sweep.tuned(cell, "best"))}
  rows: list[list[Entry]] = []
  for place, standing in enumerate(final, 1):
    cell = standing.cell
    row: list[Entry] = [str(place), standing.name]
    # A row that is taken at its best step has nothing more to say of it.
    of_step = best.get(cell.name) if standing.moment == "final" else None
    for place_of in (standing, of_step):
      row.append(entries.standing(place_of) if place_of else "-")
      gap = None if place_of is None or place_of.is_best else place_of.less_best
      row.append(Number(gap.scaled(100), signed=True) if gap and gap.n else "")
    point = chosen.get(cell.name) if standing.moment == "final" else None
    row += (
      [_changed(point, cell), entries.number(point, "test.accuracy", "best")]
      if point
      else ["-"] * 2
    )
    rows.append([*row, details[cell.name]])
  header = ["rank", "cell"]
  for name in entries.MOMENTS.values():
    header += [f"test accuracy, %, {name}", f"less the best, pp, {name}"]
  header += ["chosen values", "test accuracy, %, values and step chosen", "differs in"]
  shown = [i for i in range(len(header)) if i < 6 or (chosen if i < 8 else any(details.values()))]
  return [header[i] for i in shown], [[row[i] for i in shown] for row in rows]


def _changed(point: CellResults, cell: CellResults) -> str:
  """Returns the fields in which a point of a grid differs from its cell, with its values."""
  changed = [
    f"{name.rpartition('.')[2].replace('_', ' ')} {value:g}"
    for name, value in point.flat.items()
    if value != cell.flat.get(name)
    and isinstance(value, (int, float))
    and not name.startswith(("seed.", "teacher.seed."))
  ]
  return ", ".join(changed) or "its own"


def overview(found: overview_lib.Overview) -> entries.Content:
  """Returns the methods over all noises, by what noisy validation chooses."""
  rows: list[list[Entry]] = []
  for method in found.rows:
    row: list[Entry] = [method.label]
    for selection in overview_lib.SELECTIONS:
      row.append(Number(method.accuracy(selection).scaled(100)))
      gain = method.gain(found.base, selection, selection)
      row.append("" if method is found.base else Number(gain.scaled(100), signed=True))
    rows.append(row)
  header = ["loss"]
  for selection in overview_lib.SELECTIONS:
    header += [f"mean test accuracy, %, {selection}", f"less CE, pp, {selection}"]
  return header, rows


def gains_by_noise(found: overview_lib.Overview) -> entries.Content:
  """Returns what each method gains over cross-entropy under each noise, with the same selection."""
  columns = [
    {
      label: Number(gain.scaled(100), signed=True, bold=is_apart)
      for label, (gain, is_apart) in found.gains(selection, noise).items()
    }
    for selection in (overview_lib.FINAL, overview_lib.STOPPED)
    for noise in found.noises
  ]
  header = [
    f"{noise}, {selection}"
    for selection in (overview_lib.FINAL, overview_lib.STOPPED)
    for noise in found.noises
  ]
  labels = [row.label for row in found.rows if row is not found.base]
  return ["loss", *header], [[label, *(column[label] for column in columns)] for label in labels]


def paths(paths: Mapping[str, Sequence[tuple[float, CellResults]]]) -> entries.Content:
  """Returns accuracy along the smearing path, and what each strength gains over cross-entropy."""
  rows: list[list[Entry]] = []
  for noise, points in paths.items():
    plain = next((cell for beta, cell in points if beta == 0), None)
    for beta, cell in points:
      row: list[Entry] = [noise, f"{beta:g}"]
      for moment in entries.MOMENTS:
        row.append(entries.number(cell, "test.accuracy", moment))
        row.append("" if cell is plain else entries.less(cell, plain, moment))
      rows.append(row)
  header = ["noise", "beta"]
  for name in entries.MOMENTS.values():
    header += [f"test accuracy, %, {name}", f"less CE, pp, {name}"]
  return header, rows
