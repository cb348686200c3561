"""Whether a run fits into the memory, estimated before anything large is made."""

import dataclasses
import functools
import math

import jax

from lsjax import config as config_lib
from lsjax import memory, models
from lsjax.config import ConfigError
from lsjax.training import step

# A matrix over the classes is made, checked, divided by its row sums, and drawn with.
_MATRICES = 4
# The state that a step reads, the one that it writes, and the gradient.
_STATES = 3


def check_classes(config: config_lib.Config, num_classes: int) -> None:
  """Checks that matrices over the classes fit into the memory.

  Raises:
    ConfigError: one line about the data.
  """
  needed, free = _MATRICES * 8 * num_classes**2, memory.available()
  if needed > free:
    field = "path" if config.data.path else "name"
    raise ConfigError(
      f"data.{field}",
      getattr(config.data, field),
      f"has {num_classes} classes (one more than the largest label): matrices over them need "
      f"{memory.size(needed)}, {memory.size(free)} of memory are free",
    )


def check_model(
  config: config_lib.Config,
  spec: models.InputSpec,
  num_examples: int,
  device: jax.Device,
) -> None:
  """Checks that a batch, and a network with its optimizer, fit into the memory.

  Args:
    config: the config of the run.
    spec: the inputs that its network takes.
    num_examples: the number of training examples, for methods that remember each of them.
    device: a device that trains.

  Raises:
    ConfigError: one line about the model or the batch.
  """
  shape = dataclasses.replace(
    config_lib.Config(),
    model=config.model,
    loss=dataclasses.replace(config.loss, alpha=config_lib.Loss().alpha),
    optim=config_lib.Optim(name=config.optim.name),
  )
  batch = config.train.eval_batch_size
  images, room = 4 * batch * math.prod(spec.shape), memory.available()
  if images > room:
    why = f"makes batches of {memory.size(images)}; {memory.size(room)} of memory are free"
    raise ConfigError("train.eval_batch_size", batch, why)
  needed = _STATES * _state_bytes(shape, spec, num_examples)
  statistics = device.memory_stats() if device.platform != "cpu" else None
  free = (statistics or {}).get("bytes_limit") or memory.available()
  if needed > free:
    field = "hidden" if config.model.name == "mlp" else "name"
    raise ConfigError(
      f"model.{field}",
      getattr(config.model, field),
      f"makes a state that takes {memory.size(needed)} to train; {memory.size(free)} of memory "
      "are free",
    )


@functools.lru_cache(maxsize=64)
def _state_bytes(config: config_lib.Config, spec: models.InputSpec, num_examples: int) -> int:
  """Returns the size of a state; tracing a deep network takes a second, so it is kept."""
  model = models.create(config.model, spec)
  state = step.state_shapes(model, config, spec, num_examples)
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
