"""The notebooks run from their first cell to their last, and are committed without outputs."""

import csv
import json
import pathlib
import re

import numpy as np
import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))


def run(name, directory):
  """Runs a notebook in a directory; returns its outputs and what it printed."""
  with pytest.MonkeyPatch.context() as environment:
    environment.setenv("PYTHONPATH", str(ROOT))
    environment.setenv("TMPDIR", str(directory))
    notebook = nbformat.read(ROOT / "docs" / name, 4)
    resources = {"metadata": {"path": str(directory)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
  outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
  return outputs, "".join(o.text for o in outputs if o.get("name") == "stdout")


@pytest.fixture(scope="module")
def advised(tmp_path_factory):
  """The directory of the advice that its notebook asks for twice, and what the notebook printed."""
  where = tmp_path_factory.mktemp("notebook")
  _, printed = run("advice_tutorial.ipynb", where)
  (found,) = where.glob("*/advice")
  return found, printed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_no_outputs(path):
  for cell in nbformat.read(path, 4).cells:
    if cell.cell_type == "code":
      assert cell.outputs == []
      assert cell.execution_count is None


@pytest.mark.slow
def test_tutorial(tmp_path):
  outputs, printed = run("tutorial.ipynb", tmp_path)
  assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
  assert "of them wrong" in printed
  assert "recovered" in printed


@pytest.mark.slow
def test_advice_tutorial(advised):
  _, printed = advised
  assert "of the 140 labels are wrong" in printed
  assert "Which loss and strength, and when to stop?" in printed
  assert float(re.search(r"right on ([\d.]+)% of 38 new wines", printed)[1]) > 80
  rates = re.findall(r"wrong labels ([\d.]+)% \[([\d.]+)%, ([\d.]+)%\]", printed)
  truth = float(re.search(r"truth +wrong labels ([\d.]+)%", printed)[1])
  assert len(rates) == 2
  for _, low, high in rates:
    assert float(low) <= truth <= float(high)


@pytest.mark.slow
def test_advice_page_has_every_file_and_key(advised):
  directory, _ = advised
  page = (ROOT / "docs/advice.md").read_text()

  def named(first, last="\n\n"):
    return set(re.findall(r"`([^`]+)`", page.split(first)[1].split(last)[0]))

  def keys(value):
    """The names of fields of JSON, inside lists too, but for those that are config fields."""
    if isinstance(value, dict):
      known = {name for name in value if "." not in name}
      return known.union(*(keys(v) for name, v in value.items() if name != "curves"))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()

  files = {p.name + "/" * p.is_dir() for p in directory.iterdir() if not p.name.startswith(".")}
  listed = named("| file | content |\n|---|---|")
  assert {re.sub(r"-\w{12}\.npy", "-<digest>.npy", name) for name in files} <= listed
  content = json.loads((directory / "advice.json").read_text())
  assert keys(content) <= named("## advice.json", "\n## ")
  with (directory / "suspects.csv").open(newline="") as f:
    assert set(next(csv.reader(f))) <= named("| column of suspects.csv | content |\n|---|---|")
  with np.load(directory / "labels_cleaned.npz") as arrays:
    assert set(arrays) <= named("| key of labels_cleaned.npz | content |\n|---|---|")
