"""Which examples a step takes, and where it crops and flips them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsjax.data import augmentation, sampling


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_every_crop_is_equally_likely(padding):
  size = 2 * padding + 1
  drawn = np.asarray(augmentation.crop_offsets(jax.random.key(0), 400 * size, padding))
  counts = np.stack([np.bincount(column, minlength=size) for column in drawn.T])
  assert counts.shape == (2, size)  # nothing beyond 2 * padding
  np.testing.assert_allclose(counts, 400, atol=6 * np.sqrt(400))  # six standard deviations
  assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.1


def test_augmentation_shows_every_place_and_its_mirror_image():
  """One white pixel in the middle lands on each pixel that a crop can move it to."""
  images = jnp.zeros((512, 5, 5, 1), jnp.uint8).at[:, 1, 2].set(255)
  kwargs = {"part": 0, "parts": 1}
  cropped = augmentation.augment(
    jax.random.key(0), images, crop_padding=1, random_flip=False, **kwargs
  )
  places = {tuple(place) for place in np.argwhere(np.asarray(cropped) > 0)[:, 1:3].tolist()}
  assert places == {(row, column) for row in range(3) for column in range(1, 4)}
  # A flip mirrors columns and leaves rows alone.
  images = jnp.zeros((512, 5, 5, 1), jnp.uint8).at[:, 0, 1].set(255)
  flipped = augmentation.augment(
    jax.random.key(0), images, crop_padding=0, random_flip=True, **kwargs
  )
  places = [tuple(place) for place in np.argwhere(np.asarray(flipped) > 0)[:, 1:3].tolist()]
  assert set(places) == {(0, 1), (0, 3)}
  assert 0.4 < places.count((0, 3)) / 512 < 0.6


def test_every_epoch_has_its_own_order():
  """Also when the steps come in calls that begin in the middle of an epoch."""
  size, batch, epochs = 20, 8, 12
  orders = [
    sampling.batch_indices(3, first, num_steps=5, batch_size=batch, num_examples=size)
    for first in range(0, epochs * size // batch, 5)
  ]
  orders = np.asarray(orders).reshape(epochs, size)
  assert len({tuple(order) for order in orders.tolist()}) == epochs
  # Fresh orders agree in one place on average.
  agreements = [(orders[i] == orders[j]).sum() for i in range(epochs) for j in range(i)]
  assert 0.5 < np.mean(agreements) < 1.6
  other = sampling.batch_indices(4, 0, num_steps=5, batch_size=batch, num_examples=size)
  assert (np.asarray(other).reshape(2, size) != orders[:2]).any()
