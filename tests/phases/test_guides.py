"""Guide points of the face in place of the regions that FDE finds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.models.fde import FDE
from mdcf_jax.models.lmae import Identity
from mdcf_jax.phases import guides, latent_space

SIZE = 32
SMALL = dict(block_expansion=4, num_blocks=2, max_features=8)
FACE = np.float32(
  [
    *((0.5, 0.64), (0.5, 0.68), (0.43, 0.66), (0.57, 0.66)),
    *((0.5, 0.8), (0.42, 0.42), (0.58, 0.42), (0.5, 0.55)),
  ]
)


def make_fde(num_regions=10):
  return FDE(
    num_regions=num_regions,
    region=SMALL,
    background=SMALL,
    flow=SMALL | dict(mask_prior=2.0),
    generator=dict(block_expansion=4, max_features=8, num_bottleneck_blocks=1),
  )


@functools.cache
def setup():
  """FDE, its variables, and pictures `[4, 32, 32, 3]`."""
  rng = np.random.default_rng(0)
  images = jnp.float32(rng.uniform(-1, 1, (4, SIZE, SIZE, 3)))
  fde = make_fde()
  init = jax.jit(functools.partial(fde.init, train=False))
  return fde, init(jax.random.key(0), images[:1], images[:1]), images


def opened(gap):
  """The face with its lower lip and its chin so much lower."""
  return FACE + gap * np.float32([0, 1, 0, 0, 1, 0, 0, 0])[:, None] * (0, 1)


@pytest.mark.parametrize('gap', [0.0, 0.03, 0.1])
def test_regions_of_the_lips_tell_how_far_they_are_apart(gap):
  points = jnp.float32(opened(gap))
  found = guides.regions(points[None])
  # The forehead's region is half as high above the eyes as the chin is below.
  height = 1.5 * (points[4, 1] - points[5, 1])
  expected = (points[1, 1] - points[0, 1]) / height
  np.testing.assert_allclose(guides.opening(found)[0], expected, rtol=1e-5)


def test_points_come_back_from_their_regions():
  points = jnp.float32(opened(0.05)[None])
  found = guides.points(guides.regions(points))
  np.testing.assert_allclose(found, points, atol=1e-6)


def test_lips_that_overlap_are_shut():
  points = jnp.float32(FACE).at[1].set(FACE[0] - jnp.array([0, 0.01]))
  assert 0 <= guides.opening(guides.regions(points[None]))[0] < 1e-6


def test_dynamics_are_those_of_the_points_whatever_fde_finds():
  fde, variables, images = setup()
  source, driving = images[:1], images[1:2]
  run = jax.jit(
    lambda variables, *points: fde.apply(
      variables, source, driving, *points, method=guides.estimate
    )
  )
  still, open_mouth = (jnp.float32(opened(gap)[None]) for gap in (0, 0.05))
  once = run(variables, still, open_mouth)
  assert once.shape == (1, SIZE // 4, SIZE // 4, 3)
  blind = jax.tree.map(jnp.zeros_like, variables['params']['region_predictor'])
  params = variables['params'] | dict(region_predictor=blind)
  np.testing.assert_array_equal(
    run(variables | dict(params=params), still, open_mouth), once
  )
  # The lower lip comes from further up: the flow there points upwards.
  flow = once[0, ..., 1] - run(variables, still, still)[0, ..., 1]
  row, column = 6, 4  # y about 0.8, x about 0.5.
  assert flow[row, column] < -0.01


def test_a_clip_is_encoded_frame_by_frame():
  """In pieces of time, each frame with its own points."""
  fde, variables, images = setup()
  state = {k: v for k, v in variables.items() if k != 'params'}
  frozen = dict(
    fde=dict(params=variables['params'], model_state=state),
    lmae=dict(params={}, model_state={}),
  )
  count = 2 * latent_space.CHUNK + 1
  clip = images[1 + np.arange(count) % 3][None]
  points = jnp.float32([opened(0.01 * i) for i in range(count)])
  mean, _ = jax.jit(
    lambda frozen, *given: latent_space.encode(
      fde, Identity(), frozen, *given[:2], given[2:]
    )
  )(frozen, images[:1], clip, points[None, 0], points[None])
  estimate = jax.jit(
    lambda variables, *given: fde.apply(
      variables, *given, method=guides.estimate
    )
  )
  for i in (0, latent_space.CHUNK, count - 1):
    given = images[:1], clip[0, i : i + 1], points[:1], points[i : i + 1]
    dynamics = estimate(variables, *given)
    expected, _ = Identity().encode(dynamics)
    np.testing.assert_allclose(mean[0, i], expected[0], atol=1e-5)


def test_other_numbers_of_regions_are_refused():
  guides.check(make_fde())
  with pytest.raises(InputError, match='guides 10 regions.* is 3'):
    guides.check(make_fde(num_regions=3))
