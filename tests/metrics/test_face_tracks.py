"""Tracks of faces by the public rules."""

import numpy as np
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.metrics.face_tracks import (
  check_detections,
  find_tracks,
  overlap,
)
from mdcf_jax.metrics.no_score import NoScore, Reason

BOX = np.array([40.0, 50.0, 160.0, 210.0])


def track(boxes, shots=None):
  return find_tracks(check_detections(boxes), shots)


def test_a_still_face_is_one_track():
  (found,) = track(np.tile(BOX, (101, 1)))
  assert (found.start, found.end) == (0, 101)
  np.testing.assert_array_equal(found.boxes, np.tile(BOX, (101, 1)))


def test_the_public_limits():
  """More than 100 detections, and more than 100 pixels."""
  answer = track(np.tile(BOX, (100, 1)))
  assert answer.reason is Reason.SHORT_TRACK
  assert '100 of 100' in str(answer)
  square = np.array([10.0, 10, 110, 110])
  answer = track(np.tile(square, (120, 1)))
  assert answer.reason is Reason.SMALL_FACE
  (found,) = track(np.tile(square + [0, 0, 0, 1], (120, 1)))
  assert len(found.boxes) == 120
  answer = track(np.full((120, 4), np.nan))
  assert isinstance(answer, NoScore) and answer.reason is Reason.NO_FACE


def test_gaps_are_interpolated_up_to_25_frames():
  boxes = BOX + np.linspace(0, 60, 240)[:, None]
  for last, whole in ((124, True), (125, False)):
    gapped = boxes.copy()
    gapped[100:last] = np.nan  # From frame 99 to `last`.
    found = track(gapped)
    if whole:
      (found,) = found
      np.testing.assert_allclose(found.boxes, boxes)
    else:
      # 100 detections before it are too few.
      assert [(x.start, x.end) for x in found] == [(125, 240)]


def test_two_people_are_two_tracks_and_a_detection_is_used_once():
  other = BOX + [300, 0, 300, 0]
  boxes = [np.stack([BOX, other]) for _ in range(130)]
  boxes[:15] = [other[None]] * 15
  first, second = track(boxes)
  assert (first.start, second.start) == (0, 15)
  np.testing.assert_array_equal(first.boxes, np.tile(other, (130, 1)))
  np.testing.assert_array_equal(second.boxes, np.tile(BOX, (115, 1)))


def test_a_jump_or_a_cut_ends_a_track():
  far = BOX + [90, 0, 90, 0]
  assert overlap(BOX, far) < 0.5
  boxes = np.concatenate([np.tile(BOX, (110, 1)), np.tile(far, (120, 1))])
  spans = [(x.start, x.end) for x in track(boxes)]
  assert spans == [(0, 110), (110, 230)]
  still = np.tile(BOX, (230, 1))
  spans = [(x.start, x.end) for x in track(still, [(0, 105), (105, 230)])]
  assert spans == [(0, 105), (105, 230)]
  answer = track(still, [(0, 99), (99, 180), (180, 230)])
  assert answer.reason is Reason.SHORT_TRACK


def test_overlap_of_known_boxes():
  a = np.array([0.0, 0, 2, 2])
  np.testing.assert_allclose(overlap(a, a), 1)
  np.testing.assert_allclose(overlap(a, a + [1, 0, 1, 0]), 1 / 3)
  assert overlap(a, a + 5) == 0


@pytest.mark.parametrize(
  'boxes',
  [
    np.array([[0.0, 0, np.nan, 5]]),
    np.array([[5.0, 0, 1, 5]]),
    [np.zeros((1, 3))],
    [np.array([[0.0, 0, 1, np.inf]])],
  ],
)
def test_what_is_no_box_is_an_error(boxes):
  with pytest.raises(InputError, match='frame 0'):
    check_detections(boxes)
