"""The paper's tables from a sweep's results, with its own numbers beside ours."""

import dataclasses
from collections.abc import Sequence

from lsjax import pool as pool_lib
from lsjax.claims import Claim, difference, summarise
from lsjax.pool import METHODS, Cell, Pool, alphas

# Table A to E of the paper (all from one careful secondary source), in per cent but for ECE.
PAPER_A = {
  "CIFAR-10": {"CE": (80.44, 0.63), "LS": (83.95, 0.18), "FC": (80.78, 0.42), "BC": (77.23, 0.72)},
  "CIFAR-100": {"CE": (57.06, 0.38), "LS": (60.70, 0.28), "FC": (61.29, 0.38), "BC": (53.91, 0.40)},
}
PAPER_C = {
  "CIFAR-10": {"CE": (80.44, 0.64), "LS": (86.95, 1.82), "FC": (86.81, 1.86)},
  "CIFAR-100": {"CE": (63.98, 0.26), "LS": (64.48, 0.25), "FC": (66.65, 0.18)},
}
PAPER_D = {
  ("CE", 0.0): 0.111,
  ("LS", 0.1): 0.108,
  ("FC", 0.1): 0.153,
  ("BC", 0.1): 0.214,
  ("LS", 0.2): 0.156,
  ("FC", 0.2): 0.165,
  ("BC", 0.2): 0.266,
}
PAPER_E = {
  0.0: (77.39, 86.75, 39.92),
  0.1: (80.11, 87.99, 48.58),
  0.2: (81.22, 88.27, 53.01),
}


@dataclasses.dataclass(frozen=True)
class Table:
  """Text in rows and columns.

  Attributes:
    id: for file names.
    title: with the paper's table, if it is one.
    caption: what was measured on what, how often.
    header: of the columns.
    rows: of strings.
  """

  id: str
  title: str
  caption: str
  header: Sequence[str]
  rows: Sequence[Sequence[str]]


def cell_text(cell: Cell | None, metric: str, scale: float = 100, digits: int = 2) -> str:
  """Returns "mean ± sd (n = 5)" and what is not there."""
  if cell is None:
    return "-"
  values = list(cell.values(metric).values())
  summary = summarise([scale * v for v in values])
  problems = cell.problems
  if not values:
    return problems or "-"
  spread = f" ± {summary.sd:.{digits}f}" if summary.n > 1 else ""
  return f"{summary.mean:.{digits}f}{spread} (n = {summary.n})" + (
    f"; {problems}" if problems else ""
  )


def _paper(value: tuple[float, float] | None) -> str:
  return "not known" if value is None else f"{value[0]:.2f} ± {value[1]:.2f}"


def footing(pool: Pool) -> str:
  """Returns the line that every table carries: step, noise convention, ECE bins."""
  cells = pool.select()
  if not cells:
    return pool.label
  config = cells[0].config
  convention = (
    "a redraw over all classes" if config["noise"]["includes_own_class"] else "a wrong label"
  )
  return (
    f"{pool.label}, {cells[0].model}, final step {config['train']['num_steps']}, clean test set. "
    f"Noise: symmetric, rate = chance of {convention}, on the training labels. ECE: 15 bins."
  )


def warm_up(pool: Pool) -> str:
  """Returns a sentence on how backward correction is kept from diverging; "" where it is not."""
  for cell in pool.select(method="BC"):
    steps, clip = cell.config["loss"]["cross_entropy_steps"], cell.config["optim"]["clip_norm"]
    return f"BC starts with {steps} steps of CE and clips gradients at norm {clip:g}. "
  return ""


def tables(pool: Pool, rate: float = 0.2, alpha: float = 0.1) -> list[Table]:
  """Returns every table that the pool has cells for, in the paper's form."""
  made = [
    _table_a(pool, rate, alpha),
    _table_curves(pool),
    _table_c(pool, alpha),
    _table_d(pool, rate),
    _table_e(pool, rate),
    _table_2d(pool),
  ]
  return [table for table in made if table.rows]


def _table_a(pool: Pool, rate: float, alpha: float) -> Table:
  """Test accuracy of the four methods, for every model that has them."""
  data, main_model = pool.main
  models = [main_model, *sorted({c.model for c in pool.cells if c.data == data} - {main_model})]
  rows = []
  for model in models:
    found = {
      name: pool.one(model=model, method=name, alpha=0.0 if name == "CE" else alpha, rate=rate)
      for name in METHODS
    }
    for name, cell in found.items():
      if cell is None:
        continue
      ours = cell_text(cell, "test.accuracy")
      to_ce = "" if name == "CE" else str(difference("", cell, found["CE"])).partition(": ")[2]
      paper = [
        _paper(PAPER_A[d].get(name)) if model == "resnet32" or model == main_model else "not known"
        for d in PAPER_A
      ]
      rows.append([model, name, ours, to_ce.partition(" (claimed")[0], *paper])
  caption = (
    f"Test accuracy in % at {100 * rate:g} % noise, alpha = {alpha:g}. {warm_up(pool)}"
    f"{footing(pool)} "
    "The paper's columns: ResNet-32 on the original CIFAR, 5 runs."
  )
  header = [
    "model",
    "loss",
    "test accuracy, %",
    "less CE, 95 % interval",
    *(f"paper, {d}" for d in PAPER_A),
  ]
  return Table("table_a", "Table A: test accuracy by loss", caption, header, rows)


def _rates(pool: Pool) -> list[float]:
  return sorted({cell.rate for cell in pool.select()})


def _table_curves(pool: Pool) -> Table:
  rows = []
  for rate in _rates(pool):
    for name in ("LS", "FC", "BC"):
      for alpha, cell in alphas(pool, name, rate):
        if alpha or name == "LS":
          rows.append(
            [
              f"{rate:g}",
              "CE" if not alpha else name,
              f"{alpha:g}",
              cell_text(cell, "test.accuracy"),
              cell_text(cell, "test.ece"),
              cell_text(cell, "train.mislabelled_accuracy"),
              cell_text(cell, "train.memorisation"),
            ]
          )
  header = [
    "noise",
    "loss",
    "alpha",
    "test accuracy, %",
    "ECE, %",
    "mislabelled part, true labels, %",
    "memorised, %",
  ]
  return Table("table_alpha", "Accuracy against alpha", footing(pool), header, rows)


def _table_c(pool: Pool, alpha: float) -> Table:
  """Students by teacher, noise, temperature and convention."""
  rows = []
  kinds = sorted(
    {(c.rate, c.temperature, c.convention) for c in pool.cells if c.teacher},
    key=lambda kind: (-kind[0], kind[1], kind[2] != "teacher_only"),
  )
  for rate, temperature, convention in kinds:
    found = {
      name: pool.one(teacher=name, rate=rate, temperature=temperature, convention=convention)
      for name in METHODS
    }
    for name, cell in found.items():
      if cell is None:
        continue
      teacher = pool.one(method=name, alpha=0.0 if name == "CE" else alpha, rate=rate)
      to_ce = "" if name == "CE" else str(difference("", cell, found["CE"])).partition(": ")[2]
      same = rate == 0.2 and temperature == 1
      paper = [_paper(PAPER_C[d].get(name)) if same else "not known" for d in PAPER_C]
      how = "either (T = 1)" if temperature == 1 else convention
      rows.append(
        [
          f"{rate:g}",
          f"{temperature:g}",
          how,
          name,
          cell_text(teacher, "test.accuracy"),
          cell_text(cell, "test.accuracy"),
          to_ce.partition(" (claimed")[0],
          cell_text(cell, "test.teacher_agreement"),
          *paper,
        ]
      )
  header = [
    "noise",
    "T",
    "convention",
    "teacher",
    "teacher accuracy, %",
    "student accuracy, %",
    "less student of CE, 95 % interval",
    "agreement, %",
    *(f"paper, {d}" for d in PAPER_C),
  ]
  caption = (
    f"Students of teachers trained with alpha = {alpha:g} on the same noisy labels, beta = 1. "
    f"{footing(pool)} The paper's temperature, convention and beta are not known; its numbers "
    "stand in the rows of temperature 1."
  )
  return Table("table_c", "Table C: distillation from noisy teachers", caption, header, rows)


def _table_d(pool: Pool, rate: float) -> Table:
  rows = []
  for (name, alpha), paper in PAPER_D.items():
    cell = pool.one(method=name, alpha=alpha, rate=rate)
    if cell is not None:
      rows.append([name, f"{alpha:g}", cell_text(cell, "test.ece", 1, 3), f"{paper:.3f}"])
  caption = f"Expected calibration error on the test set, {100 * rate:g} % noise. {footing(pool)}"
  return Table(
    "table_d",
    "Table D: calibration",
    caption,
    ["loss", "alpha", "ECE", "paper (data set not named)"],
    rows,
  )


def _table_e(pool: Pool, rate: float) -> Table:
  rows = []
  parts = ("true_accuracy", "clean_accuracy", "mislabelled_accuracy")
  for alpha, paper in PAPER_E.items():
    cell = pool.one(method="LS" if alpha else "CE", alpha=alpha, rate=rate)
    if cell is not None:
      ours = [cell_text(cell, f"train.{part}") for part in parts]
      rows.append([f"{alpha:g}", *ours, " / ".join(f"{value:.2f}" for value in paper)])
  caption = (
    f"LS: training accuracy against the true labels in %, {100 * rate:g} % noise. {footing(pool)}"
  )
  header = ["alpha", "all", "clean part", "mislabelled part", "paper: all / clean / mislabelled"]
  return Table("table_e", "Table E: denoising", caption, header, rows)


def _table_2d(pool: Pool) -> Table:
  clean = pool.select(data="gaussians", model="linear", noise_kind="none")
  noisy = pool_lib.plane_cells(pool)
  rows = []
  for cell in [*clean, *noisy]:
    line = pool_lib.boundary(cell)
    texts = []
    for key in ("angle", "offset"):
      s = summarise(list(line[key].values()))
      texts.append(
        f"{s.mean:.2f} ± {s.sd:.2f} (n = {s.n})"
        if s.n > 1
        else f"{s.mean:.2f}"
        if s.n
        else cell.problems
      )
    rows.append(
      [f"{cell.rate:g}", cell.method, f"{cell.alpha:g}", *texts, cell_text(cell, "test.accuracy")]
    )
  caption = (
    "Linear model on two unit-variance Gaussians around (1, 1) and (-1, -1); class 0 becomes class "
    "1 with the chance given. The Bayes line is x + y = 0."
  )
  header = [
    "one-sided noise",
    "loss",
    "alpha",
    "angle to the Bayes line, degrees",
    "distance from the origin",
    "test accuracy, %",
  ]
  return Table("table_2d", "2-D boundaries", caption, header, rows)


def claims_table(found: Sequence[Claim]) -> Table:
  """Returns a row per claim."""
  rows = [
    [c.id, c.text, c.verdict, "; ".join([*map(str, c.tests), *([c.note] if c.note else [])])]
    for c in found
  ]
  caption = (
    "Verdicts rest on 95 % t intervals of differences paired by seed: reproduced if all lie on the "
    "claimed side, not reproduced if one lies wholly on the other. Without two seeds there is "
    "none. Nothing is corrected for the number of tests."
  )
  return Table(
    "claims", "The paper's claims", caption, ["claim", "what it says", "verdict", "measured"], rows
  )
