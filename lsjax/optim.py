"""SGD with Nesterov momentum, from arrays: changing a rate does not recompile."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lsjax import config as config_lib

Array = jax.Array
Leaf = Any  # a NumPy array before the call, a JAX array or tracer within


@flax.struct.dataclass
class OptimParams:
  """Numbers of the optimiser, each an array.

  Attributes:
    learning_rate: peak rate.
    warmup_steps: of a linear rise from 0.
    boundaries: steps at which the rate is multiplied by `decay`, [k], k at least 1.
    decay: the factor.
    momentum: in [0, 1).
    weight_decay: L2 factor, on kernels alone.
    clip_norm: largest global norm of the gradient; infinity for none.
  """

  learning_rate: Leaf
  warmup_steps: Leaf
  boundaries: Leaf
  decay: Leaf
  momentum: Leaf
  weight_decay: Leaf
  clip_norm: Leaf


def from_config(config: config_lib.Optim) -> OptimParams:
  """Returns the optimiser section as arrays."""
  return OptimParams(
    learning_rate=np.float32(config.learning_rate),
    warmup_steps=np.int32(config.warmup_steps),
    # Closed by a step that never comes: XLA of jaxlib 0.11.2 crashes compiling the sum over an
    # empty array for several CPU devices.
    boundaries=np.array([*config.boundaries, np.iinfo(np.int32).max], np.int32),
    decay=np.float32(config.decay),
    momentum=np.float32(config.momentum),
    weight_decay=np.float32(config.weight_decay),
    clip_norm=np.float32(config.clip_norm or np.inf),
  )


def learning_rate(params: OptimParams, step: Array | int) -> Array:
  """Returns the rate of a step: linear warm-up, then a factor `decay` for each boundary passed."""
  warmup = jnp.minimum(1.0, (step + 1) / jnp.maximum(params.warmup_steps, 1))
  passed = jnp.sum(jnp.asarray(step) >= params.boundaries)
  return params.learning_rate * warmup * params.decay**passed


def sgd(params: OptimParams, step: Array | int) -> optax.GradientTransformation:
  """Builds the transformation of one step: clip, decay, Nesterov momentum, scale.

  Its state has the same structure whatever the numbers are.
  """
  return optax.chain(
    optax.clip_by_global_norm(params.clip_norm),
    optax.add_decayed_weights(params.weight_decay, mask=kernels),
    optax.trace(decay=params.momentum, nesterov=True),
    optax.scale(-learning_rate(params, step)),
  )


def kernels(params: optax.Params) -> optax.Params:
  """Marks what weight decay applies to: kernels (2 or more dimensions), not biases or norms."""
  return jax.tree.map(lambda p: p.ndim > 1, params)
