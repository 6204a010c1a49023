"""Attention over frames, over pixels, and to a condition.

Scores and softmax are float32 whatever the inputs are; the products take the
inputs' type. A masked key gets a large negative score instead of -inf, so a row
without any key gives a mean and not NaN.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

MASKED = -1e9


def relative_position_buckets(
  relative: np.ndarray, num_buckets: int = 32, max_distance: int = 32
) -> np.ndarray:
  """Maps offsets key - query to the buckets of T5's relative bias.

  Half of the buckets are for the past (and 0), half for the future; half of
  each are exact, the rest logarithmic up to `max_distance`, the last shared.

  Args:
    relative: integers of any shape.

  Returns:
    int32 of the same shape in [0, num_buckets).
  """
  half = num_buckets // 2
  exact = half // 2
  distance = np.abs(relative)
  log_ratio = np.log(np.maximum(distance, 1) / exact, dtype=np.float64)
  # In float32 like the reference: truncation makes the last digit visible.
  log_ratio = np.float32(log_ratio) / np.float32(math.log(max_distance / exact))
  large = exact + (log_ratio * np.float32(half - exact)).astype(np.int32)
  bucket = np.where(distance < exact, distance, np.minimum(large, half - 1))
  return (bucket + half * (relative > 0)).astype(np.int32)


def relative_bias(
  table: jax.Array, offsets: np.ndarray, max_distance: int = 32
) -> jax.Array:
  """Reads a table `[num_buckets, heads]` at offsets: `[heads, *shape]`."""
  buckets = relative_position_buckets(offsets, table.shape[0], max_distance)
  return jnp.moveaxis(table[buckets], -1, 0)


def rotary(
  x: jax.Array, positions: np.ndarray, theta: float = 1e4
) -> jax.Array:
  """Rotates pairs of neighbouring features by an angle given by position.

  Args:
    x: `[..., N, P, H, D]`, D even; axis -4 is the sequence.
    positions: `[N]` integers.
  """
  dim = x.shape[-1]
  rate = theta ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)
  angle = np.repeat(np.asarray(positions)[:, None] * rate, 2, axis=-1)
  cos = jnp.asarray(np.cos(angle)[:, None, None], x.dtype)
  sin = jnp.asarray(np.sin(angle)[:, None, None], x.dtype)
  pairs = x.reshape(*x.shape[:-1], dim // 2, 2)
  turned = jnp.stack([-pairs[..., 1], pairs[..., 0]], axis=-1)
  return x * cos + turned.reshape(x.shape) * sin


def temporal_attention(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  *,
  bias_table: jax.Array | None = None,
  window: int | None = None,
  frame_mask: jax.Array | None = None,
  max_distance: int = 32,
  block: int | None = None,
) -> jax.Array:
  """Self-attention along time, each pixel by itself.

  With a window, frame i sees frame j where `|i - j| <= window`. Long clips are
  cut into blocks of queries that look at neighbouring blocks of keys, so time
  and memory grow with T and not with its square; the result is that of the
  masked full attention. Positions are rotary (on all of D) and a relative bias.

  Args:
    q, k, v: `[B, T, P, H, D]`: P pixels, H heads.
    bias_table: `[num_buckets, H]` of T5's relative bias, which saturates at
      `max_distance`.
    window: None sees everything.
    frame_mask: `[B, T]`, 0 for keys that nobody may see.
    block: queries in a block; by default as many as the window.

  Returns:
    `[B, T, P, H, D]`.
  """
  length = q.shape[1]
  q = q * q.shape[-1] ** -0.5
  if frame_mask is None:
    frame_mask = jnp.ones(q.shape[:2])
  block = block or max(window or length, 1)
  reach = -(-(window or 0) // block)  # Blocks that the window extends to.
  # Blocks are right for any length, so also for one that is a symbol yet.
  known = isinstance(length, int)
  if window is None or (known and length <= (2 * reach + 1) * block):
    block, reach = length, 0

  count = -(-length // block)
  q, k, v, frame_mask = (
    _pad_time(x, 0, count * block - length) for x in (q, k, v, frame_mask)
  )
  out = _attend_blocks(
    q.reshape(q.shape[0], count, block, *q.shape[2:]),
    *(_neighbours(x, count, block, reach) for x in (k, v, frame_mask)),
    key_positions=np.arange(-reach * block, (reach + 1) * block),
    window=window,
    bias_table=bias_table,
    max_distance=max_distance,
  )
  return out.reshape(out.shape[0], count * block, *out.shape[3:])[:, :length]


def _attend_blocks(
  q, k, v, mask, *, key_positions, window, bias_table, max_distance
):
  """Attention of blocks of frames to their neighbourhoods.

  Maps q `[B, n, Q, P, H, D]`, k and v `[B, n, K, P, H, D]` and the keys' mask
  `[B, n, K]` to `[B, n, Q, P, H, D]`; key_positions `[K]` count from the first
  frame of the block.
  """
  query_positions = np.arange(q.shape[2])
  # Angles relative to the block: they stay small however long the clip is.
  q, k = rotary(q, query_positions), rotary(k, key_positions)
  offsets = key_positions[None] - query_positions[:, None]
  scores = jnp.einsum(
    'bnqphd,bnkphd->bnphqk', q, k, preferred_element_type=jnp.float32
  )
  if bias_table is not None:
    scores += relative_bias(bias_table, offsets, max_distance)
  allowed = mask[:, :, None, None, None] > 0
  if window is not None:
    allowed = allowed & (np.abs(offsets) <= window)
  weights = jax.nn.softmax(jnp.where(allowed, scores, MASKED), axis=-1)
  return jnp.einsum('bnphqk,bnkphd->bnqphd', weights.astype(v.dtype), v)


def _pad_time(x: jax.Array, before: int, after: int) -> jax.Array:
  """Pads axis 1 with zeros."""
  if isinstance(after, int) and not before and not after:
    return x
  return jnp.pad(x, ((0, 0), (before, after)) + ((0, 0),) * (x.ndim - 2))


def _neighbours(x: jax.Array, count: int, block: int, reach: int) -> jax.Array:
  """Cuts time into blocks, each with `reach` blocks before and after it.

  Maps `[B, count * block, ...]` to `[B, count, (2 reach + 1) block, ...]`;
  beyond the ends are zeros.
  """
  x = _pad_time(x, reach * block, reach * block)
  x = x.reshape(x.shape[0], count + 2 * reach, block, *x.shape[2:])
  shifted = [x[:, i : i + count] for i in range(2 * reach + 1)]
  return jnp.concatenate(shifted, axis=2)


def spatial_attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
  """Full self-attention over the pixels of one frame, `[N, P, H, D]`."""
  scores = jnp.einsum(
    'nqhd,nkhd->nhqk',
    q * q.shape[-1] ** -0.5,
    k,
    preferred_element_type=jnp.float32,
  )
  weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
  return jnp.einsum('nhqk,nkhd->nqhd', weights, v)


def linear_attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
  """Attention over pixels with cost linear in their number (Shen et al. 2021).

  The queries are normalised over features, the keys over pixels.

  Args:
    q, k, v: `[N, P, H, D]`.

  Returns:
    `[N, P, H, D]`.
  """
  dtype = v.dtype
  q = jax.nn.softmax(q.astype(jnp.float32), axis=-1) * q.shape[-1] ** -0.5
  k = jax.nn.softmax(k.astype(jnp.float32), axis=1)
  context = jnp.einsum('nphd,nphe->nhde', k.astype(dtype), v)
  return jnp.einsum('nhde,nphd->nphe', context, q.astype(dtype))


def cross_attention(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  null_k: jax.Array,
  null_v: jax.Array,
  scales: tuple[jax.Array, jax.Array],
) -> jax.Array:
  """Attention of all pixels of a frame to that frame's one condition.

  There are two keys, the condition and a learned null, so the softmax is a
  sigmoid of the difference of their scores (cosines times 8).

  Args:
    q: `[N, P, ..., D]`: P pixels; the dots are heads, and whatever else.
    k, v: `[N, ..., D]`, from the condition of the frame.
    null_k, null_v: `[..., D]` or what broadcasts to it.
    scales: learned factors on normalised queries and keys, as the nulls.

  Returns:
    `[N, P, ..., D]`.
  """
  q_scale, k_scale = scales
  k = (_normalise(k) - _normalise(null_k)) * (8.0 * k_scale * q_scale)
  scores = jnp.sum(_normalise(q) * k[:, None], axis=-1, keepdims=True)
  gate = jax.nn.sigmoid(scores).astype(v.dtype)
  return null_v + gate * (v - null_v)[:, None]


def _normalise(x: jax.Array) -> jax.Array:
  """Divides by the length of the last axis, in float32; 0 stays 0."""
  x = x.astype(jnp.float32)
  square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))
