"""How large the benchmarks and sweeps of `benchmarks.gpu` are, in earnest and in a rehearsal."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from lsjax import shipped
from lsjax.sweeps import plan

# Where things lie under --out: results there, and what a later call goes on from in WORK.
WORK, IMAGES, CACHE = "work", "images.npz", "cache"


@dataclasses.dataclass(frozen=True)
class Settings:
  """What one --out measures; a later call must have the same.

  Attributes:
    label: the name of the images in reports.
    steps: the training steps of table A.
    short_steps: the training steps of the runs of all other sweeps.
    rehearse: whether everything is tiny.
  """

  label: str
  steps: int
  short_steps: int
  rehearse: bool


@dataclasses.dataclass(frozen=True)
class Size:
  """How large the benchmarks and sweeps are.

  Attributes:
    models: the networks, of which the first is measured in every way.
    later_model: the network of the sweeps between the two tables A.
    dtype: the type of the activations of packings and sweeps.
    scans: the steps in a call, for the benchmark of step speed.
    widths: the numbers of runs that are packed, beside 1.
    kinds: the ways to pack them.
    packing_steps: the steps of a call of a packing; 0: as many as in training.
    repetitions: the repetitions of each row.
    seeds: the seeds of table A, and of each later sweep.
    alphas: the argument of configs/sweeps/alpha_cifar10.py.
    base: more settings of every run.
    peers: (name, form, other rows) of each comparison with PyTorch in benchmarks/peer_torch.py.
    peer_steps: the steps of each of its repetitions.
    sweep_seconds: the seconds of training without which a sweep is not begun.
    sweep_grace: the seconds that a sweep may take to save everything and end.
    compiled: the beginning of the names of the steps whose programs are compiled first.
    warmed: the packings that sweeps are compiled for before one is chosen.
  """

  models: tuple[str, str]
  later_model: str
  dtype: str
  scans: tuple[int, ...]
  widths: tuple[int, ...]
  kinds: tuple[str, ...]
  packing_steps: int
  repetitions: int
  seeds: Mapping[str, int]
  alphas: str
  base: Mapping[str, Any]
  peers: tuple[tuple[str, str, tuple[str, ...]], ...]
  peer_steps: int
  sweep_seconds: float
  sweep_grace: float
  compiled: str
  warmed: tuple[str, ...]


_OWN = ("lsjax scan of 200 bfloat16",)
FULL = Size(
  models=("resnet32", "resnet56"),
  later_model="resnet32",
  dtype="bfloat16",
  scans=(1, 100, 400),
  widths=(2, 4, 8, 16, 32),
  kinds=("vmap", "im2col", "grouped"),
  packing_steps=0,
  repetitions=5,
  seeds={"table_a": 5, "alpha": 3, "table_c": 5, "human": 5, "table_a_large": 5},
  alphas="0.1,0.2,0.3,0.4,0.6,0.8/0.2,0.4",
  base={
    "data.validation_examples": 5000,
    "train.eval_every": 2000,
    "checkpoint.every": 2000,
    "checkpoint.keep": 1,
  },
  peers=(
    ("max_autotune", "torch.compile max-autotune channels_last bfloat16", _OWN),
    ("reduce_overhead", "torch.compile reduce-overhead channels_last bfloat16", _OWN),
    ("eager", "eager channels_last bfloat16", _OWN),
  ),
  peer_steps=200,
  sweep_seconds=45.0,
  sweep_grace=20.0,
  compiled="",
  warmed=("vmap:4", "vmap:8", "im2col:8"),
)
TINY = Size(
  models=("small_cnn", "small_cnn"),
  later_model="mlp",
  dtype="float32",
  scans=(1, 2),
  widths=(2,),
  kinds=("vmap", "im2col"),
  packing_steps=2,
  repetitions=2,
  seeds={"table_a": 2, "alpha": 1, "table_c": 1, "human": 1, "table_a_large": 1},
  alphas="0.1,0.4/0.2",
  base={
    "data.validation_examples": 40,
    "train.batch_size": 16,
    "train.steps_per_call": 2,
    "train.log_every": 8,
    "train.eval_every": 8,
    "train.eval_batch_size": 40,
    "checkpoint.every": 8,
    "checkpoint.keep": 1,
  },
  peers=(("eager", "eager channels_last float32", ()),),
  peer_steps=1,
  sweep_seconds=5.0,
  sweep_grace=5.0,
  compiled="packing",
  warmed=("vmap:2",),
)


@dataclasses.dataclass(frozen=True)
class Sweep:
  """A sweep of a shipped config with other settings.

  Attributes:
    name: the name of its directory.
    config: the name of the shipped config.
    argument: what stands behind the config's colon.
    label: the name of the images.
    seeds: the number of seeds.
    base: {"section.field": value} of every run.
  """

  name: str
  config: str
  argument: str
  label: str
  seeds: int
  base: Mapping[str, Any]

  @property
  def command(self) -> tuple[str, ...]:
    """The arguments of Python, for a process in the work directory of `benchmarks.gpu`."""
    argument = f":{self.argument}" if self.argument else ""
    return (
      *("-m", "lsjax.sweep", f"--config={self.config}{argument}", f"--workdir={self.name}"),
      *(f"--config.label={self.label}", f"--config.seeds={self.seeds}"),
      *(f"--config.base.{key}={_text(value)}" for key, value in self.base.items()),
    )

  def runs(self, work: pathlib.Path) -> list[tuple[pathlib.Path, int]]:
    """Lists (work directory, number of training steps) of all runs and of students' teachers."""
    config = shipped.load(self.config, *([self.argument] if self.argument else []))
    config.seeds = self.seeds
    config.base.update_from_flattened_dict(dict(self.base))
    runs = plan.runs_of(plan.plan(config), work / self.name)
    distinct = {run.workdir: run for run in [*runs, *plan.teachers_of(runs)]}
    return [(workdir, run.config.train.num_steps) for workdir, run in distinct.items()]


def _text(value: Any) -> str:
  return str(value).replace(" ", "")


def sweeps(settings: Settings) -> dict[str, Sweep]:
  """Returns the sweeps of a session by name."""
  size = TINY if settings.rehearse else FULL

  def sweep(name: str, config: str, argument: str, model: str, steps: int) -> Sweep:
    schedule = {"train.num_steps": steps, "optim.boundaries": (steps // 2, steps * 3 // 4)}
    of_data = {"data.name": "npz", "data.path": IMAGES}
    of_model = {"model.name": model, "model.dtype": size.dtype}
    base = {**of_data, **of_model, **schedule, **size.base}
    return Sweep(name, config, argument, settings.label, size.seeds[name], base)

  small, large = size.models
  full, short = settings.steps, settings.short_steps
  listed = (
    sweep("table_a", "table_a_cifar10", small, small, full),
    sweep("alpha", "alpha_cifar10", size.alphas, size.later_model, short),
    sweep("table_c", "table_c_cifar10", "", size.later_model, short),
    sweep("human", "human_cifar10", str(short), size.later_model, short),
    sweep("table_a_large", "table_a_cifar10", large, large, full),
  )
  return {each.name: each for each in listed}
