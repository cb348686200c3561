"""Out-of-fold predictions: what runs of cross-validation say of the examples they held out."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from lsjax import config as config_lib
from lsjax import files
from lsjax.runs import reading
from lsjax.runs.reading import WorkdirError
from lsjax.validation import one_line


@dataclasses.dataclass(frozen=True)
class OutOfFold:
  """The predictions of every training example by a network that was not trained on it.

  Attributes:
    ids: the ids of the examples, [N].
    labels: the labels that the runs were trained on, int32 [N].
    true_labels: the true labels, int32 [N], or None if nobody knows them.
    logits: the logits of the last step, float32 [N, L].
  """

  ids: np.ndarray
  labels: np.ndarray
  true_labels: np.ndarray | None
  logits: np.ndarray


def out_of_fold(workdirs: Sequence[str | os.PathLike[str]]) -> OutOfFold:
  """Puts together what the runs of all folds say of the examples that they held out.

  Args:
    workdirs: the work directories of finished runs, one for each value of data.fold; the runs
      differ in nothing else. An example in two folds gets the prediction of the earlier one.

  Raises:
    WorkdirError: one line, if a run is missing or differs in more than its fold, or if a file of it
      cannot be read.
  """
  begun = [reading.config_json(workdir) for workdir in workdirs]
  configs = [config_lib.from_config_dict(content["config"]) for content in begun]
  folds = [config.data.fold for config in configs]
  count = configs[0].data.folds if configs else 0
  if not count or sorted(folds) != list(range(count)):
    raise WorkdirError(f"one run of each of the {count} folds is needed, not of the folds {folds}")
  same = {
    config_lib.config_hash(
      dataclasses.replace(config, data=dataclasses.replace(config.data, fold=0))
    )
    for config in configs
  }
  if len(same) > 1:
    raise WorkdirError(f"{workdirs[0]} and the runs of other folds differ in more than data.fold")
  labels = reading.noise_npz(files.path(workdirs[0]) / "noise.npz")
  logits: np.ndarray | None = None
  for _, workdir in sorted(zip(folds, workdirs, strict=True), key=lambda pair: -pair[0]):
    found, examples = diagnostics(workdir, "validation_logits", "validation_examples")
    if logits is None:
      logits = np.full((len(labels.labels), found.shape[1]), np.nan, np.float32)
    logits[examples] = found
  assert logits is not None
  return OutOfFold(labels.ids, labels.labels, labels.clean, logits)


def diagnostics(workdir: str | os.PathLike[str], *names: str) -> list[np.ndarray]:
  """Returns arrays of a run's diagnostics.npz.

  Raises:
    WorkdirError: one line that names the file, if it cannot be read or lacks one of them.
  """
  path = files.path(workdir) / "diagnostics.npz"
  try:
    with files.opened(path) as f, np.load(f, allow_pickle=False) as saved:
      return [saved[name] for name in names]
  except Exception as error:  # zipfile, zlib and NumPy raise many kinds for a damaged file
    raise WorkdirError(f"{path} cannot be read ({one_line(error)})") from error
