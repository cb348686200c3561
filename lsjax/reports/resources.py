"""Files that are shipped with the package: style, template, captions and the paper's numbers."""

import importlib.resources
import tomllib
from typing import Any


def text(name: str) -> str:
  """Returns the content of a file of this package."""
  return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def toml(name: str) -> dict[str, Any]:
  """Returns the content of a TOML file of this package."""
  return tomllib.loads(text(name))
