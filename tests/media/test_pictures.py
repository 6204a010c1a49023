"""Squares and small pictures of frames: the right place, size and colour."""

import fractions

import av
import numpy as np
import pytest
from PIL import Image

from mdcf_jax.media import video
from mdcf_jax.media.pictures import Converter
from tests.media.clips import encode

BOX = 0.25, 0.2, 0.65, 0.9


def picture(width: int = 280, height: int = 160) -> np.ndarray:
  """Smooth colours that are different everywhere."""
  y, x = np.mgrid[:height, :width]
  planes = [
    255 * x / width,
    255 * y / height,
    128 + 80 * np.sin(x / 15) * np.cos(y / 11),
  ]
  return np.stack(planes, axis=-1).astype(np.uint8)


def write(path, image, turn=0, shape=None, **tags):
  """Writes three frames of `image`, with a matrix that turns it."""
  height, width = image.shape[:2]
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=25, options={'crf': '4'})
    stream.width, stream.height = width, height
    stream.pix_fmt = tags.pop('pix_fmt', 'yuv420p')
    if shape is not None:
      stream.codec_context.sample_aspect_ratio = fractions.Fraction(shape)
    for key, value in tags.items():
      setattr(stream.codec_context, key, value)
    for index in range(3):
      frame = av.VideoFrame.from_ndarray(image).reformat(
        format=stream.pix_fmt,
        dst_colorspace=tags.get('colorspace'),
        dst_color_range=tags.get('color_range'),
      )
      frame.pts = index
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  if turn:
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    matrix = np.array([cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 14], '>i4')
    matrix[[0, 1, 3, 4]] <<= 16
    matrix[8] <<= 16
    content = bytearray(path.read_bytes())
    start = content.index(b'tkhd') + 44
    content[start : start + 36] = matrix.tobytes()
    path.write_bytes(content)


def difference(a: np.ndarray, b: np.ndarray) -> float:
  assert a.shape == b.shape
  return float(np.abs(a.astype(float) - b).mean())


def square(image: np.ndarray, box, side: int) -> np.ndarray:
  height, width = image.shape[:2]
  pixels = np.array(box) * [width, height, width, height]
  resized = Image.fromarray(image).resize(
    (side, side), Image.Resampling.LANCZOS, box=tuple(pixels)
  )
  return np.asarray(resized)


@pytest.mark.parametrize('turn', [0, 90, 180, 270])
@pytest.mark.parametrize('shape', [None, '4/3'])
@pytest.mark.parametrize('side', [48, 96])
def test_a_box_is_of_the_upright_picture(tmp_path, turn, shape, side):
  """The same as the whole frame, upright, and cut with Pillow."""
  path = tmp_path / 'a.mp4'
  write(path, picture(), turn, shape)
  whole = next(video.iter_frames(path))
  height, width = whole.shape[:2]
  low = max(width, height)
  box = 0.3, 0.2, 0.3 + 90 / width, 0.2 + 90 / height
  found = next(video.iter_frames(path, resolution=side, box=box))
  # Edges are rounded to two pixels of the 90, and chroma is finer here.
  assert difference(found, square(whole, box, side)) < 4, low
  moved = np.array(box) + 0.1
  assert difference(found, square(whole, moved, side)) > 12


def test_a_box_alone_is_cut_out(tmp_path):
  path = tmp_path / 'a.mp4'
  write(path, picture())
  whole = next(video.iter_frames(path))
  found = next(video.iter_frames(path, box=(40 / 280, 0, 200 / 280, 1)))
  assert found.shape == (160, 160, 3)
  # Half a pixel of chroma.
  assert difference(found, whole[:, 40:200]) < 2


def test_boxes_at_and_over_the_edge():
  frame = av.VideoFrame.from_ndarray(picture()).reformat(format='yuv420p')
  frame.pts, frame.time_base = 0, fractions.Fraction(1, 25)
  for box in [(0, 0, 1, 1), (-0.2, 0.5, 0.5, 1.2), (0.999, 0.99, 1, 1)]:
    assert Converter(32, box)(frame).shape == (32, 32, 3)
  for box in [(0.5, 0, 0.5, 1), (1.2, 0, 1.4, 1), (0, float('nan'), 1, 1)]:
    with pytest.raises(ValueError, match='without area'):
      Converter(32, box)
  with pytest.raises(ValueError, match='no resolution'):
    Converter(32, height=32)


@pytest.mark.parametrize('turn', [0, 90, 180, 270])
@pytest.mark.parametrize('shape', [None, '2'])
def test_small_pictures(tmp_path, turn, shape):
  path = tmp_path / 'a.mp4'
  write(path, picture(), turn, shape)
  whole = next(video.iter_frames(path))
  info = video.probe(path)
  assert (info.height, info.width) == whole.shape[:2]
  found = next(video.iter_frames(path, height=64))
  size = round(64 * whole.shape[1] / whole.shape[0]), 64
  expected = np.asarray(Image.fromarray(whole).resize(size, Image.BOX))
  assert difference(found, expected) < 4
  assert next(video.iter_frames(path, height=4000)).shape == whole.shape


@pytest.mark.parametrize(
  ('tags', 'pix_fmt'),
  [
    ({}, 'yuv420p'),
    ({'colorspace': 1}, 'yuv420p'),  # BT.709
    ({'color_range': 2}, 'yuv420p'),  # Full range.
    ({'colorspace': 1, 'color_range': 2}, 'yuv444p'),
    ({}, 'yuv420p10le'),
  ],
)
def test_colours_are_those_of_whole_frames(tmp_path, tags, pix_fmt):
  """Whatever the file says of its colours."""
  path = tmp_path / 'a.mp4'
  flat = np.zeros((64, 64, 3), np.uint8)
  flat[:, :32], flat[:, 32:] = (200, 60, 30), (30, 90, 220)
  write(path, flat, pix_fmt=pix_fmt, **tags)
  whole = next(video.iter_frames(path))
  assert difference(whole, flat) < 4
  found = next(video.iter_frames(path, box=(0, 0, 1, 1), resolution=32))
  for side in (slice(4, 12), slice(20, 28)):
    colour = whole[8:-8, 2 * side.start : 2 * side.stop].mean((0, 1))
    assert np.abs(found[4:-4, side].mean((0, 1)) - colour).max() < 3
  found = next(video.iter_frames(path, height=32))
  assert np.abs(found[:, 4:12].mean((0, 1)) - whole[0, 8]).max() < 3


def test_a_stream_that_changes_its_size():
  """Boxes are parts of the picture, whatever its size."""
  convert = Converter(32, (0, 0, 0.5, 0.5))
  found = []
  for size in (160, 320, 160):
    image = np.asarray(Image.fromarray(picture(160, 160)).resize((size, size)))
    frame = av.VideoFrame.from_ndarray(image).reformat(format='yuv420p')
    frame.pts, frame.time_base = 0, fractions.Fraction(1, 25)
    found.append(convert(frame))
  assert difference(found[0], found[1]) < 4
  np.testing.assert_array_equal(found[0], found[2])


def test_repeated_frames_are_arrays_of_their_own(tmp_path):
  path = tmp_path / 'a.mp4'
  images = [np.full((32, 32, 3), 20 * i + 30, np.uint8) for i in range(4)]
  encode(path, images, range(4), fractions.Fraction(1, 5))
  frames = []
  for frame in video.iter_frames(path, box=(0, 0, 1, 1), resolution=16):
    frames.append(int(frame.mean()))
    frame[:] = 0
  assert len(frames) == 20 and min(frames) > 25
