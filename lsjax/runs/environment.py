"""What identifies a run in its files: its config, inputs, teachers and environment."""

import functools
import importlib.metadata
import pathlib
import subprocess
import sys
from typing import Any

import jax

import lsjax
from lsjax import config as config_lib
from lsjax.training.setup import PreparedRun

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def description(run: PreparedRun) -> dict[str, Any]:
  """Returns the content of config.json: config, hash, inputs, environment and teachers."""
  return {
    "config": config_lib.to_dict(run.config),
    "config_hash": config_lib.config_hash(run.config),
    "inputs": run.spec.to_json(),
    "environment": {
      "lsjax": lsjax.__version__,
      "python": sys.version.split()[0],
      **{name: importlib.metadata.version(name) for name in _PACKAGES},
      "device": run.devices[0].device_kind,
      "backend": jax.default_backend(),
      "num_devices": len(run.devices),
      "commit": commit(),
    },
    **teachers_entry(run),
  }


def teachers_entry(run: PreparedRun) -> dict[str, Any]:
  """Returns {"teachers": descriptions} for the files of a student, {} for an ordinary run."""
  return {"teachers": [t.description() for t in run.teachers]} if run.teachers else {}


@functools.lru_cache(maxsize=1)
def commit() -> str | None:
  """Returns the git commit of this source tree, with "-dirty" after local changes, or None."""
  try:
    return (
      subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        cwd=pathlib.Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
      ).stdout.strip()
      or None
    )
  except (OSError, subprocess.SubprocessError):
    return None
