"""The config files that come with the package, found and loaded by their names."""

import importlib.util
import pathlib
from typing import Any

import ml_collections

from lsjax.validation import UserError


def directory() -> pathlib.Path:
  """Returns where the config files are: inside an installed package, or beside a checkout's."""
  package = pathlib.Path(__file__).parent
  inside = package / "configs"
  return inside if inside.is_dir() else package.parent / "configs"


def find(name: str) -> pathlib.Path:
  """Returns the path of a config file.

  Args:
    name: the file's name without suffix, such as "digits_noisy" or "paper_digits".

  Raises:
    UserError: if there is no such file, naming those that there are.
  """
  files = sorted([*directory().glob("*.py"), *(directory() / "sweeps").glob("*.py")])
  for file in files:
    if file.stem == name:
      return file
  known = ", ".join(file.stem for file in files)
  raise UserError(f"--config = {name!r}: is neither a file nor one of {known}")


def load(name: str, *arguments: Any) -> ml_collections.ConfigDict:
  """Returns the config that a config file builds.

  Args:
    name: the file's name without suffix.
    *arguments: arguments of the file's `get_config`, such as the variants.

  Raises:
    UserError: if there is no such file.
  """
  spec = importlib.util.spec_from_file_location(f"lsjax_config_{name}", find(name))
  assert spec is not None
  assert spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config: ml_collections.ConfigDict = module.get_config(*arguments)
  return config
