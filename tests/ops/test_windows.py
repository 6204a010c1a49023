"""Windows: where they lie, and motion seen from inside."""

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.ops import warp, windows


def move(image, dynamics):
  """Warps by one constant displacement `dynamics[0, 0, 0, :2]`."""
  grid = warp.identity_grid(*image.shape[1:3]) + dynamics[0, 0, 0, :2]
  return warp.warp(image, grid[None])


def test_a_window_sees_what_the_whole_frame_shows():
  """Dynamics re-based to a window move its pixels as in the whole frame."""
  size, window, corner = 64, 32, jnp.array([[10, 20]])
  x = jnp.linspace(-1, 1, size)
  image = jnp.stack(jnp.meshgrid(x, jnp.sin(3 * x)), axis=-1)[None]
  flow = jnp.array([0.05, -0.08])
  dynamics = jnp.ones((1, 16, 16, 3)).at[..., :2].set(flow)

  inside = windows.crop_dynamics(dynamics, corner, size, window)
  assert inside.shape == (1, 8, 8, 3)
  whole = windows.crop(move(image, dynamics), corner, window)
  part = move(windows.crop(image, corner, window), inside)
  # Up to three pixels at the window's edge are sampled outside of it.
  np.testing.assert_allclose(
    part[:, 3:-3, 3:-3], whole[:, 3:-3, 3:-3], atol=1e-4
  )


def test_crop_takes_x_and_y_in_order():
  image = jnp.arange(64).reshape(1, 8, 8, 1)
  window = windows.crop(image, jnp.array([[2, 5]]), 3)
  np.testing.assert_array_equal(window[0, :, :, 0], image[0, 5:8, 2:5, 0])


def test_windows_stay_inside_and_half_hold_the_mouth():
  box = jnp.tile(jnp.array([[0.4, 0.7, 0.6, 0.8]]), (400, 1))
  corner = windows.random_corner(jax.random.key(0), 256, 64, box)
  assert jnp.all((corner >= 0) & (corner <= 192))
  centre = jnp.array([128, 192])
  holds = jnp.all((corner <= centre) & (centre < corner + 64), axis=-1)
  # Half by design, and a few of the others by chance.
  assert 0.45 < jnp.mean(holds) < 0.7
