"""Reports on directories that are damaged, or that come from somebody who means harm."""

import json
import random
import subprocess
import sys

import made_up_sweep
import pytest

from lsjax import files, reports
from lsjax.reports import formats, page, reading, results


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
  monkeypatch.setattr("lsjax.reports.figures.draw", lambda sweep: [])


def workdirs(path):
  """The directories of the runs of the first cell that has been trained, by seed."""
  return next(cell for cell in results.read(path).cells if cell.label == "LS 0.1").workdirs


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("result.json", "{"),
    ("result.json", "[3]"),
    ("result.json", '{"status": "finished"}'),
    ("result.json", '{"status": ["finished"], "final": null}'),
    ("result.json", '{"status": "finished", "final": {"test": {"accuracy": "\\u001b[31m"}}}'),
    ("result.json", "[" * 100_000),
    ("config.json", "{"),
    ("config.json", '{"inputs": 3}'),
  ],
)
def test_a_damaged_run_counts_as_missing(tmp_path, capsys, name, content):
  path = made_up_sweep.write(tmp_path / "sweep")
  damaged = workdirs(path)[1] / name
  damaged.write_text(content)
  text = reports.write(path, tmp_path / "out")
  (warning,) = capsys.readouterr().err.splitlines()
  assert warning.startswith(f"lsjax: warning: {damaged} ")
  assert warning.endswith("it counts as missing")
  header = (tmp_path / "out/report.md").read_text().split("## ")[0]
  for where in (text, header.replace("\\", ""), (tmp_path / "out/report.html").read_text()):
    assert f"Damaged, and counted as missing: {damaged} " in where
  statuses = [r["status"] for r in files.read_json(tmp_path / "out/results.json")]
  assert statuses.count("missing") == 1
  assert reports.write(path, tmp_path / "again") == text.replace("/out/", "/again/")


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("theory.json", "{"),
    ("theory.json", '{"omega": 3}'),
    ("sessions.jsonl", '{"date": "\\u001b[31m"}\n{"seconds": "x", "date": 3}\n{}\n'),
  ],
)
def test_damaged_files_of_a_sweep(tmp_path, name, content):
  path = made_up_sweep.write(tmp_path / "sweep")
  (path / name).write_text(content)
  assert "\x1b" not in reports.write(path, tmp_path / "out")
  about = (tmp_path / "out/report.md").read_text().replace("\\", "")
  assert (f"{path / name} " in about) == (name == "theory.json")


@pytest.mark.parametrize("name", ["metrics.jsonl", "diagnostics.npz"])
def test_damaged_histories_and_diagnostics(tmp_path, name):
  path = made_up_sweep.write(tmp_path / "sweep", pictures=True)
  for content in (
    b"\x00",
    b"{}\n{}\n",
    b'{"step": [], "split": "train", "memorisation": 1}\n',
    b"PK",
  ):
    for workdir in path.glob("*/"):
      (workdir / name).write_bytes(content)
    for cell in results.read(path).cells:
      assert cell.history("memorisation") == {} or name != "metrics.jsonl"
      assert cell.boundaries == {} or name != "diagnostics.npz"


@pytest.mark.parametrize("outside", ["../elsewhere", "{}", "link", "sweep/../../elsewhere", "", 3])
def test_no_run_outside_the_directory_of_a_sweep(tmp_path, outside):
  path = made_up_sweep.write(tmp_path / "sweep")
  workdir = workdirs(path)[0]
  elsewhere = workdir.rename(tmp_path / "elsewhere")
  (path / "link").symlink_to(elsewhere)
  index = (path / "sweep.json").read_text()
  name = outside.format(elsewhere) if isinstance(outside, str) else outside
  (path / "sweep.json").write_text(index.replace(f'"{workdir.name}"', json.dumps(name)))
  found = results.read(path)
  (line,) = found.unreadable
  assert "lies outside" in line or "is no name of a directory" in line
  cell = next(cell for cell in found.cells if cell.label == "LS 0.1")
  assert cell.statuses[0] == "missing"
  assert cell.statuses[1] == "finished"
  assert not any(p.resolve() == elsewhere for p in cell.workdirs.values())


HARM = "# [x](http://h) <b>&amp;\x1b[2J\n| a\u202e\u2028`~~"


def test_texts_are_shown_as_they_are(tmp_path):
  """In Markdown, in HTML and on a terminal; none of them is more than text."""
  path = made_up_sweep.write(tmp_path / "sweep")
  index = files.read_json(path / "sweep.json")
  index["label"] = index["name"] = HARM
  names = {}
  for number, cell in enumerate(index["cells"]):
    names[cell["name"]] = cell["name"] = f"{HARM} {number}"
    cell["candidate_of"] = names.get(cell["candidate_of"])
    for seed, run in enumerate(cell["runs"]):
      if number == 0 and seed == 0:
        run["workdir"] = f"../{HARM}"
  files.write_json(path / "sweep.json", index)
  done = subprocess.run(
    [sys.executable, "-m", "lsjax.report", path, f"--out={tmp_path / 'out'}"],
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  markdown, html = ((tmp_path / f"out/report.{end}").read_text() for end in ("md", "html"))
  for text in (done.stdout, done.stderr, markdown, html):
    assert all(c.isprintable() or c == "\n" for c in text.replace("\u2009", "").replace("\xa0", ""))
    assert r"\x1b[2J" in text.replace("\\\\", "\\")
  assert "<b>&amp;\\" not in html
  assert "&lt;b&gt;&amp;amp;" in html
  assert not [line for line in markdown.splitlines() if line.startswith("# [")]
  assert "](http://h)" not in markdown
  assert markdown.startswith("# \\# [x]\\(http://h) \\<b>\\&amp;\\\\x1b[2J\\\\n\\| a")


def test_markdown():
  for text, escaped in (
    ("# a", r"\# a"),
    ("- a", r"\- a"),
    ("1. a", r"1\. a"),
    ("[a][b] [c]: d", r"[a]\[b] [c]\: d"),
    ("+1.2 pp [+0.5, +2.0], a & b > c", r"\+1.2 pp [+0.5, +2.0], a & b > c"),
    ("a\nb\x9b", r"a\\nb\\x9b"),
  ):
    assert formats.escape_markdown(text) == escaped
  title = page.Page("a", [], [], [], [])
  assert title.to_markdown().startswith("# a\n")


def test_mutated_files_of_a_sweep(tmp_path):
  """One line that names sweep.json, or a report in which the damage is named."""
  path, draws = made_up_sweep.write(tmp_path / "sweep", seeds=1), random.Random(0)
  odd = (None, True, -1, 10**30, 1.5, "", "x", "\ud800", [], ["x"], {}, {"x": 1}, "../..")
  whole = (path / "sweep.json").read_text()

  def places(node, at=()):
    yield at
    pairs = {dict: lambda: node.items(), list: lambda: enumerate(node)}.get(type(node), tuple)
    for key, value in pairs():
      yield from places(value, (*at, key))

  counts = {"read": 0, "refused": 0}
  paths = list(places(json.loads(whole)))
  near = [at for at in paths[1:] if "config" not in at]
  for _ in range(60):
    index = node = json.loads(whole)
    *outer, last = draws.choice(near if draws.random() < 0.5 else paths[1:])
    for key in outer:
      node = node[key]
    node[last] = draws.choice(odd)
    (path / "sweep.json").write_text(json.dumps(index))
    try:
      results.read(path)
      counts["read"] += 1
    except results.ResultsError as error:
      counts["refused"] += 1
      assert str(error).isprintable()
      assert "sweep.json" in str(error)
  assert min(counts.values()) > 5, counts


def test_plain():
  assert reading.clean({"a\n": ["b\x1b", 3, None]}) == {"a\\n": ["b\\x1b", 3, None]}
  assert reading.plain("é 日本 ±\u202f") == "é 日本 ±\u202f"
