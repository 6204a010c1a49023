"""Squares of the mouth's surroundings that SyncNet looks at.

`exact_places` are those of github.com/joonson/syncnet_python, run_pipeline.py:
they follow the face. `fixed_place` is one for the whole clip; given the same
box, a true clip and a generated one are cut alike and nothing of the detector
is in the score. Scores of the two are not to be compared with each other.

The geometry is the same for both. From a box of half size s about (x, y), rows
from y - s to y + 1.8 s and columns from x - 1.4 s to x + 1.4 s are cut, grey
(110) where they leave the picture, and resized to 224 pixels as OpenCV does it.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.metrics import cv2_resize
from mdcf_jax.metrics.face_tracks import Detections, Track
from mdcf_jax.metrics.no_score import NoScore, Reason

SIZE = 224
SCALE = 0.4  # Of the box's half size, added around it.
PADDING = 110  # Grey outside of the picture.
MEDIAN = 13  # Frames.
_LARGEST = 4  # Times the picture's longer side: a larger box is a mistake.


def median_filter(x: np.ndarray, width: int = MEDIAN) -> np.ndarray:
  """Running median of `[T]`; beyond the ends there are zeros.

  So near an end a median is drawn towards the smallest values: as in
  `scipy.signal.medfilt`, which the public code uses.
  """
  padded = np.pad(np.asarray(x, np.float64), width // 2)
  windows = np.lib.stride_tricks.sliding_window_view(padded, width)
  return np.sort(windows, axis=1)[:, width // 2]


def exact_places(track: Track) -> np.ndarray:
  """Smoothed (x, y, s) `[L, 3]` of a track: centre and half size in pixels."""
  return np.stack([median_filter(x) for x in _places(track.boxes).T], axis=1)


def fixed_place(detections: Detections) -> np.ndarray | NoScore:
  """One (x, y, s) `[3]` for a clip: of the median box of all its frames.

  Of frames with several boxes the largest counts.
  """
  found = [
    boxes[np.argmax(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))]
    for boxes in detections
    if len(boxes)
  ]
  if not found:
    return NoScore(Reason.NO_FACE, f'in {len(detections)} frames')
  return _places(np.median(found, axis=0))


def _places(boxes: np.ndarray) -> np.ndarray:
  """(x, y, s) `[..., 3]` of boxes `[..., 4]`."""
  low, high = boxes[..., :2], boxes[..., 2:]
  half = np.max(high - low, axis=-1, keepdims=True) / 2
  return np.concatenate([(low + high) / 2, half], axis=-1)


def cut_square(frame: np.ndarray, place: Sequence[float]) -> np.ndarray | None:
  """Cuts the surroundings of one box.

  Args:
    frame: `[H, W, 3]` uint8.
    place: centre (x, y) and half size of the box, in pixels.

  Returns:
    `[h, w, 3]` uint8, h and w about 2.8 s; None when the box lies so far
    outside that the public code has no picture for it.

  Raises:
    InputError: the box is much larger than the picture.
  """
  height, width = frame.shape[:2]
  x, y, half = (float(v) for v in place)
  if not half <= _LARGEST * max(height, width):
    raise InputError(
      f'a face of {2 * half:.0f} pixels in a picture of {width} x {height}'
    )
  # Numbers are cut to whole ones in the padded picture, as in the original.
  pad = int(half * (1 + 2 * SCALE))
  x, y = x + pad, y + pad
  top, bottom = int(y - half), int(y + half * (1 + 2 * SCALE))
  left, right = int(x - half * (1 + SCALE)), int(x + half * (1 + SCALE))
  bottom, right = min(bottom, height + 2 * pad), min(right, width + 2 * pad)
  if min(top, left) < 0 or bottom <= top or right <= left:
    return None
  square = np.full((bottom - top, right - left, 3), PADDING, np.uint8)
  rows = slice(max(top, pad), min(bottom, pad + height))
  columns = slice(max(left, pad), min(right, pad + width))
  if rows.start < rows.stop and columns.start < columns.stop:
    square[
      rows.start - top : rows.stop - top,
      columns.start - left : columns.stop - left,
    ] = frame[
      rows.start - pad : rows.stop - pad,
      columns.start - pad : columns.stop - pad,
    ]
  return square


def crop(
  frames: Iterable[np.ndarray], places: Iterable[Sequence[float]]
) -> np.ndarray | NoScore:
  """Cuts and resizes the square of every frame.

  Args:
    frames: L pictures `[H, W, 3]` uint8.
    places: L times (x, y, s), see `cut_square`.

  Returns:
    `[L, 224, 224, 3]` uint8, colours in the order of `frames`; or that a face
    is outside of the picture.

  Raises:
    InputError: as `cut_square`.
  """
  crops = []
  for index, (frame, place) in enumerate(zip(frames, places, strict=True)):
    square = cut_square(frame, place)
    if square is None:
      x, y, half = place
      return NoScore(
        Reason.OUTSIDE,
        f'frame {index}: {2 * half:.0f} pixels at ({x:.0f}, {y:.0f})',
      )
    crops.append(cv2_resize.resize(square, (SIZE, SIZE)))
  return np.stack(crops)
