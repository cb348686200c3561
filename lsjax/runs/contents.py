"""The user's files that a run reads, by their content: a path alone does not say what a run is."""

import os
from collections.abc import Mapping

from lsjax import config as config_lib
from lsjax import files, methods
from lsjax.data import folder, table
from lsjax.runs import digests
from lsjax.runs.reading import WorkdirError


def paths(config: config_lib.Config) -> dict[str, str]:
  """Returns the files that a run reads, by the config field that names each.

  These are the .npz file, tables or folders of the data and the files of matrices, for a teacher
  that is trained with its student too. TFDS directories are not among them.
  """
  found = {}
  if config.data.name in ("npz", *config_lib.OWN):
    found["data.path"] = config.data.path
  if config.data.test_path:
    found["data.test_path"] = config.data.test_path
  if config.noise.kind == "file":
    found["noise.path"] = config.noise.path
  losses = {"": config.loss}
  if config.teacher is not None and not config.teacher.workdir:
    losses["teacher."] = config.teacher.loss
  for prefix, loss in losses.items():
    needs = methods.METHODS[loss.name].needs
    if needs == "matrix":
      found[f"{prefix}loss.matrix"] = loss.matrix
    elif needs == "transition" and loss.transition == "file":
      found[f"{prefix}loss.transition_path"] = loss.transition_path
  return found


def digests_of(config: config_lib.Config) -> dict[str, str]:
  """Returns the SHA-256 of the files that a run reads, by config field.

  That of a folder of images, or of a table that names images, is over their names, sizes and
  contents. A file that is gone is left out: it has not changed, and a result stands without it.

  Raises:
    ConfigError: one line that names the file, if it cannot be read.
  """
  found = {}
  for field, path in paths(config).items():
    try:
      found[field] = _digest(config.data, field, os.fspath(files.path(path)))
    except FileNotFoundError:
      continue
    except (OSError, ValueError) as error:
      raise config_lib.ConfigError(field, path, f"cannot be read ({error})") from error
  return found


def _digest(section: config_lib.Data, field: str, path: str) -> str:
  """Returns the SHA-256 of what a field names: a file, or several files of a data set."""
  if not field.startswith("data.") or section.name not in config_lib.OWN:
    return digests.file_sha256(path)
  if section.name == "table" and not section.image:
    return digests.file_sha256(path)
  os.stat(path)  # one that is gone raises FileNotFoundError
  with config_lib.naming(field, path):
    if section.name == "folder":
      return digests.files_sha256(folder.files(path))
    # The name of the table does not count, as that of a table without images does not.
    return digests.files_sha256([("", path), *table.image_files(path, section.image)])


def check(
  workdir: str | os.PathLike[str], config: config_lib.Config, then: Mapping[str, str]
) -> None:
  """Checks that the files that a run reads are those that it was begun with.

  Args:
    workdir: the work directory of the run.
    config: the run's config.
    then: the digests by config field in a file of the run; a field that is not in it, as in files
      from before there were digests, is not compared.

  Raises:
    WorkdirError: one line that names the file and both digests.
  """
  now = digests_of(config)
  for field, path in paths(config).items():
    if field in now and then.get(field, now[field]) != now[field]:
      raise WorkdirError(
        f"{path} (config.{field}) has changed since {workdir} was begun: SHA-256 "
        f"{then[field][:12]}... then, {now[field][:12]}... now; put it back, or choose another "
        "--workdir"
      )
