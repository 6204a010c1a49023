"""Pixels of frames: as stored, and as cut, mirrored and recoloured."""

import io

import numpy as np
import pytest
from PIL import Image

from mdcf_jax.data import frames, records, synthetic, talking_head


@pytest.fixture(scope='module')
def record():
  return synthetic.make_clip(0, 20, 64)


def test_decoded_frames_are_those_stored(record):
  head = synthetic.make_identity(0)
  state, _ = synthetic.make_motion(0, 20, head.pitch_hz)
  drawn = talking_head.render(head, state, 64)
  loaded = frames.load_frames(record, range(20), 64)
  assert loaded.dtype == np.float32 and np.abs(loaded).max() <= 1
  # JPEG at quality 95: a few of 255 levels.
  assert np.abs((loaded + 1) * 127.5 - drawn).mean() < 2


@pytest.mark.parametrize('size', [16, 32, 48])
def test_resize_keeps_the_mean(size):
  image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  reduced = np.asarray(frames.resize(Image.fromarray(image), size))
  assert reduced.shape == (size, size, 3)
  assert abs(reduced.mean() - image.mean()) < 2  # Rounding, and the borders.


def test_the_whole_at_its_size_is_the_file(record):
  loaded = frames.load_frames(record, [3, 0, 3], 64)
  for place, index in enumerate((3, 0, 3)):
    stored = records.decode_jpeg(record['frames'][index])
    expected = stored.astype(np.float64) / 127.5 - 1
    # float32 of numbers up to 1.
    np.testing.assert_allclose(loaded[place], expected, atol=2e-7)


@pytest.mark.parametrize('crop', [frames.WHOLE, (0.1, 0.2, 0.7, 0.8)])
def test_mirrored_frames_are_mirrored(record, crop):
  plain = frames.load_frames(record, [1, 2], 32, crop)
  mirrored = frames.load_frames(record, [1, 2], 32, crop, flip=True)
  np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


def test_colours_are_changed_as_said(record):
  plain = frames.load_frames(record, [5], 64)
  colors = np.float32([1.5, 1, 0.8]), np.float32([0.4, 0.4, 0.4])
  gain, offset = colors
  changed = frames.load_frames(record, [5], 64, colors=colors)
  expected = np.clip(plain * gain + offset, -1, 1)
  # One product less: float32 rounding.
  np.testing.assert_allclose(changed, expected, atol=1e-6)
  assert changed.max() == 1  # The limit is met.


def test_no_strength_is_no_change(record):
  colors = frames.random_colors(np.random.default_rng(0), 0.0)
  np.testing.assert_allclose(
    frames.load_frames(record, [5], 64, colors=colors),
    frames.load_frames(record, [5], 64),
    atol=1e-7,
  )


def test_large_frames_are_reduced_by_the_decoder():
  image = np.zeros((128, 128, 3), np.uint8)
  image[:, 64:] = 200
  record = {'frames': [records.encode_jpeg(image)]}
  assert records.open_jpeg(record['frames'][0], 32).size == (32, 32)
  small = frames.load_frames(record, [0], 32)
  assert small[0, :, :14].max() < -0.95
  assert abs(small[0, :, 18:].mean() - (200 / 127.5 - 1)) < 0.02


def test_grey_files_have_three_colours():
  grey = Image.fromarray(np.full((32, 32), 77, np.uint8))
  buffer = io.BytesIO()
  grey.save(buffer, 'JPEG')
  loaded = frames.load_frames({'frames': [buffer.getvalue()]}, [0], 32)
  assert loaded.shape == (1, 32, 32, 3) and np.ptp(loaded) == 0
