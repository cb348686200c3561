"""The report from files made by hand: statistics, verdicts, tables, and what is not there."""

import csv
import html.parser
import json
import math
import pathlib
import re
import subprocess
import sys

import ml_collections
import numpy as np
import pytest
from conftest import small
from scipy import stats

from lsjax import cells, claims, diagnostics, files, pool, report, sweep
from lsjax import config as config_lib

ROOT = pathlib.Path(__file__).parent.parent
RATES, ALPHAS = (0.0, 0.2), (0.1, 0.2, 0.6)
# Test accuracy by (loss, alpha): what the paper claims, so that every verdict is known.
ACCURACY = {
  ("CE", 0.0): 0.80,
  ("LS", 0.1): 0.84,
  ("LS", 0.2): 0.85,
  ("LS", 0.6): 0.90,
  ("FC", 0.1): 0.845,
  ("FC", 0.2): 0.86,
  ("FC", 0.6): 0.90,
  ("BC", 0.1): 0.78,
  ("BC", 0.2): 0.79,
  ("BC", 0.6): 0.80,
}
STUDENT = {0.2: {"CE": 0.82, "LS": 0.86, "FC": 0.85, "BC": 0.8}, 0.0: {"CE": 0.98, "LS": 0.97}}
ECE = {("CE", 0.0): 0.11, ("LS", 0.1): 0.10, ("LS", 0.6): 0.4, ("FC", 0.1): 0.15, ("BC", 0.1): 0.2}
ANGLE = {("none", 0.0): 1.0, ("one_sided", 0.0): 8.0, ("one_sided", 0.6): 3.0}


def finished(config, seed):
  """A result.json that says what the tables above do, with a little noise by seed."""
  method = pool.METHOD_OF_LOSS[config.loss.name]
  alpha = 0.0 if method == "CE" else config.loss.alpha
  wiggle = 1e-3 * math.sin(7 * seed + 3 * alpha + len(method))
  accuracy, ece = ACCURACY[method, alpha], ECE.get((method, alpha), 0.3)
  if config.teacher is not None:
    teacher = pool.METHOD_OF_LOSS[config.teacher.loss.name]
    accuracy = STUDENT[config.noise.rate].get(teacher, 0.9)
  train = {
    "clean_accuracy": 0.95 + 0.1 * wiggle,
    "mislabelled_accuracy": accuracy - 0.3 + wiggle,
    "true_accuracy": 0.9,
    "memorisation": 0.4,
    "label_accuracy": 0.8,
  }
  test = {"accuracy": accuracy + wiggle, "ece": ece + wiggle, "nll": 1.0, "teacher_agreement": 0.9}
  final = {"step": 6, "train": train, "test": test}
  return {"status": "finished", "final": final}


def write_run(config, seed, workdir):
  name = config_lib.config_hash(config)
  environment = dict.fromkeys(("device", "backend", "python", "jax", "flax", "optax", "lsjax"), "x")
  inputs = {"mean": [0.0], "std": [1.0], "num_classes": 10}
  rng = np.random.default_rng(seed)
  true = rng.integers(0, 5, 200)
  split = {
    "logits": rng.normal(size=(200, 5)),
    "features": rng.normal(size=(200, 6)),
    "labels": np.where(rng.random(200) < 0.2, 0, true),
    "true_labels": true,
  }
  kernel, bias = rng.normal(size=(6, 5)), np.zeros(5)
  if config.data.name == "gaussians":
    inputs = {"mean": [0.5, -0.5], "std": [2.0, 1.0], "num_classes": 2}
    angle = ANGLE[config.noise.kind, config.loss.alpha if "smooth" in config.loss.name else 0.0]
    turned = math.radians(45 + angle + 0.1 * math.sin(7 * seed))
    normal = np.array([math.cos(turned), math.sin(turned)])
    # In the network's own coordinates (x - mean) / std; a boundary through the raw origin.
    kernel = np.stack([normal * inputs["std"], np.zeros(2)], axis=1)
    bias = np.array([normal @ inputs["mean"], 0.0])
    split = {**split, "logits": split["logits"][:, :2], "true_labels": true % 2}
  files.write_json(
    workdir / "config.json",
    {"config_hash": name, "inputs": inputs, "environment": environment | {"commit": None}},
  )
  diagnostics.save(workdir / "diagnostics.npz", diagnostics.collect(split, split, kernel, bias))
  rows = [{"step": s, "split": "train", **finished(config, seed)["final"]["train"]} for s in (3, 6)]
  (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  files.write_json(workdir / "result.json", finished(config, seed))


@pytest.fixture
def make_pool(tmp_path):
  """make_pool(seeds, keep): a finished sweep; keep(cell name, seed) says which runs are there."""

  def make(seeds=3, keep=lambda name, seed: True):
    config = ml_collections.ConfigDict()
    config.label, config.base, config.seeds = "made up", small(), seeds
    config.cells = cells.union(
      cells.curves(ALPHAS, RATES),
      cells.students((0.2, 0.0), (1.0, 2.0)),
      cells.boundaries((0.6,), 0.4),
    )
    planned = cells.plan(config)
    sweep.write_index(planned, tmp_path, config.label)
    for cell in planned:
      for seed, run in enumerate(cell.runs):
        if keep(cell.name, seed):
          write_run(run, seed, tmp_path / config_lib.config_hash(run))
    theory = {
      "seeds": 20,
      "omega": {"largest_gradient": 0.0, "least_eigenvalue": 0.0, "least_excess": 0.5},
      "shrinkage": [{"alpha": a, "norm_ratio": 1 - a, "error_float64": 1e-16} for a in (0, 0.5)],
      "shrinkage_error_float32": 1e-7,
    }
    files.write_json(tmp_path / "theory.json", theory)
    return tmp_path

  return make


def verdicts(path):
  return {claim.id: claim.verdict for claim in claims.claims(pool.read(path))}


def test_statistics_against_scipy():
  values = np.random.default_rng(0).normal(size=7)
  got = claims.summarise(values)
  expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
  assert (got.low, got.high) == pytest.approx((expected.low, expected.high))
  assert got.sd == pytest.approx(stats.tstd(values))
  one = claims.summarise([0.5])
  assert one.mean == 0.5
  assert math.isnan(one.sd)
  assert math.isnan(one.low)


def test_pairs_are_by_seed():
  got = claims.paired({0: 1.0, 1: 5.0, 2: 9.0}, {2: 8.0, 0: 0.5, 7: 0.0})
  assert got.n == 2
  assert got.mean == pytest.approx(0.75)


@pytest.mark.parametrize(
  ("values", "sign", "bound", "expected"),
  [
    ([1.0, 1.1, 1.2], 1, 0.0, claims.REPRODUCED),
    ([-1.0, -1.1, -1.2], 1, 0.0, claims.NOT_REPRODUCED),
    ([-1.0, 0.1, 1.2], 1, 0.0, claims.INCONCLUSIVE),
    ([-1.0, -1.1, -1.2], -1, 0.0, claims.REPRODUCED),
    ([1.0, 1.1, 1.2], -1, 0.0, claims.NOT_REPRODUCED),
    ([1.0, 1.1, 1.2], 1, 2.0, claims.NOT_REPRODUCED),
    ([-0.1, 0.1, 0.0], 1, -1.0, claims.REPRODUCED),
    ([5.0], 1, 0.0, claims.UNTESTED),
    ([], 1, 0.0, claims.UNTESTED),
  ],
)
def test_verdicts(values, sign, bound, expected):
  test = claims.Comparison("x", claims.summarise(values), sign=sign, bound=bound)
  assert test.verdict == expected


def test_every_claim_reproduced_where_it_holds(make_pool):
  assert verdicts(make_pool()) == dict.fromkeys((f"C{i}" for i in range(1, 10)), claims.REPRODUCED)


@pytest.mark.parametrize(
  ("table", "key", "value", "claim"),
  [
    (ACCURACY, ("LS", 0.1), 0.79, "C1"),
    (ACCURACY, ("BC", 0.1), 0.88, "C2"),
    (ACCURACY, ("FC", 0.1), 0.87, "C2"),
    (ACCURACY, ("BC", 0.6), 0.70, "C3"),
    (ACCURACY, ("LS", 0.1), 0.75, "C4"),
    (ECE, ("LS", 0.1), 0.15, "C5"),
    (ECE, ("FC", 0.1), 0.05, "C5"),
    (ECE, ("LS", 0.6), 0.02, "C5"),
    (ANGLE, ("one_sided", 0.6), 12.0, "C7"),
    (ANGLE, ("one_sided", 0.0), 0.2, "C7"),
    (STUDENT[0.2], "FC", 0.80, "C8"),
    (STUDENT[0.0], "LS", 0.99, "C9"),
  ],
)
def test_a_claim_that_fails_is_not_reproduced(make_pool, monkeypatch, table, key, value, claim):
  monkeypatch.setitem(table, key, value)
  assert verdicts(make_pool())[claim] == claims.NOT_REPRODUCED


def test_shrinkage_that_fails(make_pool):
  path = make_pool()
  theory = files.read_json(path / "theory.json")
  files.write_json(path / "theory.json", theory | {"shrinkage_error_float32": 1e-3})
  assert verdicts(path)["C6"] == claims.NOT_REPRODUCED
  (path / "theory.json").unlink()
  assert verdicts(path)["C6"] == claims.UNTESTED


def test_one_seed_gives_no_interval_and_no_verdict(make_pool):
  path = make_pool(seeds=1)
  got = verdicts(path)
  assert got.pop("C6") == claims.REPRODUCED  # mathematics, not statistics
  assert set(got.values()) == {claims.UNTESTED}
  report.write(path)
  text = (path / "report.md").read_text()
  assert "n = 1, no interval" in text
  assert "±" not in text.split("## Table A")[1].split("paper, CIFAR")[0].split("|---")[0]
  table = (path / "tables/table_a.csv").read_text()
  assert "80.44 ± 0.63" in table  # the paper's own spread stays
  assert re.search(r"80\.\d\d \(n = 1\)", table)


def test_missing_and_diverged_cells_show_as_such(make_pool):
  gone = "LS 0.1, noise 0.2"
  path = make_pool(keep=lambda name, seed: name != gone and (name, seed) != ("CE, noise 0.2", 2))
  found = pool.read(path)
  (cell,) = found.select(method="FC", alpha=0.1, rate=0.2)
  files.write_json(cell.workdirs[1] / "result.json", {"status": "diverged", "final": None})
  report.write(path)
  rows = list(csv.reader((path / "tables/table_a.csv").read_text().splitlines()))
  by_loss = {row[1]: row[2] for row in rows[1:]}
  assert by_loss["LS"] == "3 of 3 missing"
  assert by_loss["FC"].endswith("(n = 2); 1 of 3 diverged")
  assert by_loss["CE"].endswith("(n = 2); 1 of 3 missing")
  assert verdicts(path)["C1"] == claims.UNTESTED
  text = (path / "report.md").read_text()
  assert f"{gone}: 3 of 3 missing" in text
  assert "Not all there" in text


def test_files_of_a_report(make_pool, tmp_path):
  path = make_pool()
  out = tmp_path / "elsewhere"
  summary = report.write(path, out)
  assert "C9  ✓ reproduced" in summary
  drawn = {
    "accuracy_alpha",
    "r_spectrum",
    "parts",
    "memorisation",
    "reliability",
    "ece_alpha",
    "margins",
    "projection",
    "students",
    "boundaries",
    "shrinkage",
  }
  assert {p.stem for p in (out / "figures").glob("*.png")} == drawn
  assert {p.stem for p in (out / "figures").glob("*.svg")} == drawn
  tables = {"claims", "table_a", "table_alpha", "table_c", "table_d", "table_e", "table_2d"}
  for suffix in ("csv", "tex"):
    assert {p.stem for p in (out / "tables").glob(f"*.{suffix}")} == tables
  for tex in (out / "tables").glob("*.tex"):
    text = tex.read_text()
    assert text.count("{tabular}") == 2
    body = text.split(r"\hline")[2]
    columns = text.split(r"\hline")[1].count(" & ")
    assert all(row.count(" & ") == columns for row in body.split("\\\\\n") if row.strip())
    assert not re.search(r"(?<!\\)[%_]", text.split(r"\hline", 1)[1])
  results = files.read_json(out / "results.json")
  assert sum(len(cell["runs"]) for cell in results) == 3 * len(results)
  # Made again, the same bytes: figures hold no date.
  before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
  report.write(path, out)
  assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_html_is_one_file(make_pool):
  path = make_pool()
  report.write(path)
  text = (path / "report.html").read_text()

  class Reader(html.parser.HTMLParser):
    open_tags, sources, images = [], [], 0

    def handle_starttag(self, tag, attributes):
      attributes = dict(attributes)
      self.sources += [attributes[k] for k in ("src", "href") if k in attributes]
      self.images += tag == "img" and bool(attributes["alt"])
      if tag not in ("meta", "img", "br"):
        self.open_tags.append(tag)

    def handle_endtag(self, tag):
      assert self.open_tags.pop() == tag

  reader = Reader()
  reader.feed(text)
  assert reader.open_tags == []
  assert reader.images == 11
  assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
  assert 'name="viewport"' in text
  assert "@media print" in text


def test_boundary_in_raw_coordinates(make_pool):
  """Normalisation is undone: the angles that were put in come out, through the origin."""
  noisy = pool.plane_cells(pool.read(make_pool(seeds=2)))
  assert [cell.alpha for cell in noisy] == [0.0, 0.6]
  line = pool.boundary(noisy[0])
  assert line["angle"][0] == pytest.approx(8.0, abs=1e-3)
  assert line["angle"][1] == pytest.approx(8.0 + 0.1 * math.sin(7), abs=1e-2)
  assert line["offset"][0] == pytest.approx(0, abs=1e-6)


def test_the_command_needs_no_jax(make_pool):
  path = make_pool(seeds=2)
  script = (
    "import sys, runpy; sys.modules['jax'] = None\n"
    "sys.argv = ['report', sys.argv[1]]; runpy.run_module('lsjax.report', run_name='__main__')"
  )
  done = subprocess.run(
    [sys.executable, "-c", script, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=120
  )
  assert done.returncode == 0, done.stderr
  assert "C1  ✓ reproduced" in done.stdout
  done = subprocess.run(
    [sys.executable, "-m", "lsjax.report", str(path / "absent")],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 2
  assert len(done.stderr.splitlines()) == 1
  assert "holds no readable sweep.json" in done.stderr
