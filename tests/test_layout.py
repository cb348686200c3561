"""Imports go one way, in the order in which data flows."""

import ast
import pathlib

PACKAGE = pathlib.Path(__file__).parent.parent / "lsjax"
# A module imports only modules before it. main stands alone: nothing imports it.
ORDER = [
  "files",
  "config",
  "variants",
  "data",
  "transition",
  "noise",
  "stream",
  "sampling",
  "augment",
  "cpu_conv",
  "models",
  "losses",
  "optim",
  "step",
  "metrics",
  "parallel",
  "checkpoint",
  "teacher",
  "experiment",
  "diagnostics",
  "record",
  "feed",
  "train",
  "distill",
  "summary",
  "cluster",
  "cells",
  "theory",
  "pool",
  "claims",
  "tables",
  "figures",
  "report",
  "cli",
  "main",
  "sweep",
]


def imported(tree):
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and node.module == "lsjax":
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lsjax."):
      yield node.module.split(".")[1]
    elif isinstance(node, ast.Import):
      yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("lsjax."))


def test_import_order():
  modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
  assert modules == set(ORDER)
  for name in modules:
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    for other in imported(tree):
      assert ORDER.index(other) < ORDER.index(name), f"{name} imports {other}"


def test_only_parallel_knows_devices():
  for path in PACKAGE.glob("*.py"):
    if path.stem != "parallel":
      names = {
        n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)
      }
      assert not names & {"pmap", "shard_map", "NamedSharding", "local_devices"}
