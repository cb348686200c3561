"""Result files of a sweep as tables, statistics and a verdict per claim of the paper.

No JAX: what is read is sweep.json, theory.json and the work directories' files.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from lsjax import files

CONFIDENCE = 0.95
# How far LS may lie below FC, and a small alpha may raise the ECE, to count as no worse.
MARGIN = 0.01

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

_METHOD = {
  "cross_entropy": "CE",
  "label_smoothing": "LS",
  "forward_correction": "FC",
  "backward_correction": "BC",
}
METHODS = tuple(_METHOD.values())


@dataclasses.dataclass(frozen=True)
class Cell:
  """A cell with its runs' results.

  Attributes:
    name: of the cell.
    config: nested, of its first run; only seeds differ in the others.
    workdirs: by seed.
    results: by seed, the content of result.json; None where there is none.
  """

  name: str
  config: Mapping[str, Any]
  workdirs: Mapping[int, pathlib.Path]
  results: Mapping[int, Mapping[str, Any] | None]

  @property
  def method(self) -> str:
    """CE, LS, FC or BC; another loss goes by its own name."""
    return _METHOD.get(self.config["loss"]["name"], self.config["loss"]["name"])

  @property
  def alpha(self) -> float:
    return 0.0 if self.method == "CE" else float(self.config["loss"]["alpha"])

  @property
  def rate(self) -> float:
    return float(self.config["noise"]["rate"])

  @property
  def data(self) -> str:
    return self.config["data"]["name"]

  @property
  def model(self) -> str:
    return self.config["model"]["name"]

  @property
  def teacher(self) -> str:
    """The method that trained the teacher; "" for an ordinary cell."""
    if "teacher" not in self.config:
      return ""
    return _METHOD[self.config["teacher"]["loss"]["name"]]

  @property
  def temperature(self) -> float:
    return float(self.config["student"]["temperature"]) if "student" in self.config else 0.0

  @property
  def convention(self) -> str:
    return self.config["student"]["convention"] if "student" in self.config else ""

  def values(self, metric: str) -> dict[int, float]:
    """Returns "split.metric" of the final step by seed, of finished runs that have it."""
    split, _, name = metric.partition(".")
    found = {}
    for seed, result in self.results.items():
      if result is not None and result["status"] == "finished":
        value = result["final"].get(split, {}).get(name)
        if value is not None:
          found[seed] = float(value)
    return found

  @property
  def problems(self) -> str:
    """What is not there: "2 of 5 diverged", "1 of 5 missing"; "" if all is."""
    statuses = [result["status"] if result else "missing" for result in self.results.values()]
    return ", ".join(
      f"{statuses.count(status)} of {len(statuses)} {status}"
      for status in ("diverged", "missing")
      if status in statuses
    )


@dataclasses.dataclass(frozen=True)
class Pool:
  """A sweep's directory, read.

  Attributes:
    path: of the directory.
    name: of the sweep.
    label: of the data.
    cells: all of them.
    theory: the content of theory.json, or None.
    environment: versions and device of the first run that is there, or None.
  """

  path: pathlib.Path
  name: str
  label: str
  cells: Sequence[Cell]
  theory: Mapping[str, Any] | None
  environment: Mapping[str, Any] | None

  @property
  def main(self) -> tuple[str, str]:
    """Data set and model of most cells: those the figures show."""
    kinds = [(cell.data, cell.model) for cell in self.cells]
    return max(kinds, key=kinds.count)

  def select(self, **wanted: Any) -> list[Cell]:
    """Returns ordinary cells of the main data and model that agree with `wanted`, unless those
    are given; with teacher given, students."""
    data, model = self.main
    wanted = {"teacher": "", "data": data, "model": model, "noise_kind": None, **wanted}
    kind = wanted.pop("noise_kind")
    return [
      cell
      for cell in self.cells
      if all(getattr(cell, key) == value for key, value in wanted.items())
      and (kind is None or cell.config["noise"]["kind"] == kind)
    ]

  def one(self, **wanted: Any) -> Cell | None:
    """Returns the only such cell, None where there is none."""
    found = self.select(**wanted)
    return found[0] if found else None


class PoolError(Exception):
  """A directory that is no sweep's, told in one line."""


def read(path: pathlib.Path) -> Pool:
  """Reads a sweep's directory.

  Raises:
    PoolError: if it holds no readable sweep.json.
  """
  try:
    index = files.read_json(path / "sweep.json")
    listed = [(cell["name"], cell["config"], cell["runs"]) for cell in index["cells"]]
    name, label = index["name"], index["label"]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise PoolError(f"{path} holds no readable sweep.json ({error})") from error

  def optional(file: pathlib.Path) -> Any:
    return files.read_json(file) if file.exists() else None

  cells, environment = [], None
  for cell_name, config, runs in listed:
    workdirs = {run["seed"]: path / run["workdir"] for run in runs}
    results = {seed: optional(workdir / "result.json") for seed, workdir in workdirs.items()}
    cells.append(Cell(cell_name, config, workdirs, results))
    for workdir in workdirs.values():
      environment = environment or (optional(workdir / "config.json") or {}).get("environment")
  return Pool(path, name, label, cells, optional(path / "theory.json"), environment)


@dataclasses.dataclass(frozen=True)
class Summary:
  """Mean, standard deviation (n - 1) and t interval of n values; NaN where not defined."""

  n: int
  mean: float
  sd: float
  low: float
  high: float


def summarise(values: Sequence[float]) -> Summary:
  """Summarises values; one value has no deviation and no interval, none has no mean.

  >>> s = summarise([1.0, 2.0, 3.0])
  >>> s.n, s.mean, s.sd, round(s.low, 3), round(s.high, 3)
  (3, 2.0, 1.0, -0.484, 4.484)
  """
  n = len(values)
  if n < 2:
    return Summary(n, values[0] if n else math.nan, math.nan, math.nan, math.nan)
  mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
  if sd == 0:  # SciPy returns NaN for it
    return Summary(n, mean, 0.0, mean, mean)
  low, high = stats.t.interval(CONFIDENCE, n - 1, mean, sd / math.sqrt(n))
  return Summary(n, mean, sd, float(low), float(high))


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Summary:
  """Summarises a - b over the seeds that both have: data order, init and noise are paired."""
  return summarise([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])


REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
UNTESTED = "no verdict"


@dataclasses.dataclass(frozen=True)
class Test:
  """One statement of a claim: a paired difference that should be above (or below) a bound.

  Attributes:
    what: the difference in words.
    summary: of the difference, by seed.
    bound: that the whole interval should be above.
    scale: 100 for shares shown in percentage points.
    unit: after scaling.
    sign: -1 for a difference that should be below the bound.
  """

  what: str
  summary: Summary
  bound: float = 0.0
  scale: float = 100
  unit: str = "pp"
  sign: int = 1

  @property
  def verdict(self) -> str:
    """By the interval alone: all on the claimed side, all on the other, or neither."""
    if self.summary.n < 2:
      return UNTESTED
    low, high = sorted((self.sign * self.summary.low, self.sign * self.summary.high))
    bound = self.sign * self.bound
    return REPRODUCED if low > bound else NOT_REPRODUCED if high < bound else INCONCLUSIVE

  def __str__(self) -> str:
    s = self.summary
    if s.n == 0:
      return f"{self.what}: not measured"
    mean = f"{self.scale * s.mean:+.2f} {self.unit}"
    if s.n == 1:
      return f"{self.what}: {mean}, n = 1, no interval"
    interval = f"[{self.scale * s.low:+.2f}, {self.scale * s.high:+.2f}]"
    side = ">" if self.sign > 0 else "<"
    return f"{self.what}: {mean} {interval}, n = {s.n} (claimed {side} {self.scale * self.bound:g})"


@dataclasses.dataclass(frozen=True)
class Claim:
  """A claim of the paper with what was measured.

  Attributes:
    id: C1 to C9.
    text: the claim.
    tests: that it comes down to; all must hold.
    note: anything else that a reader should know.
  """

  id: str
  text: str
  tests: Sequence[Test]
  note: str = ""

  @property
  def verdict(self) -> str:
    """Reproduced if every test is, not reproduced if any is contradicted."""
    verdicts = {test.verdict for test in self.tests}
    for verdict in (UNTESTED, NOT_REPRODUCED, INCONCLUSIVE):
      if verdict in verdicts or not verdicts:
        return verdict
    return REPRODUCED


def difference(
  what: str, a: Cell | None, b: Cell | None, metric: str = "test.accuracy", **kwargs: Any
) -> Test:
  """Returns the test of a metric's paired difference a - b; absent cells measure nothing."""
  values = [cell.values(metric) if cell is not None else {} for cell in (a, b)]
  return Test(what, paired(*values), **kwargs)


def claims(pool: Pool, rate: float = 0.2, alpha: float = 0.1) -> list[Claim]:
  """Returns every claim with its tests, at the noise rate and alpha of the paper's table A."""

  def cell(name: str, a: float = alpha, noise: float = rate) -> Cell | None:
    return pool.one(method=name, alpha=0.0 if name == "CE" else a, rate=noise)

  def student(name: str, noise: float = rate) -> Cell | None:
    return pool.one(teacher=name, temperature=1.0, rate=noise)

  # "Well above the true rate": three times it, where the table has it.
  high, at_rate = 3 * rate, rate
  ls, fc, bc, ce = (cell(name) for name in ("LS", "FC", "BC", "CE"))
  higher = {name: cell(name, round(high, 9)) for name in ("LS", "FC", "BC")}
  gains = {
    part: paired(*(c.values(f"train.{part}_accuracy") if c else {} for c in (ls, ce)))
    for part in ("mislabelled", "clean")
  }
  parts = [
    {
      seed: c.values("train.mislabelled_accuracy")[seed] - value
      for seed, value in c.values("train.clean_accuracy").items()
      if seed in c.values("train.mislabelled_accuracy")
    }
    if c
    else {}
    for c in (ls, ce)
  ]
  percent = f"{100 * rate:g} % noise"
  return [
    Claim(
      "C1",
      "Under symmetric label noise, label smoothing beats cross-entropy in clean test accuracy.",
      [difference(f"LS {alpha:g} - CE, test accuracy, {percent}", ls, ce)],
    ),
    Claim(
      "C2",
      "Label smoothing is competitive with loss correction: close to FC, above BC.",
      [
        difference(f"LS {alpha:g} - BC {alpha:g}, test accuracy, {percent}", ls, bc),
        difference(f"LS {alpha:g} - FC {alpha:g}, test accuracy, {percent}", ls, fc, bound=-MARGIN),
      ],
      note=f"'Close' means: not more than {100 * MARGIN:g} pp below.",
    ),
    Claim(
      "C3",
      "An alpha well above the true noise rate helps all methods further.",
      [
        difference(
          f"{name} {high:g} - {name} {at_rate:g}, test accuracy, {percent}",
          higher[name],
          cell(name, at_rate),
        )
        for name in ("LS", "FC", "BC")
      ],
    ),
    Claim(
      "C4",
      "Label smoothing denoises: accuracy against the true labels rises on the mislabelled part "
      "of the training set, far more than on the clean part.",
      [
        Test(f"LS {alpha:g} - CE on the mislabelled part, {percent}", gains["mislabelled"]),
        Test("that gain less the gain on the clean part", paired(*parts)),
      ],
    ),
    Claim(
      "C5",
      "A small alpha keeps or improves calibration for LS; FC, BC and a large alpha worsen it.",
      [
        difference(f"LS {alpha:g} - CE, ECE, {percent}", ls, ce, "test.ece", bound=MARGIN, sign=-1),
        difference(f"FC {alpha:g} - CE, ECE, {percent}", fc, ce, "test.ece"),
        difference(f"BC {alpha:g} - CE, ECE, {percent}", bc, ce, "test.ece"),
        difference(f"LS {high:g} - CE, ECE, {percent}", higher["LS"], ce, "test.ece"),
      ],
      note=f"'Keeps' means: not more than {100 * MARGIN:g} pp above.",
    ),
    _shrinkage(pool),
    _boundary(pool),
    Claim(
      "C8",
      "Distilling from noisy data, a teacher trained with LS or FC gives a better student than a "
      "plain teacher.",
      [
        difference(
          f"student of {name} - student of CE, test accuracy, {percent}",
          student(name),
          student("CE"),
        )
        for name in ("LS", "FC")
      ],
      note="Temperature 1, beta 1; the paper's own are not known.",
    ),
    Claim(
      "C9",
      "Without noise the opposite may hold: smoothing the teacher hurts the student.",
      [
        difference(
          "student of LS - student of CE, test accuracy, no noise",
          student("LS", 0.0),
          student("CE", 0.0),
          sign=-1,
        )
      ],
      note="Temperature 1, beta 1.",
    ),
  ]


@dataclasses.dataclass(frozen=True)
class _Numerical(Claim):
  """A claim that is checked as mathematics: its verdict needs no seeds."""

  holds: bool | None = None

  @property
  def verdict(self) -> str:
    if self.holds is None:
      return UNTESTED
    return REPRODUCED if self.holds else NOT_REPRODUCED


def _shrinkage(pool: Pool) -> Claim:
  """C6, from theory.json."""
  text = (
    "Label smoothing is shrinkage: W_LS = (1 - alpha) W* for squared loss on centred data; "
    "W = 0 minimises Omega (Theorem 1)."
  )
  theory = pool.theory
  if theory is None:
    return _Numerical("C6", text, [], "Not measured: no theory.json.")
  double = max(row["error_float64"] for row in theory["shrinkage"])
  omega = theory["omega"]
  holds = (
    double < 1e-10
    and theory["shrinkage_error_float32"] < 1e-5
    and omega["largest_gradient"] < 1e-10
    and omega["least_eigenvalue"] > -1e-10
    and omega["least_excess"] > 0
  )
  note = (
    f"Largest error of W_LS = (1 - alpha) W*: {double:.1e} in float64, "
    f"{theory['shrinkage_error_float32']:.1e} in float32. At W = 0 the gradient of Omega is at "
    f"most {omega['largest_gradient']:.1e}, its Hessian's least eigenvalue "
    f"{omega['least_eigenvalue']:.1e}; Omega at random W is larger by {omega['least_excess']:.2f} "
    f"or more ({theory['seeds']} random data sets)."
  )
  return _Numerical("C6", text, [], note, holds)


def boundary(cell: Cell) -> dict[str, dict[int, float]]:
  """Returns, by seed, a 2-D linear run's angle to the Bayes line x + y = 0 in degrees and its
  distance from the origin, both in raw coordinates."""
  angles, offsets = {}, {}
  for seed, workdir in cell.workdirs.items():
    line = boundary_line(workdir)
    if line is not None:
      normal, offset = line
      cosine = float(normal @ np.array([1.0, 1.0])) / math.sqrt(2)
      angles[seed] = math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
      offsets[seed] = abs(offset)
  return {"angle": angles, "offset": offsets}


def boundary_line(workdir: pathlib.Path) -> tuple[np.ndarray, float] | None:
  """Returns (unit normal towards class 0, offset) of a 2-D linear run: normal . x + offset = 0."""
  file = workdir / "diagnostics.npz"
  if not (workdir / "result.json").exists() or not file.exists():
    return None
  inputs = files.read_json(workdir / "config.json")["inputs"]
  with np.load(file, allow_pickle=False) as arrays:
    if "kernel" not in arrays.files:
      return None
    kernel, bias = arrays["kernel"].astype(float), arrays["bias"].astype(float)
  # The network sees (x - mean) / std.
  normal = (kernel[:, 0] - kernel[:, 1]) / np.array(inputs["std"])
  offset = bias[0] - bias[1] - normal @ np.array(inputs["mean"])
  length = float(np.linalg.norm(normal))
  return normal / length, float(offset) / length


def plane_cells(pool: Pool) -> list[Cell]:
  """Returns the cells of the 2-D experiment under one-sided noise, by alpha."""
  found = pool.select(data="gaussians", model="linear", noise_kind="one_sided")
  return sorted(found, key=lambda cell: cell.alpha)


def _boundary(pool: Pool) -> Claim:
  """C7, from the 2-D runs."""
  text = (
    "In 2-D, one-sided noise pulls the linear boundary off the Bayes line through the origin, and "
    "LS with growing alpha brings it back."
  )
  clean = pool.one(data="gaussians", model="linear", noise_kind="none")
  noisy = plane_cells(pool)
  if clean is None or len(noisy) < 2:
    return Claim("C7", text, [])
  plain, smoothed = noisy[0], noisy[-1]
  angle = {
    name: boundary(cell)["angle"] for name, cell in (("0", clean), ("n", plain), ("s", smoothed))
  }
  name = f"LS {smoothed.alpha:g}"
  offsets = [summarise(list(boundary(cell)["offset"].values())).mean for cell in (plain, smoothed)]
  degrees: dict[str, Any] = {"scale": 1, "unit": "degrees"}
  return Claim(
    "C7",
    text,
    [
      Test(
        "CE with noise - CE without, angle to the Bayes line",
        paired(angle["n"], angle["0"]),
        **degrees,
      ),
      Test(
        f"{name} - CE, both with noise, angle", paired(angle["s"], angle["n"]), sign=-1, **degrees
      ),
    ],
    note="The angle leaves out the shift: the boundary's distance from the origin is "
    f"{offsets[0]:.2f} for CE and {offsets[1]:.2f} for {name}. The 2,000 points are the same for "
    "every seed.",
  )


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


def alphas(pool: Pool, method: str, rate: float) -> list[tuple[float, Cell]]:
  """Returns (alpha, cell) of a method at a noise rate; alpha 0 is cross-entropy."""
  found = [*pool.select(method="CE", rate=rate), *pool.select(method=method, rate=rate)]
  return sorted(((c.alpha, c) for c in found), key=lambda pair: pair[0])


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
  noisy = plane_cells(pool)
  rows = []
  for cell in [*clean, *noisy]:
    line = boundary(cell)
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
