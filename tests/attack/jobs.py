"""The commands that are killed, stopped and started anew, and what their results are."""

import dataclasses
import pathlib
import shutil
import time

import jax
import numpy as np

from lsjax import files
from lsjax.runs import loading

# The jobs of a line, over and over: the quick ones more often than those that take long.
TURNS = (
  *("train", "distil", "train", "sweep", "train", "distil"),
  *("train", "report", "train", "distil", "train", "advise"),
)
_STEPS = (
  *("--config.train.num_steps=400", "--config.train.log_every=20", "--config.train.eval_every=50"),
  *("--config.train.steps_per_call=10", "--config.checkpoint.every=50"),
)
_SWEEP = """
import ml_collections
from lsjax import shipped
from lsjax.sweeps import cells

def get_config():
  config = ml_collections.ConfigDict({"label": "digits", "seeds": 2})
  config.base = shipped.load("digits_noisy", "cross_entropy")
  config.base.train.num_steps, config.base.train.log_every = 60, 20
  config.base.train.eval_every = config.base.checkpoint.every = 20
  config.base.train.steps_per_call = 10
  config.cells = cells.union(
    [{"name": name, "changes": cells.method(name)} for name in ("CE", "LS")],
    [{"name": "student", "changes": {"student.temperature": 2.0, "seed.init": 1}}],
  )
  return config
"""
# Made anew from the others, with times or versions that are no result, or of an earlier process.
_NO_RESULT = (
  *("report.md", "report.html", "report.json", "cells.json", "advice.json", "theory.json"),
  "sessions.jsonl",
)
# What of some of them is a result all the same.
_RESULTS_IN = {"report.json": ("claims", "tables"), "cells.json": ("label", "config", "cells")}


@dataclasses.dataclass(frozen=True)
class Job:
  """A command whose result is the same however often it is interrupted.

  Attributes:
    command: train, sweep, report or advise.
    args: its arguments.
    workdir: the directory that it writes; the same for every trial, since results name it.
    whole: the directory with the result of the uninterrupted command.
    begin: what the directory is before the command begins, a directory to copy; None for nothing.
    seconds: how long the uninterrupted command took, once its programs were compiled.
  """

  command: str
  args: tuple[str, ...]
  workdir: pathlib.Path
  whole: pathlib.Path
  begin: pathlib.Path | None = None
  seconds: float = 0.0

  def reset(self):
    """Makes the directory as it is before the command begins."""
    empty(self.workdir.parent)
    if self.begin is not None:
      shutil.copytree(self.begin, self.workdir)

  def finish(self, server, patches=()):
    """Runs the command to its end; returns what is wrong with that or with its result, or ""."""
    ended = server.run(self.command, *self.args, seconds=300, patches=patches)
    return ended.why_lost((0,)) or difference(self.workdir, self.whole)


def empty(directory):
  """Removes all that is in a directory, which may be where a disk is mounted."""
  directory.mkdir(parents=True, exist_ok=True)
  for path in directory.iterdir():
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def whole(job, server):
  """Runs a job twice, the second time with compiled programs; returns it with its result."""
  for _ in range(2):
    job.reset()
    begun = time.monotonic()
    ended = server.run(job.command, *job.args, seconds=600)
    assert not ended.why_lost((0,)), ended
    seconds = time.monotonic() - begun
  shutil.rmtree(job.whole, ignore_errors=True)
  shutil.copytree(job.workdir.parent, job.whole)
  return dataclasses.replace(job, whole=job.whole / job.workdir.name, seconds=seconds)


def make(name, place, server):
  """Returns a job with its result.

  Args:
    name: train, distil, sweep, report or advise.
    place: a directory for its files.
    server: runs commands.
  """
  workdir = place / "disk/run"
  target = f"--workdir={workdir}"
  begin = None
  if name == "train":
    command, args = "train", ("--config=configs/digits_noisy.py", *_STEPS, target)
  elif name == "distil":
    teacher = [arg.replace("config.", "config.teacher.") for arg in _STEPS]
    command, args = "train", ("--config=configs/digits_distill.py", *_STEPS, *teacher, target)
  elif name in ("sweep", "report"):
    place.mkdir(parents=True, exist_ok=True)
    (place / "sweep.py").write_text(_SWEEP)
    command, args = "sweep", (f"--config={place / 'sweep.py'}", target)
    if name == "report":
      trained = whole(Job(command, args, workdir, place / "sweep"), server)
      begin = trained.whole
      for path in ("report.md", "report.html", "report.json", "results.json", "cells.json"):
        (begin / path).unlink()
      for path in ("tables", "figures"):
        shutil.rmtree(begin / path)
      command, args = "report", (str(workdir),)
  else:
    place.mkdir(parents=True, exist_ok=True)
    write_pets(place / "pets.csv")
    command, args = "advise", (str(place / "pets.csv"), "--label=kind", "--minutes=0", target)
  return whole(Job(command, args, workdir, place / "whole", begin), server)


def write_pets(path, rows=60):
  """Writes a table of two classes that can be told from each other."""
  draws = np.random.default_rng(0)
  kinds = np.where(np.arange(rows) % 2, "dog", "cat")
  sizes = draws.normal(size=rows) + 2 * (kinds == "dog")
  lines = [f"{size:.3f},{kind}" for size, kind in zip(sizes, kinds)]
  path.write_text("\n".join(["size,kind", *lines, ""]))


def difference(parts, whole):
  """Returns what differs between two directories of results, "" if they are bitwise the same.

  Compared are the small files of every run, the arrays of its newest checkpoint, and the tables,
  labels and answers that were made of the runs.
  """
  names = sorted(path.relative_to(whole) for path in whole.rglob("*") if is_result(path))
  assert names
  for name in names:
    if not (parts / name).exists():
      return f"{name} is missing"
    if (parts / name).read_bytes() != (whole / name).read_bytes():
      return f"{name} differs"
  for name, keys in _RESULTS_IN.items():
    for path in sorted(whole.rglob(name)):
      if not (parts / path.relative_to(whole)).exists():
        return f"{path.relative_to(whole)} is missing"
      one, other = files.read_json(parts / path.relative_to(whole)), files.read_json(path)
      for key in keys:
        if one[key] != other[key]:
          return f"{path.relative_to(whole)}: {key} differ"
  if (whole / "advice.json").exists():
    contents = [files.read_json(where / "advice.json") for where in (parts, whole)]
    if dict(contents[0], seconds=0) != dict(contents[1], seconds=0):
      return "advice.json differs"
  for path in sorted(whole.rglob("checkpoints")):
    if why := other_arrays(parts / path.parent.relative_to(whole), path.parent):
      return why
  return ""


def is_result(path):
  """Returns whether a file must have the same bytes after an interruption."""
  parts = path.parts
  return (
    path.is_file()
    and "checkpoints" not in parts
    and path.name not in _NO_RESULT
    and not path.name.startswith((".", "events."))
    and "figures" not in parts
  )


def other_arrays(parts, whole):
  """Returns what differs between the newest checkpoints of two runs."""
  steps = [max(int(p.name) for p in (run / "checkpoints").iterdir()) for run in (parts, whole)]
  if steps[0] != steps[1]:
    return f"{parts}: the newest checkpoint is {steps[0]}, not {steps[1]}"
  digests = [
    files.read_json(run / f"checkpoints/{steps[0]}/_CHECKPOINT_METADATA")["custom_metadata"]
    for run in (parts, whole)
  ]
  if digests[0]["arrays_sha256"] != digests[1]["arrays_sha256"]:
    return f"{parts}: the arrays of checkpoint {steps[0]} differ"
  states = [jax.tree.leaves(loading.load_run(run)[2]) for run in (parts, whole)]
  is_same = all(np.array_equal(a, b) for a, b in zip(*states, strict=True))
  return "" if is_same else f"{parts}: the parameters of checkpoint {steps[0]} differ"
