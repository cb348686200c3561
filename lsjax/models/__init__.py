"""Networks in Flax Linen, and the convolutions that make them fast.

`create` builds the network that a model section names for the images that an `InputSpec`
describes; `packed` gives it the layers that are fastest where several runs train at once.
`networks` holds the networks, `cpu_conv` and `gpu_conv` the convolutions of two backends,
`batch_norm` a BatchNorm for GPUs.

A new network needs a subclass of `networks.Network`, a row in `networks.NETWORKS` and its name in
lsjax/sections.py. Flax names parameters after the layers in the order in which `body` calls them,
so a change to an existing `body` makes old checkpoints unreadable.
"""

from lsjax.models.networks import (
  CONVOLUTIONAL,
  PACKED_CONVOLUTIONS,
  RESNET_STAGES,
  InputSpec,
  Network,
  create,
  packed,
)

__all__ = [
  "CONVOLUTIONAL",
  "PACKED_CONVOLUTIONS",
  "RESNET_STAGES",
  "InputSpec",
  "Network",
  "create",
  "packed",
]
