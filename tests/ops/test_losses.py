"""Properties of the loss terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.ops import losses


def _normal(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


def test_kl_is_zero_at_the_prior_and_positive_elsewhere():
  zero = jnp.zeros((3, 4, 5))
  np.testing.assert_array_equal(losses.kl_divergence(zero, zero), np.zeros(3))
  kl = losses.kl_divergence(_normal(0, 3, 4, 5), _normal(1, 3, 4, 5))
  assert kl.shape == (3,)
  assert np.all(kl > 0)


def test_kl_is_a_sum_over_latent_elements():
  """One element of mean 2 and variance 1 is 2 nats, three are 6."""
  mean = jnp.full((1, 3), 2.0)
  np.testing.assert_allclose(
    losses.kl_divergence(mean, jnp.zeros((1, 3))), [6.0], rtol=1e-6
  )


def test_kl_agrees_with_a_sampled_estimate():
  mean, logvar = 0.7, -0.9
  x = mean + np.exp(logvar / 2) * np.random.default_rng(0).normal(size=200_000)
  log_q = -0.5 * (logvar + (x - mean) ** 2 / np.exp(logvar))
  estimate = np.mean(log_q + 0.5 * x**2)
  kl = losses.kl_divergence(jnp.array([[mean]]), jnp.array([[logvar]]))
  # 200,000 draws of a quantity of variance about 1: 0.01 is four sigma.
  np.testing.assert_allclose(kl[0], estimate, atol=0.01)


@pytest.mark.parametrize('loss', [losses.mse, losses.l1])
def test_means_are_per_example(loss):
  pred = jnp.stack([jnp.zeros((4, 4, 3)), jnp.full((4, 4, 3), 1.0)])
  np.testing.assert_allclose(loss(pred, jnp.zeros_like(pred)), [0, 1])


def test_masked_mse_ignores_what_is_masked():
  pred, target = _normal(0, 2, 6, 3), _normal(1, 2, 6, 3)
  mask = jnp.array([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]])[..., None]
  loss = losses.masked_mse(pred, target, mask)
  np.testing.assert_allclose(
    loss[0], losses.mse(pred[:1, :3], target[:1, :3])[0], rtol=1e-6
  )
  assert loss[1] == 0  # Nothing to compare: 0, not NaN.
  changed = losses.masked_mse(pred.at[:, 3:].add(5.0), target, mask)
  np.testing.assert_array_equal(loss, changed)


def test_shapes_must_agree():
  a, b = jnp.zeros((2, 4, 3)), jnp.zeros((2, 4, 1))
  for loss in (losses.mse, losses.l1, losses.kl_divergence):
    with pytest.raises(AssertionError, match='differ'):
      loss(a, b)
  with pytest.raises(AssertionError, match='mask'):
    losses.masked_mse(a, a, jnp.zeros((2, 4)))


def test_opening_is_compared_in_the_habits_of_a_mouth():
  """Neither its mean nor how far it opens counts, only when it does."""
  rng = np.random.RandomState(0)
  said = rng.rand(2, 6)
  mask = np.ones((2, 6))
  mask[1, 4:] = 0
  gap = said * np.array([[5.0], [9.0]]) + np.array([[3.0], [-1.0]])
  gap[1, 4:] = 7.0  # Outside of the mask.
  deviation = [np.std(said[0]), np.std(said[1, :4])]
  heard = said / np.array(deviation)[:, None] - 2.0

  def error():
    return losses.opening(*(jnp.float32(x) for x in (heard, gap, mask)))

  # A hundredth in the denominator keeps still mouths from being magnified.
  np.testing.assert_allclose(error(), 0, atol=1e-3)
  heard[0, 0] += 1.0
  assert error()[0] > 0.1 > error()[1]


def test_a_mouth_that_rests_is_no_opening():
  gap = jnp.float32(1e-4 * np.random.RandomState(0).randn(1, 50))
  still, mask = jnp.zeros((1, 50)), jnp.ones((1, 50))
  assert losses.opening(still, gap, mask) < 1e-3
