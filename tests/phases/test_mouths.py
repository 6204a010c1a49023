"""What an opening changes of latents, with an FDE that is not trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.models.lmae import Identity
from mdcf_jax.phases import guides, latent_space, mouths
from tests.phases.test_guides import FACE, setup


def turned(yaw=0, pitch=0, roll=0, x=0, y=0, s=0):
  return jnp.float32([yaw, pitch, roll, x, y, s])


def blob(x, y, size=33):
  """A small picture, bright around (x, y) of [-1, 1]."""
  place = jnp.linspace(-1, 1, size)
  away = (place[None] - x) ** 2 + (place[:, None] - y) ** 2
  return jnp.exp(-away / 0.02)[None, :, :, None]


@pytest.mark.parametrize(
  ('pose', 'at'),
  [
    (turned(), (0.5, 0.25)),
    (turned(yaw=20, pitch=10), (0.5, 0.25)),  # Not in the plane.
    (turned(x=0.25, y=-0.5), (0.75, -0.25)),
    (turned(roll=90), (0.25, -0.5)),  # Counter-clockwise, y down.
    (turned(s=np.log(1.5)), (0.75, 0.375)),
    (turned(roll=90, x=0.25, s=np.log(1.5)), (0.625, -0.75)),
  ],
)
def test_pictures_follow_the_head(pose, at):
  # Of a source that is not upright, and whose pose is said to be elsewhere.
  source = turned(roll=10, x=0.3, y=0.2, s=-0.5)
  moved = mouths.follow_head(
    blob(0.5, 0.25),
    jnp.zeros((1, 2)),
    source[None],
    (source + pose)[None, None],
  )
  assert moved.shape == (1, 1, 33, 33, 1)
  peak = np.unravel_index(np.argmax(moved[0, 0, ..., 0]), (33, 33))
  np.testing.assert_allclose(np.array(peak[::-1]) / 16 - 1, at, atol=0.04)


def test_heads_turn_about_their_middle():
  """Each of a batch about its own, and every frame from the source."""
  middle = jnp.float32([[0.5, 0.25], [-0.25, 0.0]])
  image = jnp.concatenate([blob(0.5, 0.25), blob(-0.25, 0.0)])
  pose = jnp.stack([turned(roll=30), turned(s=0.4), turned()])
  source = jnp.stack([turned(), turned()])
  moved = mouths.follow_head(image, middle, source, jnp.stack([pose, pose]))
  for i in range(2):
    for t in range(3):
      peak = np.unravel_index(np.argmax(moved[i, t, ..., 0]), (33, 33))
      place = np.array(peak[::-1]) / 16 - 1
      np.testing.assert_allclose(place, middle[i], atol=0.04)


def test_what_comes_from_outside_is_nothing():
  moved = mouths.follow_head(
    jnp.ones((1, 33, 33, 1)),
    jnp.zeros((1, 2)),
    turned()[None],
    turned(x=1)[None, None],
  )
  np.testing.assert_allclose(moved[0, 0, :, :16], 0, atol=1e-6)
  np.testing.assert_allclose(moved[0, 0, :, 17:], 1, atol=1e-6)


def openings(count):
  """Arguments of `open_latents` of one clip, without modules."""
  fde, variables, images = setup()
  state = {k: v for k, v in variables.items() if k != 'params'}
  frozen = dict(
    fde=dict(params=variables['params'], model_state=state),
    lmae=dict(params={}, model_state={}),
  )
  given = dict(
    source=images[:1],
    source_landmarks=jnp.float32(FACE[None]),
    source_pose=turned(x=0.1, roll=5)[None],
    source_opening=jnp.float32([0.02]),
    pose=jnp.tile(turned(x=0.1, roll=5), (1, count, 1)),
    opening=0.02 + 0.01 * jnp.arange(count, dtype=jnp.float32)[None],
  )

  @jax.jit
  def run(frozen, given):
    return mouths.open_latents(fde, Identity(), frozen, **given)

  return run, frozen, given


def test_latents_change_as_flow_of_parting_lips_does():
  count = 2 * latent_space.CHUNK + 1  # In pieces of time.
  run, frozen, given = openings(count)
  z = run(frozen, given)
  assert z.shape[:2] == (1, count)
  np.testing.assert_allclose(z[:, 0], 0, atol=1e-6)  # As open as the source.
  np.testing.assert_allclose(
    z[0, 2:], z[0, 1] * np.arange(2, count)[:, None, None, None], atol=1e-4
  )

  fde, variables, images = setup()
  points = jnp.float32(FACE[None])
  moved = [guides.open_mouth(points, by) for by in (-0.03, 0.03)]
  still = jnp.eye(3)[None]
  one, two = jax.jit(
    lambda variables, *driven: [
      fde.apply(variables, images[:1], points, p, still, method=guides.dynamics)
      for p in driven
    ]
  )(variables, *moved)
  expected = Identity().encode(two)[0] - Identity().encode(one)[0]
  np.testing.assert_allclose(z[:, 6], expected, atol=1e-4)
  # The lower lip comes from further up, and the upper from further down.
  assert z[0, 6, 5, 4, 1] < -1e-3


def test_latents_change_where_the_head_is():
  run, frozen, given = openings(2)
  here = run(frozen, given)
  step = 2 / (here.shape[3] - 1)
  there = run(frozen, given | dict(pose=given['pose'].at[..., 3].add(step)))
  np.testing.assert_allclose(there[0, 1, :, 1:], here[0, 1, :, :-1], atol=1e-5)
