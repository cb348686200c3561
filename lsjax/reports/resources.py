"""Files that are shipped with the package: style, template, captions and the paper's numbers."""

import importlib.resources
import tomllib
from typing import Any


def text(name: str, package: str = __package__) -> str:
  """Returns the content of a file of a package, by default of this one."""
  return importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")


def toml(name: str) -> dict[str, Any]:
  """Returns the content of a TOML file of this package."""
  return tomllib.loads(text(name))
