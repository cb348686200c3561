"""Figures of a sweep, from its result files. No JAX; matplotlib is imported when they are drawn."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lsjax import claims, files, tables
from lsjax import pool as pool_lib

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers; markers and dashes differ too.
STYLES: Mapping[str, dict[str, Any]] = {
  "CE": {"color": "#000000", "marker": "o", "linestyle": "-"},
  "LS": {"color": "#0072B2", "marker": "s", "linestyle": "-"},
  "FC": {"color": "#D55E00", "marker": "^", "linestyle": "--"},
  "BC": {"color": "#009E73", "marker": "D", "linestyle": ":"},
}
_SEQUENCE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclasses.dataclass(frozen=True)
class Drawing:
  """A figure with what must be said of it."""

  id: str
  title: str
  caption: str
  figure: "Figure"


def draw(pool: pool_lib.Pool, rate: float = 0.2, alpha: float = 0.1) -> list[Drawing]:
  """Draws every figure that the pool has results for."""
  made = [
    _accuracy_against_alpha(pool),
    _spectrum(pool),
    _parts_over_training(pool, rate, alpha),
    _memorisation_over_training(pool, rate, alpha),
    _reliability(pool, rate, alpha),
    _ece_against_alpha(pool),
    _margins(pool, rate, alpha),
    _projection(pool, rate, alpha),
    _students(pool),
    _boundaries(pool),
    _shrinkage(pool),
  ]
  return [drawing for drawing in made if drawing is not None]


def _axes(count: int, *, width: float = 3.2, height: float = 2.9, rows: int = 1) -> Any:
  """Returns (figure, axes [rows, columns]) of `count` panels a row."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width * count + 0.6, height * rows + 0.3), layout="constrained")
  axes = figure.subplots(rows, count, squeeze=False)
  for one in axes.flat:
    one.grid(alpha=0.3)
    one.spines[["top", "right"]].set_visible(False)
  return figure, axes


def _band(
  axes: "Axes", x: Sequence[float], each: Sequence[Sequence[float]], label: str, **style: Any
) -> None:
  """Draws means with the 95 % interval of the mean as a band; gaps where nothing is."""
  summaries = [claims.summarise(values) for values in each]
  mean = [s.mean if s.n else math.nan for s in summaries]
  axes.plot(x, mean, label=label, markersize=4, linewidth=1.4, **style)
  low, high = [s.low for s in summaries], [s.high for s in summaries]
  axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _seeds(cells: Iterable[pool_lib.Cell]) -> str:
  """Returns "n = 5", or a range, of the runs that finished."""
  counts = {len(cell.values("test.accuracy")) for cell in cells} or {0}
  low, high = min(counts), max(counts)
  return f"n = {low}" if low == high else f"n = {low} to {high}"


def _spread(cells: Iterable[pool_lib.Cell]) -> str:
  """Returns what is drawn of several seeds, and how many there are."""
  n = _seeds(cells)
  if n == "n = 1":
    return "one seed, no interval (n = 1)"
  return f"mean over seeds with the 95 % interval of the mean ({n})"


def _absent(cells: Iterable[pool_lib.Cell]) -> str:
  """Returns a sentence on what is not drawn because it is not there."""
  bad = [f"{cell.name} ({cell.problems})" for cell in cells if cell.problems]
  return f" Not all there: {'; '.join(bad)}." if bad else ""


def _percent(values: Mapping[int, float]) -> list[float]:
  return [100 * v for v in values.values()]


def _against_alpha(
  pool: pool_lib.Pool, metric: str, ylabel: str, id: str, title: str, what: str
) -> Drawing | None:
  rates = sorted({cell.rate for cell in pool.select(method="LS")})
  if not rates:
    return None
  figure, axes = _axes(len(rates))
  drawn = []
  for one, rate in zip(axes[0], rates):
    for method in ("LS", "FC", "BC"):
      found = pool_lib.alphas(pool, method, rate)
      drawn += [cell for _, cell in found]
      values = [_percent(cell.values(metric)) for _, cell in found]
      _band(one, [a for a, _ in found], values, method, **STYLES[method])
    one.set(title=f"noise {rate:g}", xlabel="alpha (a/L convention)")
  axes[0, 0].set_ylabel(ylabel)
  axes[0, 0].legend()
  caption = (
    f"{what} against alpha, {_spread(drawn)}; alpha 0 is cross-entropy. {tables.warm_up(pool)}"
    f"{tables.footing(pool)}{_absent(drawn)}"
  )
  return Drawing(id, title, caption, figure)


def _accuracy_against_alpha(pool: pool_lib.Pool) -> Drawing | None:
  return _against_alpha(
    pool,
    "test.accuracy",
    "test accuracy, %",
    "accuracy_alpha",
    "Accuracy against alpha",
    "Test accuracy of label smoothing (LS), forward (FC) and backward correction (BC)",
  )


def _ece_against_alpha(pool: pool_lib.Pool) -> Drawing | None:
  return _against_alpha(
    pool,
    "test.ece",
    "ECE, %",
    "ece_alpha",
    "Calibration against alpha",
    "Expected calibration error on the test set",
  )


def _spectrum(pool: pool_lib.Pool) -> Drawing | None:
  rates = sorted({cell.rate for cell in pool.select(method="LS")})
  if not rates:
    return None
  figure, axes = _axes(1, width=6)
  one, drawn = axes[0, 0], []
  for i, rate in enumerate(rates):
    # One family: BC with alpha is r = -alpha / (1 - alpha), CE is 0, LS is r = alpha.
    points = [(cell.alpha, cell) for cell in pool.select(method="LS", rate=rate)]
    points += [(0.0, cell) for cell in pool.select(method="CE", rate=rate)]
    points += [(-c.alpha / (1 - c.alpha), c) for c in pool.select(method="BC", rate=rate)]
    points.sort(key=lambda pair: pair[0])
    drawn += [cell for _, cell in points]
    values = [_percent(cell.values("test.accuracy")) for _, cell in points]
    style: dict[str, Any] = dict(
      zip(("color", "linestyle", "marker"), (_SEQUENCE[i], _DASHES[i], _MARKERS[i]))
    )
    _band(one, [r for r, _ in points], values, f"noise {rate:g}", **style)
  one.set_xscale("symlog", linthresh=1)
  one.set(xlabel="r (below 0: BC, 0: CE, above 0: LS)", ylabel="test accuracy, %")
  one.axvline(0, color="#777777", linewidth=0.8)
  one.legend()
  caption = (
    f"From backward correction through cross-entropy to label smoothing by the one number r "
    f"(symmetric logarithmic scale), {_spread(drawn)}. {tables.warm_up(pool)}"
    f"{tables.footing(pool)}{_absent(drawn)}"
  )
  return Drawing("r_spectrum", "The smearing family", caption, figure)


def _compared(pool: pool_lib.Pool, rate: float, alpha: float) -> list[tuple[str, pool_lib.Cell]]:
  """Returns the cells that the figures over training compare: the methods at alpha, LS at more."""
  wanted = [("CE", 0.0), ("LS", alpha), ("LS", round(3 * rate, 9)), ("FC", alpha), ("BC", alpha)]
  found = []
  for name, a in wanted:
    cell = pool.one(method=name, alpha=a, rate=rate)
    if cell is not None:
      found.append((name if name == "CE" else f"{name} {a:g}", cell))
  return found


def _history(cell: pool_lib.Cell, key: str) -> tuple[list[int], list[list[float]]]:
  """Returns (steps, values in % of each seed) of a metric of the training split."""
  by_step: dict[int, list[float]] = {}
  for workdir in cell.workdirs.values():
    path = workdir / "metrics.jsonl"
    for row in files.read_rows(path) if path.exists() else []:
      if row["split"] == "train" and row.get(key) is not None:
        by_step.setdefault(row["step"], []).append(100 * row[key])
  return sorted(by_step), [by_step[step] for step in sorted(by_step)]


def _over_training(
  pool: pool_lib.Pool, rate: float, alpha: float, panels: Mapping[str, str]
) -> tuple["Figure", str] | None:
  compared = _compared(pool, rate, alpha)
  if not compared:
    return None
  figure, axes = _axes(len(panels), width=4.2, height=3.2)
  for one, (key, title) in zip(axes[0], panels.items()):
    for i, (label, cell) in enumerate(compared):
      style: dict[str, Any] = {"color": _SEQUENCE[i], "linestyle": _DASHES[i]}
      _band(one, *_history(cell, key), label, **style)
    one.set(title=title, xlabel="step", ylim=(-3, 103))
  axes[0, 0].set_ylabel("share of the part, %")
  axes[0, 0].legend(fontsize=8)
  cells = [cell for _, cell in compared]
  spread = _spread(cells)
  caption = (
    f"{spread[0].upper()}{spread[1:]}, {100 * rate:g} % noise. {tables.warm_up(pool)}"
    f"{tables.footing(pool)}{_absent(cells)}"
  )
  return figure, caption


def _parts_over_training(pool: pool_lib.Pool, rate: float, alpha: float) -> Drawing | None:
  made = _over_training(
    pool,
    rate,
    alpha,
    {"clean_accuracy": "labelled right", "mislabelled_accuracy": "mislabelled"},
  )
  if made is None:
    return None
  caption = f"Accuracy against the true labels on the two parts of the training set. {made[1]}"
  return Drawing("parts", "Clean and mislabelled part over training", caption, made[0])


def _memorisation_over_training(pool: pool_lib.Pool, rate: float, alpha: float) -> Drawing | None:
  made = _over_training(pool, rate, alpha, {"memorisation": "predicted as the wrong label"})
  if made is None:
    return None
  caption = f"Share of mislabelled training examples predicted as their wrong label. {made[1]}"
  return Drawing("memorisation", "Memorisation over training", caption, made[0])


def _diagnostics(cell: pool_lib.Cell, *keys: str) -> list[dict[str, np.ndarray]]:
  """Returns the wanted arrays of diagnostics.npz of each finished run that has them all."""
  found = []
  for seed, workdir in sorted(cell.workdirs.items()):
    path = workdir / "diagnostics.npz"
    if cell.results[seed] is not None and path.exists():
      with np.load(path, allow_pickle=False) as arrays:
        if all(key in arrays.files for key in keys):
          found.append({key: arrays[key] for key in keys})
  return found


def _compared_by(
  pool: pool_lib.Pool, rate: float, alpha: float, *keys: str
) -> list[tuple[str, pool_lib.Cell, list[dict[str, np.ndarray]]]]:
  """Returns the cells of `_compared` for which any run has these diagnostics, with them."""
  found = [(n, cell, _diagnostics(cell, *keys)) for n, cell in _compared(pool, rate, alpha)]
  return [(name, cell, each) for name, cell, each in found if each]


def _reliability(pool: pool_lib.Pool, rate: float, alpha: float) -> Drawing | None:
  sums = _compared_by(pool, rate, alpha, "reliability")
  if not sums:
    return None
  figure, axes = _axes(len(sums), width=2.4, height=2.6)
  for one, (name, _, each) in zip(axes[0], sums):
    examples, confidence, correct = np.sum([e["reliability"] for e in each], axis=0)
    there = examples > 0
    x, y = confidence[there] / examples[there], correct[there] / examples[there]
    one.plot([0, 1], [0, 1], color="#777777", linewidth=0.8)
    one.plot(x, y, color="#0072B2", linewidth=1)
    one.scatter(x, y, s=8 + 160 * examples[there] / examples.sum(), color="#0072B2", zorder=3)
    one.set(title=name, xlabel="confidence", xlim=(0, 1.02), ylim=(0, 1.02))
  axes[0, 0].set_ylabel("accuracy")
  caption = (
    "Test accuracy against mean confidence in 15 bins of equal width, all seeds together "
    f"({_seeds(cell for _, cell, _ in sums)}); the size of a point is the bin's share, the line is "
    f"perfect calibration. {100 * rate:g} % noise. {tables.footing(pool)}"
  )
  return Drawing("reliability", "Reliability diagrams", caption, figure)


def _margins(pool: pool_lib.Pool, rate: float, alpha: float) -> Drawing | None:
  keys = ("margins_clean", "margins_mislabelled", "margin_edges")
  compared = _compared_by(pool, rate, alpha, *keys)
  if not compared:
    return None
  figure, axes = _axes(len(compared), width=2.6, height=2.6)
  for one, (name, _, each) in zip(axes[0], compared):
    edges = each[0]["margin_edges"]
    parts = (
      ("margins_clean", "labelled right", "#0072B2", "-"),
      ("margins_mislabelled", "mislabelled", "#D55E00", "--"),
    )
    for key, label, color, linestyle in parts:
      counts = np.sum([e[key] for e in each], axis=0).astype(float)
      density = counts / max(counts.sum(), 1) / np.diff(edges)
      one.stairs(density, edges, label=label, color=color, linestyle=linestyle, linewidth=1.3)
    one.axvline(0, color="#777777", linewidth=0.8)
    one.set(title=name, xlabel="true logit less largest other")
  axes[0, 0].set_ylabel("density")
  axes[0, 0].legend(fontsize=8)
  caption = (
    "Density of the logit margin of the true class over the training set, by whether the label "
    f"trained on is right, all seeds together ({_seeds(cell for _, cell, _ in compared)}); "
    f"margins beyond ±30 are in the outer bins. {100 * rate:g} % noise. {tables.footing(pool)}"
  )
  return Drawing("margins", "Logit margins", caption, figure)


def _projection(pool: pool_lib.Pool, rate: float, alpha: float) -> Drawing | None:
  keys = [
    f"projection_{split}{end}" for split in ("train", "test") for end in ("", "_labels", "_given")
  ]
  compared = [(name, each[0]) for name, _, each in _compared_by(pool, rate, alpha, *keys)]
  if not compared:
    return None
  figure, axes = _axes(len(compared), width=2.4, height=2.4, rows=2)
  for column, (name, arrays) in enumerate(compared):
    for row, split in enumerate(("train", "test")):
      one = axes[row, column]
      points = arrays[f"projection_{split}"]
      true, given = arrays[f"projection_{split}_labels"], arrays[f"projection_{split}_given"]
      for k in np.unique(true):
        right, wrong = (true == k) & (given == k), (true == k) & (given != k)
        style = {"color": _SEQUENCE[int(k)], "s": 12}
        one.scatter(*points[right].T, marker=_MARKERS[int(k)], alpha=0.6, linewidths=0, **style)
        one.scatter(*points[wrong].T, marker="x", linewidths=0.9, **style)
      one.set(title=f"{name}, {split}" if row == 0 else split, xticks=[], yticks=[])
  axes[0, 0].set_ylabel("templates' plane")
  caption = (
    "Penultimate features of the first three classes (circle, square, triangle by true class), "
    "projected on the plane through their templates as Mueller et al. (2019) do; crosses are "
    f"mislabelled training examples. Axes in units of the features, scaled per panel; one run "
    f"(n = 1) each, of the first seed that finished. {100 * rate:g} % noise. {tables.footing(pool)}"
  )
  return Drawing("projection", "Penultimate features", caption, figure)


def _students(pool: pool_lib.Pool) -> Drawing | None:
  students = [cell for cell in pool.cells if cell.teacher]
  rates = sorted({cell.rate for cell in students}, reverse=True)
  if not rates:
    return None
  alpha = max((float(c.config["teacher"]["loss"]["alpha"]) for c in students), default=0.0)
  figure, axes = _axes(len(rates), width=5, height=3.2)
  for one, rate in zip(axes[0], rates):
    kinds = sorted({(c.temperature, c.convention) for c in students if c.rate == rate})
    for x, method in enumerate(pool_lib.METHODS):
      teacher = pool.one(method=method, alpha=alpha if method != "CE" else 0.0, rate=rate)
      series = [("teacher", teacher)]
      for temperature, convention in kinds:
        how = "" if temperature == 1 else f", {convention}"
        cell = pool.one(teacher=method, rate=rate, temperature=temperature, convention=convention)
        series.append((f"student, T = {temperature:g}{how}", cell))
      for i, (label, cell) in enumerate(series):
        s = claims.summarise(_percent(cell.values("test.accuracy")) if cell else [])
        if s.n:
          error = [[s.mean - s.low], [s.high - s.mean]] if s.n > 1 else None
          one.errorbar(
            x + 0.14 * (i - (len(series) - 1) / 2),
            s.mean,
            error,
            label=label if method == "CE" else None,
            color=("#000000", *_SEQUENCE)[i],
            marker=_MARKERS[i],
            markersize=5,
            capsize=2,
            linestyle="none",
          )
    one.set(title=f"noise {rate:g}", xlabel="loss of the teacher")
    one.set_xticks(range(len(pool_lib.METHODS)), pool_lib.METHODS)
  axes[0, 0].set_ylabel("test accuracy, %")
  handles, labels = axes[0, 0].get_legend_handles_labels()
  figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
  caption = (
    f"Teachers (alpha = {alpha:g}) and their students (beta = 1: from the teacher alone), "
    f"{_spread(students)}. {tables.footing(pool)}{_absent(students)}"
  )
  return Drawing("students", "Students against teachers", caption, figure)


def _boundaries(pool: pool_lib.Pool) -> Drawing | None:
  noisy = pool_lib.plane_cells(pool)
  clean = pool.select(data="gaussians", model="linear", noise_kind="none")
  if not noisy:
    return None
  from matplotlib.cm import cividis

  figure, axes = _axes(2, width=4.2, height=3.9)
  plane, angles = axes[0]
  theta = np.linspace(0, 2 * np.pi, 100)
  for centre, name in ((1, "class 0"), (-1, "class 1")):
    for radius in (1, 2):
      x, y = centre + radius * np.cos(theta), centre + radius * np.sin(theta)
      plane.plot(x, y, color="#999999", linewidth=0.7)
    plane.annotate(name, (centre, centre), ha="center", va="center", fontsize=8, color="#555555")
  across = np.array([-4.0, 4.0])
  plane.plot(across, -across, color="#777777", linewidth=3, alpha=0.5, label="Bayes")
  for cell in [*clean, *noisy]:
    lines = [pool_lib.boundary_line(workdir) for workdir in cell.workdirs.values()]
    there = [line for line in lines if line is not None]
    if not there:
      continue
    normal = np.mean([n for n, _ in there], axis=0)
    offset = float(np.mean([o for _, o in there]))
    if cell in noisy:  # from blue to yellow with alpha, in a map that grey print keeps in order
      color: Any = cividis(cell.alpha)
      dash = "--" if cell.alpha else "-"
      name = f"{cell.method} {cell.alpha:g}" if cell.alpha else cell.method
    else:
      color, dash, name = "#000000", ":", "CE, no noise"
    y = -(normal[0] * across + offset) / normal[1]
    plane.plot(across, y, label=name, color=color, linestyle=dash)
  plane.set(xlim=(-4, 4), ylim=(-4, 4), xlabel="x", ylabel="y", aspect="equal")
  plane.legend(fontsize=7, loc="upper right")
  values = [list(pool_lib.boundary(cell)["angle"].values()) for cell in noisy]
  _band(angles, [c.alpha for c in noisy], values, "with noise", **STYLES["LS"])
  for cell in clean:
    s = claims.summarise(list(pool_lib.boundary(cell)["angle"].values()))
    angles.axhline(s.mean, color="#000000", linestyle=":", label="CE, no noise")
  angles.set(xlabel="alpha", ylabel="angle to the Bayes line, degrees")
  angles.legend(fontsize=8)
  caption = (
    f"Left: linear boundaries between two Gaussians (circles: 1 and 2 standard deviations) when a "
    f"share {noisy[0].rate:g} of class 0 is labelled 1, mean over seeds. Right: their angle to the "
    f"Bayes line x + y = 0, {_spread(noisy)}. Final step {noisy[0].config['train']['num_steps']}, "
    f"2,000 points less those held out.{_absent(noisy)}"
  )
  return Drawing("boundaries", "2-D boundaries under one-sided noise", caption, figure)


def _shrinkage(pool: pool_lib.Pool) -> Drawing | None:
  if pool.theory is None:
    return None
  rows = pool.theory["shrinkage"]
  figure, axes = _axes(1, width=4)
  one = axes[0, 0]
  one.plot([0, 1], [1, 0], color="#777777", linewidth=1, label="1 - alpha")
  ratios = [row["norm_ratio"] for row in rows]
  one.plot([row["alpha"] for row in rows], ratios, "s", color="#0072B2", label="measured")
  one.set(xlabel="alpha", ylabel="norm of W_LS over norm of W*")
  one.legend()
  caption = (
    "Label smoothing as shrinkage: least squares on centred random data, mean over "
    f"{pool.theory['seeds']} data sets, no label noise (n and noise do not apply)."
  )
  return Drawing("shrinkage", "Shrinkage", caption, figure)
