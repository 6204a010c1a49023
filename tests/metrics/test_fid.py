"""Frames to features of FID and KID, with random weights: no score, a check."""

import numpy as np
import pytest

from mdcf_jax.convert import inception
from mdcf_jax.metrics import fid
from mdcf_jax.metrics.frechet import Moments, frechet_distance
from mdcf_jax.metrics.kid import kernel_distance
from tests.metrics import pictures
from tests.random_networks import random_variables


def extract(frames, batch_size=4):
  """Features at the smallest size that the network takes."""
  variables = random_variables(inception)
  return fid.inception_features(
    variables, frames, batch_size=batch_size, resolution=75
  )


@pytest.mark.parametrize('spoil', [pictures.blur, pictures.noise])
def test_distances_grow_with_the_damage(spoil):
  """Of every eighth feature: roots of large matrices take their time."""
  frames = pictures.frames(12)
  some = lambda pictures: extract(pictures)[:, ::8]
  clean = some(frames)
  spoiled = [some(spoil(frames, level)) for level in pictures.LEVELS]
  distance = lambda x: frechet_distance(Moments.of(clean), Moments.of(x))
  assert distance(clean) < 1e-9 * clean.var(axis=0).sum()
  scores = [distance(clean), *(distance(x) for x in spoiled)]
  assert np.all(np.diff(scores) > 0), scores
  scores = [kernel_distance(clean, x).mean for x in (clean, *spoiled)]
  assert np.all(np.diff(scores) > 0), scores


def test_batches_change_nothing_and_compile_once(monkeypatch):
  network, traced = fid.inception.InceptionV3, []

  def count(resolution):
    traced.append(resolution)
    return network(resolution)

  monkeypatch.setattr(fid.inception, 'InceptionV3', count)
  frames = pictures.frames(7, size=40)
  whole = extract(frames)
  assert whole.shape == (7, 2048)
  # Each frame alone in its batch.
  single = np.concatenate([extract(frames[i : i + 1]) for i in range(7)])
  np.testing.assert_allclose(single, whole, atol=1e-5 * whole.max())
  assert traced == [75]


def test_no_frames_have_no_features():
  features = extract(np.zeros((0, 48, 48, 3), np.uint8))
  assert features.shape == (0, 2048) and features.dtype == np.float32
  assert Moments.of(features).count == 0


def test_wrong_arguments_are_errors():
  with pytest.raises(ValueError, match='float32'):
    extract(np.zeros((2, 48, 48, 3), np.float32))
  with pytest.raises(ValueError, match='48, 48, 4'):
    extract(np.zeros((2, 48, 48, 4), np.uint8))
  with pytest.raises(ValueError, match='batch of 0'):
    extract(np.zeros((2, 48, 48, 3), np.uint8), batch_size=0)
