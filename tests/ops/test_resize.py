"""Resizing as matrix products."""

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.ops import resize, warp


def test_a_grid_stays_a_grid():
  small = resize.resize_bilinear(warp.identity_grid(9, 12), (5, 31))
  np.testing.assert_allclose(small, warp.identity_grid(5, 31), atol=1e-6)


def test_matches_jax_image_resize():
  x = jax.random.normal(jax.random.key(0), (2, 8, 6, 3))
  theirs = jax.image.resize(x, (2, 16, 24, 3), 'bilinear')
  ours = resize.resize_bilinear(x, (16, 24), align_corners=False)
  np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_downsampling_keeps_a_constant_inside():
  x = jnp.ones((1, 64, 64, 1))
  for factor in (1, 2, 4):
    small = resize.antialias_downsample(x, factor)
    assert small.shape == (1, 64 // factor, 64 // factor, 1)
    np.testing.assert_allclose(small[:, 4:-4, 4:-4], 1, atol=1e-6)


def test_pooling_inverts_repeating():
  x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 6))
  up = x.repeat(2, axis=-3).repeat(2, axis=-2)
  np.testing.assert_allclose(resize.average_pool(up), x, rtol=1e-6)
