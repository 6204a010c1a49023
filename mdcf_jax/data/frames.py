"""JPEG frames to pixels in [-1, 1]: cut, resized, mirrored, recoloured.

Most of a sample's time goes here. A frame stays 8 bits, in Pillow, until it has
its size; then each pixel is written once, to where it stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mdcf_jax.data import records

WHOLE = (0.0, 0.0, 1.0, 1.0)
Colors = tuple[np.ndarray, np.ndarray]


def load_frames(
  record: Mapping[str, Any],
  indices: Sequence[int],
  resolution: int,
  crop: Sequence[float] = WHOLE,
  *,
  flip: bool = False,
  colors: Colors | None = None,
) -> np.ndarray:
  """Decodes frames of a clip, each file once.

  Args:
    record: the clip.
    indices: N numbers of frames.
    resolution: R.
    crop: of `resize`.
    flip: mirror them.
    colors: of `random_colors`; None changes nothing.

  Returns:
    float32 `[N, R, R, 3]` in [-1, 1].
  """
  wanted = int(np.ceil(resolution / (crop[2] - crop[0])))
  output = np.empty((len(indices), resolution, resolution, 3), np.float32)
  change = _change(resolution, colors)
  first: dict[int, int] = {}  # Where each frame is in the output.
  for place, index in enumerate(indices):
    if first.setdefault(index, place) != place:
      output[place] = output[first[index]]
      continue
    image = records.open_jpeg(record['frames'][index], wanted)
    image = resize(image, resolution, crop)
    if flip:
      image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    rows = output[place].reshape(resolution, -1)
    np.copyto(rows, np.asarray(image).reshape(resolution, -1))
    rows *= change[0]
    rows += change[1]
    if colors is not None:
      np.clip(rows, -1.0, 1.0, out=rows)
  return output


def _change(width: int, colors: Colors | None) -> tuple[np.ndarray, np.ndarray]:
  """Factor and summand of a row of 8-bit pixels, `[3 * width]` each.

  Of all colours, because broadcasting over 3 is slow.
  """
  one = np.ones(3, np.float32)
  gain, offset = (one, 0 * one) if colors is None else colors
  scale, shift = gain * np.float32(2 / 255), offset - gain
  return np.tile(scale, width), np.tile(shift, width)


def resize(
  image: Image.Image, resolution: int, crop: Sequence[float] = WHOLE
) -> Image.Image:
  """Resizes a crop of an image to a square.

  Args:
    image: RGB of any size.
    resolution: side of the result.
    crop: box of the image in [0, 1]; its edges need not fall on pixels.
  """
  size = (resolution, resolution)
  if image.size == size and tuple(crop) == WHOLE:
    return image
  box = tuple(float(v) for v in np.asarray(crop) * (*image.size, *image.size))
  # Pillow's filters widen with the reduction, so nothing aliases. BOX is
  # exact and fast for whole factors; else BILINEAR, which is smoother.
  factor = (box[2] - box[0]) / resolution
  whole = factor >= 2 and abs(factor - round(factor)) < 1e-6
  method = Image.Resampling.BOX if whole else Image.Resampling.BILINEAR
  return image.resize(size, method, box)


def random_colors(rng: np.random.Generator, strength: float) -> Colors:
  """Draws gain and offset per colour, `[3]` each, of pixels in [-1, 1]."""
  brightness, contrast = rng.uniform(-strength, strength, 2)
  tint = rng.uniform(-strength / 2, strength / 2, 3)
  gain = (1 + contrast) * (1 + tint)
  return gain.astype(np.float32), np.full(3, brightness, np.float32)
