"""The sections of a run's configuration: every field, its default and its bounds.

No other module holds a default. `config` builds and checks them.
"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

from lsjax import methods
from lsjax.validation import Choice, Range

DatasetName = Literal[
  "digits",
  "cifar10",
  "cifar100",
  "cifar10_n",
  "cifar100_n",
  "npz",
  "table",
  "folder",
  "gaussians",
  "imagenet2012",
]
STREAMED = ("imagenet2012",)  # read from disk while training instead of held in memory
# A user's own examples; the labels that are given in them need no name beside data.label.
OWN = ("table", "folder")
# Without a test split of their own: seed.data draws which images, or points, are for which.
REDRAWN = ("digits", "gaussians", *OWN)
# Fields that came after 0.2.0. At their defaults they do not count in a config's hash, so that
# older configs keep theirs.
LATER = (
  *("data.cluster_std", "data.points", "loss.estimator", "data.folds", "data.fold"),
  *("data.label", "data.true_label", "data.id", "data.image", "data.test_path", "data.test_share"),
  "train.margins",
)
NoiseKind = Literal[
  "none",
  "symmetric",
  "pair",
  "one_sided",
  "cifar10_asymmetric",
  "cifar10_groups",
  "cifar100_superclass",
  "instance",
  "file",
  "given",
]
ModelName = Literal["linear", "mlp", "small_cnn", "resnet32", "resnet56", "resnet_v2_50"]

Positive = Annotated[int, Range(1, 2**31 - 1)]
Count = Annotated[int, Range(0, 2**31 - 1)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Probability = Annotated[float, Range(0, 1)]
NonNegative = Annotated[float, Range(0)]


@dataclasses.dataclass(frozen=True)
class Data:
  name: DatasetName = "digits"
  path: str = ""  # the .npz file, the table or the folder of images
  data_dir: str = ""  # TFDS directory; empty means TFDS's own default
  validation_examples: Count = 0  # held out of the noisy training set
  folds: Count = 0  # so many parts instead, of which the one with the number fold is held out
  fold: Count = 0
  crop_padding: Count = 0  # zero padding in pixels before a random crop; 0: no crop
  flip: bool = False  # random horizontal flip
  normalize: bool = True  # subtract the mean, divide by the standard deviation
  image_size: Positive = 224  # side of the images of own data, or of the crops of streamed data
  workers: Count = 0  # processes that decode streamed images; 0: threads
  cluster_std: Annotated[float, Range(0, open_low=True)] = 1.0  # of either class, for gaussians
  points: Annotated[int, Range(2, 2**24 - 1)] = 2000  # to train on, for gaussians
  label: str = ""  # column of the labels to train on, for table
  true_label: str = ""  # column of clean labels, if there is one
  id: str = ""  # column of ids; empty: row numbers
  image: str = ""  # column with the paths of images; empty: the other columns are the features
  test_path: str = ""  # a table or folder with clean labels to test on, as data.path is
  test_share: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.2  # without one

  @property
  def is_redrawn(self) -> bool:
    """Whether seed.data chooses which examples, or points, are trained on and tested on."""
    return self.name in REDRAWN and not self.test_path

  def num_held_out(self, num_examples: int) -> int:
    """The number of examples that are held out of so many for validation."""
    return -(-num_examples // self.folds) if self.folds else self.validation_examples

  @property
  def holds_out(self) -> bool:
    """Whether examples are held out for validation."""
    return self.folds > 0 or self.validation_examples > 0


@dataclasses.dataclass(frozen=True)
class Noise:
  kind: NoiseKind = "none"
  rate: Probability = 0.0  # chance of a wrong label (or of a redraw, see next)
  includes_own_class: bool = False  # symmetric only: redraw over all classes
  path: str = ""  # transition matrix (.npy, .npz or text), for kind=file
  labels: str = ""  # key or feature with the noisy labels, for kind=given; data.label in a table


@dataclasses.dataclass(frozen=True)
class Model:
  name: ModelName = "mlp"
  hidden: Positive = 256  # width of the MLP's hidden layer
  dtype: Literal["float32", "bfloat16"] = "float32"  # of activations
  sync_batch_norm: bool = True  # statistics of a batch over all devices that share it


@dataclasses.dataclass(frozen=True)
class _LossOfAll:
  """The fields that several methods share; those of one method are a section of its name."""

  name: Annotated[str, Choice(tuple(methods.METHODS))] = "cross_entropy"
  alpha: Annotated[float, Range(0, 1)] = 0.1
  r: Annotated[float, Range(high=1)] = 0.0  # generalized_smoothing
  matrix: str = ""  # file of M, for smearing
  # What forward and backward correction invert: symmetric noise of strength alpha (the
  # paper's), the noise's own matrix (counted from the labels for the kinds given and instance), a
  # file, or an estimate from the predictions of the teacher, a first run.
  transition: Literal["alpha", "noise", "file", "estimated"] = "alpha"
  transition_path: str = ""
  estimator: Literal["dual_t", "anchor"] = "dual_t"  # for transition=estimated
  cross_entropy_steps: Count = 0  # plain cross-entropy for so many steps first


def _section_of(method: methods.Method) -> type:
  """Makes the config section of a method's own parameters."""
  fields: list[Any] = [
    (name, Annotated[type(p.default), Range(p.low, p.high, open_high=p.open_high)], p.default)
    for name, p in method.parameters.items()
  ]
  return dataclasses.make_dataclass(method.name, fields, frozen=True)


# {name: section} of the methods that have parameters of their own.
METHOD_SECTIONS = {
  name: _section_of(method) for name, method in methods.METHODS.items() if method.parameters
}

if TYPE_CHECKING:
  Loss = _LossOfAll
else:
  Loss = dataclasses.make_dataclass(
    "Loss",
    [(name, section, section()) for name, section in METHOD_SECTIONS.items()],
    bases=(_LossOfAll,),
    frozen=True,
  )


_LOSS = Loss()


def parameters_of(loss: Loss) -> dict[str, float | int]:
  """Returns the own parameters of the method that a loss section chooses."""
  section = getattr(loss, loss.name, None)
  return {} if section is None else dataclasses.asdict(section)


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
  margins: bool = False  # record the area under the margin of each training example


def program_of(loss: Loss, train: Train = Train()) -> methods.Program:
  """Returns what is compiled of the method that a loss section chooses."""
  program = methods.METHODS[loss.name].compiled(parameters_of(loss))
  return dataclasses.replace(program, margins=train.margins)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  every: Positive = 1000
  keep: Positive = 2


@dataclasses.dataclass(frozen=True)
class Seeds:
  data: Seed = 0  # order of examples, augmentation, validation split; test split of REDRAWN data
  init: Seed = 0  # initial parameters
  noise: Seed = 0  # label noise


@dataclasses.dataclass(frozen=True)
class Teacher:
  """Where the teacher is or, if it is nowhere yet, how to train it on the run's data and noise."""

  workdir: str = ""  # of finished runs, comma-separated (an ensemble); empty: trained first
  targets: Literal["online", "cached"] = "online"  # of augmented images, or once of plain ones
  model: Model = Model()
  loss: Loss = _LOSS
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
  convention: Literal["teacher_only", "both", "both_t_squared"] = "teacher_only"


@dataclasses.dataclass(frozen=True)
class Config:
  """The configuration of a run; each section documents its own fields.

  A run with the sections teacher and student is distilled. They come together or not at all.
  """

  data: Data = Data()
  noise: Noise = Noise()
  model: Model = Model()
  loss: Loss = _LOSS
  optim: Optim = Optim()
  train: Train = Train()
  checkpoint: Checkpoint = Checkpoint()
  seed: Seeds = Seeds()
  teacher: Teacher | None = None
  student: Student | None = None

  @property
  def given_labels(self) -> str:
    """The name of the noisy labels that the data must contain; empty if they are drawn."""
    if self.noise.kind != "given":
      return ""
    return {"table": self.data.label, "folder": "folder"}.get(self.data.name, self.noise.labels)
