"""Near and far faces of one picture, with a landmarker that sees squares."""

import numpy as np
import pytest

from mdcf_jax.media import face_search

SIZE = 200, 320  # Height, width.


class Landmarker:
  """Finds squares of one value that are at least a fifth of the picture.

  What is left of one that is cut off is found too, as by the real one.
  """

  def __init__(self, *_):
    pass

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def __call__(self, part):
    height, width = part.shape[:2]
    found = []
    for value in np.unique(part[..., 0])[1:]:
      y, x = np.nonzero(part[..., 0] == value)
      box = np.array([[x.min(), y.min()], [x.max() + 1, y.max() + 1]])
      if np.ptp(box[:, 1]) >= 0.2 * max(height, width):
        points = np.zeros((2, 3), np.float32)
        points[:, :2] = box / [width, height]
        found.append((points, None))
    return found


@pytest.fixture(autouse=True)
def landmarker(monkeypatch):
  monkeypatch.setattr(face_search, 'Landmarker', Landmarker)


def draw(*squares):
  """Squares (x, y, side), each of a value of its own."""
  picture = np.zeros((*SIZE, 3), np.uint8)
  for i, (x, y, side) in enumerate(squares, 1):
    picture[y : y + side, x : x + side] = i
  return picture


def test_far_faces_are_found_once_and_from_the_left():
  """80 pixels are seen in the whole picture, 24 in small windows only."""
  squares = (200, 20, 80), (30, 130, 24), (120, 60, 44), (150, 160, 24)
  boxes = face_search.find_boxes(draw(*squares))
  found = np.round(np.array(boxes) * [320, 200, 320, 200]).astype(int)
  expected = [
    (x, y, x + side, y + side)
    for x, y, side in (squares[i] for i in (1, 2, 3, 0))
  ]
  np.testing.assert_array_equal(found, expected)
  assert boxes[0].dtype == np.float32


def test_a_face_at_the_border_of_the_picture_is_no_part_of_one():
  boxes = face_search.find_boxes(draw((0, 170, 30)))
  np.testing.assert_allclose(boxes, [[0, 0.85, 30 / 320, 1]], atol=1e-6)


def test_pictures_without_faces_and_small_ones():
  assert face_search.find_boxes(draw()) == []
  assert list(face_search._windows(64, 64)) == [(0, 0, 64, 64)]


def test_windows_overlap_by_half_and_cover_everything():
  seen = np.zeros(SIZE, int)
  windows = list(face_search._windows(320, 200))
  assert windows[0] == (0, 0, 320, 200)
  for x, y, w, h in windows:
    assert w >= face_search._MIN_WINDOW and x + w <= 320 and y + h <= 200
    seen[y : y + h, x : x + w] += 1
  assert seen.min() >= 3
  starts = face_search._starts(320, 100)
  assert starts[0] == 0 and starts[-1] == 220
  assert np.diff(starts).max() <= 50


def test_the_largest():
  boxes = [np.float32([0, 0, 0.1, 0.9]), np.float32([0.5, 0.5, 0.9, 0.9])]
  assert face_search.largest(boxes) is boxes[1]
