"""What lint-imports (pyproject.toml) cannot see of the layout."""

import ast
import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "lsjax"


def test_one_file_knows_devices():
  for path in PACKAGE.rglob("*.py"):
    if path != PACKAGE / "training/devices.py":
      tree = ast.parse(path.read_text())
      names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
      assert not names & {"pmap", "shard_map", "NamedSharding", "local_devices"}, path


def requirements(lines):
  """Requirements without comments, spaces and empty lines."""
  found = {re.sub(r"\s|#.*", "", line) for line in lines}
  return {line for line in found if line and not line.startswith("-r")}


def test_requirements_are_those_of_the_package():
  """requirements.txt installs what `pip install .[all]` does."""
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  extras = dict(project["optional-dependencies"])
  (everything,) = extras.pop("all")
  assert everything == f"lsjax[{','.join(extras)}]"
  declared = requirements(project["dependencies"])
  for lines in extras.values():
    declared |= requirements(lines)
  assert requirements((ROOT / "requirements.txt").read_text().splitlines()) == declared


def test_every_package_is_shipped():
  listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
  found = {path.parent.relative_to(ROOT) for path in PACKAGE.rglob("__init__.py")}
  packages = {".".join(path.parts) for path in found}
  assert {*listed} == packages | {"lsjax.configs", "lsjax.configs.sweeps"}
