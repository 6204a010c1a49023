"""Square windows of images, and the dynamics seen from inside of one.

Decoding a frame costs far more than estimating its motion. A window of it is
enough for a loss: motion is estimated on the whole, then re-based.
"""

import jax
import jax.numpy as jnp

from mdcf_jax.ops import warp


def random_corner(
  rng: jax.Array, size: int, window: int, mouth_box: jax.Array
) -> jax.Array:
  """Draws one window per example, half of them around the mouth.

  Args:
    size, window: sides of the image and of the window, in pixels.
    mouth_box: `[B, 4]`, (x0, y0, x1, y1) in [0, 1].

  Returns:
    `[B, 2]` integers, (x, y) of the upper left pixel.
  """
  rng_any, rng_near, rng_which = jax.random.split(rng, 3)
  shape, last = (mouth_box.shape[0], 2), size - window
  anywhere = jax.random.uniform(rng_any, shape) * last
  centre = (mouth_box[:, :2] + mouth_box[:, 2:]) / 2 * size
  jitter = jax.random.uniform(rng_near, shape, minval=-0.75, maxval=-0.25)
  near_mouth = centre + jitter * window
  which = jax.random.bernoulli(rng_which, 0.5, (shape[0], 1))
  corner = jnp.where(which, near_mouth, anywhere)
  return jnp.clip(jnp.round(corner), 0, last).astype(jnp.int32)


def crop(image: jax.Array, corner: jax.Array, window: int) -> jax.Array:
  """The window `[B, window, window, C]` of each image `[B, H, W, C]`."""

  def one(image, corner):
    shape = (window, window, image.shape[-1])
    return jax.lax.dynamic_slice(image, (corner[1], corner[0], 0), shape)

  return jax.vmap(one)(image, corner)


def crop_dynamics(
  dynamics: jax.Array, corner: jax.Array, size: int, window: int
) -> jax.Array:
  """Dynamics of whole images as those of their windows.

  Points outside the window become its border when it is warped.

  Args:
    dynamics: `[B, h, w, 3]` of images of `size` pixels; see `FDE.estimate`.

  Returns:
    `[B, h', w', 3]` at the same density, displacements in half windows.
  """
  side = max(round(window * dynamics.shape[1] / size), 1)
  half = (window - 1) / (size - 1)
  centre = 2 * (corner + (window - 1) / 2) / (size - 1) - 1
  grid = half * warp.identity_grid(side, side) + centre[:, None, None]
  inside = warp.warp(dynamics, grid)
  return jnp.concatenate([inside[..., :2] / half, inside[..., 2:]], axis=-1)
