"""OpenCV's resize of 8-bit pictures, without OpenCV.

The public evaluations of lip sync were run on crops of `cv2.resize` with its
default, INTER_LINEAR: pixel centres at halves, no antialiasing, edges repeated,
and whole numbers with weights of eleven bits, so that the result is exact here
and not merely near (OpenCV's own builds may differ in the last bit where they
use another path).
"""

import numpy as np

_ONE = 2048  # A weight of one.


def resize(
  image: np.ndarray,
  size: tuple[int, int],
  scale: tuple[float, float] | None = None,
) -> np.ndarray:
  """Resizes a picture.

  Args:
    image: `[H, W, C]` uint8, at least one pixel.
    size: new height and width.
    scale: old pixels to one new pixel, along H and W; by default the quotient
      of the sizes. OpenCV differs from that where it is given `fx` and `fy`.

  Returns:
    `[*size, C]` uint8.

  Raises:
    ValueError: it is no such picture.
  """
  image = np.asarray(image)
  if image.dtype != np.uint8 or image.ndim != 3 or not image.size:
    raise ValueError(f'{image.dtype} {image.shape} is not uint8 [H, W, C]')
  height, width = image.shape[:2]
  if scale is None:
    scale = height / size[0], width / size[1]
  left, share = _taps(size[1], scale[1])
  # Beyond the edge the nearest column counts alone; rows keep two weights.
  share[(left < 0) | (left >= width - 1)] = 0
  columns, (near, far) = _clip(left, width), _weights(share)
  lines = (
    image[:, columns[0]] * near[:, None] + image[:, columns[1]] * (far[:, None])
  )
  top, share = _taps(size[0], scale[0])
  rows, (near, far) = _clip(top, height), _weights(share)
  lines >>= 4
  sums = ((near[:, None, None] * lines[rows[0]]) >> 16) + (
    (far[:, None, None] * lines[rows[1]]) >> 16
  )
  return ((sums + 2) >> 2).astype(np.uint8)


def scaled_size(size: int, factor: float) -> int:
  """The side that OpenCV gives to `size` pixels at `fx` = `factor`."""
  return int(np.rint(size * factor))


def _taps(new: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
  """Index before each new pixel's centre, and how far behind it that lies."""
  place = ((np.arange(new) + 0.5) * scale - 0.5).astype(np.float32)
  before = np.floor(place)
  return before.astype(np.int64), place - before


def _clip(before: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
  return np.clip(before, 0, size - 1), np.clip(before + 1, 0, size - 1)


def _weights(share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  one = np.float32(1)
  return tuple(
    np.rint(x * np.float32(_ONE)).astype(np.int32) for x in (one - share, share)
  )
