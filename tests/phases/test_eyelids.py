"""Lids of the portrait, in dynamics."""

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.ops.resize import resize_bilinear
from mdcf_jax.ops.warp import identity_grid
from mdcf_jax.phases import eyelids

SIZE, CELLS = 64, 16
# Lips, corners, chin, the person's right and left upper lid, nose.
POINTS = jnp.array(
  [
    *((0.5, 0.66), (0.5, 0.68), (0.43, 0.67), (0.57, 0.67), (0.5, 0.85)),
    *((0.38, 0.4), (0.62, 0.4), (0.5, 0.55)),
  ]
)[None]
OPEN = jnp.array([[0.3, 0.3]])
DISTANCE = 2 * (0.62 - 0.38)  # Of the eyes, in the units of flow.
MIDDLES = 2 * POINTS[0, 5:7] - 1 + jnp.array([0, eyelids._DROP * DISTANCE])


def lower(blink, dynamics=None):
  """Dynamics at rest, or those given, of frames with these eyes."""
  blink = jnp.atleast_2d(jnp.float32(blink))
  if dynamics is None:
    dynamics = jnp.zeros((len(blink), CELLS, CELLS, 3)).at[..., 2].set(0.7)
  return jax.jit(eyelids.lower)(dynamics, POINTS, OPEN, blink)


def cell(point):
  """Row and column of a point in [-1, 1]."""
  x, y = np.asarray(point)
  return round((y + 1) / 2 * (SIZE - 1)), round((x + 1) / 2 * (SIZE - 1))


def test_closures_are_parts_of_the_way():
  blink = jnp.array([[0.3, 0.4], [0.18, 0.06], [0.0, -1.0]])
  found = eyelids.closure(blink, OPEN)
  np.testing.assert_allclose(found, [[0, 0], [0.5, 1], [1, 1]], atol=1e-6)
  # A portrait with its eyes shut: no way left, and nothing breaks.
  shut = jnp.array([[0.02, 0.06]])
  found = eyelids.closure(jnp.array([[0.02, 0.06], [0.3, 0.3]]), shut)
  np.testing.assert_array_equal(found, np.zeros((2, 2)))


def test_open_eyes_change_nothing():
  moving = jax.random.normal(jax.random.key(0), (2, CELLS, CELLS, 3))
  found = lower([[0.3, 0.3], [0.5, 0.4]], moving)
  whole = resize_bilinear(moving, (SIZE, SIZE))
  np.testing.assert_allclose(found, whole, atol=1e-6)


def test_a_lid_covers_its_own_eye():
  found = lower([[0.05, 0.3], [0.3, 0.05], [0.05, 0.05]])
  np.testing.assert_allclose(found[..., 2], 0.7, rtol=1e-6)
  flow = np.asarray(found[..., :2])
  rows, columns = zip(*map(cell, MIDDLES))
  up = -flow[:, rows, columns, 1] / DISTANCE
  skin = eyelids._HEIGHT  # The middle shows what is above the open lid.
  # The person's left eye is on the right of the picture.
  assert up[0, 1] > skin and up[1, 0] > skin
  assert (up[2] > skin).all()
  assert up[0, 0] == up[1, 1] == 0
  np.testing.assert_allclose(flow[..., 0], 0, atol=1e-6)
  far = np.abs(np.asarray(identity_grid(SIZE, SIZE)) - [0, -0.2]).max(-1) > 0.5
  np.testing.assert_allclose(flow[:, far], 0, atol=1e-6)


def test_lids_come_down_without_a_fold():
  """What is seen goes down with the rows, and jumps at the lid alone."""
  blink = np.linspace(0.3, 0.05, 6)[:, None].repeat(2, 1)
  seen = np.asarray(lower(blink)[..., 1] + identity_grid(SIZE, SIZE)[..., 1])
  _, column = cell(MIDDLES[0])
  steps = np.diff(seen[:, :, column], axis=1)
  assert (steps > 0).all()
  row = 2 / (SIZE - 1)
  jumps = (steps > 1.5 * row).sum(axis=1)
  assert jumps[0] == 0 and (jumps[1:] <= 2).all() and jumps[-1] >= 1


def test_lids_go_with_the_head():
  """Shifted by eight cells, a blink is that blink, shifted."""
  by = 8
  step = -by * 2 / (SIZE - 1)
  flow = jnp.zeros((1, CELLS, CELLS, 3)).at[..., 0].set(step)
  still = np.asarray(lower([0.05, 0.05]))
  moved = np.asarray(lower([0.05, 0.05], flow)) - np.float32([step, 0, 0])
  np.testing.assert_allclose(
    moved[:, :, by:, :2], still[:, :, :-by, :2], atol=1e-5
  )


def test_wide_eyes_have_large_lids():
  """So that they shut as well."""
  shut = jnp.full((1, 2), 0.05)
  covered = []
  for open_by in (0.2, 0.3, 0.4):
    given = jnp.full((1, 2), open_by)
    flow = eyelids.lower(jnp.zeros((1, CELLS, CELLS, 3)), POINTS, given, shut)
    covered.append(int((np.abs(flow[..., 1]) > 1e-4).sum()))
  assert covered[0] < covered[1] < covered[2]
