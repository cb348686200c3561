"""Configs and command lines of runs with a few values or names that a slip may put there."""

import functools
import typing

from test_hostile_sweeps import NAMES, ODD, as_config, places
from test_hostile_sweeps import mutated as mutated_sweep_tree

from lsjax import config as config_lib
from lsjax import validation

# What a shell may pass as the value of a flag.
TEXTS = (
  *("", " ", "x", "-1", "0", "1", "1.5", "nan", "inf", "-inf", "1e400", "1" * 5000, "None", "True"),
  *("()", "(1,)", "(1,'x')", "[]", "{}", "lambda: 0", "0x10", "1_000", "٣", "²", "=", "a=b", "--x"),
  *(
    "'x'",
    '"x"',
    "a\nb",
    "\x1b[31m",
    "/dev/zero",
    "/",
    ".",
    "..",
    "~",
    "/proc/self/mem",
    "gs://b/x",
  ),
  *("http://h/x", "é" * 300, "(" * 200, "2147483647", "2147483648", "4294967296", "99999999999999"),
)
_PUBLISHED = ("cifar10", "cifar100", "cifar10_n", "cifar100_n", "imagenet2012")  # on the network
_ODD = (*ODD, 10**400, 2**40, -1e30, (-1,), ("x",), (2**40,), range(3), 1e-300, [[]], {"a": {}})


def base(is_distillation):
  """Returns a valid config of a quick run as nested dictionaries."""
  config = config_lib.default_config()
  config.update_from_flattened_dict(
    {
      **{"noise.kind": "symmetric", "noise.rate": 0.2, "data.validation_examples": 10},
      **{"model.hidden": 8, "train.num_steps": 2, "train.batch_size": 16, "train.log_every": 1},
    }
  )
  if is_distillation:
    config = config_lib.with_teacher(config, config)
    config.seed.init = 1
  return config.to_dict()


def _bounds(hint):
  """Returns values at, just inside and just outside of the bounds of a field."""
  if typing.get_origin(hint) is typing.Literal:
    return tuple(x for x in typing.get_args(hint) if x not in _PUBLISHED)
  if typing.get_origin(hint) is not typing.Annotated:
    return ()
  _, bound = typing.get_args(hint)
  if isinstance(bound, validation.Choice):
    return bound.choices
  near = (bound.low, bound.high, bound.low - 1, bound.high + 1, bound.low + 1e-9)
  return tuple(int(x) if abs(x) < 2**53 and x == int(x) else x for x in near if abs(x) < 1e300)


def mutated_run(draws):
  """Returns the config of a run with one to three values replaced, removed, added or renamed."""
  tree = base(draws.random() < 0.3)
  hints = config_lib.fields()
  for _ in range(draws.randint(1, 3)):
    found = places(tree)
    path = draws.choice(found)
    *outer, last = path
    try:
      node = functools.reduce(lambda inner, key: inner[key], outer, tree)
      kind = draws.random()
      if kind < 0.35 and (near := _bounds(hints.get(".".join(map(str, path))))):
        node[last] = draws.choice(near)
      elif kind < 0.8:
        node[last] = draws.choice(_ODD)
      elif kind < 0.87:
        del node[last]
      elif kind < 0.94 and isinstance(last, str):
        at = draws.randrange(len(last) + 1)
        node[last[:at] + draws.choice("qx_. ") + last[at:]] = node.pop(last)
      elif isinstance(node, dict):
        node[draws.choice(NAMES)] = draws.choice(_ODD)
    except (KeyError, TypeError, IndexError):
      continue  # an earlier change took it away
  return tree


def flags(draws):
  """Returns the flags of a run, some of which have odd names or values."""
  hints = list(config_lib.fields())
  found = ["--config.train.num_steps=2", "--config.model.hidden=8"]
  for _ in range(draws.randint(1, 3)):
    name, kind = draws.choice(hints), draws.random()
    if kind < 0.2:
      at = draws.randrange(len(name) + 1)
      name = name[:at] + draws.choice("qx.[]()= ") + name[at:]
    elif kind < 0.25:
      name = draws.choice(("", ".", "train", "data.", "teacher", "student.x", "a" * 3000))
    value = draws.choice(TEXTS)
    flag = draws.choice(("--config.{}={}",) * 9 + ("-config.{}={}", "--config.{}", "--{}={}"))
    found.append(flag.format(name, value))
  draws.shuffle(found)
  return [text.replace("\0", "") for text in found]


_FILE = '''"""A mutated config, made by its seed."""

from attack import mutations


def get_config():
  return mutations.{}({!r})
'''


def write_config(path, function, seed):
  """Writes a config file that calls a function of this module with a seed."""
  path.write_text(_FILE.format(function, seed))


def run_config(seed):
  """Returns the mutated config of a run."""
  import random

  return as_config(mutated_run(random.Random(seed)))


def sweep_config(seed):
  """Returns the mutated config of a sweep, whose runs are quick where they are sound."""
  tree = mutated_sweep_tree(seed)
  if isinstance(tree.get("base"), dict) and isinstance(tree["base"].get("train"), dict):
    for name, value in (("num_steps", 2), ("batch_size", 16), ("log_every", 1)):
      if tree["base"]["train"].get(name) in (1000, 128, 100):
        tree["base"]["train"][name] = value
  return as_config(tree)
