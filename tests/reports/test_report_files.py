"""The files of a report: tables, figures and pages, and what they show when runs are missing."""

import csv
import html.parser
import math
import pathlib
import re
import subprocess
import sys

import made_up_sweep
import pytest

from lsjax import files, reports
from lsjax.reports import captions, claims, plotting, results, summary

ROOT = pathlib.Path(__file__).parents[2]


def contents(path):
  """Returns the content of every file of a report by its name."""
  return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_one_seed_gives_no_interval_and_no_verdict(tmp_path):
  path = made_up_sweep.write(tmp_path, seeds=1)
  got = {claim.id: claim.verdict for claim in claims.claims(results.read(path))}
  assert got.pop("C6") == claims.REPRODUCED  # mathematics, not statistics
  assert set(got.values()) == {claims.UNTESTED}
  reports.write(path)
  text = (path / "report.md").read_text()
  assert "n = 1, no interval" in text
  assert "±" not in text.split("## Table A")[1].split("paper, CIFAR")[0].split("|---")[0]
  table = (path / "tables/table_a.csv").read_text()
  assert "80.44 ± 0.63" in table  # the paper's own spread stays
  assert re.search(r"80\.\d\d \(n = 1\)", table)


def test_missing_and_diverged_cells_show_as_such(tmp_path):
  gone = "LS 0.1, noise 0.2"
  path = made_up_sweep.write(
    tmp_path, keep=lambda name, seed: name != gone and (name, seed) != ("CE, noise 0.2", 2)
  )
  (cell,) = results.read(path).select(method="FC", alpha=0.1, rate=0.2)
  files.write_json(cell.workdirs[1] / "result.json", {"status": "diverged", "final": None})
  reports.write(path)
  rows = list(csv.reader((path / "tables/table_a.csv").read_text().splitlines()))
  by_loss = {row[1]: row[2] for row in rows[1:]}
  assert by_loss["LS"] == "3 of 3 missing"
  assert by_loss["FC"].endswith("(n = 2); 1 of 3 diverged")
  assert by_loss["CE"].endswith("(n = 2); 1 of 3 missing")
  verdicts = {claim.id: claim.verdict for claim in claims.claims(results.read(path))}
  assert verdicts["C1"] == claims.UNTESTED
  text = (path / "report.md").read_text()
  assert f"{gone}: 3 of 3 missing" in text
  assert "Not all there" in text


def test_files_of_a_report(tmp_path):
  path = made_up_sweep.write(tmp_path)
  out = tmp_path / "elsewhere"
  text = reports.write(path, out)
  assert "C9  ✓ reproduced" in text
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
  assert drawn | tables == captions.CAPTIONS.keys()  # no caption is left over
  for suffix in ("csv", "tex"):
    assert {p.stem for p in (out / "tables").glob(f"*.{suffix}")} == tables
  for tex in (out / "tables").glob("*.tex"):
    text = tex.read_text()
    assert text.count("{tabular}") == 2
    body = text.split(r"\hline")[2]
    columns = text.split(r"\hline")[1].count(" & ")
    assert all(row.count(" & ") == columns for row in body.split("\\\\\n") if row.strip())
    assert not re.search(r"(?<!\\)[%_]", text.split(r"\hline", 1)[1])
  listed = files.read_json(out / "results.json")
  assert sum(len(cell["runs"]) for cell in listed) == 3 * len(listed)
  # The same results give the same bytes: figures hold no date.
  before = contents(out)
  reports.write(path, out)
  assert contents(out) == before


def test_html_is_one_file(tmp_path):
  path = made_up_sweep.write(tmp_path)
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
  assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
  assert 'name="viewport"' in text
  assert "@media print" in text
  assert "$" not in re.sub(r"<table.*?</table>", "", text, flags=re.S)  # every placeholder filled


def test_boundary_in_raw_coordinates(tmp_path):
  """Normalisation is undone: the angles of the raw boundary come out, and it has no offset."""
  clean, noisy = results.read(made_up_sweep.write(tmp_path, seeds=2)).plane
  assert [cell.name for cell in clean] == ["2-D: CE, no noise"]
  assert [cell.alpha for cell in noisy] == [0.0, 0.6]
  angles = noisy[0].values("boundary.angle")
  assert angles[0] == pytest.approx(8.0, abs=1e-3)
  assert angles[1] == pytest.approx(8.0 + 0.1 * math.sin(7), abs=1e-2)
  assert noisy[0].values("boundary.distance")[0] == pytest.approx(0, abs=1e-6)


def test_a_history_that_cannot_be_read_is_skipped(tmp_path):
  path, out = made_up_sweep.write(tmp_path / "sweep"), tmp_path / "out"
  (path / "sessions.jsonl").write_text('{"date": "today"}\n{"seconds": 2, "date": "today"}\n')
  reports.write(path, out)
  before = contents(out)
  (cell,) = results.read(path).select(method="LS", alpha=0.1, rate=0.2)
  metrics = cell.workdirs[1] / "metrics.jsonl"
  metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:1]) + "{?\n{}\n")
  (cell,) = results.read(path).select(method="LS", alpha=0.1, rate=0.2)
  assert {step: len(values) for step, values in cell.history("memorisation").items()} == {
    3: 2,
    6: 2,
  }
  reports.write(path, out)
  # The made-up memorisation is the same for every seed, so that its mean does not move.
  changed = {name for name, content in contents(out).items() if content != before[name]}
  assert changed == {"figures/parts.png", "figures/parts.svg", "report.html"}
  (path / "sessions.jsonl").write_text("{?\n{}\n")
  reports.write(path, out)
  assert b"Trained in 2 s" in before["report.md"]
  assert "Trained in" not in (out / "report.md").read_text()


def test_a_loss_without_a_short_name_keeps_its_own(tmp_path):
  changes = {"loss.name": "generalized_smoothing", "loss.r": 0.3, "noise.rate": 0.2}
  cell = {"name": "r 0.3", "changes": {**changes, "noise.kind": "symmetric"}}
  sweep = results.read(made_up_sweep.write(tmp_path, seeds=1, more_cells=[cell]))
  assert [cell.name for cell in sweep.select(method="generalized_smoothing")] == ["r 0.3"]
  assert sweep.find(teacher="FC", rate=0.2, temperature=2.0).name.startswith("student of FC, T 2")


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
  assert not {"matplotlib", "scipy.stats"} & at_first
  ours = {name for name in loaded if name.startswith("lsjax.")}
  rest = {name for name in ours if not name.startswith("lsjax.reports")}
  library = {"lsjax.labels", "lsjax.methods", "lsjax.transition"}
  assert rest <= library | {"lsjax.files", "lsjax.runs", "lsjax.runs.digests", "lsjax.validation"}


def test_the_command(tmp_path):
  path, out = made_up_sweep.write(tmp_path / "sweep", seeds=2), tmp_path / "out"
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
