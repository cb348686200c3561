"""Label noise that depends on the image, by a random projection."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lsjax import transition
from lsjax.noise.draws import Ids, NoisyLabels, check_ids, check_labels, uniform

_STANDARD_DEVIATION = 0.1  # of the chances of a wrong label around the rate, before they are cut
_BLOCK = 256  # examples that are copied as float64 at a time


def corrupt_by_instance(
  inputs: ArrayLike,
  labels: ArrayLike,
  num_classes: int,
  *,
  rate: float,
  seed: int,
  ids: Ids | None = None,
  mean: ArrayLike = 0.0,
  std: ArrayLike = 1.0,
) -> NoisyLabels:
  """Draws a noisy label for every example from chances that differ from image to image.

  The chances are those of `instance_transition`: which wrong label an example gets depends on its
  image, and how likely it gets one on its id. The draw depends on the example's id, its input, its
  true label and the seed (and on `rate`, `mean` and `std`). It does not depend on the order of the
  examples or on the other examples. The last digits of a sum may depend on the machine; that
  changes a label only where a random number of 53 bits falls between two such sums.

  Args:
    inputs: Images or vectors, finite numbers of shape [N, ...].
    labels: True labels, integers of shape [N] in [0, L).
    num_classes: Number of classes L, at least 2.
    rate: Probability in [0, 1] that a label is wrong, in the mean over examples.
    seed: Seed of the noise, in [0, 2^64); it draws the projections too.
    ids: Distinct integers or strings, one for each of the N examples; 0 to N - 1 by default.
    mean: Mean of the inputs by which they are standardised; it broadcasts to the shape of an input.
    std: Standard deviation of the inputs, positive; likewise.

  Returns:
    The noisy labels, with the true ones beside them. Their `transition` is counted from the
    labels, since no single matrix holds for all examples: it is the average over them, as drawn.
    Their `flip_chances` are the chances of a wrong label.

  Raises:
    ValueError: As `instance_transition`, or if the ids are not N distinct integers or strings.

  References:
    Xia et al., [Part-dependent label noise](https://arxiv.org/abs/2006.07836), 2020.

  Examples:
    >>> images = np.random.RandomState(0).randint(0, 256, (1000, 8, 8, 1))
    >>> noisy = corrupt_by_instance(
    ...   images, np.zeros(1000, int), 10, rate=0.2, seed=0, mean=127.5, std=74
    ... )
    >>> bool(abs(noisy.realised_rate - 0.2) < 0.06)
    True
  """
  clean = check_labels(labels, num_classes)
  ids = check_ids(ids, len(clean))
  rows = instance_transition(
    inputs, clean, num_classes, rate=rate, seed=seed, ids=ids, mean=mean, std=std
  )
  chances = 1 - rows[np.arange(len(clean)), clean]
  # As in `Draw`: the last class of positive chance ends at exactly 1.
  cumulative = np.cumsum(rows, axis=1)
  cumulative /= cumulative[:, -1:]
  noisy = (cumulative <= uniform(ids, seed=seed)[:, None]).sum(axis=1).astype(np.int32)
  counted = transition.estimate(clean, noisy, num_classes)
  return NoisyLabels(ids, noisy, clean, counted, seed, chances)


def instance_transition(
  inputs: ArrayLike,
  labels: ArrayLike,
  num_classes: int,
  *,
  rate: float,
  seed: int,
  ids: Ids | None = None,
  mean: ArrayLike = 0.0,
  std: ArrayLike = 1.0,
) -> NDArray[np.float64]:
  r"""Computes the chance of each noisy label for every example, by a random projection.

  Let x be the S features of a standardised input of true class y, and $W_y$ a matrix [S, L] of
  standard normal numbers. With the chance q the label is wrong, and then it is another class j
  with chances proportional to

  $$\exp((x^\top W_y)_j / \sqrt S), \quad j \ne y.$$

  The chance q of an example is drawn from the normal distribution with mean `rate` and standard
  deviation 0.1, cut off at the same distance on both sides, [max(0, 2 rate - 1), min(1, 2 rate)].
  It depends on the id and the seed alone.

  Two things differ from Xia et al. They cut off at 0 and 1, which makes 12.9 % wrong labels of a
  rate of 0.1 and 8 % of a rate of 0; the cut on both sides keeps the mean at the rate. From 0.3 to
  0.7 both agree to 0.05 percentage points. And their exponent lacks the division by $\sqrt S$. It
  then grows with the number of features, until an image has just one possible wrong label: the
  likeliest of the nine has a share of 98 % on average on CIFAR-10 (JPEG, quality 75) and of 88 %
  on digits of 8 x 8 pixels. With the division these are 33 and 34 %, so that one rule serves images
  of all sizes. Dividing `std` by $\sqrt S$ gives the authors' exponent.

  Standardise images, as by `mean` and `std`. Where all are positive, the mean image decides,
  and the noise nearly depends on the class alone.

  Args:
    inputs: Images or vectors, finite numbers of shape [N, ...].
    labels: True labels, integers of shape [N] in [0, L).
    num_classes: Number of classes L, at least 2.
    rate: Mean chance in [0, 1] that a label is wrong.
    seed: Seed of the projections and of the chances, in [0, 2^64).
    ids: Integers or strings, one for each of the N examples; 0 to N - 1 by default.
    mean: Mean of the inputs by which they are standardised; it broadcasts to the shape of an input.
    std: Standard deviation of the inputs, positive; likewise.

  Returns:
    Float64 array of shape [N, L] whose rows sum to 1: of each example, the row of its T(x) that
    belongs to its true class.

  Raises:
    ValueError: If inputs are not finite numbers [N, ...], if labels are not integers in [0, L), if
      mean or std do not fit an input, if ids are not N integers or strings, or if `num_classes`,
      `rate` or `seed` is out of range.

  References:
    Xia et al., [Part-dependent label noise](https://arxiv.org/abs/2006.07836), 2020.

  Examples:
    >>> images = np.array([[1.0, -1.0], [-1.0, 1.0]])
    >>> rows = instance_transition(images, [2, 2], 3, rate=0.5, seed=0)
    >>> rows.sum(axis=1)
    array([1., 1.])
    >>> rows.argmin(axis=1).tolist()  # of one class and yet not alike
    [1, 0]
  """
  from scipy import special  # takes a while, which other noise should not wait for

  if num_classes < 2:
    raise ValueError(f"num_classes must be at least 2, not {num_classes}")
  if not 0 <= rate <= 1:
    raise ValueError(f"rate must be in [0, 1], not {rate}")
  clean = check_labels(labels, num_classes)
  x = np.asarray(inputs)
  if x.ndim < 2 or len(x) != len(clean) or x.dtype.kind not in "biuf" or 0 in x.shape[1:]:
    raise ValueError(f"inputs must be numbers [{len(clean)}, ...], not {x.dtype} {list(x.shape)}")
  centre, scale = (_moment(name, m, x.shape[1:]) for name, m in (("mean", mean), ("std", std)))
  chances = _flip_chances(np.arange(len(clean)) if ids is None else ids, rate, seed)
  if chances.shape != clean.shape:
    raise ValueError(f"ids must be {len(clean)} integers or strings")
  size = math.prod(x.shape[1:])
  rows = np.empty((len(clean), num_classes))
  for true in np.unique(clean).tolist():
    # NumPy never changes the numbers of RandomState; it may change those of a Generator.
    random = np.random.RandomState([seed % 2**32, seed >> 32, true])
    weights = random.standard_normal((size, num_classes)) / math.sqrt(size)
    of_class = np.flatnonzero(clean == true)
    for block in np.array_split(of_class, math.ceil(len(of_class) / _BLOCK)):
      standardised = (x[block].astype(np.float64) - centre) / scale
      if not np.isfinite(standardised).all():
        index = int(block[~np.isfinite(standardised.reshape(len(block), -1)).all(axis=1)][0])
        raise ValueError(f"inputs[{index}] has entries that are not finite")
      scores = standardised.reshape(len(block), -1) @ weights
      scores[:, true] = -np.inf
      shares = special.softmax(scores, axis=1)
      rows[block] = chances[block, None] * shares
      rows[block, true] = 1 - chances[block]
  return rows


def _flip_chances(ids: Ids, rate: float, seed: int) -> NDArray[np.float64]:
  """Returns the chance of a wrong label for every id, by the inverse of the cut distribution."""
  from scipy import special

  reach = min(rate, 1 - rate)
  tail = special.ndtr(-reach / _STANDARD_DEVIATION)
  uniforms = tail + (1 - 2 * tail) * uniform(ids, seed=seed, stream="rate")
  chances = rate + _STANDARD_DEVIATION * special.ndtri(uniforms)
  return np.clip(chances, rate - reach, rate + reach)


def _moment(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
  """Returns a mean or standard deviation as float64 once it fits inputs of a shape."""
  moment = np.asarray(value, np.float64)
  try:
    fits = np.broadcast_shapes(moment.shape, shape) == shape
  except ValueError:
    fits = False
  if not fits:
    raise ValueError(f"{name} has shape {list(moment.shape)}; it must broadcast to {list(shape)}")
  if not np.isfinite(moment).all() or (name == "std" and (moment <= 0).any()):
    allowed = "finite and positive" if name == "std" else "finite"
    raise ValueError(f"{name} must be {allowed}, not {moment.tolist()}")
  return moment
