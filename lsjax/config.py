"""The configuration of a run, built and checked; `sections` lists the fields.

A config file builds an `ml_collections.ConfigDict` from `default_config()` (with
`with_teacher` for distillation), the command line overrides its fields, and
`from_config_dict` turns the outcome into the frozen dataclasses of `sections` or raises a
one-line `ConfigError`.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ml_collections

from lsjax import methods, validation
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
  nested = dataclasses.asdict(config)
  return {name: section for name, section in nested.items() if section is not None}


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
  defaults = flatten(to_dict(Config()))
  flat = flatten(nested)

  def counts(name: str, value: Any) -> bool:
    field = name.removeprefix("teacher.")
    section, *own = field.removeprefix("loss.").split(".")
    if own and section in METHOD_SECTIONS and field.startswith("loss."):
      return flat[f"{name.removesuffix(field)}loss.name"] == section
    return field not in LATER or value != defaults[field]

  return {name: value for name, value in flat.items() if counts(name, value)}


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
    config = config.to_dict()
  result: Config = validation.build(Config, config)
  _apply_rules(result, _rules(result))
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
    _apply_rules(teacher_config, _rules(teacher_config))
  except ConfigError as error:
    raise in_teacher(error) from None
  check_against_teacher(result, teacher_config)
  return result


def check_overrides(config: Config, overrides: Iterable[str]) -> None:
  """Raises `ConfigError` for an override on the command line that would do nothing."""
  if config.teacher is None or not config.teacher.workdir:
    return
  for name in overrides:
    if re.match(rf"teacher\.({'|'.join(_OWN)})\.", name):
      raise ConfigError(name, why="does nothing, since teacher.workdir names a finished run")


# A rule is (is it broken?, the field to blame, what is allowed).
Rule = tuple[bool, str, str]


def _apply_rules(config: Config, rules: Iterable[Rule]) -> None:
  """Raises `ConfigError` for the first rule that is broken."""
  for is_broken, path, why in rules:
    if is_broken:
      value: Any = config
      for name in path.split("."):
        value = getattr(value, name)
      raise ConfigError(path, value, why)


def _rules(c: Config) -> Iterator[Rule]:
  """Yields the rules about fields that are right alone and wrong together."""
  loss, noise, optim, needs_path = c.loss, c.noise, c.optim, "needs the path of"
  method = methods.METHODS[loss.name]
  corrects = method.needs == "transition"
  yield c.data.name == "npz" and not c.data.path, "data.path", f"data.name=npz {needs_path} a file"
  yield from _own_data_rules(c)
  for name in ("cluster_std", "points"):
    is_changed = getattr(c.data, name) != getattr(Data(), name)
    why = f"is for data.name=gaussians alone; leave it at {getattr(Data(), name)}"
    yield is_changed and c.data.name != "gaussians", f"data.{name}", why
  yield (
    noise.kind == "file" and not noise.path,
    "noise.path",
    f"noise.kind=file {needs_path} a transition matrix",
  )
  yield (
    noise.kind == "given" and not noise.labels and c.data.name not in OWN,
    "noise.labels",
    "noise.kind=given needs the name of the noisy labels",
  )
  yield (
    noise.kind == "symmetric" and noise.rate == 1 and noise.includes_own_class,
    "noise.rate",
    "must be below 1 with includes_own_class, or the labels hold nothing",
  )
  yield (
    corrects and loss.transition == "file" and not loss.transition_path,
    "loss.transition_path",
    f"loss.transition=file {needs_path} a matrix",
  )
  if corrects and loss.transition == "noise":
    why = "needs label noise, but"
    yield noise.kind == "none", "loss.transition", f"{why} noise.kind=none"
    is_clean = c.student is not None and c.student.noise == "none"
    yield is_clean, "loss.transition", f"{why} student.noise=none"
  yield (
    method.invertible and loss.transition == "alpha" and loss.alpha == 1,
    "loss.alpha",
    "backward correction inverts a matrix: alpha must be below 1",
  )
  if corrects and loss.transition == "estimated":
    why = "needs a first run to estimate from: the sections teacher and student"
    yield c.teacher is None, "loss.transition", why
    yield c.noise.kind == "none", "loss.transition", "needs label noise, but noise.kind=none"
  for name, section in METHOD_SECTIONS.items():
    for field in validation.hints(section):
      default = getattr(section(), field)
      is_changed = getattr(getattr(loss, name), field) != default
      why = f"must stay {default} unless loss.name={name}"
      yield is_changed and loss.name != name, f"loss.{name}.{field}", why
  own = parameters_of(loss)
  yield (
    own.get("full", 1) < own.get("start", 0),
    f"loss.{loss.name}.full",
    f"must be at least start, {own.get('start')}",
  )
  yield (
    c.data.name in STREAMED and bool(program_of(loss).memory),
    "loss.name",
    f"keeps an array for each example, and data.name={c.data.name} is streamed",
  )
  yield (
    method.needs == "matrix" and not loss.matrix,
    "loss.matrix",
    f"loss.name={loss.name} {needs_path} a matrix",
  )
  yield (
    0 < optim.polynomial_steps <= optim.warmup_steps,
    "optim.polynomial_steps",
    f"must be 0 or above the {optim.warmup_steps} warm-up steps",
  )
  if c.data.name in STREAMED:
    yield from _streamed_rules(c)
  boundaries = list(optim.boundaries)
  yield boundaries != sorted(set(boundaries)), "optim.boundaries", "must increase strictly"
  yield (
    c.train.num_steps * c.train.batch_size >= 2**31,
    "train.num_steps",
    "num_steps * batch_size must stay below 2^31",
  )
  yield (
    c.student is not None and c.student.noise == "fresh" and noise.kind in ("none", "given"),
    "student.noise",
    f"nothing can be drawn afresh for noise.kind={noise.kind}",
  )


def _own_data_rules(c: Config) -> Iterator[Rule]:
  """Yields the rules about a user's table or folder of images."""
  data, name = c.data, c.data.name
  yield name in OWN and not data.path, "data.path", f"data.name={name} needs its path"
  yield name == "table" and not data.label, "data.label", "names the column of labels to train on"
  columns: dict[str, str] = {}
  for field in ("label", "true_label", "id", "image"):
    column = getattr(data, field)
    yield bool(column) and name != "table", f"data.{field}", "is for data.name=table alone"
    why = f"is the column of data.{columns.get(column)} already"
    yield bool(column) and column in columns, f"data.{field}", why
    columns[column] = field
  for field in ("test_path", "test_share"):
    is_set = getattr(data, field) != getattr(Data(), field)
    why = "is for data.name=table or folder, which may have a test part of their own"
    yield is_set and name not in OWN, f"data.{field}", why
  is_idle = bool(data.test_path) and data.test_share != Data().test_share
  yield is_idle, "data.test_share", "does nothing, since data.test_path names what to test on"
  why = f"must stay empty: the given labels of data.name={name} are those of "
  why += "data.label" if name == "table" else "its directories"
  yield name in OWN and bool(c.noise.labels), "noise.labels", why


def given_labels(c: Config) -> str:
  """Returns the name of the noisy labels that the data must contain; empty if they are drawn."""
  if c.noise.kind != "given":
    return ""
  return {"table": c.data.label, "folder": "folder"}.get(c.data.name, c.noise.labels)


def is_redrawn(data: Data) -> bool:
  """Returns whether seed.data chooses which examples, or points, are trained on and tested on."""
  return data.name in REDRAWN and not data.test_path


def _streamed_rules(c: Config) -> Iterator[Rule]:
  """Yields the rules about what streamed data cannot do."""
  why = f"data.name={c.data.name} is streamed, which does not allow this"
  yield c.data.validation_examples > 0, "data.validation_examples", f"must be 0: {why}"
  yield c.data.crop_padding > 0, "data.crop_padding", f"must be 0: {why}; it has its own crops"
  yield c.noise.kind == "given", "noise.kind", f"must be drawn: {why}"
  yield c.noise.kind == "instance", "noise.kind", f"must not depend on the images: {why}"
  yield c.train.steps_per_call > 1, "train.steps_per_call", f"must be 0 or 1: {why}"
  yield c.teacher is not None, "data.name", "is streamed, which allows no teacher"


def check_against_teacher(student: Config, teacher: Config) -> None:
  """Raises `ConfigError` unless a student sees the images and labels that it should.

  Args:
    student: the student's config, with the sections teacher and student.
    teacher: the config of the teacher's own run.
  """
  section = student.student
  assert section is not None
  of_teacher = "as for the teacher"

  def rules() -> Iterator[Rule]:
    held_out, seed = teacher.data.validation_examples, teacher.seed.data
    yield (
      student.data.validation_examples != held_out,
      "data.validation_examples",
      f"must be {held_out}, {of_teacher}",
    )
    yield (
      (held_out > 0 or is_redrawn(student.data)) and student.seed.data != seed,
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

  _apply_rules(student, rules())
