"""Reading the files of runs for a report: a damaged run is named and left out, not believed.

A directory may come from anywhere, so that texts are made safe to print as they are read.
"""

import json
import pathlib
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from lsjax import files
from lsjax.runs import digests

# Control characters, halves of surrogate pairs, separators of lines and paragraphs.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
# They change the direction of the text around them.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class DamagedError(ValueError):
  """A file of a run that is not what lsjax writes; the message is one line and names it."""


def plain(text: str) -> str:
  """Returns a text as one line without control characters, which are shown by their codes.

  >>> plain("red \\x1b[31m")
  'red \\\\x1b[31m'
  """
  return "".join(
    c.encode("unicode_escape").decode()
    if c in _TURNING or unicodedata.category(c) in _UNPRINTABLE
    else c
    for c in text
  )


def clean(value: Any) -> Any:
  """Returns a value of JSON in which every text, also as a name, is `plain`."""
  if isinstance(value, str):
    return value if value.isascii() and value.isprintable() else plain(value)
  if isinstance(value, list):
    return [clean(item) for item in value]
  if isinstance(value, dict):
    return {clean(key): clean(item) for key, item in value.items()}
  return value


def parsed(path: pathlib.Path) -> Any:
  """Returns the value of a JSON file in which every text, also as a name, is `plain`."""
  text = files.read_bytes(path).decode()
  value = json.loads(text)
  return value if _is_plain(text) else clean(value)


def _is_plain(text: str) -> bool:
  """Returns whether every text in a valid JSON text is `plain`; False if only its values can tell.

  Of the ASCII characters that are not printable, JSON takes DEL alone without a backslash.
  """
  return text.isascii() and "\\" not in text and "\x7f" not in text


def read_json(path: pathlib.Path) -> Any:
  """Returns the value of a JSON file with plain texts; None if there is no such file.

  Raises:
    DamagedError: if it cannot be read.
  """
  try:
    return parsed(path) if path.exists() else None
  except (OSError, ValueError, RecursionError) as error:
    raise DamagedError(plain(f"{path} cannot be read ({error})")) from error


def within(directory: pathlib.Path, name: Any) -> pathlib.Path:
  """Returns the directory of a run that the index of a sweep names.

  Raises:
    DamagedError: if it lies outside the sweep's directory, by its name or by a link.
  """
  try:
    inside = directory / name
    if inside.resolve().is_relative_to(directory.resolve()) and name not in ("", "."):
      return inside
  except (TypeError, ValueError, OSError, RuntimeError) as error:
    raise DamagedError(plain(f"{name!r} is no name of a directory ({error})")) from error
  raise DamagedError(plain(f"{inside} lies outside the sweep's directory"))


def result(workdir: pathlib.Path) -> dict[str, Any] | None:
  """Returns the content of a run's result.json, which has its digest; None if there is none.

  Raises:
    DamagedError: if it, or the run's config.json, is damaged.
  """
  path = workdir / "result.json"
  try:
    if not path.exists():
      return None
    text = files.read_bytes(path).decode()
    content: dict[str, Any] = json.loads(text)
    digests.is_sealed(content)
    if not _is_plain(text):
      content = clean(content)
    check_result(content)
  except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
    why = f"it has no {error}" if isinstance(error, KeyError) else error
    raise DamagedError(plain(f"{path} is damaged ({why})")) from error
  begun = read_json(workdir / "config.json")
  if begun is not None:
    try:
      inputs = begun["inputs"]
      if not int(inputs["num_classes"]) >= 1:
        raise ValueError(f"num_classes is {inputs['num_classes']}")
    except (KeyError, TypeError, ValueError) as error:
      raise DamagedError(plain(f"{workdir / 'config.json'} is damaged ({error})")) from error
  return content


def check_result(content: Mapping[str, Any]) -> None:
  """Raises an error unless a result has a status, and numbers where reports read numbers."""
  if content["status"] not in ("finished", "diverged"):
    raise ValueError(f"its status is {content['status']!r}")
  if content["status"] == "finished":
    float(content["final"]["test"]["accuracy"])
  if not isinstance(content.get("noise") or {}, dict):
    raise ValueError("its noise is no object")
  rate = (content.get("noise") or {}).get("realised_rate")
  for moment in ("final", "best"):
    for split in (content.get(moment) or {}).values():
      for value in split.values() if isinstance(split, dict) else [split]:
        if not (value is None or isinstance(value, (int, float))):
          raise ValueError(f"{moment} holds {json.dumps(value)[:40]}, which is no number")
  if not (rate is None or isinstance(rate, (int, float))):
    raise ValueError("its realised_rate is no number")


def theory(path: pathlib.Path) -> dict[str, Any] | None:
  """Returns the content of theory.json; None if there is none.

  Raises:
    DamagedError: if it cannot be read or lacks a number.
  """
  content = read_json(path)
  if content is None:
    return None
  try:
    numbers = [row["error_float64"] for row in content["shrinkage"]]
    numbers += [content["omega"][n] for n in ("largest_gradient", "least_eigenvalue")]
    numbers += [content["omega"]["least_excess"], content["shrinkage_error_float32"]]
    numbers += [content["seeds"]]
    if not all(isinstance(number, (int, float)) for number in numbers):
      raise ValueError("it holds something else than numbers")
  except (KeyError, TypeError, ValueError) as error:
    raise DamagedError(plain(f"{path} is damaged ({error})")) from error
  return dict(content)


def rows(path: pathlib.Path, *needed: str) -> list[dict[str, Any]]:
  """Returns the rows of a file of JSON lines that have some keys; none if it cannot be read."""
  try:
    found = files.read_rows(path) if path.exists() else []
  except (OSError, ValueError, RecursionError):
    return []
  return [clean(row) for row in found if all(key in row for key in needed)]


def numbers(found: list[dict[str, Any]], metric: str) -> Iterator[tuple[int, float]]:
  """Yields the step and the value of each row that has a number by that name."""
  for row in found:
    step, value = row["step"], row.get(metric)
    if isinstance(step, int) and isinstance(value, (int, float)):
      yield step, value
