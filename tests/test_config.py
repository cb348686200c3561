"""The validator: one line for every bad config, and no field that nothing reads."""

import ast
import functools
import hashlib
import importlib
import json
import pathlib
import random
import re
import typing

import pytest

from lsjax import config as config_lib
from lsjax import methods, sections, variants
from lsjax.models import networks
from lsjax.training import matrices

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted((ROOT / "configs").glob("*.py"))


def test_defaults_are_valid():
  assert config_lib.from_config_dict(config_lib.default_config()) == config_lib.Config()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
@pytest.mark.parametrize("variant", ["", *variants.VARIANTS])
def test_every_config_file_loads(path, variant):
  module = importlib.import_module(f"configs.{path.stem}")
  config = module.get_config(variant) if variant else module.get_config()
  refused = {
    "validation": "validation_examples = 5000: must be 0",
    "elr": "loss.name = 'early_learning_regularization': keeps an array for each example",
  }
  if variant in refused and config.data.name in config_lib.STREAMED:
    with pytest.raises(config_lib.ConfigError, match=refused[variant]):
      config_lib.from_config_dict(config)
  else:
    config_lib.from_config_dict(config)
  assert f"--config=configs/{path.name}" in module.__doc__


def test_every_field_is_read():
  """Some module reads `.field` of every field: a setting that does nothing is a trap."""
  read = set()
  for path in (ROOT / "lsjax").rglob("*.py"):
    tree = ast.parse(path.read_text())
    read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
  # Read as getattr(config.train, name) in training/setup.py.
  read |= {"eval_batch_size"}
  # Those of single methods are read by their names in methods/rows.py; tests of training know them.
  own = re.compile(rf"loss\.({'|'.join(config_lib.METHOD_SECTIONS)})\.")
  names = [name for name in config_lib.fields() if not own.search(name)]
  assert {name.rpartition(".")[2] for name in names} <= read


def test_choices_are_what_the_code_offers():
  assert set(typing.get_args(sections.ModelName)) == set(networks.NETWORKS)
  for name in methods.METHODS:
    if name != "smearing":  # needs a file
      loss = config_lib.Loss(name=name, alpha=0.1, r=-0.2)
      arrays = matrices.method_arrays(loss, None, 5)
      if config_lib.program_of(loss).loss == "smeared_forward":
        assert arrays["matrix"].shape == arrays["columns"].shape == (5, 5)


def hash_with(**changes):
  config = config_lib.default_config()
  config.update_from_flattened_dict(changes)
  return config_lib.config_hash(config_lib.from_config_dict(config))


def test_parameters_of_a_method_count_if_it_is_chosen():
  q = "loss.generalized_cross_entropy.q"
  gce = {"loss.name": "generalized_cross_entropy"}
  assert hash_with() == "ec38f561"  # as before there were such parameters
  assert len({hash_with(), hash_with(**gce), hash_with(**gce, **{q: 0.5})}) == 3
  with pytest.raises(
    config_lib.ConfigError, match=f"{q} = 0.5: must stay 0.7 unless loss.name=gen"
  ):
    hash_with(**{q: 0.5})
  with pytest.raises(config_lib.ConfigError, match=rf"{q} = 1.5: must be in \[0, 1\]"):
    hash_with(**gce, **{q: 1.5})
  assert config_lib.hash_of({"loss": {"cores": {"beta": 1.0}}})  # of a damaged file: no name
  cores = {"loss.name": "cores", "loss.cores.start": 0.5}
  with pytest.raises(config_lib.ConfigError, match=r"loss.cores.full = 0.4: must be at least sta"):
    hash_with(**cores)


# Values that are wrong for a field of each annotated type, whatever its bounds.
WRONG = [
  "x",
  -1,
  1.5,
  None,
  True,
  float("nan"),
  float("inf"),
  -1e30,
  [],
  {},
  2**40,
  "",
  (-1,),
  10**400,
]


def test_mutated_configs_are_refused_in_one_line():
  """At least 200 configs with one field broken: accepted ones are exactly the valid ones."""
  rng = random.Random(0)
  distillation = config_lib.Config(teacher=config_lib.Teacher(), student=config_lib.Student())
  names = list(config_lib.fields())
  refused = 0
  for _ in range(600):
    nested = config_lib.to_dict(distillation)
    *sections, name = rng.choice(names).split(".")
    *outer, section = sections
    holder = functools.reduce(dict.__getitem__, outer, nested)
    kind = rng.choice(["value", "value", "value", "typo", "section"])
    value = rng.choice(WRONG)
    if kind == "value":
      holder[section][name] = value
    elif kind == "typo":
      typo = list(name)
      typo.insert(rng.randrange(len(typo) + 1), "q")
      holder[section]["".join(typo)] = holder[section].pop(name)
    else:
      holder[section + "s"] = holder.pop(section)
    try:
      result = config_lib.from_config_dict(nested)
    except config_lib.ConfigError as error:
      refused += 1
      assert "\n" not in str(error)
      assert f"config.{'.'.join(sections)}" in str(error)
      if kind == "value":
        assert re.search("must|needs|nothing can be drawn", str(error))
      elif kind == "typo":
        assert f"did you mean config.{'.'.join(sections)}.{name}?" in str(error)
    else:
      # Accepted: it must round-trip through the file that a run writes.
      again = json.loads(json.dumps(config_lib.to_dict(result)))
      assert config_lib.from_config_dict(again) == result
  assert refused >= 200


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"loss.name": "mae"}, "config.loss.name = 'mae': must be one of cross_entropy, label_"),
    ({"noise.rate": 1.5}, r"config.noise.rate = 1.5: must be in \[0, 1\]"),
    ({"train.batch_size": 0}, "config.train.batch_size = 0"),
    ({"train.batch_size": 1.0}, "of type int, not float"),
    ({"data.name": "npz"}, "config.data.path = ''"),
    ({"noise.kind": "given"}, "config.noise.labels"),
    ({"noise.kind": "file"}, "config.noise.path"),
    ({"loss.name": "smearing"}, "config.loss.matrix"),
    ({"loss.name": "backward_correction", "loss.alpha": 1.0}, "alpha must be below 1"),
    ({"loss.name": "forward_correction", "loss.transition": "noise"}, "noise.kind=none"),
    ({"optim.boundaries": (5, 3)}, "increase"),
    ({"data.cluster_std": 0.1}, "data.cluster_std = 0.1: is for data.name=gaussians alone"),
    ({"data.name": "npz", "data.path": "x", "data.points": 9}, "for data.name=gaussians alone"),
    ({"data.name": "gaussians", "data.points": 1}, r"must be in \[2, 1.67772e\+07\]"),
    ({"optim.momentum": 1.0}, r"\[0, 1\)"),
    ({"train.num_steps": 2**24, "train.batch_size": 2**8}, "below 2"),
  ],
)
def test_messages(changes, message):
  nested = config_lib.to_dict(config_lib.Config())
  for key, value in changes.items():
    section, name = key.split(".")
    nested[section][name] = value
  with pytest.raises(config_lib.ConfigError, match=message):
    config_lib.from_config_dict(nested)


@pytest.mark.parametrize(
  ("section", "message"),
  [("train", "config.train: has a field whose name is no text"), (None, "^the config has a field")],
)
def test_names_that_are_no_texts(section, message):
  """ml_collections takes them, and then cannot sort them."""
  config = config_lib.default_config()
  with config.unlocked():
    (config if section is None else config[section])[1.5] = 3
  with pytest.raises(config_lib.UserError, match=message):
    config_lib.from_config_dict(config)


def test_later_fields_keep_older_hashes():
  """At its default a field that came later is as if it were not there; otherwise it counts."""
  nested = config_lib.to_dict(config_lib.Config())
  assert {name for name in config_lib.flatten(nested) if name in config_lib.LATER} == {
    *config_lib.LATER
  }
  older = {k: v for k, v in nested["data"].items() if f"data.{k}" not in config_lib.LATER}
  loss = {
    k: v
    for k, v in nested["loss"].items()
    if k not in config_lib.METHOD_SECTIONS and f"loss.{k}" not in config_lib.LATER
  }
  train = {k: v for k, v in nested["train"].items() if f"train.{k}" not in config_lib.LATER}
  older = nested | {"data": older, "loss": loss, "train": train}
  plain = json.dumps(config_lib.flatten(older), sort_keys=True)
  assert config_lib.hash_of(nested) == hashlib.sha256(plain.encode()).hexdigest()[:8]
  assert config_lib.hash_of(older) == config_lib.hash_of(nested)
  assert config_lib.identity(older) == config_lib.identity(nested)
  tight = config_lib.Config(data=config_lib.Data(name="gaussians", cluster_std=0.1))
  wide = config_lib.Config(data=config_lib.Data(name="gaussians"))
  assert config_lib.config_hash(tight) != config_lib.config_hash(wide)


def test_hash_depends_on_every_field():
  base = config_lib.Config()
  other = config_lib.from_config_dict({"seed": {"noise": 1}})
  assert config_lib.config_hash(base) != config_lib.config_hash(other)
  assert config_lib.config_hash(base) == config_lib.config_hash(config_lib.Config())
