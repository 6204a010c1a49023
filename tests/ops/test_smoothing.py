"""Means over time: against scipy's definition by hand, and at the ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.ops import smoothing


def by_hand(x, deviation):
  """Every frame in turn, `[T, D]`."""
  t = np.arange(len(x))
  weights = np.exp(-0.5 * np.square((t[:, None] - t) / deviation))
  weights *= np.abs(t[:, None] - t) <= np.ceil(3 * deviation)
  return weights / weights.sum(1, keepdims=True) @ x


@pytest.mark.parametrize('deviation', [0.4, 1.5, 4.0])
def test_neighbours_are_weighted_by_a_gaussian(deviation):
  x = np.random.default_rng(0).standard_normal((9, 3))
  found = smoothing.over_time(jnp.float32(x)[None], jnp.ones((1, 9)), deviation)
  np.testing.assert_allclose(found[0], by_hand(x, deviation), atol=1e-6)


def test_padding_has_no_part():
  x = np.random.default_rng(1).standard_normal((2, 12, 2, 3)).astype('float32')
  lengths = 12, 5
  mask = jnp.float32(np.arange(12) < np.array(lengths)[:, None])
  run = jax.jit(smoothing.over_time, static_argnums=2)
  found = run(x, mask, 2.0)
  for b, length in enumerate(lengths):
    exact = run(x[b : b + 1, :length], jnp.ones((1, length)), 2.0)
    np.testing.assert_allclose(found[b, :length], exact[0], atol=1e-6)
  # Far beyond the end there is nothing, and nothing is not NaN.
  assert not np.any(smoothing.over_time(x, mask, 0.5)[1, 8:])


def test_what_stays_is_left_as_it_is():
  x = jnp.full((1, 6, 2), 3.0)
  found = smoothing.over_time(x, jnp.ones((1, 6)), 2.0)
  np.testing.assert_allclose(found, x, rtol=1e-6)
  assert smoothing.over_time(x, jnp.ones((1, 6)), 0.0) is x


def test_white_noise_is_taken_off_and_slow_motion_stays():
  t = np.arange(200)
  slow = np.sin(2 * np.pi * t / 50)
  noise = np.random.default_rng(2).standard_normal(200)
  both = jnp.float32(np.stack([slow, noise], axis=-1))[None]
  found = smoothing.over_time(both, jnp.ones((1, 200)), 1.5)[0]
  # A Gaussian's answer at this frequency is 0.98; of white noise it leaves
  # the deviation 1 / sqrt(2 sqrt(pi) 1.5) = 0.43.
  np.testing.assert_allclose(found[5:-5, 0], 0.982 * slow[5:-5], atol=0.01)
  assert 0.3 < np.std(found[:, 1]) < 0.55
