"""Words about a sweep: titles and captions, what ran, and what is missing."""

import string
from collections.abc import Collection

from lsjax.reports import paper, resources
from lsjax.reports.results import CellResults, SweepResults, read_rows

CAPTIONS = resources.toml("captions.toml")


def words(
  id: str, sweep: SweepResults, cells: Collection[CellResults] = (), **values: object
) -> tuple[str, str]:
  """Returns title and caption of a table or figure, as captions.toml has them.

  Args:
    id: name of the table or figure.
    sweep: results that it is made from.
    cells: cells that are drawn, whose seeds the caption counts.
    **values: values of placeholders that only this caption has.
  """
  setting, spread = _setting(sweep), _spread(cells)
  bad = [f"{cell.name} ({cell.problems})" for cell in cells if cell.problems]
  caption = string.Template(CAPTIONS[id]["caption"]).substitute(
    values,
    alpha=f"{paper.ALPHA:g}",
    noise=f"{100 * paper.RATE:g} % noise",
    setting=setting,
    training=_warm_up(sweep) + setting,
    seeds=_seeds(cells),
    spread=spread,
    Spread=spread.capitalize(),
    absent=f" Not all there: {'; '.join(bad)}." if bad else "",
  )
  return CAPTIONS[id]["title"], caption


def about(sweep: SweepResults) -> list[str]:
  """Returns sentences on what ran: runs, time, versions, and what is missing."""
  runs = {c.workdirs[seed]: status for c in sweep.cells for seed, status in c.statuses.items()}
  statuses = list(runs.values())
  counts = ", ".join(f"{statuses.count(s)} {s}" for s in sorted(set(statuses)))
  lines = [f"{sweep.label}: {len(sweep.cells)} cells, {len(runs)} distinct runs ({counts})."]
  # Each process writes a row when it begins and another one, with its seconds, when it ends.
  rows = read_rows(sweep.path / "sessions.jsonl")
  ended = [row["seconds"] for row in rows if "seconds" in row]
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
  return lines


def _setting(sweep: SweepResults) -> str:
  """Returns data set, model, step, noise convention and ECE bins."""
  cell = sweep.find()
  if cell is None:
    return sweep.label
  own_class = cell.config["noise"]["includes_own_class"]
  convention = "a redraw over all classes" if own_class else "a wrong label"
  return (
    f"{sweep.label}, {cell.model}, final step {cell.config['train']['num_steps']}, clean test set. "
    f"Noise: symmetric, rate = chance of {convention}, on the training labels. ECE: 15 bins."
  )


def _warm_up(sweep: SweepResults) -> str:
  """Returns a sentence on what keeps backward correction from diverging, if the sweep has it."""
  cell = sweep.find(method="BC")
  if cell is None:
    return ""
  steps, clip = cell.config["loss"]["cross_entropy_steps"], cell.config["optim"]["clip_norm"]
  return f"BC starts with {steps} steps of CE and clips gradients at norm {clip:g}. "


def _seeds(cells: Collection[CellResults]) -> str:
  """Returns the number of finished runs per cell, "n = 5" or "n = 3 to 5"."""
  counts = {len(cell.values("test.accuracy")) for cell in cells} or {0}
  low, high = min(counts), max(counts)
  return f"n = {low}" if low == high else f"n = {low} to {high}"


def _spread(cells: Collection[CellResults]) -> str:
  """Returns what a band or a bar shows of the seeds, and how many there are."""
  n = _seeds(cells)
  if n == "n = 1":
    return "one seed, no interval (n = 1)"
  return f"mean over seeds with the 95 % interval of the mean ({n})"
