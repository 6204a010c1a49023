"""Backward warping by a sampling grid.

A grid holds, for every pixel of the result, the point (x, y) of the input that
it shows. The product uses one convention everywhere: **align_corners=True**,
-1 and 1 are the centres of the corner pixels, so that the identity grid returns
the image itself, and points outside take the nearest border pixel. The public
PyTorch code builds the same grids but samples them with align_corners=False and
zeros outside (dawn-oddities A3); that is an option here, for its weights.
"""

import jax
import jax.numpy as jnp

PADDINGS = ('border', 'zeros', 'reflection')


def identity_grid(height: int, width: int) -> jax.Array:
  """Grid `[H, W, 2]` of the (x, y) of every pixel, corners at -1 and 1."""
  x = jnp.linspace(-1.0, 1.0, width) if width > 1 else jnp.zeros(1)
  y = jnp.linspace(-1.0, 1.0, height) if height > 1 else jnp.zeros(1)
  return jnp.stack(jnp.meshgrid(x, y), axis=-1)


def _to_pixels(coordinate, size, align_corners):
  if align_corners:
    return (coordinate + 1) * (size - 1) / 2
  return ((coordinate + 1) * size - 1) / 2


def _reflect(x, size, align_corners):
  """Folds pixel coordinates back at the border (its centre, or its edge)."""
  low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
  if span == 0:
    return jnp.zeros_like(x)
  x = jnp.abs(x - low) % (2 * span)
  return jnp.clip(jnp.minimum(x, 2 * span - x) + low, 0, size - 1)


def _gather(image, x, y):
  """Pixels of image `[H, W, C]` at integer positions `[...]`."""
  height, width, channels = image.shape
  index = y * width + x
  return jnp.take(image.reshape(height * width, channels), index, axis=0)


def _warp_one(image, grid, align_corners, padding):
  height, width, _ = image.shape
  x = _to_pixels(grid[..., 0], width, align_corners)
  y = _to_pixels(grid[..., 1], height, align_corners)
  if padding == 'border':
    x, y = jnp.clip(x, 0, width - 1), jnp.clip(y, 0, height - 1)
  elif padding == 'reflection':
    x = _reflect(x, width, align_corners)
    y = _reflect(y, height, align_corners)

  x0, y0 = jnp.floor(x), jnp.floor(y)
  result = 0.0
  for dx in (0, 1):
    for dy in (0, 1):
      xi, yi = x0 + dx, y0 + dy
      weight = (1 - jnp.abs(x - xi)) * (1 - jnp.abs(y - yi))
      inside = (xi >= 0) & (xi < width) & (yi >= 0) & (yi < height)
      weight = jnp.where(inside, weight, 0.0)
      xi = jnp.clip(xi, 0, width - 1).astype(jnp.int32)
      yi = jnp.clip(yi, 0, height - 1).astype(jnp.int32)
      tap = _gather(image, xi, yi)
      result += tap * weight[..., None].astype(tap.dtype)
  return result


def warp(
  image: jax.Array,
  grid: jax.Array,
  *,
  align_corners: bool = True,
  padding: str = 'border',
) -> jax.Array:
  """Samples `image` bilinearly at the points of `grid`.

  Args:
    image: `[B, H, W, C]`, or `[1, H, W, C]` to share one image by all grids.
    grid: `[B, h, w, 2]`, (x, y) in [-1, 1]; float32 whatever the image is.
    align_corners: whether -1 and 1 are centres (True) or outer edges (False)
      of the corner pixels.
    padding: what lies outside the image: 'border', 'zeros' or 'reflection'.

  Returns:
    `[B, h, w, C]` in the dtype of `image`.

  Raises:
    ValueError: on an unknown padding or batch sizes that do not match.
  """
  if padding not in PADDINGS:
    raise ValueError(f'padding {padding!r} is none of {", ".join(PADDINGS)}')
  if image.shape[0] not in (1, grid.shape[0]):
    raise ValueError(f'{image.shape[0]} images for {grid.shape[0]} grids')
  grid = grid.astype(jnp.float32)
  shared = image.shape[0] == 1

  def warp_one(image, grid):
    return _warp_one(image, grid, align_corners, padding)

  in_axes = (None if shared else 0, 0)
  return jax.vmap(warp_one, in_axes)(image[0] if shared else image, grid)
