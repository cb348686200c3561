"""Noisy labels: drawn from a transition matrix, or given."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lsjax import labels as labels_lib
from lsjax import transition

Ids = Sequence[int] | Sequence[str] | np.ndarray
"""Ids of examples, integers or strings such as "train_16399"."""
# The random numbers of so many bytes of ids are kept; those of larger data would fill the memory.
_KEPT_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class NoisyLabels:
  """Holds the labels to train on, with what is known about the labels before the noise.

  Attributes:
    ids: Ids of the examples, integers or strings of shape [N].
    labels: Labels to train on, int32 of shape [N].
    clean: True labels, int32 of shape [N], or None if nobody knows them.
    transition: Matrix T[true, noisy], float64 of shape [L, L]. It is the matrix that the labels
      were drawn with; for labels that were given, or drawn by `corrupt_by_instance`, the matrix
      counted from them and the true labels, or None if nobody knows these.
    seed: Seed of the draw, or None for labels that were given.
    flip_chances: Chance that the label of each example is wrong, float64 of shape [N], for labels
      drawn by `corrupt_by_instance`; None otherwise. It is no part of `arrays`.
  """

  ids: np.ndarray
  labels: NDArray[np.int32]
  clean: NDArray[np.int32] | None
  transition: NDArray[np.float64] | None
  seed: int | None
  flip_chances: NDArray[np.float64] | None = None

  @property
  def changed(self) -> NDArray[np.bool_] | None:
    """Mask of the examples with a wrong label, bool of shape [N], or None without true labels."""
    return None if self.clean is None else self.labels != self.clean

  @property
  def realised_rate(self) -> float | None:
    """Share of the examples with a wrong label, in [0, 1], or None without true labels."""
    return None if self.changed is None else float(np.mean(self.changed))

  def arrays(self) -> dict[str, np.ndarray]:
    """Returns the arrays that describe the labels, for a file or a comparison.

    Returns:
      Arrays by name, in this order: `ids`, `noisy_labels` (the labels to train on); with true
      labels also `clean_labels` and `changed`; with a transition matrix also `transition`.

    Examples:
      >>> list(given([0, 1, 1], None, 2, ids=[7, 8, 9]).arrays())
      ['ids', 'noisy_labels']
    """
    arrays: dict[str, np.ndarray] = {"ids": self.ids, "noisy_labels": self.labels}
    if self.clean is not None:
      arrays |= {"clean_labels": self.clean, "changed": self.labels != self.clean}
    if self.transition is not None:
      arrays["transition"] = self.transition
    return arrays

  def sha256(self) -> str:
    """Computes the digest of the contents, types, shapes and order of `arrays`.

    Returns:
      SHA-256 digest in hexadecimal. Equal labels have the same digest on every machine.
    """
    digest = hashlib.sha256()
    for array in self.arrays().values():
      digest.update(repr((array.shape, array.dtype.str)).encode())
      digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def corrupt(
  labels: ArrayLike, transition_matrix: ArrayLike, *, seed: int, ids: Ids | None = None
) -> NoisyLabels:
  """Draws a noisy label for every example.

  The label of an example of true class i is drawn from row i of the transition matrix, in one
  pass. The draw depends on the example's id, its true label, the matrix and the seed. It does not
  depend on the order of the examples, on the other examples, or on the machine.

  Args:
    labels: True labels, integers of shape [N] in [0, L).
    transition_matrix: Matrix T[true, noisy] of shape [L, L]; its rows sum to 1.
    seed: Seed of the noise, in [0, 2^64). It is meant to be kept apart from the seeds of training.
    ids: Distinct integers or strings, one for each of the N examples; 0 to N - 1 by default.

  Returns:
    The noisy labels, with the true ones beside them.

  Raises:
    ValueError: If labels are not integers in [0, L), if the matrix is not a transition matrix (see
      `transition.validate`), if the ids are not N distinct integers or strings, or if the seed is
      out of range.

  References:
    Lukasik et al., [Does label smoothing mitigate label noise?](https://arxiv.org/abs/2003.02819),
    2020, section 5: noise is drawn once, on the training labels alone.

  Examples:
    >>> from lsjax import transition
    >>> noisy = corrupt(np.zeros(1000, int), transition.symmetric(10, 0.2), seed=0)
    >>> bool(abs(noisy.changed.mean() - 0.2) < 0.04)
    True
    >>> part = corrupt(np.zeros(2, int), transition.symmetric(10, 0.2), seed=0, ids=[999, 7])
    >>> part.labels.tolist() == noisy.labels[[999, 7]].tolist()
    True
  """
  matrix = transition.validate(transition_matrix)
  clean = check_labels(labels, len(matrix))
  ids = check_ids(ids, len(clean))
  return NoisyLabels(ids, Draw(matrix, seed)(clean, ids), clean, matrix, seed)


def given(noisy: ArrayLike, clean: ArrayLike | None, num_classes: int, *, ids: Ids) -> NoisyLabels:
  """Wraps labels that are noisy already.

  Args:
    noisy: Labels to train on, integers of shape [N] in [0, L).
    clean: True labels, integers of shape [N] in [0, L), or None if nobody knows them.
    num_classes: Number of classes L.
    ids: Ids of the examples, N integers or strings.

  Returns:
    The labels, with a transition matrix counted from them if the true labels are known.

  Raises:
    ValueError: If labels are not integers in [0, L), or if labels and ids differ in number.

  Examples:
    >>> given([0, 1, 1, 1], [0, 0, 1, 1], 2, ids=range(4)).transition
    array([[0.5, 0.5],
           [0. , 1. ]])
  """
  ids, noisy = np.asarray(ids), labels_lib.check(noisy, num_classes, name="noisy")
  if ids.shape != noisy.shape:
    raise ValueError(f"ids must be {len(noisy)} integers or strings")
  if clean is None:
    return NoisyLabels(ids, noisy, None, None, None)
  clean = labels_lib.check(clean, num_classes, name="clean")
  return NoisyLabels(ids, noisy, clean, transition.estimate(clean, noisy, num_classes), None)


class Draw:
  """Draws the noisy labels of `corrupt` for examples as they come, for instance in a stream.

  Examples:
    >>> from lsjax import transition
    >>> matrix = transition.symmetric(10, 0.5)
    >>> whole = corrupt(np.zeros(12, int), matrix, seed=7)
    >>> Draw(matrix, 7)(np.zeros(2, int), [3, 4]).tolist() == whole.labels[3:5].tolist()
    True
  """

  def __init__(self, transition_matrix: NDArray[np.float64], seed: int):
    """Prepares the draws.

    Args:
      transition_matrix: Matrix T[true, noisy], float64 of shape [L, L], a result of
        `transition.validate`.
      seed: Seed of the noise, in [0, 2^64).
    """
    # Dividing by the last entry makes the last class of positive chance end at exactly 1.
    cumulative = np.cumsum(transition_matrix, axis=1)
    self._cumulative, self._seed = cumulative / cumulative[:, -1:], seed

  def __call__(self, labels: np.ndarray, ids: Ids) -> NDArray[np.int32]:
    """Draws a noisy label for every example.

    Args:
      labels: True labels, integers of shape [N] in [0, L).
      ids: Ids of the examples, N integers or strings.

    Returns:
      Noisy labels, int32 of shape [N].

    Raises:
      ValueError: If labels are not integers in [0, L), if the ids are not as many integers or
        strings, or if the seed is out of range.
    """
    clean = check_labels(labels, len(self._cumulative))
    draws = uniform(ids, seed=self._seed)
    if draws.shape != clean.shape:
      raise ValueError(f"ids must be {len(clean)} integers or strings")
    noisy = np.empty(len(clean), np.int32)
    for true in np.unique(clean):
      of_class = clean == true
      noisy[of_class] = np.searchsorted(self._cumulative[true], draws[of_class], side="right")
    return noisy


def uniform(ids: Ids, *, seed: int, stream: str = "") -> NDArray[np.float64]:
  """Computes a number in [0, 1) for every id, from a hash (BLAKE2b) with the seed as its key.

  Args:
    ids: N integers or strings. The integer 7 and the string "7" are the same id.
    seed: Integer in [0, 2^64).
    stream: Name of at most 16 ASCII characters; it is the salt of the hash, so that an example
      has independent numbers for several purposes.

  Returns:
    Float64 array of shape [N], with 53 random bits in each number. Numbers of different ids,
    seeds or streams are independent, and every machine computes the same ones.

  Raises:
    ValueError: If the ids are not integers or strings, or if the seed is out of range.

  Examples:
    >>> uniform(["7", "train_16399"], seed=1).round(4)
    array([0.9287, 0.8146])
  """
  if not 0 <= seed < 2**64:
    raise ValueError(f"seed must be in [0, 2^64), not {seed}")
  ids = np.asarray(ids)
  if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iuU"):
    raise ValueError(f"ids must be integers or strings [N], not {ids.dtype} {list(ids.shape)}")
  if not ids.size or ids.nbytes > _KEPT_BYTES:
    return _uniform(ids, seed, stream)
  return _kept_uniform(ids.tobytes(), ids.dtype.str, seed, stream).copy()


def _uniform(ids: np.ndarray, seed: int, stream: str) -> NDArray[np.float64]:
  """Computes the numbers of `uniform` for checked arguments."""
  key, salt = seed.to_bytes(8, "little"), stream.encode("ascii")
  keyed = hashlib.blake2b(key=key, salt=salt, digest_size=8, person=b"lsjax.noise")
  digests = bytearray()
  for i in ids.tolist():
    h = keyed.copy()
    h.update(str(i).encode())
    digests += h.digest()
  bits = np.frombuffer(bytes(digests), "<u8") >> np.uint64(11)
  return bits.astype(np.float64) * 2.0**-53


@functools.lru_cache(maxsize=8)
def _kept_uniform(ids: bytes, dtype: str, seed: int, stream: str) -> NDArray[np.float64]:
  """Returns the numbers of few examples, for which the runs of a sweep ask again and again."""
  return _uniform(np.frombuffer(ids, dtype), seed, stream)


def check_labels(labels: ArrayLike, num_classes: int) -> NDArray[np.int32]:
  """Checks that labels are integers in [0, L).

  Args:
    labels: Labels of shape [N].
    num_classes: Number of classes L.

  Returns:
    The labels as int32 of shape [N].

  Raises:
    ValueError: If the labels have another shape, or if one of them is not an integer in [0, L);
      the message names it and its index.

  Examples:
    >>> check_labels([0, 3], 3)
    Traceback (most recent call last):
    ...
    ValueError: labels[1] = 3 is outside [0, 3)
  """
  return labels_lib.check(labels, num_classes)


def check_ids(ids: Ids | None, count: int) -> np.ndarray:
  """Checks that ids are as many distinct integers or strings as there are examples.

  Args:
    ids: Ids of the examples, or None for 0 to N - 1.
    count: Number of examples N.

  Returns:
    The ids as an array of shape [N].

  Raises:
    ValueError: If the ids are not N distinct integers or strings.
  """
  ids = np.arange(count) if ids is None else np.asarray(ids)
  if ids.shape != (count,) or (count and ids.dtype.kind not in "iuU"):
    raise ValueError(f"ids must be {count} integers or strings")
  if len(np.unique(ids)) != len(ids):
    raise ValueError("ids must be distinct: examples of one id would share their draw")
  return ids
