"""The latent motion auto-encoder: shapes, scales and its start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import models
from mdcf_jax.models.lmae import LMAE, sample_posterior

# Two levels fewer: compilation is what takes the time here.
TINY = models.SIZES['tiny']['lmae'] | dict(features=(8, 8))


def _dynamics(*shape):
  rng = np.random.default_rng(0)
  flow = rng.uniform(-0.2, 0.2, (*shape, 2))
  return jnp.asarray(
    np.concatenate([flow, rng.uniform(0, 1, (*shape, 1))], -1), jnp.float32
  )


@functools.cache
def _init(lmae, size=16):
  return jax.jit(lmae.init)(
    jax.random.key(0), jnp.zeros((1, size, size, 3)), jax.random.key(1)
  )


def _apply(lmae, method, x):
  """Jitted: one program is compiled faster than every operation by itself."""
  return jax.jit(lambda v, x: lmae.apply(v, x, method=method))(_init(lmae), x)


@pytest.mark.parametrize(
  'size, resolution, low, high',
  # The base is a quarter of latent diffusion's f8 model.
  [
    ('base', 256, 20e6, 23e6),
    ('base', 512, 20e6, 23e6),
    ('mini', 256, 1.5e6, 2e6),
  ],
)
def test_advertised_shapes_and_sizes(size, resolution, low, high):
  """z is H/32 x W/32 x 4 of the image: 768x fewer numbers."""
  lmae = LMAE(**models.SIZES[size]['lmae'])
  dynamics = jax.ShapeDtypeStruct(
    (2, resolution // 4, resolution // 4, 3), jnp.float32
  )
  rng = jax.random.key(0)
  variables = jax.eval_shape(lmae.init, rng, dynamics, rng)
  count = sum(x.size for x in jax.tree.leaves(variables))
  assert low < count < high
  out = jax.eval_shape(
    lambda v, d: lmae.apply(v, d, jax.random.key(0)), variables, dynamics
  )
  side = resolution // 32
  assert out['z'].shape == (2, side, side, 4)
  assert out['dynamics'].shape == dynamics.shape
  assert resolution**2 * 3 == 768 * side**2 * 4


def test_three_levels_compress_by_four():
  lmae = LMAE(**models.SIZES['base']['lmae'] | dict(features=(64, 128, 256)))
  rng, dynamics = jax.random.key(0), _dynamics(2, 64, 64)
  out, _ = jax.eval_shape(lmae.init_with_output, rng, dynamics, rng)
  assert out['mean'].shape == out['logvar'].shape == (2, 16, 16, 4)


def test_any_leading_dimensions():
  """A video gives what its frames give one by one."""
  lmae = LMAE(**TINY)
  dynamics = _dynamics(2, 3, 16, 16)
  mean, _ = _apply(lmae, 'encode', dynamics)
  assert mean.shape == (2, 3, 8, 8, 4)
  one, _ = _apply(lmae, 'encode', dynamics[1, 2])
  # Frames share nothing; only the order of float32 sums may differ.
  np.testing.assert_allclose(mean[1, 2], one, atol=1e-5)
  assert _apply(lmae, 'decode', mean).shape == dynamics.shape


@pytest.mark.parametrize('representation', ['residual', 'absolute'])
def test_decoded_units(representation):
  """Occlusion is in [0, 1]; at the start the residual flow is near zero."""
  lmae = LMAE(**TINY | dict(representation=representation))
  z = jax.random.normal(jax.random.key(2), (4, 2, 2, 4))
  decoded = _apply(lmae, 'decode', z)
  assert jnp.all((decoded[..., 2] > 0) & (decoded[..., 2] < 1))
  if representation == 'residual':
    assert jnp.max(jnp.abs(decoded[..., :2])) < 0.02


def test_scale_of_the_representations():
  dynamics = _dynamics(1, 8, 8)
  residual = LMAE(**TINY).scale(dynamics)
  np.testing.assert_allclose(residual[..., :2], 10 * dynamics[..., :2])
  np.testing.assert_allclose(
    residual[..., 2], 2 * dynamics[..., 2] - 1, atol=1e-6
  )
  still = LMAE(**TINY | dict(representation='absolute')).scale(0 * dynamics)
  np.testing.assert_allclose(still[0, 0, 0], [-1, -1, -1], atol=1e-6)
  np.testing.assert_allclose(still[0, -1, -1], [1, 1, -1], atol=1e-6)


def test_sampling_has_the_stated_moments():
  mean, logvar = jnp.full((20_000,), 2.0), jnp.full((20_000,), -2.0)
  z = sample_posterior(mean, logvar, jax.random.key(0))
  # 20,000 draws: the standard error is 0.0026 of each.
  np.testing.assert_allclose(jnp.mean(z), 2.0, atol=0.015)
  np.testing.assert_allclose(jnp.std(z), np.exp(-1), atol=0.015)


def test_wrong_use_is_refused():
  lmae = LMAE(**TINY)
  with pytest.raises(ValueError, match='15x16'):
    _apply(lmae, 'encode', _dynamics(1, 15, 16))
  with pytest.raises(ValueError, match='representation'):
    _init(LMAE(**TINY | dict(representation='relative')))


def test_a_shortcut_starts_as_a_low_pass_filter():
  """Smooth dynamics pass untrained networks nearly unchanged."""
  lmae = LMAE(features=(8, 8), num_groups=4, shortcut=True)
  x = jnp.linspace(-1, 1, 16)
  flow = jnp.stack(jnp.meshgrid(0.05 * x, -0.03 * x), axis=-1)
  dynamics = jnp.concatenate([flow, jnp.ones((16, 16, 1))], axis=-1)[None]
  rng = jax.random.key(0)
  out, _ = jax.jit(lmae.init_with_output)(rng, dynamics, rng)
  error = jnp.abs(out['dynamics'] - dynamics)[:, 2:-2, 2:-2]
  # Draws of z are off by 0.05 units, that is 0.005 of the flow.
  assert jnp.max(error[..., :2]) < 0.02
  assert jnp.max(error[..., 2]) < 0.05


def test_a_wave_carries_a_mouth_that_opens():
  """Lips that part within a pixel of z have no mean; the wave keeps them."""
  lips = jnp.arange(8) - 3.5
  opening = 0.05 * jnp.sign(lips) * (jnp.abs(lips) < 3)
  dynamics = jnp.zeros((1, 24, 24, 3)).at[..., 2].set(1.0)
  dynamics = dynamics.at[:, 8:16, 8:16, 1].set(opening[:, None])
  rng = jax.random.key(0)

  def error(**options):
    lmae = LMAE(features=(8, 8, 8, 8), num_groups=4, shortcut=True, **options)
    variables = jax.jit(lmae.init)(rng, dynamics, rng)
    mean, _ = lmae.apply(variables, dynamics, method='encode')
    decoded = lmae.apply(variables, mean, method='decode')
    return float(jnp.mean(jnp.square(decoded - dynamics)[..., 1]))

  # What it does not catch is how its edges differ from a sine's.
  assert error(wave=True) < 0.6 * error()


def test_a_wave_needs_a_channel():
  lmae = LMAE(features=(8, 8), num_groups=4, wave=True)
  with pytest.raises(ValueError, match='shortcut'):
    lmae.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), jax.random.key(0))
