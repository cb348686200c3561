"""An advice that is finished, read from its directory."""

import csv
import functools
import os
from typing import Any

import numpy as np

from lsjax import files
from lsjax.advice.report import screen
from lsjax.estimate import Interval
from lsjax.validation import UserError, one_line

_BATCH = 1000  # examples that are predicted at once
_LEVEL = 0.95


class Advice:
  """A finished advice: its numbers, its suspects and its model.

  Attributes:
    directory: the directory of the advice.
    content: the content of advice.json.
  """

  def __init__(self, directory: str | os.PathLike[str]):
    """Reads advice.json.

    Raises:
      UserError: one line, if there is none or it cannot be read.
    """
    self.directory = files.path(directory)
    try:
      self.content: dict[str, Any] = files.read_json(self.directory / "advice.json")
    except (OSError, ValueError) as error:
      raise UserError(f"{directory} holds no finished advice ({one_line(error)})") from error

  @property
  def answers(self) -> list[screen.Answer]:
    """The answers to five questions: how noisy, which are wrong, what to use, how good, where."""
    return screen.answers(self.content, self.directory)

  @property
  def classes(self) -> list[Any]:
    """The names of the L classes."""
    return self.content["data"]["classes"]

  @property
  def noise_rate(self) -> Interval:
    """The share of wrong labels."""
    return self._interval("noise_rate")

  @property
  def transition(self) -> np.ndarray:
    """The estimate of T[true, noisy], float64 [L, L]."""
    return np.array(self.content["transition"]["matrix"])

  @property
  def recommended(self) -> dict[str, Any]:
    """The recommended method, its parameters, the step to stop at and where its model is."""
    return self.content["recommended"]

  @property
  def expected_accuracy(self) -> Interval | None:
    """The accuracy on clean labels to expect; None where it cannot be said."""
    if self.content["expected_accuracy"]["estimate"] is None:
      return None
    return self._interval("expected_accuracy")

  @property
  def ranking(self) -> list[dict[str, Any]]:
    """The ways to train, the best first."""
    return self.content["ranking"]

  @property
  def suspects(self) -> list[dict[str, str]]:
    """The rows of suspects.csv, the most suspicious label first."""
    with (self.directory / "suspects.csv").open(newline="") as f:
      return list(csv.DictReader(f))

  def predict_proba(self, examples: Any, *, image: str = "") -> np.ndarray:
    """Predicts the probabilities of the classes with the recommended model.

    Args:
      examples: new examples of the kind that the advice was given: a table without labels, a folder
        or a list of images, or an array; see `encoding.encode`.
      image: the column with the paths of images of a table.

    Returns:
      float32 [N, L], in the order of `classes`.

    Raises:
      ValueError: one line, for examples that do not fit those that the advice was given.
    """
    import jax

    from lsjax.advice import encoding

    arrays = encoding.encode(self.directory, examples, image=image)
    apply, size = self._apply, len(arrays)
    parts = []
    for start in range(0, size, _BATCH):
      part = arrays[start : start + _BATCH]
      filled = np.concatenate([part, np.repeat(part[:1], _BATCH - len(part), axis=0)])
      parts.append(np.asarray(jax.nn.softmax(apply(filled)))[: len(part)])
    return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)

  def predict(self, examples: Any, *, image: str = "") -> np.ndarray:
    """Predicts the name of the most probable class of each example; see `predict_proba`."""
    return np.array(self.classes)[self.predict_proba(examples, image=image).argmax(axis=1)]

  @functools.cached_property
  def _apply(self) -> Any:
    import jax

    from lsjax.runs import loading

    workdir = self.directory / self.recommended["workdir"]
    _, model, variables = loading.load_run(workdir)
    return jax.jit(functools.partial(model.apply, variables))

  def _interval(self, name: str) -> Interval:
    found = self.content[name]
    return Interval(found["estimate"], found["low"], found["high"], _LEVEL)
