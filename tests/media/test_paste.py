"""Animated crops in their pictures: what stays, and where they fade."""

import numpy as np
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.media import image, paste

# (height, width) of a picture, and the square: inside, over each border, over
# all of them, and the whole.
PLACES = {
  'inside': ((90, 120), (30, 20, 50, 50)),
  'left-top': ((90, 120), (-20, -10, 64, 64)),
  'right-bottom': ((90, 120), (80, 50, 70, 70)),
  'larger': ((60, 80), (-10, -20, 100, 100)),
  'whole': ((64, 64), (0, 0, 64, 64)),
}


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
  """A picture without detail, `[H, W, 3]` uint8 around 128."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:height, :width] / 40
  waves = rng.uniform(0.5, 1.5, (3, 2))
  values = [np.sin(a * x) + np.cos(b * y) for a, b in waves]
  return np.round(128 + 40 * np.stack(values, -1)).astype(np.uint8)


def make(place: str, resolution: int = 64):
  size, square = PLACES[place]
  picture = smooth(*size)
  frame = image.cut_square(picture, square, resolution)
  return picture, frame, paste.Paste(picture, square)


@pytest.mark.parametrize('place', PLACES)
def test_what_does_not_move_is_the_picture(place):
  """Exactly where the mask is 0; where it is not, up to two resizes."""
  picture, frame, put = make(place)
  result = put(frame)
  assert result.shape == picture.shape and result.dtype == np.uint8
  apart = np.abs(result.astype(int) - picture)
  outside = np.ones(picture.shape[:2], bool)
  outside[put.inside] = put.mask == 0
  assert (apart[outside] == 0).all()
  assert apart.max() <= 3
  # It can be seen that something was pasted.
  other = put(255 - frame)
  assert (other != picture).any(-1).mean() > 0.9 * (put.mask > 0.5).mean() / 9


def test_a_crop_of_the_same_size_comes_back_to_the_bit():
  picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
  square = 30, 20, 50, 50
  put = paste.Paste(picture, square)
  frame = image.cut_square(picture, square, 50)
  np.testing.assert_array_equal(put(frame), picture)


def test_frames_fade_at_borders_inside_the_picture_only():
  _, _, put = make('inside')
  assert put.mask.shape == (50, 50)
  assert put.mask[[0, -1]].max() < 0.03 and put.mask[:, [0, -1]].max() < 0.03
  assert put.mask[25, 25] == 1
  _, _, put = make('left-top')
  assert put.mask[0, 0] == 1 and put.mask[-1].max() < 0.03
  for place in ('larger', 'whole'):
    assert (make(place)[2].mask == 1).all()


def test_frames_are_in_their_place():
  """A bright spot of the crop is where it was in the picture."""
  for place in PLACES:
    size, square = PLACES[place]
    picture = np.zeros((*size, 3), np.uint8)
    picture[52:56, 40:44] = picture[60:64, 60:64] = 255
    put = paste.Paste(picture, square)
    result = put(image.cut_square(picture, square, 256)).astype(int)
    if place == 'right-bottom':  # There the mask is 0.
      assert result[53, 41, 0] == 255
      continue
    assert result[53:55, 41:43].min() > 200, place
    assert result[44:50, 40:44].max() < 30, place


@pytest.mark.parametrize('place', ['inside', 'left-top', 'right-bottom'])
def test_a_tint_leaves_no_seam(place):
  """A frame that is brighter as a whole takes the picture's colours."""
  picture, frame, put = make(place)
  tinted = np.clip(frame.astype(int) + [12, -8, 5], 0, 255).astype(np.uint8)
  apart = np.abs(put(tinted).astype(int) - picture)
  assert apart.max() <= 4  # Without the membrane it is 12.


def test_what_moves_over_the_border_does_not_colour_the_face():
  picture, frame, put = make('inside')
  crossed = frame.copy()
  crossed[:, -6:] = 255
  apart = np.abs(put(crossed).astype(int) - put(frame))[put.inside]
  assert apart[25, 25].max() < 8


@pytest.mark.parametrize('size', [(91, 121), (91, 120), (90, 121)])
def test_odd_sides_lose_a_pixel(size):
  picture = smooth(*size)
  put = paste.Paste(picture, (0, 0, 60, 60))
  assert put.size == (90, 120)
  result = put(image.cut_square(picture, (0, 0, 60, 60), 64))
  assert result.shape == (90, 120, 3)
  np.testing.assert_array_equal(result[70:], picture[70:90, :120])


def test_large_pictures_are_made_smaller(monkeypatch, caplog):
  monkeypatch.setattr(paste, 'MAX_SIDE', 64)
  picture = smooth(90, 120)
  square = 31, 21, 47, 47
  put = paste.Paste(picture, square)
  assert put.size == (48, 64) and 'made smaller, 64 x 48' in caplog.text
  result = put(image.cut_square(picture, square, 64))
  still = paste._resize(picture, 64 / 120)
  # Resized in another order.
  assert np.abs(result.astype(int) - still).max() <= 4
  monkeypatch.setattr(paste, 'MAX_PIXELS', 1000)
  assert np.prod(paste.Paste(picture, square).size) <= 1000
  with pytest.raises(InputError, match='long and thin'):
    paste.Paste(smooth(16, 120), (0, 0, 16, 16))


def test_a_picture_is_not_changed():
  picture, frame, put = make('inside')
  before = picture.copy()
  first, second = put(255 - frame), put(frame)
  np.testing.assert_array_equal(picture, before)
  np.testing.assert_array_equal(put(frame), second)
  assert (first != second).any()
