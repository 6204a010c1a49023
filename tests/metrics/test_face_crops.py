"""The square that SyncNet sees, against the formula written out."""

import numpy as np
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.metrics import cv2_resize, face_crops
from mdcf_jax.metrics.face_tracks import Track
from mdcf_jax.metrics.no_score import Reason

FRAME = np.random.RandomState(0).randint(0, 256, (90, 120, 3)).astype(np.uint8)


def written_out(frame, x, y, s):
  """Pads the whole picture and slices it."""
  pad = int(1.8 * s)
  grey = np.pad(frame, ((pad, pad), (pad, pad), (0, 0)), constant_values=110)
  rows = slice(int(y + pad - s), int(y + pad + s * 1.8))
  columns = slice(int(x + pad - s * 1.4), int(x + pad + s * 1.4))
  return grey[rows, columns]


@pytest.mark.parametrize(
  'place',
  [
    (60, 45, 20),
    (60.7, 44.3, 21.9),
    (5, 8, 30.5),  # Over the upper left corner.
    (118.2, 88.9, 33),  # Over the lower right one.
    (60, 45, 100),  # Around the whole picture.
    (60, 88, 27.9),
  ],
)
def test_geometry(place):
  ours = face_crops.cut_square(FRAME, place)
  np.testing.assert_array_equal(ours, written_out(FRAME, *place))
  assert ours.shape[0] == pytest.approx(2.8 * place[2], abs=1)


def test_a_face_far_outside_has_no_square():
  assert face_crops.cut_square(FRAME, (-200, 45, 20)) is None
  assert face_crops.cut_square(FRAME, (60, 400, 20)) is None
  answer = face_crops.crop([FRAME, FRAME], [(60, 45, 20), (-200, 45, 20)])
  assert answer.reason is Reason.OUTSIDE
  assert 'frame 1' in str(answer)


def test_a_face_larger_than_the_picture_is_an_error():
  with pytest.raises(InputError, match='120 x 90'):
    face_crops.cut_square(FRAME, (60, 45, 1e9))


def test_median_is_zero_beyond_the_ends():
  """The first of 13 is the smallest of seven; in the middle it is usual."""
  x = np.random.RandomState(1).uniform(1, 2, 40)
  ours = face_crops.median_filter(x)
  assert ours[0] == x[:7].min()
  assert ours[20] == np.median(x[14:27])
  spike = np.ones(40)
  spike[18:24] = 9.0  # Six of 13 frames.
  np.testing.assert_array_equal(face_crops.median_filter(spike), 1)


@pytest.mark.parity
@pytest.mark.parametrize('length', [13, 14, 101])
def test_median_equals_scipy(length):
  signal = pytest.importorskip('scipy.signal')
  x = np.random.RandomState(length).uniform(0, 300, length)
  theirs = signal.medfilt(x, kernel_size=13)
  np.testing.assert_array_equal(face_crops.median_filter(x), theirs)


def test_exact_places_are_filtered_centres_and_half_sizes():
  boxes = np.random.RandomState(2).uniform(0, 5, (101, 4)) + [10, 20, 60, 90]
  places = face_crops.exact_places(Track(0, boxes))
  centre = np.median((boxes[44:57, 0] + boxes[44:57, 2]) / 2)
  half = np.median((boxes[44:57, 3] - boxes[44:57, 1]) / 2)
  assert places[50, 0] == pytest.approx(centre)
  assert places[50, 2] == pytest.approx(half)


def test_fixed_place_is_of_the_median_of_the_largest_boxes():
  large, small = np.array([[10.0, 10, 50, 60]]), np.array([[0.0, 0, 9, 9]])
  detections = [large, large + 2, np.zeros((0, 4)), large + 1]
  detections[0] = np.concatenate([small, large])
  place = face_crops.fixed_place(detections)
  np.testing.assert_array_equal(place, [31, 36, 25])
  answer = face_crops.fixed_place([np.zeros((0, 4))] * 3)
  assert answer.reason is Reason.NO_FACE


def test_crops_are_resized_squares():
  places = [(60, 45, 20), (61, 44, 22.5)]
  crops = face_crops.crop([FRAME, FRAME[::-1]], places)
  assert crops.shape == (2, 224, 224, 3)
  square = written_out(FRAME[::-1], *places[1])
  np.testing.assert_array_equal(crops[1], cv2_resize.resize(square, (224, 224)))
