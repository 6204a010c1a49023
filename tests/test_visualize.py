"""Pictures of motion."""

import numpy as np
import pytest

from mdcf_jax import visualize


def test_directions_have_the_colours_of_the_wheel():
  wheel = visualize.color_wheel()
  assert wheel.shape == (55, 3)
  right, still = visualize.flow_to_color(np.array([[[1.0, 0], [0, 0]]]))[0]
  np.testing.assert_array_equal(right, [255, 0, 0])
  np.testing.assert_array_equal(still, [255, 255, 255])
  down, left, up = visualize.flow_to_color(
    np.array([[[0, 1.0], [-1, 0], [0, -1]]])
  )[0]
  # Positions 13.75, 27.5 and 41.25 of 55: orange-yellow, cyan-blue, violet.
  assert down[0] == 255 and down[1] > 200 and down[2] == 0
  assert left[0] == 0 and left[2] == 255
  assert up[2] == 255 and up[0] > 80 and up[1] == 0


def test_the_wheel_has_no_seam():
  angle = np.linspace(0, 2 * np.pi, 721)
  flow = np.stack([np.cos(angle), np.sin(angle)], -1)[None]
  color = visualize.flow_to_color(flow, 1.0001).astype(int)
  # The steepest arc has 4 steps of 55: half a degree moves a channel by 5.
  assert np.abs(np.diff(color, axis=1)).max() <= 6


def test_long_and_broken_vectors():
  flow = np.array([[[2.0, 0], [np.nan, 0]]])
  long, broken = visualize.flow_to_color(flow, max_length=1.0)[0]
  np.testing.assert_array_equal(long, [191, 0, 0])
  np.testing.assert_array_equal(broken, [0, 0, 0])


def test_occlusion_is_grey():
  gray = visualize.occlusion_to_gray(np.array([[[0.0], [0.5], [2.0]]]))
  assert gray.shape == (1, 3, 3)
  np.testing.assert_array_equal(gray[0, :, 0], [0, 128, 255])


def test_uint8_there_and_back():
  image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
  there = visualize.from_uint8(image)
  assert there.min() == -1 and there.max() == 1
  np.testing.assert_array_equal(visualize.to_uint8(there), image)


def test_panels_share_one_size():
  big = np.zeros((8, 6, 3), np.uint8)
  small = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
  row = visualize.side_by_side([big, small], gap=2)
  assert row.shape == (8, 14, 3)
  np.testing.assert_array_equal(row[0, 8], small[0, 0])
  np.testing.assert_array_equal(row[-1, -1], small[1, 1])
  assert visualize.side_by_side([big[None], big[None]]).shape == (1, 8, 12, 3)


def test_grid_of_uneven_rows():
  panel = np.zeros((8, 6, 3), np.uint8)
  picture = visualize.grid([[panel, panel], [panel]], gap=2)
  assert picture.shape == (18, 14, 3)
  assert picture[-1, -1, 0] == 255  # White where a panel is missing.


def test_panels_must_be_uint8():
  with pytest.raises(ValueError, match='float32'):
    visualize.side_by_side([np.zeros((2, 2, 3), np.float32)])
