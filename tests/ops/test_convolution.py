"""Convolutions, and what stands for those to twice the size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.ops import convolution

# Sums of some hundred products of unit size in another order.
CLOSE = dict(rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  'size, kernel, stride',
  [(1, 3, 1), (2, 3, 1), (4, 4, 2), (2, 4, 2), (2, 7, 1)],
)
def test_gathered_convolution_is_a_convolution(size, kernel, stride):
  x = jax.random.normal(jax.random.key(0), (3, size, size, 5))
  weight = jax.random.normal(jax.random.key(1), (kernel, kernel, 5, 6))
  pad = (kernel - 1) // 2
  expected = jax.lax.conv_general_dilated(
    x,
    weight,
    (stride, stride),
    ((pad, pad),) * 2,
    dimension_numbers=convolution.DIMENSIONS,
  )
  ours = convolution.conv2d(x, weight, stride, pad)
  np.testing.assert_allclose(ours, expected, **CLOSE)


@pytest.mark.parametrize('size', [1, 3, 9])  # Gathered, and not.
def test_nearest_is_repeated_then_convolved(size):
  x = jax.random.normal(jax.random.key(0), (2, size, size + 1, 5))
  kernel = jax.random.normal(jax.random.key(1), (3, 3, 5, 6))
  repeated = x.repeat(2, axis=1).repeat(2, axis=2)
  expected = convolution.conv2d(repeated, kernel, 1, 1)
  ours = convolution.conv2d_of_nearest(x, kernel)
  np.testing.assert_allclose(ours, expected, **CLOSE)


@pytest.mark.parametrize('size', [1, 2, 7])
def test_transposed_is_dilated(size):
  x = jax.random.normal(jax.random.key(0), (2, size, size + 1, 3))
  kernel = jax.random.normal(jax.random.key(1), (4, 4, 3, 4))
  expected = jax.lax.conv_transpose(
    *(x, kernel[::-1, ::-1], (2, 2), 'SAME'),
    dimension_numbers=convolution.DIMENSIONS,
  )
  ours = convolution.conv2d_transposed(x, kernel)
  np.testing.assert_allclose(ours, expected, **CLOSE)


def test_taps_are_summed_before_they_are_rounded():
  x = jnp.ones((1, 5, 5, 1), jnp.bfloat16)
  # 1 + 2^-9 is rounded to 1 in bfloat16, twice 2^-9 added to 1 is not.
  kernel = jnp.full((3, 3, 1, 1), 2.0**-9).at[1, 1].set(1.0)
  y = convolution.conv2d_of_nearest(x, kernel)
  assert y.dtype == jnp.bfloat16
  assert float(y[0, 4, 4, 0]) == float(jnp.bfloat16(1 + 8 * 2.0**-9))
