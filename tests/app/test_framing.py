"""Which square of a picture is taken, and how it is shown."""

import numpy as np
import pytest

from mdcf_jax.app import framing
from mdcf_jax.app.framing import MIDDLE, OWN, WHOLE, Framing
from mdcf_jax.errors import InputError
from mdcf_jax.media import face_search, image
from tests.app import samples

BOXES = tuple(
  np.float32(box) for box in ((0.1, 0.3, 0.2, 0.6), (0.6, 0.1, 0.9, 0.9))
)


def test_what_is_usual():
  """As on the command line: the largest face, or a good square as it is."""
  wide, square = samples.picture(200, 100), samples.picture(100, 100)
  assert Framing(wide).usual == MIDDLE
  assert Framing(wide, BOXES).usual == 'Face 2'
  assert Framing(square).usual == WHOLE
  assert Framing(square, (np.float32([0.2, 0.2, 0.8, 0.8]),)).usual == WHOLE
  assert Framing(square, BOXES).usual == 'Face 2'
  assert Framing(wide, BOXES).choices == ['Face 1', 'Face 2', MIDDLE, OWN]


def test_options_are_those_of_the_pipeline():
  found = Framing(samples.picture(200, 100), BOXES)
  assert found.options('Face 2') == dict(crop='auto', face=2)
  assert found.options(MIDDLE) == dict(crop=(50, 0, 100, 100))
  assert found.options(OWN, (20, 10, 50, 50)) == dict(crop=(20, 10, 50, 50))
  for other in ('Face 3', 'Face 0', WHOLE, '../x', ''):
    with pytest.raises(InputError):
      found.options(other)


def test_nobody_is_warned_of_the_middle_that_was_chosen(caplog):
  found = Framing(samples.picture(200, 100))
  crop = found.options(MIDDLE)['crop']
  cut, square = image.crop_square(found.picture, crop, 32)
  assert square == crop and not caplog.records
  other, _ = image.crop_square(found.picture, 'none', 32)
  assert (cut == other).all() and 'centred' in caplog.text


def test_squares():
  found = Framing(samples.picture(200, 100), BOXES)
  assert found.square(MIDDLE) == (50, 0, 100, 100)
  assert found.square('Face 1') == image.square_around(BOXES[0], 200, 100)
  # One's own lies in the picture, as `crop` takes no other.
  for own in ((-50, -50, 60), (190, 90, 60), (0, 0, 999), (5, 5, 0)):
    x, y, side, _ = square = found.square(OWN, (*own, own[-1]))
    assert min(x, y) >= 0 and x + side <= 200 and y + side <= 100
    assert image.crop_square(found.picture, square, 32)[1] == square


def test_a_click_takes_the_face_or_the_place():
  found = Framing(samples.picture(200, 100), BOXES)
  assert found.at(0.7, 0.5, 40)[0] == 'Face 2'
  assert found.at(0.4, 0.5, 40) == (OWN, (60, 30, 40, 40))


def test_the_preview_shows_what_is_used():
  found = Framing(np.full((100, 200, 3), 200, np.uint8), BOXES)
  shown = found.preview(found.square(MIDDLE))
  assert shown.shape == (*found.shown, 3) == (320, 640, 3)
  assert (shown[5, 5] == 80).all() and (shown[50, 300] == 200).all()
  plates = (shown == (255, 200, 0)).all(-1)
  assert plates[:, :160].any() and plates[:, 400:].any()
  # A square that reaches outside is no reason to fail.
  assert found.preview((-50, -60, 300, 300)).shape == shown.shape
  assert found.cut((-50, -60, 300, 300), 32).shape == (32, 32, 3)


@pytest.mark.parametrize('box', [(0.5, 0.5, 0.52, 0.55), (0.98, 0, 1, 0.04)])
def test_the_number_of_a_small_face_can_be_read(box):
  """The page shows 640 pixels as 200 to 300."""
  found = Framing(np.full((400, 400, 3), 200, np.uint8), (np.float32(box),))
  # Without the frame of the square, which has the colour of the plate.
  shown = found.preview((-50, -50, 500, 500))[5:-5, 5:-5]
  rows, columns = np.nonzero((shown == (255, 200, 0)).all(-1))
  assert np.ptp(rows) > 30 and np.ptp(columns) > 20
  digit = shown[rows.min() : rows.max(), columns.min() : columns.max()]
  assert (digit == (20, 20, 20)).all(-1).any()
  # It does not hide the face, unless that is at the top.
  assert rows.max() <= 640 * box[1] or not box[1]


def test_without_mediapipe_the_page_says_so(monkeypatch):
  def missing(_):
    raise InputError('no MediaPipe')

  monkeypatch.setattr(face_search, 'find_boxes', missing)
  found = framing.look(samples.picture(200, 100))
  assert found.usual == MIDDLE and 'not looked for' in found.note
  monkeypatch.setattr(face_search, 'find_boxes', lambda _: list(BOXES))
  found = framing.look(samples.picture(200, 100))
  assert len(found.boxes) == 2 and not found.note


def test_a_picture_without_a_face_is_told(monkeypatch):
  monkeypatch.setattr(face_search, 'find_boxes', lambda _: [])
  found = framing.look(samples.picture(200, 100))
  assert found.usual == MIDDLE and 'No face was found' in found.note
