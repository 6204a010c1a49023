"""RAFT: public sizes, the public definition's flow, and trained weights."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.convert import raft as names
from mdcf_jax.convert import tensors
from mdcf_jax.models.raft import RAFT, padding
from tests.random_tensors import random_images, random_tensors

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden' / 'raft.npz'
# An untrained network: rounding grows with every iteration, so there are two.
ITERATIONS = 2
# Relative to the largest flow: of the order of 1e-6 after each iteration.
ATOL = 5e-5


def random_variables(size):
  weights = random_tensors(names.table(size), names.shapes(size))
  return tensors.apply(weights, names.table(size), names.shapes(size))


def texture(height, width, seed=0):
  """`[H, W, 3]` in [0, 255] with detail at all scales."""
  rng = np.random.RandomState(seed)
  total = 0.0
  for side in (2, 4, 8, 16, 32):
    cells = rng.rand(-(-height // side) + 1, -(-width // side) + 1, 3)
    size = (side * cells.shape[0], side * cells.shape[1])
    cells = jax.image.resize(jnp.asarray(cells), (*size, 3), 'linear')
    total += side**0.5 * np.asarray(cells)[:height, :width]
  total -= total.min()
  return (255 * total / total.max()).astype(np.float32)


@pytest.mark.parametrize(
  'size, count', [('small', 990_162), ('large', 5_257_536)]
)
def test_it_has_the_public_size(size, count):
  """Numbers of torchvision's documentation of `raft_small`, `raft_large`."""
  leaves = jax.tree.leaves(names.shapes(size)['params'])
  assert sum(x.size for x in leaves) == count


@pytest.mark.parametrize('size', ['small', 'large'])
def test_it_equals_the_public_definition(size):
  images = random_images(2, 128)
  apply = jax.jit(RAFT(size).apply, static_argnums=3)
  flow = apply(random_variables(size), images[:1], images[1:], ITERATIONS)
  with np.load(GOLDEN, allow_pickle=False) as stored:
    expected = stored[size]
  scale = np.abs(expected).max()
  assert scale > 5  # It moves across borders of the coarse pixels.
  # Every third pixel: all places between coarse ones come up.
  np.testing.assert_allclose(flow[:, ::3, ::3], expected, atol=ATOL * scale)


def test_trained_weights_see_a_shift(test_data):
  """3 pixels to the right and 2 up, within a third of a pixel.

  A coarse pixel is eight pixels; the public network's mean error on real films
  is two to three pixels.
  """
  given = names.prepare(tensors.read(test_data / 'weights/raft-small.npz'))
  description = names.describe(given)
  variables = tensors.apply(
    given, description.table, description.shapes, names.DEAD
  )
  picture = texture(160, 160)
  first, second = picture[8:136, 8:136], picture[10:138, 5:133]
  frames = np.stack([first, second, second])
  flow = jax.jit(lambda x: RAFT().apply(variables, x, method='consecutive'))(
    frames
  )
  assert flow.shape == (2, 128, 128, 2)
  inside = np.asarray(flow)[:, 16:-16, 16:-16]
  np.testing.assert_allclose(inside[0].mean((0, 1)), (3, -2), atol=0.1)
  np.testing.assert_allclose(
    inside[0], np.zeros_like(inside[0]) + (3, -2), atol=0.33
  )
  np.testing.assert_allclose(inside[1], 0, atol=0.1)


def test_consecutive_frames_are_pairs():
  frames = random_images(3, 128)
  variables = random_variables('small')

  @jax.jit
  def both(variables, frames):
    model = RAFT()
    pairs = model.apply(variables, frames[:-1], frames[1:], 1)
    return pairs, model.apply(variables, frames, 1, method='consecutive')

  pairs, chain = both(variables, frames)
  np.testing.assert_allclose(chain, pairs, atol=ATOL * np.abs(pairs).max())


@pytest.mark.parametrize('height, width', [(128, 256), (130, 300), (64, 131)])
def test_padding_makes_sizes_that_it_can_see(height, width):
  (top, bottom), (left, right) = padding(height, width)
  for size, before, after in ((height, top, bottom), (width, left, right)):
    assert 0 <= after - before <= 1
    padded = size + before + after
    assert padded % 8 == 0 and padded >= 128
    assert padded - size < 8 or padded == 128


@pytest.mark.parametrize(
  'shape, message',
  [
    ((1, 64, 128, 3), '64x128'),
    ((1, 128, 132, 3), '128x132'),
    ((1, 128, 128, 1), r'\[B, H, W, 3\]'),
  ],
)
def test_what_it_cannot_see(shape, message):
  image = jax.ShapeDtypeStruct(shape, np.float32)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(RAFT().init, jax.random.key(0), image, image)


def test_wrong_arguments_are_errors():
  image = jax.ShapeDtypeStruct((1, 128, 128, 3), np.float32)
  wide = jax.ShapeDtypeStruct((1, 128, 136, 3), np.float32)
  with pytest.raises(ValueError, match='differ'):
    jax.eval_shape(RAFT().init, jax.random.key(0), image, wide)
  with pytest.raises(ValueError, match='medium'):
    jax.eval_shape(RAFT('medium').init, jax.random.key(0), image, image)
  one = lambda x: RAFT().init(jax.random.key(0), x, method='consecutive')
  with pytest.raises(ValueError, match='1 frames'):
    jax.eval_shape(one, image)
