"""SGD with Nesterov momentum, and LARS, with every number an array.

A changed learning rate therefore needs no new compilation.
"""

import dataclasses
from collections.abc import Callable
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
    _decayed_kernels(params.weight_decay),
    optax.trace(decay=params.momentum, nesterov=True),
    optax.scale(-rate),
  )


def kernels(params: optax.Params) -> optax.Params:
  """Marks the parameters with two or more dimensions: kernels, but not biases or norms."""
  if isinstance(params, Flat):
    is_kernel = jnp.arange(params.vector.size) < params.kernel_size
    return dataclasses.replace(params, vector=is_kernel)
  return jax.tree.map(lambda p: p.ndim > 1, params)


def _decayed_kernels(weight_decay: Leaf) -> optax.GradientTransformation:
  """Adds weight decay to the gradients of kernels."""

  def add(grads: optax.Updates, params: optax.Params) -> optax.Updates:
    decayed = lambda g, p, is_kernel: jnp.where(is_kernel, g + weight_decay * p, g)  # noqa: E731
    return jax.tree.map(decayed, grads, params, kernels(params))

  return optax.stateless(add)


@flax.struct.dataclass
class Flat:
  """Parameters, or what has their form, as one vector.

  An optimizer that treats all numbers alike updates it in a few operations, where it takes several
  for each array of a tree: 201 of the 697 kernels of a step of ResNet-32 on a GPU
  (docs/performance.md).

  Attributes:
    vector: the numbers, those of kernels first.
    tree: the function that makes a tree of such a vector.
    kernel_size: how many numbers are in kernels.
  """

  vector: Array
  tree: Callable[[Array], Any] = flax.struct.field(pytree_node=False)
  kernel_size: int = flax.struct.field(pytree_node=False)


def as_tree(params: Any) -> Any:
  """Returns parameters as a tree, whether they are flat or not."""
  return params.tree(params.vector) if isinstance(params, Flat) else params


def flatten(params: Any, opt_state: Any, name: str) -> tuple[Any, Any]:
  """Returns parameters and the optimizer's state with flat trees, if it works on such.

  Args:
    params: the parameters.
    opt_state: the state of `transformation`.
    name: the name of the optimizer. LARS measures layers, so that its trees stay as they are.
  """
  if name == "lars":
    return params, opt_state
  leaves, treedef = jax.tree.flatten(params)
  order = sorted(range(len(leaves)), key=lambda i: leaves[i].ndim < 2)  # kernels first
  shapes = [leaves[i].shape for i in order]
  ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])

  def tree(vector: Array) -> Any:
    parts = jnp.split(vector, ends[:-1])
    found = {i: _read(part, shape) for i, part, shape in zip(order, parts, shapes, strict=True)}
    return jax.tree.unflatten(treedef, [found[i] for i in range(len(order))])

  def flat(of: Any) -> Flat:
    of = jax.tree.leaves(of)
    kernel_size = sum(leaf.size for leaf in leaves if leaf.ndim > 1)
    return Flat(jnp.concatenate([_write(of[i]) for i in order]), tree, kernel_size)

  return flat(params), _map_traces(flat, opt_state)


def _write(leaf: Array) -> Array:
  """Returns an array as a vector, the kernels of convolutions in the order that cuDNN needs."""
  return (jnp.moveaxis(leaf, -1, 0) if leaf.ndim == 4 else leaf).ravel()


def _read(vector: Array, shape: tuple[int, ...]) -> Array:
  """Returns the array that `_write` made a vector of."""
  if len(shape) != 4:
    return vector.reshape(shape)
  return jnp.moveaxis(vector.reshape(shape[-1], *shape[:-1]), 0, -1)


def unflatten(params: Any, opt_state: Any) -> tuple[Any, Any]:
  """Returns what `flatten` was given, after any number of updates."""
  return as_tree(params), _map_traces(as_tree, opt_state)


def _map_traces(f: Callable[[Any], Any], opt_state: Any) -> Any:
  """Applies a function to the trees of momentum in the state of an optimizer."""
  is_trace = lambda node: isinstance(node, optax.TraceState)  # noqa: E731
  on = lambda node: node._replace(trace=f(node.trace)) if is_trace(node) else node  # noqa: E731
  return jax.tree.map(on, opt_state, is_leaf=is_trace)
