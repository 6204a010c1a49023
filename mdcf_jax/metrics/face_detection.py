"""Boxes of faces by S3FD, as the public evaluation of lip sync finds them.

The steps of github.com/joonson/syncnet_python, detectors/s3fd: the picture at a
quarter of its size, confidence above 0.9, and non-maximum suppression twice, as
there (0.3 among all boxes, then 0.1 among those that are left).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.metrics import cv2_resize
from mdcf_jax.metrics.face_tracks import overlap
from mdcf_jax.models.s3fd import S3FD, SIZES, STEPS

MEAN = (123.0, 117.0, 104.0)  # RGB.
SCALE, CONFIDENCE = 0.25, 0.9
MAX_CANDIDATES, MAX_BOXES = 5000, 750
_OVERLAPS = (0.3, 0.1)
_VARIANCES = (0.1, 0.2)  # Units of the offsets.
_SMALLEST = 28  # Pixels of a side that the network needs.

# Frames `[H, W, 3]` uint8 RGB to boxes `[n, 5]` of each: x0, y0, x1, y1 in
# pixels, and the confidence.
Detector = Callable[[Iterable[np.ndarray]], list[np.ndarray]]


def decode(
  outputs: Sequence[tuple[np.ndarray, np.ndarray]], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
  """Turns the outputs for one picture into boxes.

  Args:
    outputs: of `S3FD`, without the batch's axis: of each grid, scores
      `[h, w, 2]` and offsets `[h, w, 4]`.
    size: height and width of the picture that the network saw.

  Returns:
    Boxes `[N, 4]`, (x0, y0, x1, y1) in [0, 1] of the picture, which may reach
    outside, and confidences `[N]` in [0, 1].
  """
  boxes, confidences = [], []
  whole = np.array([size[1], size[0]], np.float64)
  for (scores, offsets), step, side in zip(outputs, STEPS, SIZES):
    scores, offsets = (np.asarray(x, np.float64) for x in (scores, offsets))
    rows, columns = np.indices(scores.shape[:2])
    places = (np.stack([columns, rows], axis=-1) + 0.5) * step / whole
    sides = side / whole
    middle = places + _VARIANCES[0] * offsets[..., :2] * sides
    with np.errstate(over='ignore'):  # Of weights that are no good.
      sides = sides * np.exp(_VARIANCES[1] * offsets[..., 2:])
    low = middle - sides / 2
    boxes.append(np.concatenate([low, low + sides], axis=-1).reshape(-1, 4))
    difference = scores[..., 0] - scores[..., 1]
    with np.errstate(over='ignore'):  # Infinity is a confidence of zero.
      confidences.append((1 / (1 + np.exp(difference))).ravel())
  return np.concatenate(boxes), np.concatenate(confidences)


def suppress(
  boxes: np.ndarray, confidences: np.ndarray, max_overlap: float
) -> np.ndarray:
  """Non-maximum suppression: drops boxes that share much with a better one.

  Args:
    boxes: `[N, 4]`.
    confidences: `[N]`.
    max_overlap: intersection over union up to which both are kept.

  Returns:
    Indices of the kept boxes, the most confident first.
  """
  left, kept = np.argsort(-confidences, kind='stable'), []
  while len(left):
    best, left = left[0], left[1:]
    kept.append(best)
    left = left[overlap(boxes[left], boxes[best]) <= max_overlap]
  return np.array(kept, np.int64)


def select(
  boxes: np.ndarray, confidences: np.ndarray, threshold: float = CONFIDENCE
) -> np.ndarray:
  """Returns the faces among the boxes of a picture.

  Args:
    boxes: `[N, 4]`.
    confidences: `[N]`.
    threshold: confidence that a face has more than.

  Returns:
    `[n, 5]`, boxes and confidences, the most confident first.
  """
  # A box of less confidence never drops one of more.
  sure = np.flatnonzero(confidences > threshold)
  sure = sure[np.argsort(-confidences[sure], kind='stable')[:MAX_CANDIDATES]]
  for max_overlap in _OVERLAPS:
    kept = suppress(boxes[sure], confidences[sure], max_overlap)
    sure = sure[kept[:MAX_BOXES]]
  return np.concatenate([boxes[sure], confidences[sure, None]], axis=1)


def s3fd_detector(
  variables: Mapping[str, Any], batch_size: int = 8, scale: float = SCALE
) -> Detector:
  """Returns S3FD as a function of frames.

  It is compiled once for every size of pictures. The detector raises InputError
  for frames that differ in size, are no pictures, or are too small.

  Args:
    variables: of `S3FD`, as `convert.s3fd` makes them of public weights.
    batch_size: frames at a time; the last batch is completed with zeros.
    scale: size of the picture that the network sees over that of the frame.
  """
  variables = jax.device_put(variables)

  @jax.jit
  def network(variables, images):
    images = images.astype(jnp.float32) - jnp.array(MEAN)
    return S3FD().apply(variables, images)

  def flush(waiting, size):
    images = np.zeros((batch_size, *waiting[0].shape), np.uint8)
    images[: len(waiting)] = waiting
    outputs = [
      tuple(np.asarray(x) for x in grid) for grid in network(variables, images)
    ]
    found = []
    for i in range(len(waiting)):
      boxes, confidences = decode(
        [(scores[i], offsets[i]) for scores, offsets in outputs],
        images.shape[1:3],
      )
      if not (np.isfinite(boxes).all() and np.isfinite(confidences).all()):
        raise InputError('outputs are not finite; the weights may be damaged')
      faces = select(boxes, confidences)
      faces[:, :4] *= [size[1], size[0], size[1], size[0]]
      found.append(faces)
    return found

  def detect(frames):
    found, waiting, size = [], [], None
    for frame in frames:
      size = _check(np.asarray(frame), size, scale)
      small = tuple(cv2_resize.scaled_size(x, scale) for x in size)
      waiting.append(cv2_resize.resize(frame, small, (1 / scale, 1 / scale)))
      if len(waiting) == batch_size:
        found += flush(waiting, size)
        waiting = []
    return found + flush(waiting, size) if waiting else found

  return detect


def _check(frame, size, scale) -> tuple[int, int]:
  """The frame's height and width, if they are `size` and large enough."""
  if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
    raise InputError(f'frame: {frame.dtype} {frame.shape}, not uint8 [H, W, 3]')
  if size is not None and frame.shape[:2] != size:
    raise InputError(f'frames differ in size: {size} and {frame.shape[:2]}')
  if min(frame.shape[:2]) * scale < _SMALLEST:
    raise InputError(
      f'frames of {frame.shape[1]} x {frame.shape[0]} are too small: at '
      f'{scale:g} of that a side has less than {_SMALLEST} pixels'
    )
  return frame.shape[:2]
