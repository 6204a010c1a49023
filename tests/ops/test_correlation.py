"""Correlation volumes, windows of them, and convex upsampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.ops import correlation


def features(seed, shape=(2, 8, 11, 5)):
  return jax.random.normal(jax.random.key(seed), shape)


def test_levels_are_pooled_volumes():
  a, b = features(0), features(1)
  levels = correlation.correlation_pyramid(a, b, 3)
  volume = np.einsum('bijc,bklc->bijkl', a, b) / np.sqrt(5)
  for level in levels:
    height, width = volume.shape[-2:]
    expected = volume.reshape(2, 88, height, width)
    # Sums of a few products in float32.
    np.testing.assert_allclose(level, expected, atol=2e-6)
    volume = volume[..., : height // 2 * 2, : width // 2 * 2]
    rows = volume[..., ::2, :] + volume[..., 1::2, :]
    volume = (rows[..., ::2] + rows[..., 1::2]) / 4


def test_a_window_is_bilinear_and_x_runs_slower_than_y():
  """Against loops over one point; outside is zero."""
  height, width, radius = 4, 6, 2
  volume = jax.random.normal(jax.random.key(0), (1, 24, height, width))
  rng = np.random.RandomState(0)
  points = rng.uniform(-2, 7, (1, height, width, 2)).astype(np.float32)
  found = correlation.correlation_lookup([volume, volume], points, radius)
  assert found.shape == (1, height, width, 2 * 25)

  def sample(plane, x, y):
    total = 0.0
    for i in range(height):
      for j in range(width):
        total += plane[i, j] * max(0, 1 - abs(x - j)) * max(0, 1 - abs(y - i))
    return total

  row, column = 2, 3
  x, y = points[0, row, column].astype(np.float64)
  plane = np.asarray(volume[0, row * width + column], np.float64)
  expected = [
    sample(plane, x / scale + dx, y / scale + dy)
    for scale in (1, 2)
    for dx in range(-2, 3)
    for dy in range(-2, 3)
  ]
  np.testing.assert_allclose(found[0, row, column], expected, atol=1e-5)


def test_a_mask_that_chooses_the_centre_repeats_pixels():
  flow = features(0, (1, 3, 4, 2))
  mask = np.full((1, 3, 4, 9, 8, 8), -1e9, np.float32)
  mask[:, :, :, 4] = 0.0
  fine = correlation.upsample_convex(flow, mask.reshape(1, 3, 4, -1))
  expected = 8 * np.repeat(np.repeat(flow, 8, axis=1), 8, axis=2)
  np.testing.assert_allclose(fine, expected, rtol=1e-6)


def test_neighbours_and_fine_pixels_are_where_the_mask_says():
  """Fine row 2, column 5 takes the neighbour above to the right."""
  flow = jnp.arange(12.0).reshape(1, 3, 4, 1) * jnp.array([1.0, -1.0])
  mask = np.full((1, 3, 4, 9, 8, 8), -1e9, np.float32)
  mask[:, :, :, 4] = 0.0
  mask[:, :, :, 4, 2, 5], mask[:, :, :, 2, 2, 5] = -1e9, 0.0
  fine = correlation.upsample_convex(flow, mask.reshape(1, 3, 4, -1))
  assert fine[0, 8 * 1 + 2, 8 * 1 + 5, 0] == 8 * 2  # Of row 0, column 2.
  assert fine[0, 8 * 1 + 2, 8 * 1 + 4, 0] == 8 * 5  # Its own.
  assert fine[0, 2, 5, 0] == 0  # Nothing is above the first row.


def test_wrong_shapes_are_errors():
  with pytest.raises(ValueError, match='differ'):
    correlation.correlation_pyramid(features(0), features(1, (2, 8, 8, 5)))
  with pytest.raises(ValueError, match='4x11'):
    a = features(0, (1, 4, 11, 2))
    correlation.correlation_pyramid(a, a, 4)
