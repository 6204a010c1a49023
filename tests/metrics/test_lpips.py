"""LPIPS of clips: zero for equal frames, larger the more they differ."""

import numpy as np
import pytest

from mdcf_jax.convert import lpips as names
from mdcf_jax.convert import tensors
from mdcf_jax.metrics.lpips import lpips, net_of
from tests.random_tensors import random_images, random_tensors


@pytest.fixture(scope='module')
def variables():
  """Random weights: they tell more from less, though not as people do."""
  table, shapes = names.table('alex'), names.shapes('alex')
  return tensors.apply(random_tensors(table, shapes), table, shapes)


def blurred(frames, times):
  """Means over neighbours, `times` over."""
  x = frames.astype(np.float32)
  for _ in range(times):
    for axis in (1, 2):
      x = (np.roll(x, 1, axis) + 2 * x + np.roll(x, -1, axis)) / 4
  return np.round(x).astype(np.uint8)


def assert_grows(scores):
  assert not np.any(scores[0])
  for a, b in zip(scores[:-1], scores[1:]):
    assert (b > a).all(), scores


def test_it_grows_with_blur_and_with_noise(variables):
  frames = random_images(2, 64)
  scores = [
    lpips(variables, blurred(frames, times), frames, batch=2)
    for times in (0, 1, 4, 16)
  ]
  assert_grows(scores)
  noise = np.random.RandomState(0).randn(*frames.shape)
  scores = [
    lpips(
      variables,
      np.clip(frames + sigma * noise, 0, 255).astype(np.uint8),
      frames,
      batch=2,
    )
    for sigma in (0, 8, 24, 72)
  ]
  assert_grows(scores)


def test_batches_and_kinds_of_pictures_do_not_matter(variables):
  frames = random_images(5, 64)
  pred, target = frames[:-1], frames[1:]
  whole = lpips(variables, pred, target, batch=2)
  assert whole.shape == (4,) and whole.dtype == np.float64
  # Three frames: the last batch is filled up.
  some = lpips(variables, pred[:3], target[:3], batch=2)
  np.testing.assert_allclose(some, whole[:3], rtol=1e-6)
  floats = lpips(
    variables,
    pred / 127.5 - 1,
    (target / 127.5 - 1).astype(np.float32),
    batch=2,
  )
  np.testing.assert_allclose(floats, whole, rtol=1e-5)
  assert lpips(variables, pred[:0], target[:0], batch=2).shape == (0,)


def test_the_network_is_known_by_its_variables(variables):
  assert net_of(variables) == 'alex'
  assert net_of(names.shapes('vgg16')) == 'vgg16'


def test_what_it_refuses(variables):
  frames = random_images(2, 64)
  with pytest.raises(ValueError, match='2, 64, 32, 3'):
    lpips(variables, frames, frames[:, :, :32])
  with pytest.raises(ValueError, match='T, H, W, 3'):
    lpips(variables, frames[0], frames[0])
  with pytest.raises(ValueError, match='not in'):
    lpips(variables, frames.astype(np.float32), frames)
