"""SGD with Nesterov momentum, and LARS, from arrays: changing a rate does not recompile."""

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
    polynomial_steps: where the rate reaches 0.
    power: of that fall; 0 for none.
    momentum: in [0, 1).
    weight_decay: L2 factor, on kernels alone.
    clip_norm: largest global norm of the gradient; infinity for none.
    trust_coefficient: of LARS.
    name: of the optimiser: its structure, no array.
  """

  learning_rate: Leaf
  warmup_steps: Leaf
  boundaries: Leaf
  decay: Leaf
  polynomial_steps: Leaf
  power: Leaf
  momentum: Leaf
  weight_decay: Leaf
  clip_norm: Leaf
  trust_coefficient: Leaf
  name: str = flax.struct.field(pytree_node=False)


def from_config(config: config_lib.Optim) -> OptimParams:
  """Returns the optimiser section as arrays."""
  return OptimParams(
    learning_rate=np.float32(config.learning_rate),
    warmup_steps=np.int32(config.warmup_steps),
    # Closed by a step that never comes: XLA of jaxlib 0.11.2 crashes compiling the sum over an
    # empty array for several CPU devices.
    boundaries=np.array([*config.boundaries, np.iinfo(np.int32).max], np.int32),
    decay=np.float32(config.decay),
    polynomial_steps=np.int32(config.polynomial_steps or np.iinfo(np.int32).max),
    power=np.float32(config.power if config.polynomial_steps else 0),
    momentum=np.float32(config.momentum),
    weight_decay=np.float32(config.weight_decay),
    clip_norm=np.float32(config.clip_norm or np.inf),
    trust_coefficient=np.float32(config.trust_coefficient),
    name=config.name,
  )


def learning_rate(params: OptimParams, step: Array | int) -> Array:
  """Returns the rate of a step.

  A linear warm-up, then a factor `decay` for each boundary passed, and (1 - t)^power with t from
  0 after warm-up to 1 at `polynomial_steps`.
  """
  warmup = jnp.minimum(1.0, (step + 1) / jnp.maximum(params.warmup_steps, 1))
  passed = jnp.sum(jnp.asarray(step) >= params.boundaries)
  span = jnp.asarray(params.polynomial_steps - params.warmup_steps, jnp.float32)
  left = 1 - jnp.maximum(step - params.warmup_steps, 0) / span
  fall = jnp.where(params.power > 0, jnp.maximum(left, 0) ** params.power, 1)
  return params.learning_rate * warmup * params.decay**passed * fall


def transformation(params: OptimParams, step: Array | int) -> optax.GradientTransformation:
  """Builds the transformation of one step: clip, then SGD or LARS.

  SGD: weight decay, Nesterov momentum, scale. LARS (You et al., 2017, "Large batch training of
  convolutional networks"): weight decay, the layer's trust ratio, scale, momentum; biases and
  norms have neither decay nor ratio. The state has the same structure whatever the numbers are.
  """
  rate = learning_rate(params, step)
  if params.name == "lars":
    return optax.chain(
      optax.clip_by_global_norm(params.clip_norm),
      optax.lars(
        rate,
        weight_decay=params.weight_decay,
        weight_decay_mask=kernels,
        trust_coefficient=params.trust_coefficient,
        trust_ratio_mask=kernels,
        momentum=params.momentum,
      ),
    )
  return optax.chain(
    optax.clip_by_global_norm(params.clip_norm),
    optax.add_decayed_weights(params.weight_decay, mask=kernels),
    optax.trace(decay=params.momentum, nesterov=True),
    optax.scale(-rate),
  )


def kernels(params: optax.Params) -> optax.Params:
  """Marks what weight decay applies to: kernels (2 or more dimensions), not biases or norms."""
  return jax.tree.map(lambda p: p.ndim > 1, params)
