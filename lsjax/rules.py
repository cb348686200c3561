"""What must hold between the fields of a config that are right alone and wrong together."""

from collections.abc import Iterator

from lsjax import methods, validation
from lsjax.sections import METHOD_SECTIONS, OWN, STREAMED, Config, Data, parameters_of, program_of

# A rule is (is it broken?, the field to blame, what is allowed).
Rule = tuple[bool, str, str]


def of(c: Config) -> Iterator[Rule]:
  """Yields the rules of a config."""
  loss, noise, optim, needs_path = c.loss, c.noise, c.optim, "needs the path of"
  method = methods.METHODS[loss.name]
  corrects = method.needs == "transition"
  yield c.data.name == "npz" and not c.data.path, "data.path", f"data.name=npz {needs_path} a file"
  yield from _own_data_rules(c)
  yield c.data.folds == 1, "data.folds", "must be 0 or at least 2"
  yield (
    c.data.folds > 0 and c.data.validation_examples > 0,
    "data.validation_examples",
    "must be 0 with data.folds, whose fold is held out",
  )
  most = max(c.data.folds - 1, 0)
  yield c.data.fold > most, "data.fold", f"must be at most {most} for data.folds={c.data.folds}"
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
    c.data.name in STREAMED and c.train.margins,
    "train.margins",
    f"must be False for data.name={c.data.name}, which is streamed",
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
  yield name == "table" and not data.label, "data.label", "needs the name of the column of labels"
  columns: dict[str, str] = {}
  for field in ("label", "true_label", "id", "image"):
    column = getattr(data, field)
    yield (
      bool(column) and name != "table",
      f"data.{field}",
      "must stay empty unless data.name=table",
    )
    why = f"must be another column than data.{columns.get(column)}"
    yield bool(column) and column in columns, f"data.{field}", why
    columns[column] = field
  for field in ("test_path", "test_share"):
    is_set = getattr(data, field) != getattr(Data(), field)
    why = f"must stay {getattr(Data(), field)!r} unless data.name is one of {', '.join(OWN)}"
    yield is_set and name not in OWN, f"data.{field}", why
  is_idle = bool(data.test_path) and data.test_share != Data().test_share
  yield is_idle, "data.test_share", "must stay 0.2: data.test_path names what to test on"
  why = f"must stay empty: the given labels of data.name={name} are those of "
  why += "data.label" if name == "table" else "its directories"
  yield name in OWN and bool(c.noise.labels), "noise.labels", why


def _streamed_rules(c: Config) -> Iterator[Rule]:
  """Yields the rules about what streamed data cannot do."""
  why = f"data.name={c.data.name} is streamed, which does not allow this"
  yield c.data.validation_examples > 0, "data.validation_examples", f"must be 0: {why}"
  yield c.data.folds > 0, "data.folds", f"must be 0: {why}"
  yield c.data.crop_padding > 0, "data.crop_padding", f"must be 0: {why}; it has its own crops"
  yield c.noise.kind == "given", "noise.kind", f"must be drawn: {why}"
  yield c.noise.kind == "instance", "noise.kind", f"must not depend on the images: {why}"
  yield c.train.steps_per_call > 1, "train.steps_per_call", f"must be 0 or 1: {why}"
  yield c.teacher is not None, "data.name", "is streamed, which allows no teacher"
