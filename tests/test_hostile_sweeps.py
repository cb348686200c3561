"""Mutated sweep configs: each is planned, or refused in one line, before anything is trained."""

import random

import ml_collections
import pytest

from lsjax import config as config_lib
from lsjax.sweeps import checking, plan
from lsjax.validation import UserError

# Values and names that a slip, or a program that writes configs, may put anywhere.
ODD = (
  *(None, True, 0, -1, 10**11, 2**31, 1.5, float("nan"), float("inf"), 10**5000),
  *("", " ", "x", "\ud800", "a\nb", "\x1b[31m", "loss.name", b"x", object),
  *((), (1,), [], ["x"], {}, {"x": 1}, {1: 2}, {"loss": {"name": 3}}),
)
NAMES = (None, True, 0, 1.5, "", "x", "\ud800", (1,), "loss", "loss.alpha.x", "seed.data.y", "a\nb")


def sweep_tree():
  """A valid sweep as plain dictionaries and lists."""
  base = config_lib.default_config()
  base.data.validation_examples = 10
  noisy = {"noise.kind": "symmetric", "noise.rate": 0.2}
  q = {"loss.name": "generalized_cross_entropy", "loss.generalized_cross_entropy.q": 0.5}
  student = {"student.temperature": 2.0, "teacher.loss.name": "label_smoothing"}
  return {
    "label": "digits",
    "base": base.to_dict(),
    "seeds": 2,
    "cells": [
      {"name": "CE", "changes": noisy},
      {"name": "GCE", "changes": q, "seeds": 1},
      {"name": "CE at 0.2", "changes": {"optim.learning_rate": 0.2}, "candidate_of": "CE"},
      {"name": "student", "changes": student},
    ],
  }


def places(node, path=()):
  """The paths of everything inside nested dictionaries and lists."""
  found = [path] if path else []
  pairs = {dict: lambda: node.items(), list: lambda: enumerate(node)}.get(type(node), lambda: ())
  for key, value in pairs():
    found += places(value, (*path, key))
  return found


def mutated(seed):
  """A sweep with one or two values replaced, removed or added; most are near the cells."""
  draws, tree = random.Random(seed), sweep_tree()
  for _ in range(draws.randint(1, 2)):
    everywhere = places(tree)
    near = [path for path in everywhere if path[0] != "base"]
    *outer, last = draws.choice(near if draws.random() < 0.75 else everywhere)
    node = tree
    for key in outer:
      node = node[key]
    kind = draws.random()
    if kind < 0.6:
      node[last] = draws.choice(ODD)
    elif kind < 0.75:
      del node[last]
    elif isinstance(node, dict):
      node[draws.choice(NAMES)] = draws.choice(ODD)
    else:
      node.append(draws.choice(ODD))
  return tree


def as_config(tree):
  sweep = ml_collections.ConfigDict()
  for name, value in tree.items():
    sweep[name] = value
  return sweep


def test_mutated_sweeps(tmp_path):
  refused, planned = [], 0
  for seed in range(500):
    try:
      sweep = as_config(mutated(seed))
    except (TypeError, ValueError, AttributeError):
      continue  # ml_collections itself does not take it
    try:
      plan.write_index(plan.plan(sweep), tmp_path / "sweep", sweep.label)
      planned += 1
    except UserError as error:
      refused.append(str(error))
  assert planned > 20
  assert len(refused) > 300
  for message in refused:
    assert message.isprintable(), message


@pytest.mark.parametrize(
  ("where", "value", "message"),
  [
    (("cells", 0), 3, r"config.cells\[0\] = 3: must be a dictionary with name and changes"),
    (("cells",), (), r"config.cells = \(\): must be a tuple of dictionaries, at least one"),
    (("cells", 0, "name"), "\ud800", r"config.cells\[0\] name = '\\ud800': must be one line"),
    (("cells", 0, "changes"), 3, "cell 'CE': config.changes = 3: must be a dictionary"),
    (("cells", 0, "changes", 7), 1, "cell 'CE': config.changes = 7: must be the name of a field"),
    (("cells", 0, "changes", "loss.alfa"), 1, "did you mean config.loss.alpha?"),
    (("cells", 0, "seed"), 1, "cell 'CE': has the entry 'seed'; known: name, changes, seeds"),
    (("cells", 0, "seeds"), 0, "cell 'CE': config.seeds = 0: must be an integer from 1"),
    (("cells", 2, "candidate_of"), 3, "cell 'CE at 0.2': config.candidate_of = 3: must be a text"),
    (("label",), "\ud800", r"config.label = '\\ud800': must be one line of text"),
    (("label",), 3, "config.label = 3: must be a text"),
    (("seeds",), 10**11, "config.seeds = 100000000000: must be an integer from 1 to 20000"),
    (("seeds",), True, "config.seeds = True: must be an integer"),
    (("seeds",), 20_000, "config.seeds = 20000: with 4 cells makes 60001 runs; at most 20000"),
    (("base",), 3, "config.base = 3: must be the config of a run"),
    (("base", "loss"), 3, "config.base.loss = 3: must be a section with fields"),
    (("base", "loss", "alfa"), 3, "config.base.loss.alfa: no such field; did you mean config.base"),
  ],
)
def test_what_is_wrong_is_named(where, value, message):
  tree = node = sweep_tree()
  for key in where[:-1]:
    node = node[key]
  node[where[-1]] = value
  with pytest.raises(UserError, match=message):
    plan.plan(as_config(tree))


def test_a_base_of_some_sections():
  """The others have their defaults, for students too."""
  tree = sweep_tree()
  tree["base"] = {"data": {"validation_examples": 10}}
  whole, part = plan.plan(as_config(sweep_tree())), plan.plan(as_config(tree))
  assert part == whole
  assert sum(len(cell.runs) for cell in whole) == 7 <= checking.MOST_RUNS
