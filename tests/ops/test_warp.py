"""Warping: the identity, shifts, conventions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.ops import warp


@pytest.fixture
def image():
  return jax.random.normal(jax.random.key(0), (2, 9, 12, 3))


@pytest.mark.parametrize('padding', warp.PADDINGS)
def test_identity_returns_the_image(image, padding):
  grid = jnp.broadcast_to(warp.identity_grid(9, 12), (2, 9, 12, 2))
  # Coordinates of pixels are rounded to float32.
  out = warp.warp(image, grid, padding=padding)
  np.testing.assert_allclose(out, image, atol=1e-5)


def test_integer_shift_equals_roll_inside(image):
  shift = jnp.array([2 * 3 / 11, 2 * 2 / 8])  # 3 pixels right, 2 down.
  grid = jnp.broadcast_to(warp.identity_grid(9, 12) + shift, (2, 9, 12, 2))
  out = warp.warp(image, grid)
  rolled = jnp.roll(image, (-2, -3), axis=(1, 2))
  np.testing.assert_allclose(out[:, :-2, :-3], rolled[:, :-2, :-3], atol=1e-5)


def test_outside_is_the_border_or_zero(image):
  far = jnp.full((2, 1, 1, 2), 5.0)
  np.testing.assert_allclose(warp.warp(image, far)[:, 0, 0], image[:, -1, -1])
  zeros = warp.warp(image, far, padding='zeros')
  np.testing.assert_array_equal(zeros, 0)


def test_one_image_is_shared_by_all_grids(image):
  grid = jax.random.uniform(jax.random.key(1), (5, 4, 4, 2), minval=-1)
  shared = warp.warp(image[:1], grid)
  repeated = warp.warp(jnp.repeat(image[:1], 5, axis=0), grid)
  np.testing.assert_allclose(shared, repeated, atol=1e-6)


def test_gradient_reaches_image_and_grid(image):
  grid = 0.9 * jnp.broadcast_to(warp.identity_grid(9, 12), (2, 9, 12, 2))
  loss = lambda image, grid: jnp.sum(jnp.square(warp.warp(image, grid)))
  for gradient in jax.grad(loss, argnums=(0, 1))(image, grid):
    assert jnp.all(jnp.isfinite(gradient))
    assert jnp.any(gradient != 0)


def test_wrong_arguments_are_errors(image):
  grid = jnp.zeros((3, 4, 4, 2))
  with pytest.raises(ValueError, match='2 images for 3 grids'):
    warp.warp(image, grid)
  with pytest.raises(ValueError, match='wrap'):
    warp.warp(image[:1], grid, padding='wrap')
