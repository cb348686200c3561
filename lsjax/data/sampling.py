"""The examples of a step, as a pure function of (seed, step, batch size, data set size)."""

import jax
import jax.numpy as jnp

Array = jax.Array

# Each use of a data seed folds in its own number, so that the uses are independent.
_ORDER, _AUGMENT, _HELD_OUT, _FOLDS = 0, 1, 2, 3


def batch_indices(
  seed: Array | int, first_step: Array | int, *, num_steps: int, batch_size: int, num_examples: int
) -> Array:
  """Computes which examples a number of consecutive steps take.

  Every epoch is a fresh permutation of all examples, and epochs follow one another directly: a
  batch may hold the end of one epoch and the beginning of the next, and no example is dropped.
  What a step takes does not depend on num_steps.

  Args:
    seed: the data seed; may be traced.
    first_step: the first step, counted from 0; may be traced. first_step * batch_size must stay
      below 2^31.
    num_steps: the number of steps; static.
    batch_size: the number of examples in a batch; static.
    num_examples: the number N of examples in the data set; static.

  Returns:
    Indices in [0, N), int32 [num_steps, batch_size].
  """
  key = jax.random.fold_in(jax.random.key(seed), _ORDER)
  start = jnp.asarray(first_step, jnp.uint32) * batch_size
  positions = start + jnp.arange(num_steps * batch_size, dtype=jnp.uint32)
  epochs = positions // num_examples
  most_epochs = (num_steps * batch_size - 1) // num_examples + 2
  orders = jax.vmap(lambda e: jax.random.permutation(jax.random.fold_in(key, e), num_examples))(
    epochs[0] + jnp.arange(most_epochs, dtype=jnp.uint32)
  )
  indices = orders[epochs - epochs[0], positions % num_examples]
  return indices.astype(jnp.int32).reshape(num_steps, batch_size)


def augment_key(seed: Array | int, step: Array | int) -> Array:
  """Returns the random key of a step's augmentation."""
  return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _AUGMENT), step)


def held_out(seed: int, num_examples: int, num_held_out: int) -> Array:
  """Chooses exactly num_held_out examples at random; returns a mask, bool [num_examples]."""
  key = jax.random.fold_in(jax.random.key(seed), _HELD_OUT)
  return jax.random.permutation(key, num_examples) < num_held_out


def in_fold(seed: int, num_examples: int, num_folds: int, fold: int) -> Array:
  """Chooses the examples of one of several folds; returns a mask, bool [num_examples].

  All folds have the same size, num_examples / num_folds rounded up, so that runs of different folds
  have the same shapes. Every example is in a fold; where the number does not divide evenly, up to
  num_folds - 1 examples are in two.
  """
  size = -(-num_examples // num_folds)
  first = fold * num_examples // num_folds
  key = jax.random.fold_in(jax.random.key(seed), _FOLDS)
  position = jax.random.permutation(key, num_examples)
  return (position >= first) & (position < first + size)
