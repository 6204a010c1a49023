"""The cosine schedule, and conversions between predictions."""

import jax
import numpy as np

from mdcf_jax.ops import noise_schedule as ns


def test_signal_falls_and_variance_is_kept():
  s = ns.cosine_schedule()
  assert s.num_steps == 1000
  assert np.all(np.diff(s.alphas_cumprod) < 0)
  assert s.alphas_cumprod[0] > 0.999 and s.alphas_cumprod[-1] < 1e-9
  assert s.betas.max() <= np.float32(0.9999)
  total = s.sqrt_alphas_cumprod**2 + s.sqrt_one_minus_alphas_cumprod**2
  np.testing.assert_allclose(total, 1, atol=1e-6)
  assert all(np.isfinite(c).all() and c.dtype == np.float32 for c in s)


def test_predictions_convert_both_ways():
  s = ns.cosine_schedule()
  keys = jax.random.split(jax.random.key(0), 3)
  x0, noise = (jax.random.normal(k, (2, 5, 4, 4, 3)) for k in keys[:2])
  # A level of its own for every frame; beyond 900 x0 is lost in rounding.
  t = jax.random.randint(keys[2], (2, 5), 0, 900)
  xt = ns.q_sample(s, x0, t, noise)
  velocity = ns.to_velocity(s, x0, t, noise)
  # Divided by alpha >= 0.15 or sigma >= 0.006, which float32 rounding meets.
  np.testing.assert_allclose(ns.noise_to_x0(s, xt, t, noise), x0, atol=1e-4)
  np.testing.assert_allclose(ns.x0_to_noise(s, xt, t, x0), noise, atol=1e-3)
  np.testing.assert_allclose(
    ns.velocity_to_x0(s, xt, t, velocity), x0, atol=1e-5
  )
  np.testing.assert_allclose(
    ns.velocity_to_noise(s, xt, t, velocity), noise, atol=1e-5
  )


def test_one_level_per_clip_is_broadcast():
  s = ns.cosine_schedule()
  x0 = jax.random.normal(jax.random.key(0), (2, 3, 4))
  t = np.array([10, 500])
  per_frame = np.repeat(t[:, None], 3, axis=1)
  np.testing.assert_array_equal(
    ns.q_sample(s, x0, t, x0), ns.q_sample(s, x0, per_frame, x0)
  )
