"""SGD with Nesterov momentum, and LARS, with every number an array.

A changed learning rate therefore needs no new compilation.
"""

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
  """The numbers of the optimizer, each an array.

  Attributes:
    learning_rate: the peak learning rate.
    warmup_steps: the number of steps in which the rate rises linearly from 0.
    boundaries: the steps at which the rate is multiplied by `decay`, [k] with k at least 1.
    decay: the factor applied at each boundary.
    polynomial_steps: the step at which a polynomial decay reaches 0.
    power: the exponent of the polynomial decay; 0 for no such decay.
    momentum: the momentum coefficient in [0, 1).
    weight_decay: the L2 coefficient, applied to kernels alone.
    clip_norm: the largest global norm of the gradient; infinity for no clipping.
    trust_coefficient: the trust coefficient of LARS.
    name: "sgd" or "lars"; it chooses the structure and is not an array.
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
  """Returns the numbers of an optim section as arrays."""
  return OptimParams(
    learning_rate=np.float32(config.learning_rate),
    warmup_steps=np.int32(config.warmup_steps),
    # The last boundary never comes. Without it the array could be empty, and XLA of jaxlib
    # 0.11.2 crashes when it compiles the sum over an empty array for several CPU devices.
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
  """Returns the learning rate of a step.

  The rate rises linearly during warm-up, is multiplied by `decay` at each boundary, and falls
  as (1 - t)^power, where t grows from 0 at the end of warm-up to 1 at `polynomial_steps`.

  Args:
    params: the optimizer's numbers.
    step: the number of steps done so far.
  """
  warmup = jnp.minimum(1.0, (step + 1) / jnp.maximum(params.warmup_steps, 1))
  passed = jnp.sum(jnp.asarray(step) >= params.boundaries)
  span = jnp.asarray(params.polynomial_steps - params.warmup_steps, jnp.float32)
  left = 1 - jnp.maximum(step - params.warmup_steps, 0) / span
  fall = jnp.where(params.power > 0, jnp.maximum(left, 0) ** params.power, 1)
  return params.learning_rate * warmup * params.decay**passed * fall


def transformation(params: OptimParams, step: Array | int) -> optax.GradientTransformation:
  """Returns the optax transformation of one step, which clips and then applies SGD or LARS.

  SGD adds weight decay, applies Nesterov momentum and scales. LARS adds weight decay, applies
  each layer's trust ratio, scales and applies momentum; biases and normalisation parameters get
  neither decay nor ratio. The structure of the state does not depend on the numbers.

  Args:
    params: the optimizer's numbers.
    step: the number of steps done so far.

  References:
    You et al., "Large batch training of convolutional networks", 2017.
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
  """Marks the parameters with two or more dimensions: kernels, but not biases or norms."""
  return jax.tree.map(lambda p: p.ndim > 1, params)
