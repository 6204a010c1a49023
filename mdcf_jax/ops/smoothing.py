"""A Gaussian over the frames of clips of several lengths."""

import math

import jax
import jax.numpy as jnp


def over_time(
  x: jax.Array, frame_mask: jax.Array, deviation: float
) -> jax.Array:
  """Means over neighbours in time, weighted by a Gaussian.

  Only real frames count, so that neither padding nor what lies beyond the ends
  of a clip has a part in them; what stays the same over time stays as it is.

  Args:
    x: `[B, T, ...]`, finite in padding too.
    frame_mask: `[B, T]`, 0 for padding.
    deviation: of the Gaussian in frames, static; 0 returns `x`.

  Returns:
    `[B, T, ...]`, 0 where no real frame is within three deviations.
  """
  if not deviation:
    return x
  radius = math.ceil(3 * deviation)
  offsets = range(-radius, radius + 1)
  weights = [math.exp(-0.5 * (n / deviation) ** 2) for n in offsets]
  mask = frame_mask.reshape(frame_mask.shape + (1,) * (x.ndim - 2))
  total, count = x * mask, mask.astype(x.dtype)
  return _weighted(total, weights) / jnp.maximum(
    _weighted(count, weights), jnp.finfo(x.dtype).tiny
  )


def _weighted(x, weights):
  """Sums of `x` at all offsets in time times their weights."""
  radius, length = len(weights) // 2, x.shape[1]
  x = jnp.pad(x, [(0, 0), (radius, radius)] + [(0, 0)] * (x.ndim - 2))
  return sum(w * x[:, i : i + length] for i, w in enumerate(weights))
