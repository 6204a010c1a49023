"""Faces of a picture of any size, near and far.

The landmarker looks at a picture of 128 pixels, in which a face has to be about
a quarter as high as the picture. So the picture is looked at as a whole, and
through smaller and smaller windows that overlap by half.
"""

import os
from collections.abc import Iterator

import numpy as np

from mdcf_jax.media.faces import overlap
from mdcf_jax.media.landmarker import Landmarker

Window = tuple[int, int, int, int]

_MAX_FACES = 16  # In one window.
_LEVELS = 3  # Windows as high as the picture, a half, and a quarter.
_MIN_WINDOW = 96  # Pixels; a face in it would have no detail.
_SAME = 0.3  # Overlap of two boxes of one face.
_MARGIN = 0.02  # A face so near to a window's side goes on beyond it.


def find_boxes(
  image: np.ndarray, model_path: str | os.PathLike | None = None
) -> list[np.ndarray]:
  """Finds the faces of `image [H, W, 3]` uint8, from left to right.

  Whoever numbers faces does so in this order, from 1: by the middles of boxes.

  Returns:
    `[4]` float32 each: (x0, y0, x1, y1) in [0, 1] of the image.

  Raises:
    InputError: MediaPipe or its model is missing.
  """
  height, width = image.shape[:2]
  found: list[np.ndarray] = []
  with Landmarker(model_path, _MAX_FACES) as landmarker:
    # Large windows first: there a face is seen as a whole.
    for x, y, w, h in _windows(width, height):
      part = np.ascontiguousarray(image[y : y + h, x : x + w])
      for points, _ in landmarker(part):
        box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])
        inner = np.array([x > 0, y > 0, x + w < width, y + h < height])
        distance = np.concatenate([box[:2], 1 - box[2:]])
        if (distance < _MARGIN)[inner].any():
          continue
        box = box * [w, h, w, h] + [x, y, x, y]
        box = np.clip(box / [width, height, width, height], 0, 1)
        if all(overlap(box, other) < _SAME for other in found):
          found.append(box.astype(np.float32))
  return sorted(found, key=lambda box: float(box[0] + box[2]))


def largest(boxes: list[np.ndarray]) -> np.ndarray:
  """The box of the largest area."""
  return max(boxes, key=lambda box: float(np.prod(box[2:] - box[:2])))


def _windows(width: int, height: int) -> Iterator[Window]:
  """Yields (x, y, w, h) in pixels, the whole picture first."""
  yield 0, 0, width, height
  for level in range(_LEVELS):
    side = min(width, height) >> level
    if side < _MIN_WINDOW:
      return
    for y in _starts(height, side):
      for x in _starts(width, side):
        if (side, side) != (width, height):
          yield x, y, side, side


def _starts(size: int, side: int) -> list[int]:
  """Where windows begin, so that neighbours share at least a half."""
  count = max(1, -(-2 * (size - side) // side) + 1)
  return [round(start) for start in np.linspace(0, size - side, count)]
