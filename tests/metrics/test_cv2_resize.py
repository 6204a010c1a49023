"""Resizing equals OpenCV's to the last bit."""

import pathlib

import numpy as np
import pytest

from mdcf_jax.metrics.cv2_resize import resize, scaled_size

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden'


def test_stored_pictures():
  rng = np.random.RandomState(3)
  rng.randn(3001)  # The sound before it in scripts/write_golden.py.
  image = rng.randint(0, 256, (31, 45, 3)).astype(np.uint8)
  with np.load(GOLDEN / 'sound_and_pictures.npz') as stored:
    for name, scale in dict(smaller=None, larger=None, quarter=(4, 4)).items():
      size = stored[name].shape[:2]
      np.testing.assert_array_equal(resize(image, size, scale), stored[name])


@pytest.mark.parity
def test_many_sizes():
  cv2 = pytest.importorskip('cv2')
  rng = np.random.RandomState(0)
  for _ in range(40):
    height, width = rng.randint(4, 600, 2)
    image = rng.randint(0, 256, (height, width, 3)).astype(np.uint8)
    theirs = cv2.resize(image, (224, 224))
    np.testing.assert_array_equal(resize(image, (224, 224)), theirs)
    theirs = cv2.resize(image, (0, 0), fx=0.25, fy=0.25)
    size = scaled_size(height, 0.25), scaled_size(width, 0.25)
    np.testing.assert_array_equal(resize(image, size, (4, 4)), theirs)


def test_equal_size_and_flat_colours_stay():
  image = np.random.RandomState(0).randint(0, 256, (9, 7, 3)).astype(np.uint8)
  np.testing.assert_array_equal(resize(image, (9, 7)), image)
  flat = np.full((9, 7, 3), 255, np.uint8)
  np.testing.assert_array_equal(resize(flat, (5, 20)), 255)


@pytest.mark.parametrize(
  'image', [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))]
)
def test_other_pictures_are_errors(image):
  with pytest.raises(ValueError, match='not uint8'):
    resize(image, (2, 2))
