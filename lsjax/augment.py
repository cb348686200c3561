"""Random crop and flip on the device: pure functions of (key, images)."""

import jax
import jax.numpy as jnp

Array = jax.Array


def crop_offsets(key: Array, batch_size: int, padding: int) -> Array:
  """Draws int32 [batch_size, 2] offsets in [0, 2 * padding]; (padding, padding) is no shift."""
  return jax.random.randint(key, (batch_size, 2), 0, 2 * padding + 1)


def crop(images: Array, offsets: Array, padding: int) -> Array:
  """Pads images with zeros (black) and cuts out each at its offset.

  Args:
    images: [N, H, W, C], any dtype.
    offsets: [N, 2] rows and columns in [0, 2 * padding].
    padding: pixels on each side; static.

  Returns:
    [N, H, W, C].
  """
  padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
  shape = images.shape[1:]
  return jax.vmap(
    lambda image, offset: jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), shape)
  )(padded, offsets)


def flip(images: Array, flipped: Array) -> Array:
  """Mirrors left to right the images [N, H, W, C] whose entry in flipped, bool [N], is set."""
  return jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)


def augment(
  key: Array, images: Array, *, crop_padding: int, random_flip: bool, part: Array | int, parts: int
) -> Array:
  """Crops and flips one device's part of a batch as it would be within the whole batch.

  Args:
    key: of the step.
    images: [N, ...], the part; [N, D] inputs pass unless crop or flip is asked for.
    crop_padding: 0 for no crop; static.
    random_flip: with chance one half; static.
    part: which part of the batch this is; may be traced.
    parts: in how many equal parts the batch is divided; static.

  Returns:
    Images of the same shape and dtype.
  """
  size = len(images)
  crop_key, flip_key = jax.random.split(key)

  def mine(of_batch: Array) -> Array:
    return jax.lax.dynamic_slice_in_dim(of_batch, part * size, size)

  if crop_padding:
    images = crop(images, mine(crop_offsets(crop_key, size * parts, crop_padding)), crop_padding)
  if random_flip:
    images = flip(images, mine(jax.random.bernoulli(flip_key, 0.5, (size * parts,))))
  return images
