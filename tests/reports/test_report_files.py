"""The files of a report: tables, figures and pages, and what they show when runs are missing."""

import csv
import dataclasses
import html.parser
import math
import pathlib
import re
import subprocess
import sys

import made_up_sweep
import pytest

from lsjax import files, reports
from lsjax.reports import captions, claims, figures, plotting, results, summary, tables
from lsjax.sweeps import cells

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _coarse_figures(monkeypatch):
  """Saves time; nothing here looks at pixels."""
  monkeypatch.setattr(plotting, "DPI", 40)


def contents(path):
  """Returns the content of every file of a report by its name."""
  return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def rows_of(path, table):
  """Returns the rows of a table's csv file as dictionaries."""
  return list(csv.DictReader((path / f"tables/{table}.csv").read_text().splitlines()))


def test_one_seed_gives_no_interval_and_no_verdict(tmp_path):
  path = made_up_sweep.write(tmp_path, seeds=1)
  got = {claim.id: claim.verdict for claim in claims.claims(results.read(path))}
  assert got.pop("C6") == claims.REPRODUCED  # mathematics, not statistics
  assert set(got.values()) == {claims.UNTESTED}
  reports.write(path)
  text = (path / "report.md").read_text()
  assert "n = 1, no interval" in text
  section = text.split("## Table A")[1].split("## ")[0]
  assert "n = 1 seed;" in section
  assert "| 80.44 ± 0.63 |" in section  # the paper's own spread stays
  assert re.search(r"\| \*\*8\d\.\d\d\*\* \|", section)
  (row, *_) = rows_of(path, "table_a")
  assert row["test accuracy, %, final step: n"] == "1"
  assert row["test accuracy, %, final step: sd"] == ""


def test_missing_and_diverged_cells_show_as_such(tmp_path):
  gone = "LS 0.1, noise 0.2"
  path = made_up_sweep.write(
    tmp_path, keep=lambda name, seed: name != gone and (name, seed) != ("CE, noise 0.2", 2)
  )
  cell = results.read(path).trained("FC 0.1", 0.2)
  files.write_json(cell.workdirs[1] / "result.json", {"status": "diverged", "final": None})
  reports.write(path)
  rows = {row["loss"]: row for row in rows_of(path, "table_a")}
  column = "test accuracy, %, final step"
  assert rows["LS 0.1"][f"{column}: note"] == "3 of 3 missing"
  assert rows["FC 0.1"][f"{column}: note"] == "1 of 3 diverged"
  assert float(rows["FC 0.1"][f"{column}: mean"]) == pytest.approx(
    100 * (2 * 0.845 + 0.1) / 3, 1e-2
  )
  assert rows["CE"][f"{column}: note"] == "1 of 3 missing"
  assert rows["CE"][f"{column}: n"] == "2"
  verdicts = {claim.id: claim.verdict for claim in claims.claims(results.read(path))}
  assert verdicts["C1"] == claims.UNTESTED
  text = (path / "report.md").read_text()
  assert f"{gone}: 3 of 3 missing" in text
  assert "Not all there" in text


def test_a_report_gives_the_same_tables_without_the_runs(tmp_path):
  """Byte for byte, with missing and diverged runs, boundaries, candidates and students."""
  path = made_up_sweep.write(
    tmp_path / "sweep", pictures=True, keep=lambda name, seed: (name, seed) != ("CE, noise 0.2", 2)
  )
  index = files.read_json(path / "sweep.json")
  for listed in index["cells"]:
    listed["config"]["data"]["path"] = str(tmp_path / "gone.npz")
  files.write_json(path / "sweep.json", index)
  cell = results.read(path).trained("FC 0.1", 0.2)
  files.write_json(cell.workdirs[1] / "result.json", {"status": "diverged", "final": None})
  first, second = tmp_path / "first", tmp_path / "second"
  shown = reports.write(path, first)
  assert '"gone.npz"' in (first / "cells.json").read_text()
  assert str(tmp_path) not in (first / "cells.json").read_text()
  again = reports.write(first, second)
  assert again == shown.replace(str(first), str(second))
  one, other = contents(first), contents(second)
  same = {"report.json", "results.json", "cells.json"}
  same |= {name for name in one if name.startswith("tables/")}
  assert {name: other[name] for name in same} == {name: one[name] for name in same}
  drawn = {name for name in one if name.endswith(".png")}
  again = {name for name in other if name.endswith(".png")}
  assert "figures/accuracy_alpha.png" in again < drawn
  assert not again & {f"figures/{name}.png" for name in ("parts", "memorisation", "margins")}


COMMITTED = sorted(path.parent for path in (ROOT / "results").rglob("cells.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_committed_results_give_their_tables(tmp_path, monkeypatch, path):
  monkeypatch.setattr(figures, "draw", lambda sweep: [])
  reports.write(path, tmp_path)
  tables = {name: content for name, content in contents(path).items() if name[:6] == "tables"}
  assert {name: c for name, c in contents(tmp_path).items() if name[:6] == "tables"} == tables
  assert (tmp_path / "report.json").read_bytes() == (path / "report.json").read_bytes()


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("cells.json", "{"),
    ("cells.json", "[]"),
    ("results.json", '[{"cell": "CE, noise 0.2"}]'),
    ("results.json", "{}"),
  ],
)
def test_a_damaged_report_is_refused_in_one_line(tmp_path, monkeypatch, name, text):
  monkeypatch.setattr(figures, "draw", lambda sweep: [])
  reports.write(made_up_sweep.write(tmp_path / "sweep", seeds=1), tmp_path / "report")
  (tmp_path / "report" / name).write_text(text)
  with pytest.raises(results.ResultsError, match=r"no readable cells.json and results.json") as e:
    reports.write(tmp_path / "report", tmp_path / "again")
  assert "\n" not in str(e.value)


def test_claims_under_the_only_noise_of_a_sweep(tmp_path):
  """People's labels take the place of symmetric noise, without the paper's numbers beside them."""
  found = results.read(made_up_sweep.write(tmp_path))
  given = {"kind": "given", "labels": "worse"}
  people = [
    dataclasses.replace(c, config={**c.config, "noise": {**c.config["noise"], **given}})
    for c in found.cells
    if c.noise_kind == "symmetric"
  ]
  sweep = dataclasses.replace(found, cells=people)
  assert sweep.other_noise == "given labels worse"
  judged = {claim.id: claim for claim in claims.claims(sweep)}
  assert judged["C1"].verdict == claims.REPRODUCED
  (statement,) = judged["C1"].tests[claims.FINAL]
  assert statement.what == "LS 0.1 - CE, test accuracy, given labels worse"
  assert judged["C8"].verdict == claims.REPRODUCED
  assert judged["C9"].verdict == claims.UNTESTED
  for whole, is_paper in ((sweep, False), (found, True)):
    made = {table.id: table for table in tables.tables(whole, claims.claims(whole))}
    for id in ("table_a", "table_c"):
      assert ("paper, CIFAR-10" in made[id].header) == is_paper
      assert ("The paper's" in made[id].caption) == is_paper
      assert {len(row) for row in made[id].rows} == {len(made[id].header)}
    for id in ("table_d", "table_e"):
      assert any(name.startswith("paper") for name in made[id].header) == is_paper
      assert ("symmetric 20 % noise" if is_paper else "given labels worse") in made[id].caption
      assert {len(row) for row in made[id].rows} == {len(made[id].header)}
  two = [*people, *(c for c in found.cells if c.noise_kind == "symmetric")]
  assert dataclasses.replace(found, cells=two).other_noise == ""


DRAWN = {
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


def test_files_of_a_report(tmp_path):
  path = made_up_sweep.write(tmp_path, pictures=True)
  out = tmp_path / "elsewhere"
  text = reports.write(path, out)
  assert "C8  ✓ reproduced" in text
  for suffix in ("png", "svg", "pdf"):
    assert {p.stem for p in (out / "figures").glob(f"*.{suffix}")} == DRAWN
  tables = {"claims", "table_a", "table_alpha", "table_c", "table_d", "table_e", "table_2d"}
  leaderboards = {
    "leaderboard_digits_mlp_no_noise",
    "leaderboard_digits_mlp_symmetric_20_",
    "leaderboard_gaussians_linear_one_sided_5_",
  }
  for suffix in ("csv", "tex"):
    assert {p.stem for p in (out / "tables").glob(f"*.{suffix}")} == tables | leaderboards
  # No caption is left over; only a sweep with a grid has the table of chosen settings, and only one
  # of several methods and noises has an overview (test_overview.py).
  others = {
    "table_tuned",
    "leaderboard",
    "overview",
    "gains",
    "gains_by_noise",
    "path",
    "smearing_path",
  }
  assert DRAWN | tables | others == captions.CAPTIONS.keys()
  for tex in (out / "tables").glob("*.tex"):
    text = tex.read_text()
    assert text.count("{tabular}") == 2
    assert rf"\label{{tab:{tex.stem}}}" in text
    header, body = text.split(r"\toprule")[1].split(r"\bottomrule")[0].split(r"\midrule")
    columns = header.count(" & ")
    assert all(row.count(" & ") == columns for row in body.split("\\\\\n") if row.strip())
    assert not re.search(r"(?<!\\)[%_]", text.split(r"\toprule", 1)[1])
  # The same results give the same bytes: figures hold no date.
  before = contents(out)
  reports.write(path, out)
  assert contents(out) == before


def test_results_json_is_a_table(tmp_path):
  """A row per run, with the fields of its config and the metrics of both steps."""
  path = made_up_sweep.write(tmp_path, seeds=2)
  reports.write(path)
  rows = files.read_json(path / "results.json")
  assert len(rows) == 2 * len(results.read(path).cells)
  (row,) = [row for row in rows if row["cell"] == "LS 0.1, noise 0.2" and row["seed"] == 1]
  assert row["config"]["loss.alpha"] == row["alpha"] == 0.1
  assert "train.batch_size" not in row["config"]  # all cells have the same
  assert (row["method"], row["noise_label"]) == ("LS", "symmetric 20 %")
  assert row["realised_rate"] == pytest.approx(0.201)
  assert row["best"]["test"]["accuracy"] == pytest.approx(row["final"]["test"]["accuracy"] + 0.02)
  assert not [name for name in row["config"] if name.startswith("seed")]


def test_both_steps_in_table_a(tmp_path):
  path = made_up_sweep.write(tmp_path)
  reports.write(path)
  rows = {row["loss"]: row for row in rows_of(path, "table_a")}
  for method, gain in (("CE", 10), ("LS 0.1", 2), ("FC 0.1", 0)):
    final, best = (
      float(rows[method][f"test accuracy, %, {step}: mean"])
      for step in ("final step", "best noisy-validation step")
    )
    assert best - final == pytest.approx(gain)
  assert float(rows["LS 0.1"]["less CE, pp, final step: mean"]) == pytest.approx(4, abs=0.2)
  assert float(rows["LS 0.1"]["less CE, pp, best noisy-validation step: mean"]) < -3


def test_columns_of_tables_d_and_e(tmp_path):
  """Calibration is ECE, not NLL; the parts of the training set stand in their columns."""
  path = made_up_sweep.write(tmp_path)
  reports.write(path)
  ece = {row["alpha"]: row for row in rows_of(path, "table_d") if row["loss"] in ("CE", "LS")}
  assert float(ece["0"]["ECE, final step: mean"]) == pytest.approx(0.11, abs=2e-3)
  assert float(ece["0.1"]["ECE, final step: mean"]) == pytest.approx(0.10, abs=2e-3)
  rows = {row["alpha"]: row for row in rows_of(path, "table_e")}
  parts = {"all": 70, "clean": 95, "mislabelled": 54}
  for part, expected in parts.items():
    got = float(rows["0.1"][f"{part}, %, final step: mean"])
    assert got == pytest.approx(expected, abs=0.2)
  assert rows["0.1"]["paper: all / clean / mislabelled"] == "80.11 / 87.99 / 48.58"


def test_the_best_is_bold_with_what_cannot_be_told_from_it(tmp_path, monkeypatch):
  made = made_up_sweep.result

  def result(config, seed):
    """Lets FC vary around LS with the seed."""
    content = made(config, seed)
    if config.loss.name == "forward_correction":
      content["final"]["test"]["accuracy"] += 0.004 * (seed - 1)
    return content

  monkeypatch.setattr(made_up_sweep, "result", result)
  path = made_up_sweep.write(tmp_path)
  reports.write(path)
  section = (path / "report.md").read_text().split("## Table A")[1].split("## ")[0]
  rows = {line.split(" | ")[1]: line.split(" | ")[2] for line in section.splitlines()[6:10]}
  assert {name for name, text in rows.items() if text.startswith("**")} == {"LS 0.1", "FC 0.1"}


def pair_noise_cells():
  noise = {"noise.kind": "pair", "noise.rate": 0.3}
  rates = {"fast": 0.1, "slow": 0.01}
  return [
    {"name": name, "changes": cells.method("LS", 0.1) | noise | {"optim.learning_rate": rate}}
    for name, rate in rates.items()
  ]


def test_a_sweep_that_is_not_the_papers_gets_a_leaderboard(tmp_path):
  path = made_up_sweep.write(
    tmp_path, more_cells=pair_noise_cells(), keep=lambda name, seed: name in ("fast", "slow")
  )
  index = files.read_json(path / "sweep.json")
  index["cells"] = [cell for cell in index["cells"] if cell["name"] in ("fast", "slow")]
  files.write_json(path / "sweep.json", index)
  text = reports.write(path)
  assert claims.claims(results.read(path)) == []
  assert "pair 30 %: test accuracy, final step" in text
  assert "cannot be told from the best" in text
  for name in ("report.md", "report.html"):
    page = (path / name).read_text()
    assert "symmetric" not in page
    assert "<h2>Claims" not in page
    assert "**C1**" not in page
  rows = rows_of(path, "leaderboard_digits_mlp_pair_30_")
  assert {row["cell"]: row["differs in"] for row in rows} == {
    "fast": "optim.learning_rate 0.1",
    "slow": "optim.learning_rate 0.01",
  }
  caption = (path / "report.md").read_text().split("## Leaderboard: digits, mlp, pair 30 %")[1]
  assert "Share of wrong training labels: 30.1 %" in caption


def test_runs_that_were_made_by_hand(tmp_path):
  path = made_up_sweep.write(tmp_path / "sweep", seeds=2, pictures=True)
  sweep = results.read(path)
  found = [cell for cell in sweep.cells if cell.name in ("CE, noise 0.2", "LS 0.1, noise 0.2")]
  workdirs = [workdir for cell in found for workdir in cell.workdirs.values()]
  with pytest.raises(reports.ResultsError, match="--out is missing"):
    reports.write(workdirs)
  reports.write(workdirs, tmp_path / "out")
  rows = rows_of(tmp_path / "out", "leaderboard_digits_mlp_symmetric_20_")
  assert [(row["cell"].split(" (")[0], "stopped early" in row["cell"]) for row in rows] == [
    ("CE, symmetric 20 %", True),  # its best step gains more in the made-up results
    ("LS 0.1, symmetric 20 %", False),
    ("CE, symmetric 20 %", False),
  ]
  assert [row["test accuracy, %, final step: n"] for row in rows] == ["2", "2", "2"]
  reports.write(workdirs[0])
  drawn = {p.stem for p in (workdirs[0] / "report/figures").glob("*.png")}
  assert drawn == {"parts", "memorisation", "reliability", "margins", "projection"}


def test_html_is_one_file(tmp_path):
  path = made_up_sweep.write(tmp_path, pictures=True)
  reports.write(path)
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
  embedded = [source for source in reader.sources if not source.startswith(("#", "https://arxiv"))]
  assert len(embedded) == 11
  assert all(source.startswith("data:image/png;base64,") for source in embedded)
  anchors = {source[1:] for source in reader.sources if source.startswith("#")}
  assert anchors == set(re.findall(r'<h2 id="([^"]+)"', text))
  assert 'name="viewport"' in text
  assert "@media print" in text
  assert "$" not in re.sub(r"<table.*?</table>", "", text, flags=re.S)  # every placeholder filled


def test_boundary_in_raw_coordinates(tmp_path):
  """Normalisation is undone: angle and distance of the raw boundary come out."""
  ((spread, (clean, noisy)),) = results.read(made_up_sweep.write(tmp_path, seeds=2)).planes.items()
  assert (spread, clean.name) == ("0.1", "2-D: CE, no noise")
  assert [cell.alpha for cell in noisy] == [0.0, 0.6]
  assert noisy[0].values("boundary.angle")[0] == pytest.approx(8.0, abs=1e-3)
  distances = noisy[0].values("boundary.distance")
  assert distances[0] == pytest.approx(0.6, abs=1e-6)
  assert distances[1] == pytest.approx(0.6 + 1e-3 * math.sin(7), abs=1e-6)


def test_a_history_that_cannot_be_read_is_skipped(tmp_path):
  path, out = made_up_sweep.write(tmp_path / "sweep", seeds=3), tmp_path / "out"
  (path / "sessions.jsonl").write_text('{"date": "today"}\n{"seconds": 2, "date": "today"}\n')
  reports.write(path, out)
  before = contents(out)
  cell = results.read(path).trained("LS 0.1", 0.2)
  metrics = cell.workdirs[1] / "metrics.jsonl"
  metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:1]) + "{?\n{}\n")
  cell = results.read(path).trained("LS 0.1", 0.2)
  assert {step: len(values) for step, values in cell.history("memorisation").items()} == {
    3: 2,
    6: 2,
  }
  reports.write(path, out)
  # The made-up memorisation is the same for every seed, so that its mean does not move.
  changed = {name for name, content in contents(out).items() if content != before[name]}
  assert changed == {"report.html", *(f"figures/parts.{end}" for end in ("png", "svg", "pdf"))}
  (path / "sessions.jsonl").write_text("{?\n{}\n")
  reports.write(path, out)
  assert b"Trained in 2 s" in before["report.md"]
  assert "Trained in" not in (out / "report.md").read_text()


def test_a_loss_without_a_short_name_keeps_its_own(tmp_path):
  changes = {"loss.name": "generalized_smoothing", "loss.r": 0.3, "noise.rate": 0.2}
  cell = {"name": "r 0.3", "changes": {**changes, "noise.kind": "symmetric"}}
  sweep = results.read(made_up_sweep.write(tmp_path, seeds=1, more_cells=[cell]))
  (cell,) = sweep.select(method="generalized_smoothing")
  assert (cell.name, cell.label) == ("r 0.3", "generalized_smoothing, r 0.3")
  assert sweep.student("FC 0.1", 0.2, 2.0, "both").name.startswith("student of FC, T 2 both")


def test_styles_repeat():
  assert plotting.style(7, "color", "marker") == plotting.style(0, "color", "marker")


def test_summary_of_a_run():
  noise = {"kind": "symmetric", "realised_rate": 0.19, "asked_rate": 0.2}
  final = {"step": 6, "test": {"accuracy": 0.84, "nll": 0.5}, "train": {"memorisation": 0.125}}
  best = {"step": 4, "test": {"accuracy": 0.85}}
  result = {
    "noise": noise | {"includes_own_class": False},
    "teachers": [{"workdir": "runs/t", "step": 9, "test_accuracy": None}],
    "status": "diverged",
    "diverged": {"loss": "nan", "step": 7, "last_good_checkpoint": None},
  }
  lines = summary.table(result | {"final": final, "best": best}, "runs/x").splitlines()
  assert lines[:3] == [
    "label noise: symmetric, rate 0.2 asked, 0.1900 of the labels are wrong",
    "teacher: runs/t, step 9, test -",
    "DIVERGED: loss nan at step 7; last good checkpoint: none",
  ]
  assert lines[3].endswith("final, step 6     best validation, step 4")
  assert [line.split()[-4:] for line in lines[4:-1]] == [
    ["84.00", "%", "85.00", "%"],
    ["NLL", "(nats)", "0.5000", "-"],
    ["label)", "12.50", "%", "-"],
  ]
  assert lines[-1] == "files: runs/x"
  unknown = {**result, "noise": {"kind": "given", "realised_rate": None}, "final": None}
  text = summary.table(unknown | {"best": None}, "runs/x")
  assert text.startswith("label noise: given, its rate unknown without clean labels\n")
  assert "test accuracy" not in text


def run_python(*arguments):
  return subprocess.run(
    [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
  )


def test_a_report_needs_no_jax(tmp_path):
  path = made_up_sweep.write(tmp_path, seeds=2)
  script = (
    "import sys; from lsjax import reports\n"
    "print(*sys.modules, file=sys.stderr)\n"
    "reports.write(sys.argv[1])\n"
    "print(*sys.modules)"
  )
  done = run_python("-c", script, str(path))
  assert done.returncode == 0, done.stderr
  loaded, at_first = set(done.stdout.split()), set(done.stderr.split())
  assert not {"jax", "jaxlib", "absl", "ml_collections"} & loaded
  # What a command that trains would wait for.
  assert not {"matplotlib", "scipy"} & at_first
  assert "scipy.stats" not in loaded
  ours = {name for name in loaded if name.startswith("lsjax.")}
  rest = {name for name in ours if not name.startswith("lsjax.reports")}
  rest = {name for name in rest if not name.startswith(("lsjax.transition.", "lsjax.methods."))}
  library = {"lsjax.labels", "lsjax.methods", "lsjax.transition"}
  assert rest <= library | {
    *("lsjax.archives", "lsjax.files", "lsjax.memory", "lsjax.regular", "lsjax.validation"),
    *("lsjax.runs", "lsjax.runs.digests"),
  }


def test_the_command(tmp_path):
  path, out = made_up_sweep.write(tmp_path / "sweep"), tmp_path / "out"
  done = run_python("-m", "lsjax.report", str(path), f"--out={out}")
  assert done.returncode == 0, done.stderr
  assert "C1  ✓ reproduced" in done.stdout
  assert (out / "report.html").exists()
  assert not (path / "report.html").exists()
  done = run_python("-m", "lsjax.report", str(path / "absent"))
  assert done.returncode == 2
  assert len(done.stderr.splitlines()) == 1
  assert done.stderr.startswith("lsjax: ")
  assert "holds no readable sweep.json" in done.stderr


def test_the_command_without_matplotlib(tmp_path):
  path = made_up_sweep.write(tmp_path, seeds=1)
  script = (
    "import sys; sys.modules['matplotlib'] = sys.modules['matplotlib.figure'] = None\n"
    "from lsjax import report; report.run()"
  )
  done = run_python("-c", script, str(path))
  assert done.returncode == 2
  assert (
    done.stderr == "lsjax: matplotlib is not installed; pip install 'lsjax[report]' installs it\n"
  )
