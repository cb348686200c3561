"""What lint-imports (pyproject.toml) cannot see of the layout."""

import ast
import pathlib
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def pins(path):
  """The packages of a lock file: (requirement, its hashes)."""
  entries = path.read_text().replace("\\\n", " ").splitlines()
  lines = [line.split(" #")[0] for line in entries if not line.lstrip().startswith("#")]
  split = [line.split("--hash=sha256:") for line in lines]
  return [(Requirement(pin.strip()), hashes) for pin, *hashes in split]


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_lock_files_fit_the_requirements(name):
  """Each requirement has one version, which is in its range, on every Python."""
  locked = pins(ROOT / f"{name}.lock")
  wanted = requirements((ROOT / f"{name}.txt").read_text().splitlines())
  assert len(wanted) > 10
  for minor in range(11, 15):
    python = {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.9"}
    there = [pin for pin, _ in locked if pin.marker is None or pin.marker.evaluate(python)]
    versions = {canonicalize_name(pin.name): str(pin.specifier) for pin in there}
    assert len(versions) == len(there)
    for requirement in map(Requirement, wanted):
      pinned = versions[canonicalize_name(requirement.name)]
      assert requirement.specifier.contains(pinned.removeprefix("==")), (requirement, pinned)


def test_lock_files_name_files_by_their_hashes_alone():
  """No place to get them from; and what both lock files have is the same in both."""
  run_time, development = (pins(ROOT / f"requirements{kind}.lock") for kind in ("", "-dev"))
  for pin, hashes in [*run_time, *development]:
    assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), pin
    assert hashes, pin
    assert all(re.fullmatch(r"[0-9a-f]{64} *", digest) for digest in hashes), pin
    assert pin.url is None
  named = {(pin.name, str(pin.specifier)) for pin, _ in run_time}
  assert named <= {(pin.name, str(pin.specifier)) for pin, _ in development}


def test_every_package_is_shipped():
  listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
  found = {path.parent.relative_to(ROOT) for path in PACKAGE.rglob("__init__.py")}
  packages = {".".join(path.parts) for path in found}
  assert {*listed} == packages | {"lsjax.configs", "lsjax.configs.sweeps"}
