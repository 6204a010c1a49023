"""Correlation volumes of optical flow, and what is read from them.

RAFT (Teed and Deng 2020, section 3.2; `princeton-vl/RAFT`, core/corr.py): every
point of one image against every point of the other, coarser and coarser, and a
window of it around where each point is thought to have gone.
"""

import functools

import jax
import jax.numpy as jnp

from mdcf_jax.ops import resize

# The volumes are what displacements are read from: no chip may round them.
_einsum = functools.partial(jnp.einsum, precision='highest')


def correlation_pyramid(
  a: jax.Array, b: jax.Array, levels: int = 4
) -> list[jax.Array]:
  """Correlates every point of `a` with every point of `b`, at all levels.

  The public code pools the volume; `b` is pooled here, which is the same as the
  product is linear, and needs no more memory than the result.

  Args:
    a, b: features `[B, H, W, C]`.
    levels: how many; each halves H and W of `b`, an odd last row is left out.

  Returns:
    `[B, H * W, H / 2**i, W / 2**i]` of every level i, divided by sqrt(C).

  Raises:
    ValueError: the shapes differ, or nothing would be left at the last level.
  """
  if a.shape != b.shape:
    raise ValueError(f'shapes differ: {a.shape} and {b.shape}')
  batch, height, width, channels = a.shape
  if min(height, width) < 2 ** (levels - 1):
    raise ValueError(f'{height}x{width} features are too few for {levels}')
  a = a.reshape(batch, height * width, channels) / channels**0.5
  volumes = []
  for level in range(levels):
    b = resize.average_pool(b) if level else b
    volumes.append(_einsum('bnc,bhwc->bnhw', a, b))
  return volumes


def _hats(positions: jax.Array, size: int) -> jax.Array:
  """Bilinear weights `[..., size]` at positions `[...]`; 0 outside."""
  distance = jnp.abs(positions[..., None] - jnp.arange(size))
  return jnp.maximum(1 - distance, 0)


def correlation_lookup(
  pyramid: list[jax.Array], points: jax.Array, radius: int
) -> jax.Array:
  """Reads a window of every level around `points`.

  Bilinear, zero outside. Written as sums with weights that are mostly zero: a
  gather is slow on accelerators, and a batch of tiny matrix products on CPUs.

  Args:
    pyramid: of `correlation_pyramid`.
    points: `[B, H, W, 2]`, (x, y) in pixels of the first level.
    radius: the window has `2 * radius + 1` points a side, one apart in pixels
      of its level.

  Returns:
    `[B, H, W, levels * (2 * radius + 1)**2]`; level by level, and in a level x
    runs slower than y, as in the public code.
  """
  batch, height, width, _ = points.shape
  points = points.reshape(batch, height * width, 2)
  taps = jnp.arange(-radius, radius + 1)
  windows = []
  for level, volume in enumerate(pyramid):
    centre = points[..., None, :] / 2**level
    x = _hats(centre[..., 0] + taps, volume.shape[-1])
    y = _hats(centre[..., 1] + taps, volume.shape[-2])
    # The compiler fuses a product into its sum: nothing of six axes is stored.
    rows = jnp.sum(volume[:, :, None] * y[..., None], axis=-2)
    window = jnp.sum(rows[:, :, None] * x[..., None, :], axis=-1)
    windows.append(window.reshape(batch, height, width, len(taps) ** 2))
  return jnp.concatenate(windows, axis=-1)


def upsample_convex(flow: jax.Array, mask: jax.Array) -> jax.Array:
  """Eight times finer flow: convex combinations of 3 x 3 coarse neighbours.

  RAFT, section 3.3. Outside the field the flow is zero, as in the public code.

  Args:
    flow: `[B, H, W, 2]` in pixels of this field.
    mask: `[B, H, W, 9 * 8 * 8]`, logits: neighbour, then row and column of the
      fine pixel.

  Returns:
    `[B, 8 H, 8 W, 2]` in fine pixels.
  """
  batch, height, width, _ = flow.shape
  weights = jax.nn.softmax(mask.reshape(batch, height, width, 9, 8, 8), axis=3)
  padded = jnp.pad(flow, ((0, 0), (1, 1), (1, 1), (0, 0)))
  neighbours = jnp.stack(
    [
      padded[:, i : i + height, j : j + width]
      for i in range(3)
      for j in range(3)
    ],
    axis=3,
  )
  fine = _einsum('bhwkij,bhwkc->bhiwjc', weights, neighbours)
  return 8 * fine.reshape(batch, 8 * height, 8 * width, 2)
