"""What the pages of the documentation say is so: commands, tables, names of files and fields."""

import importlib
import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys
import types
import typing

import numpy as np
import pytest
import yaml

import lsjax
from benchmarks import run_all
from lsjax import cli, files, validation
from lsjax import config as config_lib
from lsjax.advice import candidates, problem, ranking, sizes
from lsjax.advice.noise import EXAMPLE, dependence

ROOT = pathlib.Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
PAGES = [*TOP, *DOCS, *NOTEBOOKS, ROOT / "benchmarks/README.md"]


def blocks(page, language=""):
  text = (ROOT / page).read_text()
  fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
  return [code for name, code in fenced if name == language]


def words(page):
  return " ".join((ROOT / page).read_text().split())


def tables(text):
  """Returns (header, rows) of every table in a text of Markdown."""
  found = re.findall(r"^(\|.*\|)\n\|[-| ]+\|\n((?:\|.*\|\n?)*)", text, re.MULTILINE)

  def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]

  return [(cells(header), [cells(row) for row in rows.splitlines()]) for header, rows in found]


def test_npz_route(tmp_path):
  command = next(b for b in blocks("docs/your-own-data.md") if "mine.npz" in b)
  rng = np.random.default_rng(0)
  clean = rng.integers(0, 3, 400)
  images = rng.normal(size=(400, 6)) + 3 * np.eye(3, 6)[clean]
  crowd = np.where(rng.random(400) < 0.2, (clean + 1) % 3, clean)
  test_labels = rng.integers(0, 3, 100)
  np.savez(
    tmp_path / "mine.npz",
    train_images=images,
    crowd=crowd,
    train_labels=clean,
    test_images=rng.normal(size=(100, 6)) + 3 * np.eye(3, 6)[test_labels],
    test_labels=test_labels,
  )
  command = command.replace("\\\n", " ").replace("mine.npz", str(tmp_path / "mine.npz"))
  first, *rest = shlex.split(command)
  assert first == "python"
  more = ["--config.train.num_steps=200", f"--workdir={tmp_path / 'run'}"]
  done = subprocess.run(
    [sys.executable, *rest, *more], cwd=ROOT, capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr
  assert f"label noise: given, {np.mean(crowd != clean):.4f} of the labels are wrong" in done.stdout
  assert "memorisation" in done.stdout


def test_losses_in_your_own_loop():
  scope = {}
  (code,) = blocks("docs/your-own-data.md", "python")
  exec(code, scope)
  assert np.asarray(scope["smoothed"])[1] == 0
  assert scope["mean_loss"] == pytest.approx(float(scope["corrected"][0]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_links_exist(page):
  text = page.read_text()
  if page.name == "CHANGELOG.md":
    text = text.split("## 0.1.0")[0]  # what lay where then is no longer there
  pattern = r"(?:configs|lsjax|benchmarks|results|launch|docs|tests)/[\w/]+\.\w+"
  for name in re.findall(pattern, text):
    assert (ROOT / name).exists(), name
  generated = {"contributing.md", "changelog.md"}
  for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
    target = link.split("#")[0]
    assert target in generated or (page.parent / target).exists(), link


def test_tables_of_the_pages_are_those_of_the_reports():
  """`python docs/tools/results.py` would change nothing."""
  spec = importlib.util.spec_from_file_location("results", ROOT / "docs/tools/results.py")
  results = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(results)
  for page in results.PAGES:
    assert results.updated(page.read_text()) == page.read_text(), page.name
  rows = [line for page in results.PAGES for line in page.read_text().splitlines()]
  assert sum(line.startswith("<!-- results/") for line in rows) == 31
  assert not [line for line in rows if line.startswith("<!-- rows of")]
  assert "| C1 |" in (ROOT / "README.md").read_text()


def test_what_the_methods_page_says_of_digits():
  report = files.read_json(ROOT / "results/digits/report.json")
  (table,) = [t for t in report["tables"] if t["id"] == "table_alpha"]
  accuracy, early, ece = {}, {}, {}
  for noise, loss, alpha, final, best, calibration, *_ in table["rows"]:
    key = (noise, loss, float(alpha))
    accuracy[key], early[key], ece[key] = (x["mean"] for x in (final, best, calibration))
  rates = ("no noise", *(f"symmetric {rate} %" for rate in (20, 40, 60)))
  alphas = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
  above = {
    rate: [a for a in alphas if accuracy[rate, "LS", a] > accuracy[rate, "CE", 0.0]]
    for rate in rates
  }
  assert above == {rate: [*alphas[:5]] if rate == "no noise" else [*alphas] for rate in rates}
  for rate in rates[:3]:
    grown = [ece[rate, "LS", a] for a in alphas]
    assert ece[rate, "CE", 0.0] < grown[0]
    assert grown == sorted(grown)
  for rate, first in zip(rates[1:], (0.2, 0.4, 0.8), strict=True):
    below = [a for a in alphas if ece[rate, "FC", a] < ece[rate, "CE", 0.0]]
    assert below == [a for a in alphas if a >= first]
  for rate, share in zip(rates[1:], (0.2, 0.4, 0.6), strict=True):
    for a in (a for a in alphas if a > share):
      assert accuracy[rate, "FC", a] >= accuracy[rate, "LS", a] - 1e-9, (rate, a)
  assert all(accuracy[r, "BC", a] < accuracy[r, "LS", a] for r in rates for a in alphas)
  gain = early[rates[1], "CE", 0.0] - accuracy[rates[1], "CE", 0.0]
  assert (
    gain
    > max(early[rates[1], m, a] for m in ("LS", "FC") for a in alphas)
    - (early[rates[1], "CE", 0.0])
  )
  (plane,) = [t for t in report["tables"] if t["id"] == "table_2d"]
  for spread, noise, is_brought_back in (("0.1", 5, True), ("1", 40, False)):
    found = [r for r in plane["rows"] if r[:2] == [spread, f"one sided {noise} %"]]
    assert [row[2] for row in found] == ["CE", *(f"LS {a:g}" for a in alphas)]
    distances = [row[3]["mean"] for row in found]
    assert (distances == sorted(distances, reverse=True)) == is_brought_back


def test_tables_of_speed_are_those_of_the_results():
  """`run_all.py --readme` would change nothing."""
  for path, text in run_all.pages().items():
    assert text in path.read_text(), path


def test_measured_numbers_of_scaling_are_those_of_the_results():
  text = words("docs/scaling.md")

  def median(name, row):
    rows = files.read_json(ROOT / f"results/benchmarks/{name}.json")["rows"]
    return next(r["value"]["median"] for r in rows if row in r["name"])

  workers = median("input_pipeline", "worker processes")
  for stated in (
    f"{median('input_pipeline', 'one thread'):.0f} images/s decoded",
    f"2 worker processes {workers:.0f} images/s, that is {workers / 2:.0f} a core",
    f"cores at {workers / 2:.0f} images/s",
    f"{median('scaling', 'on disk'):.0f} MB measured",
    f"waits {median('scaling', 'waits'):.2f} s",
    f"whole after {median('scaling', 'written'):.2f} s",
    f"read in {median('scaling', 'read in'):.2f} s",
    f"{median('scaling', '1 process(es) x 4'):.1e} after 300 steps",
    f"{median('scaling', '1 process(es) x 8'):.1e} |",
    f"{median('scaling', '2 process(es) x 2'):.1e} |",
  ):
    assert stated in text, stated


def test_targets():
  row = {"value": {"median": 2.0}, "ratio": {"median": 0.4}}
  targets = {
    ("value", "at most", 2.0): True,
    ("value", "at most", 1.9): False,
    ("ratio", "at least", 0.4): True,
    ("ratio", "at least", 0.5): False,
  }
  for (of, bound, number), expected in targets.items():
    target = {"of": of, "bound": bound, "number": number}
    assert run_all.met(row | {"target": target}) is expected
  assert run_all.met(row | {"target": None}) is None


def test_config_page_has_every_field_with_its_default_and_bounds():
  text = (ROOT / "docs/api/config.md").read_text()
  found = {
    row[0].strip("`"): (row[1].strip("`"), row[2])
    for header, rows in tables(text)
    if header[0] == "field"
    for row in rows
  }
  complete = config_lib.Config(teacher=config_lib.Teacher(), student=config_lib.Student())
  defaults = config_lib.flatten(config_lib.to_dict(complete))
  expected = {}
  for name, hint in config_lib.fields().items():
    if name.startswith("teacher.") and name.count(".") > 1:
      continue  # the page says that these are the fields above
    if name.startswith("loss.") and name.count(".") == 2:
      continue  # the table of methods has them, which is made from the rows
    default = defaults[name]
    shown = str(default).replace("[]", "()") if not isinstance(default, str) else f'"{default}"'
    expected[name] = (shown, _allowed(hint))
  expected["loss.name"] = (
    '"cross_entropy"',
    "a name in the [table of methods](../methods.md#the-methods)",
  )
  assert found == expected


def _allowed(hint):
  """Returns an annotation's bounds as the page states them."""
  bounds = None
  if typing.get_origin(hint) is typing.Annotated:
    hint, bounds = typing.get_args(hint)
  if typing.get_origin(hint) is typing.Literal:
    return ", ".join(typing.get_args(hint))
  if isinstance(bounds, validation.Choice):
    return ", ".join(bounds.choices)
  if bounds is None:
    return ""
  if hint is int:  # the largest integer is one less than a power of two
    return f"[{int(bounds.low)}, 2^{(int(bounds.high) + 1).bit_length() - 1})"
  return str(bounds).removeprefix("in ")


def test_exit_statuses():
  text = (ROOT / "docs/files.md").read_text().split("## Exit statuses")[1]
  (statuses,) = [rows for _, rows in tables(text)]
  numbers = {int(row[0]): row[1] for row in statuses}
  assert list(numbers) == [0, cli.BAD_INPUT, cli.DIVERGED, cli.PEER_LOST, 130, 143]
  assert "diverged" in numbers[cli.DIVERGED]
  assert "process" in numbers[cli.PEER_LOST]


def test_commands_name_config_files_and_variants_that_exist():
  """Every --config=... in a page can be loaded."""
  from lsjax import variants

  for page in [*TOP, *DOCS]:
    for name, names in re.findall(r"--config=([\w/.]+)(?::([\w,]+))?", page.read_text()):
      if name == "...":
        continue
      path = ROOT / name if name.endswith(".py") else None
      stems = {p.stem for p in (ROOT / "configs").rglob("*.py")}
      assert path.exists() if path else name in stems, (page.name, name)
      known = {*variants.VARIANTS, "resnet32"}
      assert set(filter(None, names.split(","))) <= known, (page.name, names)


def test_flags_name_fields_that_exist():
  """Every --config.section.field in a page is one of the config, and of a sweep's base."""
  for page in [*TOP, *DOCS]:
    for name in re.findall(r"--config\.([a-z_]+(?:\.[a-z_]+)+)=", page.read_text()):
      config_lib.check_field_name(name.removeprefix("base."))


def test_new_names_of_the_changelog_exist():
  text = (ROOT / "CHANGELOG.md").read_text().split("## 0.1.0")[0]
  (rows,) = [rows for header, rows in tables(text) if header == ["before", "now"]]
  assert len(rows) > 10
  for _, now in rows:
    module = None
    for name in re.findall(r"`([\w.]+)`", now):
      if name.startswith("lsjax."):
        module = _resolve(name)
      elif name.startswith("."):
        assert _resolve(f"{module.__package__}{name}"), name
      else:
        assert hasattr(module, name) or _resolve(f"{module.__name__}.{name}"), (now, name)


def _resolve(name):
  """Returns the module of that name, or an object in one."""
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_version_is_one_everywhere():
  changelog = (ROOT / "CHANGELOG.md").read_text()
  version, date = re.search(r"^## ([\d.]+) \((.*?)\)", changelog, re.MULTILINE).groups()
  citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
  assert citation["version"] == version == lsjax.__version__
  assert citation["date-released"] == date
  assert citation["preferred-citation"]["title"] == "Does label smoothing mitigate label noise?"


def test_every_name_of_the_library_has_a_page():
  assert "::: lsjax.advice.advise" in (ROOT / "docs/api/advice.md").read_text()
  for name in {*lsjax.__all__} - {"advise"}:
    assert f"::: lsjax.{name}" in (ROOT / f"docs/api/{name}.md").read_text()


def test_advice_page_has_methods_sizes_and_flags():
  page = (ROOT / "docs/advice.md").read_text()
  named = {*re.findall(r"[\w+][\w+. ]*", page.split("## How ways to train")[1].split("\n1. ")[0])}
  assert {*candidates.BY_NAME} <= named
  (rows,) = [rows for header, rows in tables(page) if header == ["examples", "folds", "seeds"]]
  for what, folds, seeds in rows[:-1]:
    counts = [int(n.replace(",", "")) for n in re.findall(r"[\d,]+\d", what)]
    ends = [*range(11, counts[0], 300), counts[0] - 1] if "fewer" in what else counts
    assert {_sizes((n, 5)) for n in ends} == {(int(folds), int(seeds))}, what
  assert {_sizes((n, 4, 4, 3)) for n in (11, 10_000)} == {tuple(map(int, rows[-1][1:]))}
  words_ = words("docs/advice.md")
  assert f"at {sizes.EVALUATIONS} steps" in words_
  assert f"({', '.join(candidates.CORE)})" in words_
  assert f"From {ranking.LEAST_CHECKED} checked labels on" in words_
  assert f"wider than {100 * ranking.WIDEST:g} points" in words_


def _sizes(shape):
  """The folds and the seeds for inputs of a shape."""
  count = shape[0]
  made = problem.Problem(
    "x", np.zeros(shape, np.uint8), *[np.zeros(count, int)] * 2, ("a", "b"), *[np.zeros(count)] * 2
  )
  found = sizes.of(made)
  return found.folds, found.seeds


def test_docstrings_become_markdown():
  pytest.importorskip("griffe")
  spec = importlib.util.spec_from_file_location("docstrings", ROOT / "docs/tools/docstrings.py")
  docstrings = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(docstrings)
  text = "Adds :math:`x +\n  1`.\n\n>>> 1 + 1\n2\n\nMore.\n"
  assert docstrings.markdown(text) == "Adds $x + 1$.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore."


def test_pages_are_made_readable():
  pytest.importorskip("latex2mathml")
  pytest.importorskip("mkdocs")
  spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs/tools/hooks.py")
  hooks = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(hooks)

  def content(html, uri="methods.md"):
    page = types.SimpleNamespace(file=types.SimpleNamespace(src_uri=uri))
    return hooks.on_page_content(html, page=page)

  found = content(
    r'<p>a <span class="arithmatex">\(p &lt; 1\)</span>, 5 %</p><pre>5 %</pre>'
    '\n<div class="arithmatex">\\[\nx\n\\]</div>'
  )
  assert "arithmatex" not in found
  assert found.count("<math") == 2
  assert 'display="block"' in found
  assert "&#x0003C;" in found
  assert "5&nbsp;%</p><pre>5 %</pre>" in found
  wide, narrow = "x" * 100, "x" * 80
  assert "small" in content(f"<pre><code>{wide}</code></pre>")
  assert "small" not in content(f"<pre><code>{narrow}\n<b>{narrow}</b></code></pre>")
  link = '<a href="files.md#exit-statuses">'
  assert content(link, "tutorial.ipynb") == '<a href="../files/#exit-statuses">'
  assert content(link) == link


def test_error_rates_of_the_test_of_dependence_are_those_of_the_results():
  rows = files.read_json(ROOT / "results/benchmarks/advice_simulated.json")["rows"]
  by_kind = {row["noise"]: row for row in rows}
  otherwise, of_class = 0, 0
  for kind in ("symmetric", "pair", "random"):
    verdicts = by_kind[kind]["verdicts"]
    otherwise += verdicts.get(EXAMPLE, 0)
    of_class += by_kind[kind]["repetitions"]
  people = by_kind["people"]
  noticed = people["verdicts"][EXAMPLE]
  text = " ".join((ROOT / "docs/advice.md").read_text().split())
  for said in (
    f"{otherwise} of {of_class} label sets whose noise depends on the class alone",
    f"{noticed} of {people['repetitions']} whose mistakes fall on hard examples",
  ):
    assert said in dependence._ERRORS
    assert said in text
  assert f"held the true rate in {people['covered']} of {people['repetitions']}" in text
