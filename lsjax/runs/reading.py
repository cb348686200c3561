"""Reading the small files of a run, none of which is believed before it is checked."""

import os
import pathlib
from typing import Any

import numpy as np

from lsjax import config as config_lib
from lsjax import files, noise
from lsjax.runs import digests
from lsjax.validation import UserError, one_line

_RESULT_KEYS = ("status", "config_hash", "final", "best", "noise", "num_train", "num_test")


class WorkdirError(UserError):
  """A work directory that belongs to another run or cannot be used, told in one line."""


def config_json(workdir: str | os.PathLike[str]) -> dict[str, Any]:
  """Returns the content of config.json, whose config has the hash that stands beside it.

  Raises:
    WorkdirError: one line that names the file, if it is missing or damaged.
  """
  path = files.path(workdir) / "config.json"
  content = _json(path, ("config", "config_hash", "inputs"))
  try:
    config_hash = config_lib.hash_of(content["config"])
  except AttributeError as error:
    raise WorkdirError(f"{path} cannot be read (its config is no object)") from error
  if config_hash != content["config_hash"]:
    raise WorkdirError(f"{path} is damaged (its config does not have its config_hash)")
  contents = content.get("contents", {})
  if not isinstance(contents, dict) or not all(isinstance(v, str) for v in contents.values()):
    raise WorkdirError(f"{path} is damaged (contents {contents!r})")
  return content


def result_json(
  workdir: str | os.PathLike[str], config_hash: str | None = None
) -> dict[str, Any] | None:
  """Returns the content of result.json; None if there is no such file.

  Args:
    workdir: the work directory of the run.
    config_hash: the hash of the run's config; None accepts any.

  Raises:
    WorkdirError: one line that names the file, if it is damaged or of another config. It is
      damaged if its fields do not have its digest, or if the digest is gone; one from before there
      were digests is accepted.
  """
  path = files.path(workdir) / "result.json"
  if not path.exists():
    return None
  content = _json(path, _RESULT_KEYS)
  try:
    # A run that was begun with digests of its files ends with one of its result.
    if not digests.is_sealed(content) and _begun_with_digests(path.parent):
      raise ValueError("its sha256 is gone")
  except ValueError as error:
    why = f"{path} is damaged ({error}); remove it, and the run ends anew from its checkpoint"
    raise WorkdirError(why) from error
  if config_hash not in (None, content["config_hash"]):
    raise WorkdirError(
      f"{path} is damaged or of another config (config_hash {content['config_hash']!r}, not "
      f"{config_hash!r})"
    )
  if content["status"] not in ("finished", "diverged"):
    raise WorkdirError(f"{path} is damaged (status {content['status']!r})")
  if content["status"] == "finished":
    try:
      int(content["final"]["step"]), float(content["final"]["test"]["accuracy"])
    except (KeyError, TypeError, ValueError) as error:
      raise WorkdirError(f"{path} is damaged (no step and test accuracy in final)") from error
  return content


def _begun_with_digests(workdir: pathlib.Path) -> bool:
  path = workdir / "config.json"
  return path.exists() and "contents" in config_json(workdir)


def noise_npz(path: str | os.PathLike[str]) -> noise.NoisyLabels:
  """Returns the labels in a noise.npz, which have the digest that stands beside them.

  Raises:
    WorkdirError: one line that names the file, if it is missing or damaged.
  """
  try:
    with files.opened(path) as f, np.load(f, allow_pickle=False) as saved:
      arrays = {name: saved[name] for name in saved.files}
    seed = int(arrays["seed"])
    labels = noise.NoisyLabels(
      arrays["ids"],
      arrays["noisy_labels"],
      arrays.get("clean_labels"),
      arrays.get("transition"),
      None if seed == -1 else seed,
      arrays.get("flip_chances"),
    )
    is_whole = labels.sha256() == str(arrays["sha256"]) and np.array_equal(
      arrays.get("changed", True), True if labels.changed is None else labels.changed
    )
  except Exception as error:  # zipfile, zlib and NumPy raise many kinds for a damaged file
    raise WorkdirError(f"{path} cannot be read ({one_line(error)})") from error
  if not is_whole:
    raise WorkdirError(f"{path} is damaged (its arrays do not have its sha256)")
  return labels


def _json(path: os.PathLike[str], keys: tuple[str, ...]) -> dict[str, Any]:
  """Returns the object in a JSON file, which must have some keys."""
  try:
    content = files.read_json(path)
  except (OSError, ValueError, RecursionError) as error:
    raise WorkdirError(f"{path} cannot be read ({one_line(error)})") from error
  missing = [key for key in keys if not isinstance(content, dict) or key not in content]
  if missing:
    raise WorkdirError(f"{path} is damaged (no {', '.join(missing)})")
  return content
