"""Label noise: one draw per example, a function of (seed, example id) and nothing else."""

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from lsjax import files, transition


@dataclasses.dataclass(frozen=True)
class NoisyLabels:
  """Training labels after noise, with what is known of the labels before it.

  Attributes:
    ids: [N], integers or strings.
    labels: int32 [N], the labels to train on.
    clean: int32 [N], or None where nobody knows them.
    transition: float64 [L, L], the matrix that was drawn from, or counted from the labels
      where they were given; None where there is neither.
    seed: of the draw; None for labels that were given.
  """

  ids: np.ndarray
  labels: np.ndarray
  clean: np.ndarray | None
  transition: np.ndarray | None
  seed: int | None

  @property
  def changed(self) -> np.ndarray | None:
    """bool [N]: whose label is wrong; None where the clean labels are unknown."""
    return None if self.clean is None else self.labels != self.clean

  @property
  def realised_rate(self) -> float | None:
    """The share of wrong labels; None where the clean labels are unknown."""
    return None if self.clean is None else float(np.mean(self.labels != self.clean))

  def sha256(self) -> str:
    """Returns the hexadecimal digest of ids, clean labels, labels and T."""
    digest = hashlib.sha256()
    for array in self._arrays().values():
      digest.update(repr((array.shape, array.dtype.str)).encode())
      digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

  def _arrays(self) -> dict[str, np.ndarray]:
    arrays = {"ids": self.ids, "noisy_labels": self.labels}
    if self.clean is not None:
      arrays |= {"clean_labels": self.clean, "changed": self.labels != self.clean}
    if self.transition is not None:
      arrays["transition"] = self.transition
    return arrays

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes an .npz file: ids, noisy_labels, clean_labels and changed (where known),
    transition (where there is one), seed (-1 for given labels), sha256."""
    seed = -1 if self.seed is None else self.seed
    with files.replacing(path) as f:
      np.savez_compressed(
        f, allow_pickle=False, seed=np.int64(seed), sha256=np.str_(self.sha256()), **self._arrays()
      )


def uniform(ids: Sequence[int] | Sequence[str] | np.ndarray, *, seed: int) -> np.ndarray:
  """Returns one number in [0, 1) per id: BLAKE2b keyed by the seed, so the same anywhere.

  Args:
    ids: integers or strings; 7 and "7" are the same id.
    seed: in [0, 2^64).

  Returns:
    float64 array [N] with 53 random bits each, independent across ids and seeds.
  """
  if not 0 <= seed < 2**64:
    raise ValueError(f"seed must be in [0, 2^64), not {seed}")
  keyed = hashlib.blake2b(key=seed.to_bytes(8, "little"), digest_size=8, person=b"lsjax.noise")
  digests = bytearray()
  for i in np.asarray(ids).tolist():
    h = keyed.copy()
    h.update(str(i).encode())
    digests += h.digest()
  return (np.frombuffer(bytes(digests), "<u8") >> np.uint64(11)) * 2.0**-53


def corrupt(
  labels: np.ndarray,
  transition_matrix: np.ndarray,
  *,
  seed: int,
  ids: Sequence[int] | Sequence[str] | np.ndarray | None = None,
) -> NoisyLabels:
  """Draws a noisy label for every example from its clean one, in one pass.

  The draw of an example depends on its id, its clean label, the matrix and the seed; not
  on order, subset, batch size, host count or platform.

  Args:
    labels: clean integer labels [N] in [0, L).
    transition_matrix: T[true, noisy], [L, L].
    seed: of the noise; apart from the seeds of training.
    ids: N distinct integers or strings (such as train_16399); 0..N-1 when absent.

  Returns:
    `NoisyLabels`, with `.labels` and `.changed`.

  Raises:
    ValueError: for labels outside [0, L) or not integers, a matrix that is no transition
      matrix, ids that are not N distinct values, or a seed out of range.

  References:
    Lukasik et al., 2020, section 5: noise drawn once, on the training labels alone.

  >>> from lsjax import transition
  >>> noisy = corrupt(np.zeros(1000, int), transition.symmetric(10, 0.2), seed=0)
  >>> bool(abs(noisy.changed.mean() - 0.2) < 0.04)
  True
  >>> part = corrupt(np.zeros(2, int), transition.symmetric(10, 0.2), seed=0, ids=[999, 7])
  >>> part.labels.tolist() == noisy.labels[[999, 7]].tolist()
  True
  """
  matrix = transition.validate(transition_matrix)
  labels = check_labels(labels, len(matrix))
  ids = np.arange(len(labels)) if ids is None else np.asarray(ids)
  if ids.shape != labels.shape or ids.dtype.kind not in "iuU":
    raise ValueError(f"ids must be {len(labels)} integers or strings")
  if len(np.unique(ids)) != len(ids):
    raise ValueError("ids must be distinct: examples of one id would share their draw")
  noisy = Draw(matrix, seed)(labels, ids)
  return NoisyLabels(ids, noisy, labels, matrix, seed)


class Draw:
  """The draw of `corrupt` for examples as they come, in a stream for instance."""

  def __init__(self, transition_matrix: np.ndarray, seed: int):
    """Takes T[true, noisy], [L, L], that is a valid transition matrix, and the noise's seed."""
    # Dividing by the last entry makes the last class of positive chance end at exactly 1.
    cumulative = np.cumsum(transition_matrix, axis=1)
    self.cumulative, self.seed = cumulative / cumulative[:, -1:], seed

  def __call__(self, labels: np.ndarray, ids: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Returns the noisy labels, int32 [N], of examples with clean labels in [0, L)."""
    draws = uniform(ids, seed=self.seed)
    noisy = np.empty(len(labels), np.int32)
    for true in np.unique(labels):
      of_class = labels == true
      noisy[of_class] = np.searchsorted(self.cumulative[true], draws[of_class], side="right")
    return noisy


def given(
  noisy: np.ndarray, clean: np.ndarray | None, num_classes: int, *, ids: np.ndarray
) -> NoisyLabels:
  """Wraps labels that are noisy already; T is counted where the clean labels are known.

  Raises:
    ValueError: for labels outside [0, num_classes) or not integers.
  """
  noisy = check_labels(noisy, num_classes)
  if clean is None:
    return NoisyLabels(ids, noisy, None, None, None)
  clean = check_labels(clean, num_classes)
  return NoisyLabels(ids, noisy, clean, transition.estimate(clean, noisy, num_classes), None)


def check_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
  """Returns the labels as int32 [N]; ValueError unless they are integers in [0, num_classes)."""
  labels = np.asarray(labels)
  if labels.ndim != 1 or labels.dtype.kind not in "iu":
    raise ValueError(f"labels must be integers [N], not {labels.dtype} {list(labels.shape)}")
  if labels.size and not (labels.min() >= 0 and labels.max() < num_classes):
    outside = labels.min() if labels.min() < 0 else labels.max()
    raise ValueError(f"label {outside} is outside [0, {num_classes})")
  return labels.astype(np.int32)
