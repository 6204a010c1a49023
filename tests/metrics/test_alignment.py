"""Similarities of the plane, and pictures cut out by them."""

import numpy as np
import pytest

from mdcf_jax.errors import NoScore
from mdcf_jax.metrics import alignment, identity


def umeyama(points, targets):
  """Umeyama (1991), equations 40 to 42, with singular values."""
  middle, aim = points.mean(axis=0), targets.mean(axis=0)
  p, q = points - middle, targets - aim
  left, values, right = np.linalg.svd(q.T @ p / len(p))
  signs = np.array([1, np.sign(np.linalg.det(left @ right))])
  turn = left @ np.diag(signs) @ right
  scale = np.sum(values * signs) / np.square(p).sum(axis=1).mean()
  return np.column_stack([scale * turn, aim - scale * turn @ middle])


@pytest.mark.parametrize('mirror', [1, -1])
def test_it_is_umeyamas(mirror):
  """Also where a reflection would fit better."""
  rng = np.random.default_rng(0)
  points = rng.normal(size=(6, 5, 2)) * 30 + 100
  targets = identity.TEMPLATE * (mirror, 1) + rng.normal(size=(6, 5, 2))
  for found, p, q in zip(
    alignment.similarity(points, targets), points, targets
  ):
    np.testing.assert_allclose(found, umeyama(p, q), rtol=1e-9, atol=1e-9)


def test_it_undoes_a_similarity():
  rng = np.random.default_rng(1)
  points = rng.normal(size=(3, 7, 2))
  matrix = np.array([[0.3, -1.1, 4], [1.1, 0.3, -2]])
  found = alignment.similarity(points, alignment.transform(points, matrix))
  np.testing.assert_allclose(found, np.tile(matrix, (3, 1, 1)), atol=1e-12)


def test_points_in_one_place():
  with pytest.raises(NoScore, match='one place'):
    alignment.similarity(np.ones((2, 5, 2)), np.ones((2, 5, 2)))


def picture(seed=0, shape=(60, 80, 3)):
  """Smooth, so that a 32nd of a pixel changes little."""
  y, x = np.mgrid[: shape[0], : shape[1]][..., None]
  phase = np.random.default_rng(seed).uniform(0, 6, 3)
  waves = np.sin(0.15 * x + phase) * np.cos(0.1 * y - phase)
  return np.uint8(np.rint(127.5 + 120 * waves))


def test_whole_shifts_move_pixels_and_what_is_outside_is_black():
  image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
  shift = np.array([[1, 0, 5], [0, 1, -7]], float)
  found = alignment.warp(image, shift, 30)
  np.testing.assert_array_equal(found[:, 5:], image[7:37, :25])
  assert not found[:, :5].any()
  half = alignment.warp(image, np.array([[1, 0, 0.5], [0, 1, 0]]), 30)
  expected = image[:30, :29].astype(float) + image[:30, 1:30]
  # The first column is half picture, half border.
  np.testing.assert_array_equal(half[:, 1:], np.rint(expected / 2))
  np.testing.assert_array_equal(half[:, 0], np.rint(image[:30, 0] / 2))


@pytest.mark.parametrize('scale', [0.6, 1.0, 1.9])
def test_it_is_cv2s_warp(scale):
  cv2 = pytest.importorskip('cv2')
  turn = scale * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), 0]])
  turn[1, 1] = turn[0, 0]
  matrix = np.column_stack([turn, [20.3, -11.7]])
  image = picture()
  theirs = cv2.warpAffine(image, matrix, (112, 112), borderValue=0.0)
  error = np.abs(alignment.warp(image, matrix, 112) - theirs.astype(float))
  # cv2 may round coordinates to 1/32 pixel: 1/64 off along both axes, times
  # at most 20 levels a pixel of this picture, is 0.6, and rounding adds 1.
  # At the border of the picture a pixel falls from 255 to 0: 255 / 32 = 8.
  inside = cv2.warpAffine(
    np.full_like(image, 255), matrix, (112, 112), borderValue=0.0
  )
  inside = cv2.erode(inside, np.ones((3, 3), np.uint8)) == 255
  assert inside.mean() > 0.1 and (~inside).any()
  assert error[inside].max() <= 1.6
  assert error.max() <= 9 and (error > 0).mean() < 0.3
