"""Nested dictionaries checked against annotated dataclasses, with one-line errors.

A field's annotation says its type and, by `Annotated`, its bounds: a `Range` or a `Choice`.
Nothing here knows what the fields mean.
"""

import contextlib
import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

_ABSENT: Final = object()
_LONGEST = 300  # characters of a value in a message


class UserError(Exception):
  """An error that a user can mend; its message is one line."""


class ConfigError(UserError, ValueError):
  """A config field with a value that is not allowed.

  Attributes:
    path: of the field, "section.field".
    value: that the field has; absent if there is no such field.
    why: what is wrong, and what is allowed.
  """

  def __init__(self, path: str, value: object = _ABSENT, why: str = ""):
    equals = "" if value is _ABSENT else f" = {_in_one_line(value)}"
    name = path if path.isprintable() else ascii(path)
    super().__init__(f"config.{name}{equals}: {why}")
    self.path, self.value, self.why = path, value, why

  def inside(self, section: str) -> "ConfigError":
    """Returns the same error about the same field of a nested section."""
    return ConfigError(f"{section}.{self.path}", self.value, self.why)


def _in_one_line(value: object) -> str:
  """Returns a value as a message shows it: on one line, and not as long as the value may be."""
  try:
    text = " ".join(repr(value).split())
  except Exception:  # an integer of thousands of digits, or an object that cannot show itself
    return f"a value of type {type(value).__name__}"
  return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


@contextlib.contextmanager
def naming(path: str, value: object) -> Iterator[None]:
  """Turns a ValueError of the block into a `ConfigError` about a field and its value."""
  try:
    yield
  except ConfigError:
    raise
  except ValueError as error:
    raise ConfigError(path, value, str(error)) from error


def one_line(error: BaseException) -> str:
  """Returns the type and message of an error, short enough for a one-line message."""
  return " ".join(f"{type(error).__name__}: {error}".split())[:200]


@dataclasses.dataclass(frozen=True)
class Range:
  """The bounds of a number. Both ends are included unless the matching flag says otherwise."""

  low: float = -math.inf
  high: float = math.inf
  open_low: bool = False
  open_high: bool = False

  def __contains__(self, value: float) -> bool:
    above = value > self.low if self.open_low else value >= self.low
    below = value < self.high if self.open_high else value <= self.high
    # Comparisons instead of isfinite, which overflows for an integer of 400 digits.
    return -math.inf < value < math.inf and above and below

  def __str__(self) -> str:
    opening = "(" if self.open_low or self.low == -math.inf else "["
    low = f"{opening}{self.low:g}"
    high = "inf" if self.high == math.inf else f"{self.high:g}"
    return f"in {low}, {high}{')' if self.open_high or self.high == math.inf else ']'}"


@dataclasses.dataclass(frozen=True)
class Choice:
  """The strings that a field may have."""

  choices: tuple[str, ...]

  def __contains__(self, value: object) -> bool:
    return isinstance(value, str) and value in self.choices

  def __str__(self) -> str:
    return f"one of {', '.join(self.choices)}"


def section(hint: Any) -> type | None:
  """Returns the dataclass of a (possibly optional) section's annotation; None for a field."""
  for candidate in (hint, *typing.get_args(hint)):
    if isinstance(candidate, type) and dataclasses.is_dataclass(candidate):
      return candidate
  return None


@functools.cache
def hints(cls: type) -> Mapping[str, Any]:
  """Returns the annotations of a dataclass, {name: annotation}, in order."""
  return typing.get_type_hints(cls, include_extras=True)


@functools.cache
def fields(cls: type, prefix: str = "") -> Mapping[str, Any]:
  """Returns {"section.field": annotation} for every field of a nested dataclass, in order."""
  known: dict[str, Any] = {}
  for name, hint in hints(cls).items():
    inner = section(hint)
    known |= fields(inner, f"{prefix}{name}.") if inner else {f"{prefix}{name}": hint}
  return known


def check_field_name(cls: type, name: str) -> None:
  """Raises `ConfigError` with the nearest known name unless "section.field" exists."""
  known = fields(cls)
  if name in known:
    return
  candidates = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
  if not candidates:  # the right field in a wrong section
    last = name.rpartition(".")[2]
    candidates = [k for k in known if k.rpartition(".")[2] == last]
  hint = f"did you mean config.{candidates[0]}?" if candidates else f"known: {', '.join(known)}"
  raise ConfigError(name, why=f"no such field; {hint}")


def build(cls: type, values: Any, prefix: str = "") -> Any:
  """Returns a dataclass, and those inside it, from nested dictionaries.

  Args:
    cls: the dataclass.
    values: a mapping by field name; an absent field takes its default.
    prefix: of the field names in messages, such as "teacher.".

  Raises:
    ConfigError: for an unknown section or field (with the nearest known name), a wrong type or
      a value out of bounds.
  """

  def build_part(top: type, cls: type, values: Any, prefix: str) -> Any:
    if not isinstance(values, Mapping):
      raise ConfigError(
        prefix.removesuffix("."), values, "must be a section with fields, not a value"
      )
    built = {}
    for name, value in values.items():
      path, hint = f"{prefix}{name}", hints(cls).get(name)
      if inner := section(hint):
        built[name] = build_part(top, inner, value, f"{path}.")
      elif hint is not None:
        built[name] = check_value(path, hint, value)
      elif prefix:
        check_field_name(top, path)
      else:
        near = difflib.get_close_matches(str(name), hints(cls), n=1)
        known = f"did you mean config.{near[0]}?" if near else f"known: {', '.join(hints(cls))}"
        raise ConfigError(str(name), why=f"no such section; {known}")
    return cls(**built)

  return build_part(cls, cls, values, prefix)


def check_value(path: str, hint: Any, value: Any) -> Any:
  """Returns a value as its annotated type.

  Args:
    path: of the field, for the message.
    hint: its annotation: bool, int, float, str, Literal or tuple[int, ...], with or without
      bounds by Annotated.
    value: to check; an integer is accepted as a float, a list as a tuple.

  Raises:
    ConfigError: for another type, or a value out of bounds.
  """
  bounds: Range | Choice | None = None
  if typing.get_origin(hint) is Annotated:
    hint, bounds = typing.get_args(hint)
  if typing.get_origin(hint) is Literal:
    hint, bounds = str, Choice(typing.get_args(hint))
  if typing.get_origin(hint) is tuple:
    if not isinstance(value, (tuple, list)) or not all(
      isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 2**31 for v in value
    ):
      raise ConfigError(path, value, "must be a tuple of integers in [0, 2^31)")
    return tuple(value)
  is_int = isinstance(value, int) and not isinstance(value, bool)
  has_type = is_int if hint in (int, float) else isinstance(value, hint)
  if isinstance(bounds, Choice):
    has_type = True  # the message lists the choices whatever the type
  if not (has_type or (hint is float and isinstance(value, float))):
    raise ConfigError(path, value, f"must be of type {hint.__name__}, not {type(value).__name__}")
  if hint is float:
    try:
      value = float(value)
    except OverflowError:
      raise ConfigError(path, value, f"must be {bounds or Range()}") from None
  if bounds is not None and value not in bounds:
    raise ConfigError(path, value, f"must be {bounds}")
  return value
