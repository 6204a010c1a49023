"""Samplers with denoisers whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.ops import noise_schedule, sampling

SCHEDULE = noise_schedule.cosine_schedule()
START = sampling.start_level(SCHEDULE)
POINT = jax.random.normal(jax.random.key(7), (2, 5, 2, 2, 3))


def run(name, denoise_fn, x, steps=10, **kwargs):
  state = sampling.start(x)
  kwargs['levels'] = sampling.sampling_levels(START, steps)
  return advance(name, denoise_fn, state, **kwargs).xt


def advance(name, denoise_fn, state, **kwargs):
  if name == 'ddim':
    key = jax.random.key(1)
    return sampling.ddim(denoise_fn, state, key, SCHEDULE, **kwargs)
  return sampling.dpm_solver(denoise_fn, state, SCHEDULE, **kwargs)


@pytest.mark.parametrize(
  'name, kwargs',
  [('ddim', dict(eta=0.0)), ('ddim', dict(eta=1.0)), ('dpm++', {})],
)
@pytest.mark.parametrize('steps', [1, 2, 20])
@pytest.mark.parametrize('clip', [None, 5.0])
def test_exact_noise_of_a_point_gives_the_point(name, kwargs, steps, clip):
  def exact(xt, t):
    assert t.shape == xt.shape[:2]
    return noise_schedule.x0_to_noise(SCHEDULE, xt, t, POINT)

  x = sampling.frame_noise(jax.random.key(0), POINT.shape)
  out = run(name, exact, x, steps, clip=clip, **kwargs)
  # The last x0 divides by alpha near 1: rounding only.
  np.testing.assert_allclose(out, POINT, atol=2e-5)


@pytest.mark.parametrize('name', ['ddim', 'dpm++'])
def test_exact_noise_of_a_normal_distribution_gives_its_deviation(name):
  """Data N(1, 0.5^2): a linear denoiser, not a point."""
  mean, std = 1.0, 0.5

  def exact(xt, t):
    alpha = noise_schedule.at(SCHEDULE.sqrt_alphas_cumprod, t, xt)
    sigma = noise_schedule.at(SCHEDULE.sqrt_one_minus_alphas_cumprod, t, xt)
    variance = (alpha * std) ** 2 + sigma**2
    return sigma * (xt - alpha * mean) / variance

  x = sampling.frame_noise(jax.random.key(0), (4, 50, 4, 4, 3))
  out = run(name, exact, x, steps=50)
  # 9600 draws: 0.005 of the mean; the rest is the error of 50 steps (the noise
  # that DDIM adds is a little less than it should be), and that the start
  # lacks its 5 % of signal.
  np.testing.assert_allclose(jnp.mean(out), mean, atol=0.04)
  np.testing.assert_allclose(jnp.std(out), std, atol=0.05)


def test_dpm_solver_is_of_second_order():
  """Half the step, a quarter of the error, against the exact solution."""
  std = 0.5

  def exact(xt, t):
    alpha = noise_schedule.at(SCHEDULE.sqrt_alphas_cumprod, t, xt)
    sigma = noise_schedule.at(SCHEDULE.sqrt_one_minus_alphas_cumprod, t, xt)
    return sigma * xt / ((alpha * std) ** 2 + sigma**2)

  x = jnp.ones((1, 1, 1))
  errors = []
  for steps in (11, 21):
    levels = sampling.sampling_levels(800, steps)
    out = advance('dpm++', exact, sampling.start(x), levels=levels).xt
    cumprod = np.float64(SCHEDULE.alphas_cumprod[800])
    # The probability flow scales a normal variable by its deviation.
    truth = std / np.sqrt(cumprod * std**2 + 1 - cumprod)
    errors.append(abs(float(out[0, 0, 0]) - truth))
  assert errors[1] < errors[0] / 2.5


@pytest.mark.parametrize('name', ['ddim', 'dpm++'])
def test_steps_in_parts_are_the_steps_at_once(name):
  def denoise(xt, t):
    return 0.5 * jnp.tanh(xt)

  levels = sampling.sampling_levels(START, 6)
  state = sampling.start(POINT)
  whole = advance(name, denoise, state, levels=levels)
  part = jax.jit(
    lambda state, first: advance(
      name, denoise, state, levels=levels, first=first, count=2
    )
  )
  for first in (0, 2, 4):
    state = part(state, first)
  np.testing.assert_allclose(state.xt, whole.xt, rtol=1e-5, atol=1e-6)


def test_noise_of_a_frame_does_not_depend_on_the_padding():
  short = sampling.frame_noise(jax.random.key(0), (2, 5, 3, 4))
  long = sampling.frame_noise(jax.random.key(0), (3, 9, 3, 4))
  np.testing.assert_array_equal(short, long[:2, :5])
  assert len(np.unique(long)) == long.size


def test_levels_fall_from_the_start_to_zero():
  levels = sampling.sampling_levels(START, 20)
  assert levels[0] == START and levels[-1] == 0 and len(levels) == 20
  assert np.all(np.diff(levels) < 0)
  assert SCHEDULE.sqrt_alphas_cumprod[START] >= 0.05
  assert SCHEDULE.sqrt_alphas_cumprod[START + 1] < 0.05
  with pytest.raises(ValueError, match='steps must be in'):
    sampling.sampling_levels(START, 0)


def test_levels_of_the_reference():
  levels = sampling.reference_levels(20)
  assert levels[0] == 952 and levels[-1] == 47 and len(levels) == 20
  with pytest.raises(ValueError, match='steps must be in'):
    sampling.reference_levels(1000)


def test_the_threshold_sees_real_frames_only():
  x0 = jnp.linspace(-2.0, 2.0, 101).reshape(1, 1, -1)
  padded = jnp.concatenate([x0, jnp.full_like(x0, 1e6)], axis=1)
  out = sampling.dynamic_threshold(padded, jnp.array([[1.0, 0.0]]))
  # Nine tenths of the absolute values are below 1.8.
  np.testing.assert_allclose(out[:, :1], jnp.clip(x0 / 1.8, -1, 1), atol=1e-6)
  small = 0.3 * x0
  np.testing.assert_array_equal(
    sampling.dynamic_threshold(small, jnp.ones((1, 1))), small
  )


def test_the_reference_alphas_give_the_point_too():
  def exact(xt, t):
    return noise_schedule.x0_to_noise(SCHEDULE, xt, t, POINT)

  out = advance(
    'ddim',
    exact,
    sampling.start(POINT),
    levels=sampling.reference_levels(10),
    reference_alphas=True,
  ).xt
  # The last step ends at x0 whatever came before.
  np.testing.assert_allclose(out, POINT, atol=1e-4)
