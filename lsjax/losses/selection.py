r"""Which examples of a batch to train on: masks that a mean of losses can be weighted with."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lsjax.losses.inputs import check_bounds
from lsjax.losses.smoothing import cross_entropy

__all__ = [  # noqa: RUF022 (the order of the documentation)
  "select_small_losses",
  "select_confident",
]


def select_small_losses(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  forget: ArrayLike,
  progress: ArrayLike = 1.0,
  axis_name: str | None = None,
) -> Array:
  r"""Selects the examples of a batch with the smallest cross-entropy.

  Of the N examples of the batch the $\lfloor f N \rfloor$ with the largest losses are left out,
  where f = progress · forget, and at least one is kept. Examples whose losses equal that of the
  last one kept are kept too.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [N, L].
    labels: Integers of shape [N] in [0, L), or distributions of shape [N, L].
    forget: Largest share of the batch to leave out, in [0, 1); the authors use the noise rate.
    progress: Share of `forget` that is reached, in [0, 1].
    axis_name: Mapped axis over which a batch is spread, or None. The losses of all devices are
      compared then.

  Returns:
    Mask of the selected examples, bool of shape [N].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if a concrete label is outside its
      range, or if a concrete share is outside [0, 1].

  References:
    Han et al., [Co-teaching: robust training of deep neural networks with extremely noisy
    labels](https://arxiv.org/abs/1804.06872), 2018, section 3: its selection, by one network.

  Examples:
    >>> x, y = jnp.array([[2.0, 0.0], [0.0, 0.0], [0.0, 3.0], [0.0, 1.0]]), jnp.zeros(4, int)
    >>> print(select_small_losses(x, y, forget=0.3))  # the third has the largest loss
    [ True  True False  True]
  """
  check_bounds("forget", forget, 0, 1)
  check_bounds("progress", progress, 0, 1)
  losses = jax.lax.stop_gradient(cross_entropy(logits, labels))
  of_batch = losses if axis_name is None else jax.lax.all_gather(losses, axis_name, tiled=True)
  count = len(of_batch)
  left_out = jnp.floor(jnp.asarray(progress) * forget * count).astype(jnp.int32)
  last = jnp.clip(count - 1 - left_out, 0, count - 1)
  return losses <= jnp.sort(of_batch)[last]


def select_confident(logits: ArrayLike, labels: ArrayLike, *, progress: ArrayLike = 1.0) -> Array:
  r"""Selects the examples whose loss is at most the mean loss of all possible labels.

  An example is kept if $\ell_y \le \frac{1}{L} \sum_j \ell_j$, where $\ell_j = -\log p_j$; in terms
  of the logits z, if $z_y$ is at least their mean.

  Args:
    logits: Unnormalised log-probabilities, floating point of shape [..., L].
    labels: Integers of shape [...] in [0, L), or distributions of shape [..., L].
    progress: Share of the schedule that is done, in [0, 1]; below 1 every example is selected.

  Returns:
    Mask of the selected examples, bool of shape [...].

  Raises:
    TypeError: If the logits are not floating point.
    ValueError: If the shapes of logits and labels do not agree, if a concrete label is outside its
      range, or if a concrete progress is outside [0, 1].

  References:
    Cheng et al., [Learning with instance-dependent label noise: a sample sieve
    approach](https://arxiv.org/abs/2010.02347), 2021, section 3.2.

  Examples:
    >>> x = jnp.array([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    >>> print(select_confident(x, jnp.array([0, 1])))
    [ True False]
  """
  check_bounds("progress", progress, 0, 1)
  losses = cross_entropy(logits, labels)
  every = jnp.full(jnp.shape(logits), 1 / jnp.shape(logits)[-1], losses.dtype)
  is_confident = losses <= cross_entropy(logits, every)
  return is_confident | (jnp.asarray(progress) < 1)
