"""Faces in pictures: landmarks, head pose, blink, and boxes.

MediaPipe's Face Landmarker does the work, see `landmarker`. Every frame is
looked at on its own and nothing is smoothed, so a frame's numbers do not
depend on where a clip was cut; what was not seen, or cannot be true, is filled
from the frames around it.
"""

import dataclasses
import logging
import os
from collections.abc import Iterable

import numpy as np

from mdcf_jax.errors import InputError, NoFace
from mdcf_jax.media.landmarker import (
  MAX_FACES,
  MODEL_NAME,
  Landmarker,
  find_model,
)

__all__ = [
  'DEFAULT_BLINK',
  'DEFAULT_FACE_BOX',
  'DEFAULT_POSE',
  'FaceTrack',
  'GUIDE_LANDMARKS',
  'MODEL_NAME',
  'detect_faces',
  'find_model',
  'guide_points',
  'locate_face',
  'openness',
  'overlap',
  'prominence',
  'track_faces',
]

logger = logging.getLogger(__name__)

# Landmarks of MediaPipe's face mesh: inner upper and lower lip, the corners of
# the mouth, the chin, both upper eyelids, the tip of the nose.
GUIDE_LANDMARKS = (13, 14, 61, 291, 152, 159, 386, 1)

# What is assumed of a portrait in which no face was seen.
DEFAULT_POSE = (0.0, 0.0, 0.0, 0.0, 0.05, float(np.log(0.6)))
DEFAULT_BLINK = (0.3, 0.3)
DEFAULT_FACE_BOX = (0.2, 0.15, 0.8, 0.9)

# Outer corner, inner corner, two points of the upper lid and, below them, two
# of the lower lid. Left and right are the person's.
_EYES = (
  (263, 362, 387, 385, 373, 380),
  (33, 133, 160, 158, 144, 153),
)
_LIPS = (61, 291, 0, 17, 37, 267, 84, 314, 40, 270, 91, 321, 39, 269, 181, 405)
_LIPS += (185, 409, 146, 375, 13, 14)
_FOREHEAD, _CHIN = 10, 152

# Landmarks 10 and 152 of the canonical face, in cm, and the focal length in
# image heights of the camera (63 degrees) behind MediaPipe's face matrices.
_CANONICAL_ENDS = np.array(
  [[0.0, 8.261778, 4.481535], [0.0, -9.403378, 4.264492]]
)
_FOCAL = 0.5 / np.tan(np.deg2rad(63.0) / 2)


# A head neither leaves its place nor turns so far within a frame or two, and
# is back in the fourth.
_SAME_BOX, _SAME_TURN, _MAX_OUTLIERS = 0.3, 30.0, 3


@dataclasses.dataclass(frozen=True)
class FaceTrack:
  """One face through `T` frames; gaps are interpolated.

  Attributes:
    pose: `[T, 6]` float32: yaw, pitch, roll in degrees (the face turned to the
      right of the image, upwards, and counter-clockwise are positive), x and y
      of the face's centre in [-1, 1] of the image, and
      s = log(face height / image height). All six follow the rigid head, so
      an opening jaw does not move them.
    blink: `[T, 2]` float32, aspect ratio of the person's left and right eye:
      about 0.3 open, 0.05 shut.
    face_box: `[T, 4]` float32 (x0, y0, x1, y1) in [0, 1] of the image.
    mouth_box: `[T, 4]` float32, the lips with a margin, same units.
    landmarks: `[T, 478, 2]` float32 (x, y), about [0, 1] of the image.
    detected: `[T]` bool, False where the values are interpolated.
  """

  pose: np.ndarray
  blink: np.ndarray
  face_box: np.ndarray
  mouth_box: np.ndarray
  landmarks: np.ndarray
  detected: np.ndarray


def track_faces(
  frames: Iterable[np.ndarray],
  model_path: str | os.PathLike | None = None,
  *,
  name: str = 'the video',
  max_faces: int = MAX_FACES,
) -> FaceTrack:
  """Follows the main face through `frames`.

  The main face is large and central; afterwards it is the one that overlaps
  most with where it was last seen. A face that is elsewhere, or turned
  otherwise, for up to three frames and then back again counts as not seen.

  Args:
    frames: `[T, H, W, 3]` uint8, or any iterable of `[H, W, 3]` frames.
    model_path: the Face Landmarker's file; None searches for it.
    name: what the frames are, for the error message.
    max_faces: 1 is faster where there is one face only.

  Raises:
    NoFace: no face in any frame.
    InputError: MediaPipe or its model is missing.
  """
  rows, previous = [], None
  with Landmarker(model_path, max_faces) as landmarker:
    for frame in frames:
      found = _find(landmarker, frame)
      if found:
        face = _main_face(found, previous)
        previous = face['face_box']
      rows.append(face if found else None)
  detected = np.array([row is not None for row in rows], bool)
  if not detected.any():
    raise NoFace(f'no face found in {name} ({len(rows)} frames searched)')
  values = {
    key: np.stack([row[key] for row in rows if row is not None]) for key in face
  }
  kept = ~_outliers(
    values['face_box'], values['pose'], np.flatnonzero(detected)
  )
  detected[detected] = kept
  values = {
    key: _fill_gaps(value[kept], detected) for key, value in values.items()
  }
  return FaceTrack(detected=detected, **values)


def detect_faces(
  image: np.ndarray, model_path: str | os.PathLike | None = None
) -> list[FaceTrack]:
  """Returns the faces of one image `[H, W, 3]` uint8, the main one first."""
  with Landmarker(model_path) as landmarker:
    faces = _find(landmarker, image)
  faces.sort(key=lambda face: prominence(face['face_box']), reverse=True)
  return [
    FaceTrack(
      detected=np.ones(1, bool),
      **{key: value[None] for key, value in face.items()},
    )
    for face in faces
  ]


def locate_face(
  image: np.ndarray,
  model_path: str | os.PathLike | None = None,
  *,
  name: str = 'the image',
) -> tuple[float, float, float, float]:
  """Returns the box (x0, y0, x1, y1) in [0, 1] of the main face of `image`.

  Several faces give a warning, and the largest is taken.

  Raises:
    InputError: no face was found, or MediaPipe or its model is missing.
  """
  faces = detect_faces(image, model_path)
  if not faces:
    raise InputError(
      f'no face found in {name}; give the square around it (--crop X,Y,W,H), '
      'or use the centre (--crop none)'
    )
  boxes = [tuple(float(v) for v in face.face_box[0]) for face in faces]
  if len(boxes) > 1:
    boxes.sort(key=lambda b: (b[2] - b[0]) * (b[3] - b[1]), reverse=True)
    logger.warning(
      '%d faces found in %s; the largest is taken', len(boxes), name
    )
  return boxes[0]


def guide_points(landmarks: np.ndarray) -> np.ndarray:
  """Picks `[..., 8, 2]` of `landmarks [..., 478, 2]`: GUIDE_LANDMARKS."""
  return np.asarray(landmarks)[..., list(GUIDE_LANDMARKS), :]


def openness(landmarks: np.ndarray) -> np.ndarray:
  """Gap between the inner lips over the height of the face.

  Args:
    landmarks: `[..., 478, 2]` in units of a square image.

  Returns:
    `[...]`, about 0 for a closed mouth and 0.1 for a vowel.
  """
  points = np.asarray(landmarks, np.float32)
  gap = np.linalg.norm(points[..., 13, :] - points[..., 14, :], axis=-1)
  height = np.linalg.norm(
    points[..., _FOREHEAD, :] - points[..., _CHIN, :], axis=-1
  )
  return gap / np.maximum(height, 1e-6)


def _find(landmarker: Landmarker, image: np.ndarray) -> list[dict]:
  """Finds the faces of `image`: rows of a FaceTrack."""
  aspect = image.shape[1] / image.shape[0]
  return [
    _describe(points, matrix, aspect) for points, matrix in landmarker(image)
  ]


def _describe(points, matrix, aspect) -> dict[str, np.ndarray]:
  """Turns one detection into the rows of a FaceTrack.

  Args:
    points: `[478, 3]`, x and z in image widths, y in image heights.
    matrix: `[4, 4]` from the canonical face to the camera, in cm, y upwards,
      z towards the camera.
    aspect: image width / image height.
  """
  flat = points[:, :2]
  lips = flat[list(_LIPS)]
  # A quarter of the mouth's width, the same length in both directions.
  margin = 0.25 * np.ptp(lips[:, 0]) * np.array([1.0, aspect], np.float32)
  mouth = np.concatenate([lips.min(0) - margin, lips.max(0) + margin])
  face = np.concatenate([flat.min(0), flat.max(0)])
  return {
    'pose': _pose(matrix, aspect),
    'blink': _blink(points * np.array([aspect, 1.0, aspect], np.float32)),
    'face_box': np.clip(face, 0, 1).astype(np.float32),
    'mouth_box': np.clip(mouth, 0, 1).astype(np.float32),
    'landmarks': flat,
  }


def _pose(matrix: np.ndarray, aspect: float) -> np.ndarray:
  """Yaw, pitch, roll, x, y, s of a face matrix; see FaceTrack.pose."""
  rotation, shift = matrix[:3, :3].astype(np.float64), matrix[:3, 3]
  size = np.cbrt(max(np.linalg.det(rotation), 1e-9))
  turn = rotation / size
  yaw = np.arctan2(turn[0, 2], turn[2, 2])
  pitch = np.arcsin(np.clip(turn[1, 2], -1, 1))
  roll = np.arctan2(turn[1, 0], turn[1, 1])
  # The middle between forehead and chin, seen by the camera.
  x, y, z = rotation @ _CANONICAL_ENDS.mean(0) + shift
  scale = _FOCAL / max(-z, 1e-3)
  height = np.ptp(_CANONICAL_ENDS[:, 1]) * size * scale
  values = [*np.rad2deg([yaw, pitch, roll]), 2 * x * scale / aspect]
  values += [-2 * y * scale, np.log(height)]
  return np.array(values, np.float32)


def _blink(points: np.ndarray) -> np.ndarray:
  """`[2]` eye aspect ratios of `points [478, 3]` in one unit of length."""

  def distance(a, b):
    return float(np.linalg.norm(points[a] - points[b]))

  ratios = []
  for outer, inner, up_1, up_2, low_1, low_2 in _EYES:
    width = max(distance(outer, inner), 1e-6)
    opening = distance(up_1, low_1) + distance(up_2, low_2)
    ratios.append(opening / (2 * width))
  return np.array(ratios, np.float32)


def prominence(box: np.ndarray) -> float:
  """Of the main face the most: area over distance from the centre.

  Args:
    box: (x0, y0, x1, y1) in [0, 1].
  """
  x0, y0, x1, y1 = box
  distance = np.hypot((x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5)
  return float((x1 - x0) * (y1 - y0) / (0.25 + distance))


def _main_face(faces, previous):
  """The face that overlaps with `previous` most, else the most prominent."""
  if previous is not None and len(faces) > 1:
    overlaps = [overlap(face['face_box'], previous) for face in faces]
    if max(overlaps) > 0.1:
      return faces[int(np.argmax(overlaps))]
  return max(faces, key=lambda face: prominence(face['face_box']))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
  """Intersection over union of two boxes (x0, y0, x1, y1)."""
  a, b = np.asarray(a), np.asarray(b)
  low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
  inside = float(np.prod(np.maximum(high - low, 0)))
  both = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]))
  return inside / max(both - inside, 1e-9)


def _outliers(
  boxes: np.ndarray, pose: np.ndarray, times: np.ndarray
) -> np.ndarray:
  """Marks detections that leave the track and come back at once.

  Args:
    boxes, pose: `[n, 4]` and `[n, 6]` of the frames `times [n]`.

  Returns:
    `[n]` bool. Nothing at either end is marked: it may have come to stay.
  """

  def alike(i, j):
    turned = np.abs((pose[i, :3] - pose[j, :3] + 180) % 360 - 180).max()
    return overlap(boxes[i], boxes[j]) >= _SAME_BOX and turned <= _SAME_TURN

  marked = np.zeros(len(times), bool)
  last = 0  # The last detection that is believed.
  for i in range(1, len(times)):
    if alike(last, i) or times[i] - times[last] > _MAX_OUTLIERS:
      last = i
      continue
    back = [
      j
      for j in range(i + 1, len(times))[:_MAX_OUTLIERS]
      if times[j] - times[last] <= _MAX_OUTLIERS + 1 and alike(last, j)
    ]
    marked[i] = bool(back)
    last = last if back else i
  return marked


def _fill_gaps(values: np.ndarray, detected: np.ndarray) -> np.ndarray:
  """Spreads `values [n, ...]` over `T` frames, linear between detections."""
  times = np.flatnonzero(detected)
  flat = values.reshape(len(values), -1)
  frames = np.arange(len(detected))
  columns = [np.interp(frames, times, column) for column in flat.T]
  filled = np.stack(columns, axis=1).astype(np.float32)
  return filled.reshape(len(detected), *values.shape[1:])
