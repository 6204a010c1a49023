"""Attention over a band of frames, over pixels, and to a condition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from mdcf_jax.ops import attention


def full_attention(q, k, v, table, window, mask):
  """The masked attention over all pairs of frames, written out."""
  length = q.shape[1]
  index = np.arange(length)
  offsets = index[None] - index[:, None]
  q = attention.rotary(q * q.shape[-1] ** -0.5, index)
  k = attention.rotary(k, index)
  scores = np.einsum('bqphd,bkphd->bphqk', q, k)
  scores = scores + attention.relative_bias(table, offsets)
  allowed = mask[:, None, None, None] * (np.abs(offsets) <= window)
  weights = jax.nn.softmax(np.where(allowed > 0, scores, -np.inf), axis=-1)
  return np.einsum('bphqk,bkphd->bqphd', weights, v)


def inputs(length):
  keys = jax.random.split(jax.random.key(0), 4)
  shape = (2, length, 3, 2, 8)
  q, k, v = (jax.random.normal(key, shape) for key in keys[:3])
  table = jax.random.normal(keys[3], (32, 2))
  return q, k, v, table


@pytest.mark.parametrize('length', [1, 5, 24, 37])
@pytest.mark.parametrize('window, block', [(3, None), (5, 2), (3, 8)])
def test_band_in_blocks_equals_the_masked_attention(length, window, block):
  q, k, v, table = inputs(length)
  mask = np.ones((2, length), np.float32)
  mask[1, length - length // 4 :] = 0
  expected = full_attention(q, k, v, table, window, mask)
  ours = attention.temporal_attention(
    *(q, k, v),
    bias_table=table,
    window=window,
    frame_mask=jnp.asarray(mask),
    block=block,
  )
  # Frames that are not real may see none that are.
  real = mask > 0
  np.testing.assert_allclose(ours[real], expected[real], atol=2e-5)
  assert np.isfinite(ours).all()


@pytest.mark.parametrize('length', [1, 7, 20])
def test_a_length_that_is_a_symbol_is_any(length):
  """Programs that are exported do not know it, and see no more for that."""

  def attend(q, table):
    return attention.temporal_attention(q, q, q, bias_table=table, window=3)

  (t,) = export.symbolic_shape('t')
  table = jnp.asarray(np.random.default_rng(1).normal(size=(32, 2)))
  q = np.random.default_rng(0).normal(size=(1, length, 4, 2, 8))
  q = jnp.asarray(q, jnp.float32)
  shapes = jax.ShapeDtypeStruct((1, t, 4, 2, 8), q.dtype), table
  program = export.export(jax.jit(attend))(*shapes)
  found = program.call(q, table)
  # Masked keys more or less: float32 rounding.
  np.testing.assert_allclose(found, attend(q, table), atol=1e-5)


def test_without_a_window_everything_is_seen():
  q, k, v, table = inputs(20)
  ours = attention.temporal_attention(q, k, v, bias_table=table)
  expected = full_attention(q, k, v, table, 99, np.ones((2, 20)))
  np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_memory_grows_with_the_length_and_not_its_square():
  def temporary(length):
    x = jax.ShapeDtypeStruct((1, length, 4, 2, 8), jnp.float32)
    run = jax.jit(
      lambda q, k, v: attention.temporal_attention(q, k, v, window=8)
    )
    return run.lower(x, x, x).compile().memory_analysis().temp_size_in_bytes

  assert temporary(1600) < 5 * temporary(400)


def test_buckets_of_the_relative_bias():
  offsets = np.array([0, -1, -7, -8, -31, -1000, 1, 7, 31, 1000])
  buckets = attention.relative_position_buckets(offsets)
  assert buckets.tolist() == [0, 1, 7, 8, 15, 15, 17, 23, 31, 31]


def test_rotary_depends_on_the_difference_of_positions():
  q, k, _, _ = inputs(4)

  def products(shift):
    index = np.arange(4) + shift
    turned = attention.rotary(q, index), attention.rotary(k, index)
    return jnp.einsum('bqphd,bkphd->bphqk', *turned)

  np.testing.assert_allclose(products(0), products(1000), atol=1e-4)


def test_pixel_attention_of_equal_pixels_changes_nothing():
  v = jnp.broadcast_to(jnp.arange(8.0), (2, 5, 3, 8))
  q = jax.random.normal(jax.random.key(0), v.shape)
  np.testing.assert_allclose(attention.spatial_attention(q, q, v), v, rtol=1e-5)
  # The linear form weighs features of the query; they add up to the scale.
  linear = attention.linear_attention(q, q, v)
  np.testing.assert_allclose(linear, v * 8**-0.5, rtol=1e-5)


def test_cross_attention_is_the_softmax_over_two_keys():
  keys = jax.random.split(jax.random.key(0), 6)
  q = jax.random.normal(keys[0], (3, 5, 2, 4))
  k, v = (jax.random.normal(key, (3, 2, 4)) for key in keys[1:3])
  null_k, null_v = jax.random.normal(keys[3], (2, 4))
  scales = tuple(jax.random.normal(key, (4,)) for key in keys[4:])
  both_k = jnp.stack([jnp.broadcast_to(null_k, k.shape), k], axis=1)
  both_v = jnp.stack([jnp.broadcast_to(null_v, v.shape), v], axis=1)

  def unit(x):
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

  scores = 8 * jnp.einsum(
    'nphd,nkhd->nphk', unit(q) * scales[0], unit(both_k) * scales[1]
  )
  expected = jnp.einsum('nphk,nkhd->nphd', jax.nn.softmax(scores), both_v)
  ours = attention.cross_attention(q, k, v, null_k, null_v, scales)
  np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
