"""A finished sweep whose results are made up, so that every verdict is known."""

import json
import math

import ml_collections
import numpy as np
from conftest import small

from lsjax import config as config_lib
from lsjax import diagnostics, files, methods
from lsjax.runs import directory as run_directory
from lsjax.sweeps import cells, plan

RATES, ALPHAS = (0.0, 0.2), (0.1, 0.2, 0.6)
# Test accuracy by method and alpha: what the paper claims.
ACCURACY = {
  ("CE", 0.0): 0.80,
  ("LS", 0.1): 0.84,
  ("LS", 0.2): 0.85,
  ("LS", 0.6): 0.90,
  ("FC", 0.1): 0.845,
  ("FC", 0.2): 0.86,
  ("FC", 0.6): 0.90,
  ("BC", 0.1): 0.78,
  ("BC", 0.2): 0.79,
  ("BC", 0.6): 0.80,
}
# Test accuracy of students by rate and the teacher's method.
STUDENT = {0.2: {"CE": 0.82, "LS": 0.86, "FC": 0.85, "BC": 0.8}, 0.0: {"CE": 0.98, "LS": 0.98}}
# What tempering (convention `both`) adds to the students of LS, by rate and temperature.
TEMPERED = {(0.0, 2.0): -0.02, (0.0, 4.0): 0.01, (0.2, 2.0): -0.3}
ECE = {("CE", 0.0): 0.11, ("LS", 0.1): 0.10, ("LS", 0.6): 0.4, ("FC", 0.1): 0.15, ("BC", 0.1): 0.2}
# Distance of the boundary from the origin, by kind of noise and alpha.
DISTANCE = {("none", 0.0): 0.02, ("one_sided", 0.0): 0.6, ("one_sided", 0.6): 0.1}
# What the best noisy-validation step gains in test accuracy over the final one, by method.
EARLY_GAIN = {"CE": 0.1, "LS": 0.02}


def write(path, seeds=3, keep=lambda name, seed: True, more_cells=(), pictures=False):
  """Writes a sweep directory; keep(cell name, seed) returns whether a run was trained.

  With `pictures`, the runs have the arrays that figures are drawn from.
  """
  config = ml_collections.ConfigDict()
  config.label, config.base, config.seeds = "made up", small(), seeds
  config.base.data.validation_examples = 20
  config.cells = cells.union(
    cells.curves(ALPHAS, RATES),
    cells.students((0.2, 0.0), (1.0,)),
    cells.students((0.2, 0.0), (2.0, 4.0), conventions=("both",)),
    boundaries(),
    more_cells,
  )
  planned = plan.plan(config)
  plan.write_index(planned, path, config.label)
  for cell in planned:
    for seed, run in enumerate(cell.runs):
      if keep(cell.name, seed):
        write_run(run, seed, path / config_lib.config_hash(run), pictures)
  theory = {
    "seeds": 20,
    "omega": {"largest_gradient": 0.0, "least_eigenvalue": 0.0, "least_excess": 0.5},
    "shrinkage": [{"alpha": a, "norm_ratio": 1 - a, "error_float64": 1e-16} for a in (0, 0.5)],
    "shrinkage_error_float32": 1e-7,
  }
  files.write_json(path / "theory.json", theory)
  return path


def boundaries():
  """Returns the cells of tight clusters in the plane."""
  linear = {"data.name": "gaussians", "data.cluster_std": 0.1, "model.name": "linear"}
  noisy = {"noise.kind": "one_sided", "noise.rate": 0.05}
  return [
    {
      "name": "2-D: CE, no noise",
      "changes": {**linear, **cells.method("CE"), **cells.symmetric_noise(0)},
    },
    {"name": "2-D: CE", "changes": {**linear, **cells.method("CE"), **noisy}},
    {"name": "2-D: LS 0.6", "changes": {**linear, **cells.method("LS", 0.6), **noisy}},
  ]


def result(config, seed):
  """Returns a result.json with the values above, which vary a little with the seed."""
  method = methods.short_name(config.loss.name)
  alpha = 0.0 if method == "CE" else config.loss.alpha
  wiggle = 1e-3 * math.sin(7 * seed + 3 * alpha + len(method))
  accuracy, ece = ACCURACY.get((method, alpha), 0.5), ECE.get((method, alpha), 0.3)
  if config.teacher is not None:
    teacher = methods.short_name(config.teacher.loss.name)
    accuracy = STUDENT[config.noise.rate].get(teacher, 0.9)
    if teacher == "LS" and config.student.convention == "both":
      accuracy += TEMPERED.get((config.noise.rate, config.student.temperature), 0.0)
  train = {
    "clean_accuracy": 0.95 + 0.1 * wiggle,
    "mislabelled_accuracy": accuracy - 0.3 + wiggle,
    "true_accuracy": 0.7,
    "memorisation": 0.4,
    "label_accuracy": 0.8,
  }
  # Weight decay helps CE, and the noisy validation split shows it.
  decay = 10 * config.optim.weight_decay if method == "CE" else 0.0
  test = {"accuracy": accuracy + decay + wiggle, "ece": ece + wiggle, "nll": 1.0}
  test["teacher_agreement"] = 0.9
  validation = {"accuracy": 0.6 + decay + wiggle}
  final = {"step": 6, "train": train, "test": test, "validation": validation}
  better = test["accuracy"] + EARLY_GAIN.get(method, 0.0)
  best = {**final, "step": 3, "test": test | {"accuracy": better}}
  noise = {"kind": config.noise.kind, "realised_rate": config.noise.rate + 0.001}
  return {"status": "finished", "final": final, "best": best, "noise": noise}


def write_run(config, seed, workdir, pictures):
  """Writes the files of a finished run that a report reads."""
  name = config_lib.config_hash(config)
  environment = dict.fromkeys(("device", "backend", "python", "jax", "flax", "optax", "lsjax"), "x")
  inputs = {"mean": [0.0], "std": [1.0], "num_classes": 10}
  rng = np.random.default_rng(seed)
  true = rng.integers(0, 5, 200)
  split = {
    "logits": rng.normal(size=(200, 5)),
    "features": rng.normal(size=(200, 6)),
    "labels": np.where(rng.random(200) < 0.2, 0, true),
    "true_labels": true,
  }
  kernel, bias = rng.normal(size=(6, 5)), np.zeros(5)
  if config.data.name == "gaussians":
    inputs = {"mean": [0.5, -0.5], "std": [2.0, 1.0], "num_classes": 2}
    distance = DISTANCE[config.noise.kind, config.loss.alpha if "smooth" in config.loss.name else 0]
    distance += 1e-3 * math.sin(7 * seed)
    normal = np.array([math.cos(math.radians(53)), math.sin(math.radians(53))])
    # In the coordinates of the network, (x - mean) / std; the line normal . x + distance = 0.
    kernel = np.stack([normal * inputs["std"], np.zeros(2)], axis=1)
    bias = np.array([normal @ inputs["mean"] + distance, 0.0])
    split = {**split, "logits": split["logits"][:, :2], "true_labels": true % 2}
  files.write_json(
    workdir / "config.json",
    {
      "config": config_lib.to_dict(config),
      "config_hash": name,
      "inputs": inputs,
      "environment": environment | {"commit": None},
    },
  )
  arrays = {"kernel": kernel, "bias": bias}
  if pictures:
    arrays = diagnostics.collect(split, split, kernel, bias)
  run_directory.save_diagnostics(workdir / "diagnostics.npz", arrays)
  content = result(config, seed)
  rows = [{"step": step, "split": "train", **content["final"]["train"]} for step in (3, 6)]
  (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  files.write_json(workdir / "result.json", content)
