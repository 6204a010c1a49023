"""Clips to mark, and what happens to videos on their way."""

import io

import av
import numpy as np
from PIL import Image


def clip(count=12, side=256, seed=0) -> list[np.ndarray]:
  """Something like a talking head: soft noise, edges, and a part that moves."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[0:side, 0:side] / side
  image = np.zeros((side, side, 3))
  for size, strength in ((4, 45), (16, 18), (64, 6)):
    noise = rng.normal(size=(size, size, 3)) * strength
    bands = [Image.fromarray(np.float32(band)) for band in noise.T]
    bands = [band.resize((side, side), Image.BICUBIC) for band in bands]
    image += np.stack(bands, -1)
  image += (110 + 40 * x)[..., None]
  frames = []
  for k in range(count):
    frame = image + rng.normal(size=image.shape)
    cx = 0.5 + 0.03 * np.sin(k / 4)
    head = np.hypot((x - cx) / 0.25, (y - 0.45) / 0.33) < 1
    frame[head] = 0.4 * frame[head] + [110, 80, 65]
    mouth = np.hypot((x - cx) / 0.1, (y - 0.6) / (0.02 + 0.02 * (k % 3))) < 1
    frame[mouth] = 40
    frames.append(np.uint8(np.clip(frame, 0, 255)))
  return frames


def encode(frames, crf=23) -> list[np.ndarray]:
  """Frames through x264 in yuv420p."""
  file = io.BytesIO()
  with av.open(file, 'w', format='mp4') as container:
    options = {'crf': str(crf), 'threads': '1'}
    stream = container.add_stream('libx264', rate=25, options=options)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = 'yuv420p'
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))
      container.mux(stream.encode(picture))
    container.mux(stream.encode(None))
  file.seek(0)
  with av.open(file) as container:
    return [x.to_ndarray(format='rgb24') for x in container.decode(video=0)]


def scale(frames, factor) -> list[np.ndarray]:
  """Frames of another size, of even sides."""
  size = [2 * round(factor * n / 2) for n in frames[0].shape[1::-1]]
  return [
    np.asarray(Image.fromarray(x).resize(size, Image.BICUBIC)) for x in frames
  ]


def crop(frames, part, top, left) -> list[np.ndarray]:
  """Frames without `part` of both sides; `top` and `left` are shares of it."""
  height, width = frames[0].shape[:2]
  rows, columns = (2 * round((1 - part) * n / 2) for n in (height, width))
  top, left = round(top * (height - rows)), round(left * (width - columns))
  return [x[top : top + rows, left : left + columns] for x in frames]


def jpeg(frame, quality) -> np.ndarray:
  """A frame as a JPEG file."""
  file = io.BytesIO()
  Image.fromarray(frame).save(file, 'jpeg', quality=quality)
  return np.asarray(Image.open(file))
