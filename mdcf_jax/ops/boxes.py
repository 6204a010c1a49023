"""Boxes drawn as soft masks."""

import jax
import jax.numpy as jnp


def box_coverage(boxes: jax.Array, height: int, width: int) -> jax.Array:
  """Draws boxes as the share of each pixel's area that they cover.

  Args:
    boxes: `[..., 4]`, (x0, y0, x1, y1) in [0, 1] of the picture.
    height, width: size of the mask.

  Returns:
    `[..., height, width, 1]` in [0, 1]; its mean is the box's area.
  """
  x0, y0, x1, y1 = jnp.split(boxes.astype(jnp.float32), 4, axis=-1)

  def overlap(start, end, size):
    edges = jnp.arange(size, dtype=jnp.float32)
    upper = jnp.minimum(edges + 1, end * size)
    return jnp.clip(upper - jnp.maximum(edges, start * size), 0, 1)

  rows, columns = overlap(y0, y1, height), overlap(x0, x1, width)
  return (rows[..., :, None] * columns[..., None, :])[..., None]
