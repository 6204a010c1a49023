"""Flow of clips by two estimators, and scores that rise with shaking."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.convert import raft as names
from mdcf_jax.convert import tensors
from mdcf_jax.errors import InputError
from mdcf_jax.metrics import optical_flow
from mdcf_jax.metrics.flow_jitter import flow_jitter
from mdcf_jax.metrics.flow_smoothness import clip_flow_smoothness
from mdcf_jax.metrics.optical_flow import (
  ClipFlow,
  farneback_flow,
  raft_flow,
)
from mdcf_jax.ops.warp import identity_grid, warp
from tests.models.test_raft import random_variables, texture
from tests.random_tensors import random_images

SIZE = 128
FRAMES = 5


@pytest.fixture(scope='module')
def trained(test_data):
  """RAFT-small with its public weights."""
  given = names.prepare(tensors.read(test_data / 'weights/raft-small.npz'))
  found = names.describe(given)
  return tensors.apply(given, found.table, found.shapes, names.DEAD)


def wobble(seed=0):
  """A smooth random displacement per frame `[T, H, W, 2]` of about a pixel."""
  rng = np.random.RandomState(seed)
  coarse = jnp.asarray(rng.randn(FRAMES, 8, 8, 2), jnp.float32)
  return np.asarray(jax.image.resize(coarse, (FRAMES, SIZE, SIZE, 2), 'cubic'))


def shaken_clip(amplitude):
  """Frames of a picture that moves and grows a little, and is shaken."""
  picture = jnp.asarray(texture(SIZE, SIZE))[None]
  grid = identity_grid(SIZE, SIZE)
  zoom = 1 + 0.01 * np.arange(FRAMES)[:, None, None, None]
  shift = 0.02 * np.arange(FRAMES)[:, None, None, None]
  grids = grid / zoom + shift + amplitude * wobble() * 2 / (SIZE - 1)
  frames = jax.jit(warp)(picture, grids)
  return np.asarray(jnp.round(frames)).astype(np.uint8)


def assert_rises(flows):
  """Both scores, from each amplitude to the next."""
  for score in (clip_flow_smoothness, flow_jitter):
    values = [score(flow).value for flow in flows]
    assert all(b > 1.2 * a for a, b in zip(values[:-1], values[1:])), values


def test_scores_rise_with_shaking_where_the_flow_is_known():
  """A frame that is displaced by d has the flow d_t+1 - d_t on top."""
  x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
  zoom = 0.01 * np.stack([x, y], axis=-1) + [2.0, 1.0]
  shakes = np.diff(wobble(), axis=0)
  flows = [
    ClipFlow(zoom + amplitude * shakes, 'known') for amplitude in (0, 1, 2, 4)
  ]
  np.testing.assert_allclose(
    clip_flow_smoothness(flows[0]).value, 0.01 * np.sqrt(2)
  )
  assert flow_jitter(flows[0]).value == 0
  assert_rises(flows)


def test_scores_rise_with_shaking_by_farneback():
  pytest.importorskip('cv2', reason='no OpenCV: pip install .[eval]')
  assert_rises([farneback_flow(shaken_clip(a)) for a in (0, 1, 2)])


def test_scores_rise_with_shaking_by_raft(trained):
  assert_rises([raft_flow(trained, shaken_clip(a)) for a in (0, 1, 2)])


def test_farneback_sees_a_shift_and_says_its_parameters():
  """Blurred at the borders; inside within a third of a pixel."""
  pytest.importorskip('cv2', reason='no OpenCV: pip install .[eval]')
  picture = texture(160, 160).astype(np.uint8)
  frames = np.stack([picture[8:136, 8:136], picture[10:138, 5:133]])
  flow = farneback_flow(frames)
  assert flow.fields.shape == (1, 128, 128, 2)
  inside = flow.fields[0, 24:-24, 24:-24]
  np.testing.assert_allclose(inside, np.zeros_like(inside) + (3, -2), atol=0.33)
  assert 'farneback, pyr_scale 0.5, levels 3, winsize 15' in flow.estimator
  other = farneback_flow(frames, winsize=9)
  assert 'winsize 9' in other.estimator
  assert np.any(other.fields != flow.fields)
  with pytest.raises(ValueError, match='window'):
    farneback_flow(frames, window=9)


def test_without_opencv_the_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'cv2', None)
  with pytest.raises(InputError, match=r"'\.\[eval\]'"):
    farneback_flow(random_images(2, 128))


def test_raft_in_batches_is_raft_in_pairs_with_one_compilation(monkeypatch):
  """Four flows in batches of three, of frames of an odd size."""
  traces = []
  consecutive = optical_flow.raft.RAFT.consecutive

  def counted(self, frames, iterations):
    traces.append(frames.shape)
    return consecutive(self, frames, iterations)

  monkeypatch.setattr(optical_flow.raft.RAFT, 'consecutive', counted)
  optical_flow._estimate.cache_clear()
  variables = random_variables('small')
  frames = random_images(5, 136)[:, :131, :90]
  flow = raft_flow(variables, frames, iterations=1, batch=3)
  assert flow.fields.shape == (4, 131, 90, 2)
  assert traces == [(4, 136, 128, 3)]
  assert flow.estimator.startswith('raft-small, 1 iterations, weights ')

  alone = raft_flow(variables, frames[3:], iterations=1, batch=3)
  assert len(traces) == 1
  scale = np.abs(flow.fields).max()
  # Products of other batches are summed in another order.
  np.testing.assert_allclose(alone.fields[0], flow.fields[3], atol=1e-5 * scale)
  optical_flow._estimate.cache_clear()


def test_other_weights_are_another_estimator():
  variables = random_variables('small')
  other = jax.tree.map(lambda x: 1.01 * x, variables)
  digests = {optical_flow._digest(x) for x in (variables, other, variables)}
  assert len(digests) == 2


@pytest.mark.parametrize(
  'frames, message',
  [
    (np.zeros((3, 128, 128, 3), np.float32), 'float32'),
    (np.zeros((3, 128, 128), np.uint8), r'\(3, 128, 128\)'),
    (np.zeros((1, 128, 128, 3), np.uint8), '1 frames'),
  ],
)
def test_what_is_no_clip(frames, message):
  with pytest.raises(ValueError, match=message):
    raft_flow({}, frames)
  with pytest.raises(ValueError, match=message):
    farneback_flow(frames)
