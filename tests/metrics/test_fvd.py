"""Frames to features of FVD, with random weights: no score, a check."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.convert import i3d
from mdcf_jax.metrics import fvd
from mdcf_jax.metrics.frechet import Moments, frechet_distance
from tests.metrics import pictures
from tests.random_networks import random_frames, random_variables

# JAX's resize rounds positions, up to 512 pixels, to float32: 3e-5 of a pixel,
# between pixels that differ by up to 2.
POSITIONS = 1e-4


def extract(frames, length=10, stride=None, **options):
  """Of frames of 64 pixels, compiled for the comparison with PyTorch too."""
  options = dict(size=64, batch_size=1) | options
  return fvd.i3d_features(
    random_variables(i3d), frames, length, stride, **options
  )


def test_distances_grow_with_the_damage():
  """Of every fourth feature: roots of large matrices take their time."""
  frames = pictures.frames(20)
  some = lambda pictures: Moments.of(extract(pictures)[:, ::4])
  clean = some(frames)
  same = frechet_distance(clean, clean)
  assert same < 1e-9 * np.trace(clean.covariance)
  for spoil in (pictures.blur, pictures.noise):
    scores = [same]
    for level in pictures.LEVELS:
      scores.append(frechet_distance(clean, some(spoil(frames, level))))
    assert np.all(np.diff(scores) > 0), scores


def test_the_order_of_frames_matters():
  """Unlike FID: the same frames, shaken, are another video."""
  frames = pictures.frames(10)
  shaken = frames[np.random.default_rng(0).permutation(10)]
  features = extract(frames)
  difference = np.abs(features - extract(shaken)).max()
  assert difference > 0.01 * np.abs(features).max()


def test_windows():
  """Consecutive and apart; with a stride they overlap."""
  frames = pictures.frames(25)
  whole = extract(frames)
  assert whole.shape == (2, 400)
  overlapping = extract(frames, stride=5)
  assert overlapping.shape == (4, 400)
  np.testing.assert_allclose(overlapping[::2], whole, rtol=1e-4, atol=1e-4)
  short = extract(frames[:9])
  assert short.shape == (0, 400) and short.dtype == np.float32


def test_sixteen_and_thirty_two_frames(monkeypatch):
  """By default, and how many windows there are."""
  lengths = []

  def count(variables, windows, **options):
    lengths.append(windows.shape)
    return np.zeros((len(windows), 400))

  monkeypatch.setattr(fvd, '_extract', count)
  frames = np.zeros((100, 8, 8, 3), np.uint8)
  assert len(fvd.i3d_features({}, frames)) == 6
  assert len(fvd.i3d_features({}, frames, 32)) == 3
  assert lengths == [(4, 16, 8, 8, 3)] * 2 + [(4, 32, 8, 8, 3)]


def resized(frames, shape):
  """JAX's own bilinear resize, which equals PyTorch's."""
  shape = (len(frames), *shape, 3)
  x = jnp.asarray(frames, jnp.float32) / 127.5 - 1
  return jax.image.resize(x, shape, 'bilinear', antialias=False)


def test_rules():
  wide = random_frames(2, 48, 81)
  cropped = fvd.prepare_frames(wide, 'crop', 32)
  # 81 * 32 / 48 = 54: eleven columns are cut on each side.
  expected = resized(wide, (32, 54))[:, :, 11:43]
  np.testing.assert_allclose(cropped, expected, atol=POSITIONS)
  tall = np.swapaxes(wide, 1, 2)
  turned = fvd.prepare_frames(tall, 'crop', 32)
  np.testing.assert_allclose(np.swapaxes(turned, 1, 2), cropped, atol=1e-5)
  stretched = fvd.prepare_frames(wide, 'stretch', 32)
  np.testing.assert_allclose(stretched, resized(wide, (32, 32)), atol=POSITIONS)


@pytest.mark.parametrize('size', [25, 224, 256, 512])
def test_square_frames_are_resized_and_nothing_else(size):
  frames = random_frames(1, size, size)
  cropped = fvd.prepare_frames(frames)
  assert cropped.shape == (1, 224, 224, 3)
  assert -1 <= cropped.min() < cropped.max() <= 1
  np.testing.assert_array_equal(cropped, fvd.prepare_frames(frames, 'stretch'))
  np.testing.assert_allclose(
    cropped, resized(frames, (224, 224)), atol=POSITIONS
  )


def test_wrong_arguments_are_errors():
  frames = np.zeros((20, 8, 8, 3), np.uint8)
  with pytest.raises(ValueError, match='windows of 9'):
    extract(frames, 9)
  with pytest.raises(ValueError, match='every 0'):
    extract(frames, 16, 0)
  with pytest.raises(ValueError, match="'zoom' is none"):
    extract(frames, rule='zoom')
  with pytest.raises(ValueError, match='float64'):
    extract(frames / 255)
