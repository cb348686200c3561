"""Words about a sweep: titles and captions, what ran, and what is missing."""

import collections
import string
from collections.abc import Collection

from lsjax.reports import paper, resources
from lsjax.reports.cell import CellResults
from lsjax.reports.results import SweepResults

CAPTIONS = resources.toml("captions.toml")


def words(
  id: str, sweep: SweepResults, cells: Collection[CellResults] = (), **values: str
) -> tuple[str, str]:
  """Returns title and caption of a table or figure, as captions.toml has them.

  Args:
    id: name of the table or figure.
    sweep: results that it is made from.
    cells: cells that are drawn, whose seeds the caption counts.
    **values: values of placeholders that only this caption has.
  """
  setting, seeds = _setting(sweep), _seeds(cells)
  spread = _spread(seeds)
  bad = [f"{cell.name} ({cell.problems})" for cell in cells if cell.problems]
  of_paper = "" if sweep.other_noise else CAPTIONS[id].get("paper", "")
  caption = string.Template(f"{CAPTIONS[id]['caption']} {of_paper}".strip()).substitute(
    values,
    label=sweep.label,
    tested=tested_on(cells or sweep.select()),
    noise=_noise(cells, sweep),
    setting=setting,
    training=_warm_up(cells or sweep.select()) + setting,
    seeds=seeds,
    spread=spread,
    Spread=spread.capitalize(),
    absent=f" Not all there: {'; '.join(bad)}." if bad else "",
  )
  return string.Template(CAPTIONS[id]["title"]).substitute(values), caption


def about(sweep: SweepResults) -> list[str]:
  """Returns sentences on what ran: runs, time, versions, and what is missing."""
  runs = {c.workdirs[seed]: status for c in sweep.cells for seed, status in c.statuses.items()}
  statuses = list(runs.values())
  counts = ", ".join(f"{statuses.count(s)} {s}" for s in sorted(set(statuses)))
  lines = [f"{sweep.label}: {len(sweep.cells)} cells, {len(runs)} distinct runs ({counts})."]
  # Each process writes a row when it begins and another one, with its seconds, when it ends.
  rows = sweep.sessions
  ended = [row["seconds"] for row in rows if isinstance(row.get("seconds"), (int, float))]
  if rows:
    killed = len(rows) - 2 * len(ended)
    lines.append(
      f"Trained in {sum(ended):.0f} s of {len(ended)} process{'es' if len(ended) != 1 else ''} "
      f"(start-up, theory and report not counted"
      f"{f'; {killed} more were killed' if killed > 0 else ''}), {rows[-1]['date']}."
    )
  if e := sweep.environment:
    lines.append(
      f"{e['device']} ({e['backend']}), Python {e['python']}, jax {e['jax']}, flax {e['flax']}, "
      f"optax {e['optax']}, lsjax {e['lsjax']} at {e['commit'] or 'no commit'}."
    )
  bad = [f"{cell.name}: {cell.problems}" for cell in sweep.cells if cell.problems]
  if bad:
    lines.append(f"Not all there: {'; '.join(bad)}.")
  if sweep.unreadable:
    lines.append(f"Damaged, and counted as missing: {'; '.join(sweep.unreadable)}.")
  return lines


def tested_on(cells: Collection[CellResults]) -> str:
  """Returns what the test labels of cells are worth."""
  kinds = {cell.test_is_noisy for cell in cells}
  if kinds == {True, False}:
    return "noisy test labels in some cells, clean ones in others"
  return "noisy test labels" if True in kinds else "clean test set"


def _setting(sweep: SweepResults) -> str:
  """Returns data set, model, number of steps, noise convention and ECE bins."""
  data, model = sweep.main
  cells = [cell for cell in sweep.listed if (cell.data, cell.model) == (data, model)]
  steps = sorted({cell.config["train"]["num_steps"] for cell in cells})
  own_class = {
    cell.config["noise"]["includes_own_class"] for cell in cells if cell.noise_kind == "symmetric"
  }
  text = f"{sweep.label}, {model}, {' or '.join(map(str, steps))} steps, {tested_on(cells)}."
  if own_class:
    chances = {False: "a wrong label", True: "a redraw over all classes"}
    chance = " or ".join(chances[own] for own in sorted(own_class))
    text += f" The rate of symmetric noise is the chance of {chance}."
  return f"{text} ECE: 15 bins."


def _noise(cells: Collection[CellResults], sweep: SweepResults) -> str:
  """Returns the noise of the cells; without cells that of the paper or what stands for it."""
  noises = list(dict.fromkeys(cell.noise for cell in cells)) or [sweep.other_noise]
  return " or ".join(noises) or f"symmetric {100 * paper.RATE:g} % noise"


def _warm_up(all_cells: Collection[CellResults]) -> str:
  """Returns sentences on what keeps backward correction from diverging, if it is among cells."""
  by_treatment: dict[tuple[int, float], list[CellResults]] = collections.defaultdict(list)
  for cell in (cell for cell in all_cells if cell.method == "BC"):
    config = cell.config
    treatment = (config["loss"]["cross_entropy_steps"], config["optim"]["clip_norm"])
    by_treatment[treatment].append(cell)
  texts = []
  for (steps, clip), cells in sorted(by_treatment.items()):
    where = ""
    if len(by_treatment) > 1:
      of_noise: dict[str, list[str]] = collections.defaultdict(list)
      for cell in sorted(cells, key=lambda cell: (cell.rate, cell.alpha)):
        of_noise[cell.noise].append(f"{cell.alpha:g}")
      listed = (f"alpha {', '.join(alphas)} ({noise})" for noise, alphas in of_noise.items())
      where = f" at {'; '.join(listed)}"
    how = (
      f"starts with {steps} steps of CE, which may be its best ones, and clips gradients at norm "
    )
    how += f"{clip:g}"
    texts.append(f"BC {how if (steps, clip) != (0, 0) else 'is trained like the others'}{where}. ")
  return "".join(texts)


def _seeds(cells: Collection[CellResults]) -> str:
  """Returns the number of finished runs per cell, "n = 5" or "n = 3 to 5"."""
  counts = {list(cell.statuses.values()).count("finished") for cell in cells} or {0}
  low, high = min(counts), max(counts)
  return f"n = {low}" if low == high else f"n = {low} to {high}"


def _spread(seeds: str) -> str:
  """Returns what a band or a bar shows of the seeds, whose number is said as `_seeds` does."""
  if seeds == "n = 1":
    return "one seed, no interval (n = 1)"
  return f"mean over seeds with the 95 % interval of the mean ({seeds})"
