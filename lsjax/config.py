"""The experiment configuration: every field, its default and what it may be.

A config file builds an `ml_collections.ConfigDict` from `default_config()` (with
`with_teacher` for distillation), the command line overrides its fields, and
`from_config_dict` turns the outcome into the frozen dataclasses below or raises a
one-line `ConfigError`. No other module holds a default.
"""

import dataclasses
import difflib
import hashlib
import json
import math
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import ml_collections

DatasetName = Literal[
  "digits", "cifar10", "cifar100", "cifar10_n", "cifar100_n", "npz", "gaussians", "imagenet2012"
]
STREAMED = ("imagenet2012",)  # read from disk while training, not held in memory
NoiseKind = Literal["none", "symmetric", "pair", "one_sided", "cifar10_asymmetric", "file", "given"]
ModelName = Literal["linear", "mlp", "small_cnn", "resnet32", "resnet56", "resnet_v2_50"]
LossName = Literal[
  "cross_entropy",
  "label_smoothing",
  "generalized_smoothing",
  "smearing",
  "forward_correction",
  "backward_correction",
]


class ConfigError(ValueError):
  """Bad input, told in one line: the field, its value and what is allowed."""


@dataclasses.dataclass(frozen=True)
class Range:
  """Bounds of a number, both ends included unless the matching flag says otherwise."""

  low: float = -math.inf
  high: float = math.inf
  open_low: bool = False
  open_high: bool = False

  def __contains__(self, value: float) -> bool:
    above = value > self.low if self.open_low else value >= self.low
    below = value < self.high if self.open_high else value <= self.high
    # Comparisons, not isfinite: that overflows for an integer of 400 digits.
    return -math.inf < value < math.inf and above and below

  def __str__(self) -> str:
    opening = "(" if self.open_low or self.low == -math.inf else "["
    low = f"{opening}{self.low:g}"
    high = "inf" if self.high == math.inf else f"{self.high:g}"
    return f"{low}, {high}{')' if self.open_high or self.high == math.inf else ']'}"


Positive = Annotated[int, Range(1, 2**31 - 1)]
Count = Annotated[int, Range(0, 2**31 - 1)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Probability = Annotated[float, Range(0, 1)]
NonNegative = Annotated[float, Range(0)]


@dataclasses.dataclass(frozen=True)
class Data:
  name: DatasetName = "digits"
  path: str = ""  # the .npz file, for name=npz
  data_dir: str = ""  # TFDS directory; empty means TFDS's own default
  validation_examples: Count = 0  # held out of the noisy training set
  crop_padding: Count = 0  # zero padding in pixels before a random crop; 0: no crop
  flip: bool = False  # random horizontal flip
  normalize: bool = True  # subtract the training mean, divide by the standard deviation
  image_size: Positive = 224  # side of the crops, for data that is streamed
  workers: Count = 0  # processes that decode streamed images; 0: threads


@dataclasses.dataclass(frozen=True)
class Noise:
  kind: NoiseKind = "none"
  rate: Probability = 0.0  # chance of a wrong label (or of a redraw, see next)
  includes_own_class: bool = False  # symmetric only: redraw over all classes
  path: str = ""  # transition matrix (.npy, .npz or text), for kind=file
  labels: str = ""  # key or feature that holds the noisy labels, for kind=given


@dataclasses.dataclass(frozen=True)
class Model:
  name: ModelName = "mlp"
  hidden: Positive = 256  # width of the MLP's hidden layer
  dtype: Literal["float32", "bfloat16"] = "float32"  # of activations
  sync_batch_norm: bool = True  # statistics of a batch over all devices that share it


@dataclasses.dataclass(frozen=True)
class Loss:
  name: LossName = "cross_entropy"
  alpha: Annotated[float, Range(0, 1)] = 0.1
  r: Annotated[float, Range(high=1)] = 0.0  # generalized_smoothing
  matrix: str = ""  # file of M, for smearing
  # What forward and backward correction invert: symmetric noise of strength alpha (the
  # paper's), the noise's own matrix (counted from the labels if noise.kind=given), or a file.
  transition: Literal["alpha", "noise", "file"] = "alpha"
  transition_path: str = ""
  cross_entropy_steps: Count = 0  # plain cross-entropy for so many steps first


@dataclasses.dataclass(frozen=True)
class Optim:
  name: Literal["sgd", "lars"] = "sgd"  # with Nesterov momentum; LARS with plain momentum
  learning_rate: NonNegative = 0.1
  warmup_steps: Count = 0  # linear, from 0
  boundaries: tuple[int, ...] = ()  # steps at which the rate is multiplied by decay
  decay: Probability = 0.1
  polynomial_steps: Count = 0  # after warm-up the rate falls to 0 at this step; 0: it does not
  power: NonNegative = 2.0  # of that fall
  momentum: Annotated[float, Range(0, 1, open_high=True)] = 0.9
  weight_decay: NonNegative = 1e-4  # L2 on kernels, not on biases or BatchNorm
  clip_norm: NonNegative = 0.0  # global gradient norm; 0: no clipping
  trust_coefficient: Annotated[float, Range(0, open_low=True)] = 0.001  # of LARS


@dataclasses.dataclass(frozen=True)
class Train:
  num_steps: Positive = 1000
  batch_size: Positive = 128
  steps_per_call: Count = 0  # steps in one compiled call; 0: chosen for backend and model
  num_devices: Count = 1  # devices that share each batch; 0: all local ones
  log_every: Positive = 100
  eval_every: Positive = 500
  eval_batch_size: Positive = 500


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  every: Positive = 1000
  keep: Positive = 2


@dataclasses.dataclass(frozen=True)
class Seeds:
  data: Seed = 0  # order of examples, augmentation, validation split
  init: Seed = 0  # initial parameters
  noise: Seed = 0  # label noise


@dataclasses.dataclass(frozen=True)
class Teacher:
  """Where the teacher is or, if nowhere yet, how to train it: on the job's data and noise."""

  workdir: str = ""  # of finished runs, comma-separated (an ensemble); empty: trained first
  targets: Literal["online", "cached"] = "online"  # of augmented images, or once of plain ones
  model: Model = Model()
  loss: Loss = Loss()
  optim: Optim = Optim()
  train: Train = Train()
  checkpoint: Checkpoint = Checkpoint()
  seed: Seeds = Seeds()


@dataclasses.dataclass(frozen=True)
class Student:
  """What the run learns from its teacher."""

  noise: Literal["teacher", "fresh", "none"] = "teacher"  # labels: the same draw, another, clean
  beta: Probability = 1.0  # weight of the distillation; the label loss has the rest
  temperature: Annotated[float, Range(0, open_low=True)] = 1.0
  convention: Literal["teacher_only", "both_t_squared"] = "teacher_only"


@dataclasses.dataclass(frozen=True)
class Config:
  """A whole experiment. See each section for its fields.

  With the sections teacher and student the run is distilled; they come together or not at all.
  """

  data: Data = Data()
  noise: Noise = Noise()
  model: Model = Model()
  loss: Loss = Loss()
  optim: Optim = Optim()
  train: Train = Train()
  checkpoint: Checkpoint = Checkpoint()
  seed: Seeds = Seeds()
  teacher: Teacher | None = None
  student: Student | None = None


def one_line(error: BaseException) -> str:
  """Returns what another library raised, short enough for the one line of a message."""
  return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _section(hint: Any) -> type | None:
  """Returns the dataclass of a (possibly optional) section's type; None for a plain field."""
  for candidate in (hint, *typing.get_args(hint)):
    if isinstance(candidate, type) and dataclasses.is_dataclass(candidate):
      return candidate
  return None


def fields(cls: type = Config, prefix: str = "") -> dict[str, Any]:
  """Returns {"section.field": type annotation} for every field, in order."""
  known: dict[str, Any] = {}
  for name, hint in typing.get_type_hints(cls, include_extras=True).items():
    section = _section(hint)
    known |= fields(section, f"{prefix}{name}.") if section else {f"{prefix}{name}": hint}
  return known


def default_config() -> ml_collections.ConfigDict:
  """Returns a mutable config with every field at its default; unknown fields are refused."""
  return ml_collections.ConfigDict(to_dict(Config()))


# What a teacher has of its own; data and noise it shares with the student.
_OWN = tuple(k for k, hint in typing.get_type_hints(Teacher).items() if _section(hint))


def with_teacher(
  student: ml_collections.ConfigDict, teacher: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
  """Makes a distillation of two ordinary configs.

  Args:
    student: whose data and noise both see.
    teacher: whose model, loss, optim, train, checkpoint and seed train the teacher.

  Returns:
    A config with the sections teacher and student, the latter at its defaults.
  """
  sections = to_dict(Config(teacher=Teacher(), student=Student()))
  sections |= student.to_dict()
  sections["teacher"] |= {name: teacher[name].to_dict() for name in _OWN}
  return ml_collections.ConfigDict(sections)


def teacher_run(config: Config) -> Config:
  """Returns the ordinary run that trains the teacher of a distillation."""
  own = {name: getattr(config.teacher, name) for name in _OWN}
  return Config(data=config.data, noise=config.noise, **own)


def in_teacher(error: ConfigError) -> ConfigError:
  """Returns an error about a field of `teacher_run` under the name it has in the whole config."""
  return ConfigError(re.sub(rf"^config\.({'|'.join(_OWN)})\.", r"config.teacher.\1.", str(error)))


def to_dict(config: Config) -> dict[str, dict[str, Any]]:
  """Returns the config as nested plain dictionaries (JSON-ready but for tuples)."""
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


def config_hash(config: Config) -> str:
  """Returns the first 8 hexadecimal digits of the SHA-256 of the config's canonical JSON."""
  canonical = json.dumps(flatten(to_dict(config)), sort_keys=True)
  return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def fail(field: str, value: object, allowed: str) -> typing.NoReturn:
  """Raises the one-line `ConfigError` for a field."""
  raise ConfigError(f"config.{field} = {value!r}: {allowed}")


def check_field_name(name: str) -> None:
  """Raises `ConfigError` with the nearest known name unless "section.field" exists."""
  known = fields()
  if name in known:
    return
  candidates = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
  if not candidates:  # the right field in a wrong section
    last = name.rpartition(".")[2]
    candidates = [k for k in known if k.rpartition(".")[2] == last]
  hint = f"did you mean config.{candidates[0]}?" if candidates else f"known: {', '.join(known)}"
  raise ConfigError(f"config.{name}: no such field; {hint}")


def _checked(field: str, hint: Any, value: Any) -> Any:
  """Returns value as the annotated type or raises `ConfigError`."""
  bounds = None
  if typing.get_origin(hint) is Annotated:
    hint, bounds = typing.get_args(hint)
  if typing.get_origin(hint) is Literal:
    choices = typing.get_args(hint)
    if not isinstance(value, str) or value not in choices:
      fail(field, value, f"must be one of {', '.join(choices)}")
    return value
  if typing.get_origin(hint) is tuple:
    if not isinstance(value, (tuple, list)) or not all(
      isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 2**31 for v in value
    ):
      fail(field, value, "must be a tuple of integers in [0, 2^31)")
    return tuple(value)
  is_int = isinstance(value, int) and not isinstance(value, bool)
  fits = {
    bool: isinstance(value, bool),
    str: isinstance(value, str),
    int: is_int,
    float: is_int or isinstance(value, float),
  }[hint]
  if not fits:
    fail(field, value, f"must be of type {hint.__name__}, not {type(value).__name__}")
  if hint is float:
    try:
      value = float(value)
    except OverflowError:
      fail(field, value, f"must be in {bounds or Range()}")
  if bounds is not None and value not in bounds:
    fail(field, value, f"must be in {bounds}")
  return value


def _check_combinations(c: Config) -> None:
  """Raises `ConfigError` for fields that are right alone and wrong together."""
  if c.data.name == "npz" and not c.data.path:
    fail("data.path", c.data.path, "data.name=npz needs the path of an .npz file")
  if c.noise.kind == "file" and not c.noise.path:
    fail("noise.path", c.noise.path, "noise.kind=file needs the path of a transition matrix")
  if c.noise.kind == "given" and not c.noise.labels:
    fail("noise.labels", c.noise.labels, "noise.kind=given needs the name of the noisy labels")
  if c.noise.kind == "symmetric" and c.noise.rate == 1 and c.noise.includes_own_class:
    fail("noise.rate", c.noise.rate, "at 1 with includes_own_class the labels hold nothing")
  corrects = c.loss.name in ("forward_correction", "backward_correction")
  if corrects and c.loss.transition == "file" and not c.loss.transition_path:
    fail("loss.transition_path", "", "loss.transition=file needs the path of a matrix")
  if corrects and c.loss.transition == "noise":
    if c.noise.kind == "none":
      fail("loss.transition", "noise", "needs label noise, but noise.kind=none")
    if c.student is not None and c.student.noise == "none":
      fail("loss.transition", "noise", "needs label noise, but student.noise=none")
  if c.loss.name == "backward_correction" and c.loss.transition == "alpha" and c.loss.alpha == 1:
    fail("loss.alpha", c.loss.alpha, "backward correction inverts a matrix: alpha below 1")
  if c.loss.name == "smearing" and not c.loss.matrix:
    fail("loss.matrix", c.loss.matrix, "loss.name=smearing needs the path of a matrix")
  if c.optim.polynomial_steps and c.optim.polynomial_steps <= c.optim.warmup_steps:
    steps = c.optim.polynomial_steps
    fail(
      "optim.polynomial_steps",
      steps,
      f"must be 0 or above the {c.optim.warmup_steps} warm-up steps",
    )
  if c.data.name in STREAMED:
    _check_streamed(c)
  if list(c.optim.boundaries) != sorted(set(c.optim.boundaries)):
    fail("optim.boundaries", c.optim.boundaries, "must increase strictly")
  if c.train.num_steps * c.train.batch_size >= 2**31:
    fail("train.num_steps", c.train.num_steps, "num_steps * batch_size must stay below 2^31")


def _check_streamed(c: Config) -> None:
  """Raises `ConfigError` for what streamed data does not do."""
  why = f"data.name={c.data.name} is streamed, which does not do this"
  if c.data.validation_examples:
    fail("data.validation_examples", c.data.validation_examples, f"must be 0: {why}")
  if c.data.crop_padding:
    fail("data.crop_padding", c.data.crop_padding, f"must be 0: {why}; it has crops of its own")
  if c.noise.kind == "given":
    fail("noise.kind", c.noise.kind, f"must be drawn: {why}")
  if c.train.steps_per_call > 1:
    fail("train.steps_per_call", c.train.steps_per_call, f"must be 0 or 1: {why}")
  if c.teacher is not None:
    raise ConfigError(f"config.teacher: {why}")


def _check_distillation(c: Config) -> None:
  """Raises `ConfigError` for teacher and student sections that do not go together."""
  if c.teacher is None and c.student is None:
    return
  if c.teacher is None or c.student is None:
    absent = "teacher" if c.teacher is None else "student"
    raise ConfigError(f"config.{absent}: is missing; teacher and student come together")
  if c.student.noise == "fresh" and c.noise.kind in ("none", "given"):
    fail("student.noise", "fresh", f"nothing can be drawn afresh for noise.kind={c.noise.kind}")
  if c.teacher.workdir:
    return
  teacher = teacher_run(c)
  try:
    _check_combinations(teacher)
  except ConfigError as error:
    raise in_teacher(error) from None
  check_against_teacher(c, teacher)


def check_against_teacher(student: Config, teacher: Config) -> None:
  """Raises `ConfigError` unless the student sees the images and labels that it should.

  Args:
    student: with the sections teacher and student.
    teacher: the config of the teacher's run.
  """
  assert student.student is not None
  held_out = (student.data.validation_examples, teacher.data.validation_examples)
  if len(set(held_out)) > 1:
    fail("data.validation_examples", held_out[0], f"must be {held_out[1]}, as for the teacher")
  seeds = (student.seed.data, teacher.seed.data)
  if any(held_out) and len(set(seeds)) > 1:
    fail(
      "seed.data", seeds[0], f"must be {seeds[1]}, as for the teacher: it chooses what is held out"
    )
  if student.student.noise == "teacher":
    for name, value in dataclasses.asdict(student.noise).items():
      if value != (there := getattr(teacher.noise, name)):
        fail(
          f"noise.{name}", value, f"must be {there!r}, as for the teacher (student.noise=teacher)"
        )
  seed = student.seed.noise
  if student.student.noise == "fresh" and seed == teacher.seed.noise:
    fail("seed.noise", seed, "must differ from the teacher's for student.noise=fresh")


def _build(cls: type, values: Any, path: str) -> Any:
  """Returns a section (and those inside it) from nested dictionaries."""
  if not isinstance(values, Mapping):
    fail(path.removesuffix("."), values, "must be a section with fields, not a value")
  hints = typing.get_type_hints(cls, include_extras=True)
  built = {}
  for name, value in values.items():
    where = f"{path}{name}"
    section = _section(hints.get(name))
    if section:
      built[name] = _build(section, value, f"{where}.")
    elif name in hints and path:
      built[name] = _checked(where, hints[name], value)
    elif path:
      check_field_name(where)
    else:
      near = difflib.get_close_matches(str(name), hints, n=1)
      hint = f"did you mean config.{near[0]}?" if near else f"known: {', '.join(hints)}"
      raise ConfigError(f"config.{name}: no such section; {hint}")
  return cls(**built)


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
  result: Config = _build(Config, config, "")
  _check_combinations(result)
  _check_distillation(result)
  if result.teacher is not None and result.teacher.workdir:
    # How it was trained is told by its own config.json, not by what stood here.
    teacher = Teacher(workdir=result.teacher.workdir, targets=result.teacher.targets)
    result = dataclasses.replace(result, teacher=teacher)
  return result


def check_overrides(config: Config, overrides: Iterable[str]) -> None:
  """Raises `ConfigError` for an override on the command line that would do nothing."""
  if config.teacher is None or not config.teacher.workdir:
    return
  for name in overrides:
    if re.match(rf"teacher\.({'|'.join(_OWN)})\.", name):
      raise ConfigError(f"config.{name}: does nothing, since teacher.workdir names a finished run")
