"""The tutorial notebook runs from its first cell to its last, and is committed without outputs."""

import pathlib

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs/tutorial.ipynb"


def test_notebook_has_no_outputs():
  for cell in nbformat.read(NOTEBOOK, 4).cells:
    if cell.cell_type == "code":
      assert cell.outputs == []
      assert cell.execution_count is None


def test_notebook_runs(tmp_path, monkeypatch):
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  monkeypatch.setenv("TMPDIR", str(tmp_path))
  notebook = nbformat.read(NOTEBOOK, 4)
  resources = {"metadata": {"path": str(tmp_path)}}
  nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
  outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
  assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
  printed = "".join(o.text for o in outputs if o.get("name") == "stdout")
  assert "of them wrong" in printed
  assert "recovered" in printed
