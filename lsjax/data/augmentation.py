"""Random crops and flips on the device, as pure functions of (key, images)."""

import jax
import jax.numpy as jnp

Array = jax.Array


def crop_offsets(key: Array, batch_size: int, padding: int) -> Array:
  """Draws a row and a column for each crop, uniform in [0, 2 * padding].

  Returns:
    Offsets for `crop`, int32 [batch_size, 2]; (padding, padding) leaves an image where it is.
  """
  return jax.random.randint(key, (batch_size, 2), 0, 2 * padding + 1)


def crop(images: Array, offsets: Array, padding: int) -> Array:
  """Pads images with zeros (black) and cuts an image of the original size out of each.

  Args:
    images: [N, H, W, C], any type.
    offsets: the row and column at which each cut begins, [N, 2] integers in [0, 2 * padding].
    padding: the number of pixels added on each side; static.

  Returns:
    Images [N, H, W, C] of the same type.
  """
  padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
  shape = images.shape[1:]
  return jax.vmap(
    lambda image, offset: jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), shape)
  )(padded, offsets)


def flip(images: Array, flipped: Array) -> Array:
  """Mirrors images [N, H, W, C] from left to right where flipped, bool [N], is True."""
  return jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)


def augment(
  key: Array, images: Array, *, crop_padding: int, random_flip: bool, part: Array | int, parts: int
) -> Array:
  """Crops and flips one device's part of a batch.

  The random numbers are drawn for the whole batch, so that an image is changed in the same way
  whatever the number of parts.

  Args:
    key: the random key of the step.
    images: the part, [N, H, W, C]; also [N, D] if neither crops nor flips are asked for.
    crop_padding: the padding of random crops in pixels, 0 for no crops; static.
    random_flip: whether each image is flipped with probability 1/2; static.
    part: the index of the part in the batch; may be traced.
    parts: the number of equal parts that the batch is divided into; static.

  Returns:
    Images of the same shape and type.
  """
  size = len(images)
  crop_key, flip_key = jax.random.split(key)

  def part_of(batch: Array) -> Array:
    return jax.lax.dynamic_slice_in_dim(batch, part * size, size)

  if crop_padding:
    offsets = part_of(crop_offsets(crop_key, size * parts, crop_padding))
    images = crop(images, offsets, crop_padding)
  if random_flip:
    images = flip(images, part_of(jax.random.bernoulli(flip_key, 0.5, (size * parts,))))
  return images
