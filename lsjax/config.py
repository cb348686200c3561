"""The configuration of a run, built and checked; `sections` lists the fields.

A config file builds an `ml_collections.ConfigDict` from `default_config()` (with
`with_teacher` for distillation), the command line overrides its fields, and
`from_config_dict` turns the outcome into the frozen dataclasses of `sections` or raises a
one-line `ConfigError`.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ml_collections

from lsjax import rules, validation
from lsjax.rules import Rule
from lsjax.sections import (  # noqa: F401 (re-exported)
  LATER,
  METHOD_SECTIONS,
  OWN,
  REDRAWN,
  STREAMED,
  Checkpoint,
  Config,
  Data,
  Loss,
  Model,
  Noise,
  Optim,
  Seeds,
  Student,
  Teacher,
  Train,
  parameters_of,
  program_of,
)
from lsjax.validation import ConfigError, UserError, naming, one_line  # noqa: F401 (re-exported)


def default_config() -> ml_collections.ConfigDict:
  """Returns a mutable config with every field at its default; unknown fields are refused."""
  return ml_collections.ConfigDict(to_dict(Config()))


# The sections that a teacher has for itself; it shares data and noise with the student.
_OWN = tuple(k for k, hint in validation.hints(Teacher).items() if validation.section(hint))


def with_teacher(
  student: ml_collections.ConfigDict, teacher: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
  """Makes the config of a distillation from two ordinary configs.

  Args:
    student: the student's config; teacher and student train on its data and noise.
    teacher: a config whose model, loss, optim, train, checkpoint and seed train the teacher.

  Returns:
    A config with the sections teacher and student; the section student has its defaults.
  """
  sections = to_dict(Config(teacher=Teacher(), student=Student()))
  sections |= student.to_dict()
  sections["teacher"] |= {name: teacher[name].to_dict() for name in _OWN}
  return ml_collections.ConfigDict(sections)


def teacher_run(config: Config) -> Config:
  """Returns the config of the ordinary run that trains the teacher of a distillation."""
  own = {name: getattr(config.teacher, name) for name in _OWN}
  return Config(data=config.data, noise=config.noise, **own)


def in_teacher(error: ConfigError) -> ConfigError:
  """Returns an error about a field of `teacher_run` with the field's name in the whole config."""
  return error.inside("teacher") if error.path.partition(".")[0] in _OWN else error


def to_dict(config: Config) -> dict[str, dict[str, Any]]:
  """Returns the config as nested plain dictionaries (ready for JSON but for tuples)."""
  return {name: section for name, section in _nested(config).items() if section is not None}


def _nested(section: Any) -> dict[str, Any]:
  """Returns a section's fields as `dataclasses.asdict` does, but without copying what is fixed."""
  values = vars(section)
  return {
    field.name: _nested(value) if dataclasses.is_dataclass(value) else value
    for field in dataclasses.fields(section)
    for value in (values[field.name],)
  }


def flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
  """Returns {"section.field": value} of a nested config, in its order; tuples become lists."""

  def walk(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
      if isinstance(value, Mapping):
        yield from walk(value, f"{prefix}{key}.")
      else:
        yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value

  return dict(walk(nested, ""))


def identity(nested: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what makes two configs the same, flat.

  These are all fields but the parameters of methods that are not chosen and the fields in `LATER`
  at their defaults. A config of an older version, which lacks both, and the same config of this
  version are thus equal and have one hash.
  """
  defaults = _defaults()
  flat = flatten(nested)

  def counts(name: str, value: Any) -> bool:
    field = name.removeprefix("teacher.")
    section, *own = field.removeprefix("loss.").split(".")
    if own and section in METHOD_SECTIONS and field.startswith("loss."):
      return flat.get(f"{name.removesuffix(field)}loss.name") == section
    return field not in LATER or value != defaults[field]

  return {name: value for name, value in flat.items() if counts(name, value)}


@functools.cache
def _defaults() -> Mapping[str, Any]:
  """Returns the default of every field, flat."""
  return flatten(to_dict(Config()))


def hash_of(nested: Mapping[str, Any]) -> str:
  """Returns the hash of a config given as nested dictionaries; see `config_hash`."""
  canonical = json.dumps(identity(nested), sort_keys=True)
  return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def config_hash(config: Config) -> str:
  """Returns the first 8 hexadecimal digits of the SHA-256 of the JSON of a config's `identity`."""
  return hash_of(to_dict(config))


def fields() -> Mapping[str, Any]:
  """Returns {"section.field": annotation} for every field, in order."""
  return validation.fields(Config)


def check_field_name(name: str) -> None:
  """Raises `ConfigError` with the nearest known name unless "section.field" exists."""
  validation.check_field_name(Config, name)


def from_config_dict(config: Mapping[str, Any]) -> Config:
  """Returns the validated, frozen configuration.

  Args:
    config: a ConfigDict or nested dictionaries; absent fields take their defaults.

  Raises:
    ConfigError: one line, for an unknown field (with the nearest known name), a
      wrong type, a value out of range, or values that do not go together.
  """
  if isinstance(config, ml_collections.ConfigDict):
    config = _plain(config)
  result: Config = validation.build(Config, config)
  _apply(result, rules.of(result))
  if (result.teacher is None) != (result.student is None):
    absent = "teacher" if result.teacher is None else "student"
    raise ConfigError(absent, why="is missing; teacher and student come together")
  if result.teacher is None:
    return result
  if result.teacher.workdir:
    # The finished run's own config.json tells how the teacher was trained.
    teacher = Teacher(workdir=result.teacher.workdir, targets=result.teacher.targets)
    return dataclasses.replace(result, teacher=teacher)
  teacher_config = teacher_run(result)
  try:
    _apply(teacher_config, rules.of(teacher_config))
  except ConfigError as error:
    raise in_teacher(error) from None
  check_against_teacher(result, teacher_config)
  return result


def _plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Returns a ConfigDict as nested dictionaries; the names of its fields must be texts."""
  why = "has a field whose name is no text"
  try:
    nested: dict[str, Any] = config.to_dict()
    return nested
  except TypeError:  # ml_collections sorts the names
    for name in (name for name in validation.hints(Config) if name in config):
      try:
        config[name].to_dict()
      except TypeError:
        raise ConfigError(name, why=why) from None
    raise UserError(f"the config {why}") from None


def check_overrides(config: Config, overrides: Iterable[str]) -> None:
  """Raises `ConfigError` for an override on the command line that would do nothing."""
  if config.teacher is None or not config.teacher.workdir:
    return
  for name in overrides:
    if re.match(rf"teacher\.({'|'.join(_OWN)})\.", name):
      raise ConfigError(name, why="does nothing, since teacher.workdir names a finished run")


def _apply(config: Config, broken: Iterable[Rule]) -> None:
  """Raises `ConfigError` for the first rule that is broken."""
  for is_broken, path, why in broken:
    if is_broken:
      value: Any = config
      for name in path.split("."):
        value = getattr(value, name)
      raise ConfigError(path, value, why)


def check_against_teacher(student: Config, teacher: Config) -> None:
  """Raises `ConfigError` unless a student sees the images and labels that it should.

  Args:
    student: the student's config, with the sections teacher and student.
    teacher: the config of the teacher's own run.
  """
  section = student.student
  assert section is not None
  of_teacher = "as for the teacher"

  def agree() -> Iterator[Rule]:
    seed = teacher.seed.data
    for name in ("validation_examples", "folds", "fold"):
      value = getattr(teacher.data, name)
      is_other = getattr(student.data, name) != value
      yield is_other, f"data.{name}", f"must be {value}, {of_teacher}"
    yield (
      (student.data.holds_out or student.data.is_redrawn) and student.seed.data != seed,
      "seed.data",
      f"must be {seed}, {of_teacher}: it chooses the examples to train on",
    )
    for name in validation.hints(Noise):
      value = getattr(teacher.noise, name)
      yield (
        section.noise == "teacher" and getattr(student.noise, name) != value,
        f"noise.{name}",
        f"must be {value!r}, {of_teacher} (student.noise=teacher)",
      )
    yield (
      section.noise == "fresh" and student.seed.noise == teacher.seed.noise,
      "seed.noise",
      "must differ from the teacher's for student.noise=fresh",
    )

  _apply(student, agree())
