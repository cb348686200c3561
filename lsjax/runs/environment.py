"""What identifies a run in its files: its config, inputs, teachers and environment."""

import functools
import hashlib
import importlib.metadata
import os
import pathlib
import subprocess
import sys
from typing import Any

import jax

import lsjax
from lsjax import config as config_lib
from lsjax.runs import contents
from lsjax.training import distributed
from lsjax.training.setup import PreparedRun

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


@functools.cache
def versions() -> dict[str, str]:
  """Returns the versions of Python, this package and those that a result may depend on."""
  return {
    "lsjax": lsjax.__version__,
    "python": sys.version.split()[0],
    **{name: importlib.metadata.version(name) for name in _PACKAGES},
  }


def check_processes(config: config_lib.Config, workdir: str | os.PathLike[str]) -> None:
  """Checks that all processes of a job have the same config, work directory, versions and code.

  Raises:
    UserError: one line that names what differs and in which process.
  """
  if distributed.process()[1] == 1:
    return
  fields = config_lib.flatten(config_lib.to_dict(config))
  source = hashlib.sha256()
  for path in sorted(pathlib.Path(lsjax.__file__).parent.rglob("*.py")):
    source.update(path.read_bytes())
  distributed.check_equal(
    {
      **{f"config.{name}": value for name, value in fields.items()},
      "--workdir": os.fspath(workdir),
      **{f"version of {name}": version for name, version in versions().items()},
      "SHA-256 of lsjax's code": source.hexdigest(),
    }
  )


def check_data(run: PreparedRun) -> None:
  """Checks that all processes of a job train on the same data.

  Raises:
    UserError: one line that names what differs and in which process.
  """
  if distributed.process()[1] > 1:
    distributed.check_equal({"SHA-256 of the data": run.data_sha256()})


def description(run: PreparedRun) -> dict[str, Any]:
  """Returns the content of config.json: what the run is, what it reads and what ran it.

  Raises:
    ConfigError: if a file that the config names cannot be read.
  """
  return {
    "config": config_lib.to_dict(run.config),
    "config_hash": config_lib.config_hash(run.config),
    "inputs": run.spec.to_json(),
    **run.about_data,
    "contents": contents.digests_of(run.config),
    "environment": {
      **versions(),
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
  """Returns the git commit of this source tree, with "-dirty" after local changes, or None.

  A copy of the tree without its history, such as a container's, names it in $LSJAX_COMMIT.
  """
  if stated := os.environ.get("LSJAX_COMMIT"):
    return stated
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
