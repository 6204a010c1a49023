"""Pose and blink of a video, to move a portrait by.

Tracked once, at 25 frames a second, and fitted to the number of frames that are
to be made. How a head moves is told in sizes of the face, so that near and far
cameras make no difference.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdcf_jax.errors import InputError, NoFace

FPS = 25
MODES = 'relative', 'absolute'
MIN_DETECTED = 0.5  # Of the frames; below that it is guesswork.
ANALYSIS_HEIGHT = 480  # Of the pictures that the face is looked for in.
# A face is far if the square around it is smaller than this part of the
# picture. It may then move within a square that is so many times larger.
_FAR, _ROOM = 0.4, 2.5

# Eyes are this much of the time less open than when they are plainly open.
_OPEN = 0.75
_ANGLES, _PLACE, _SIZE = slice(0, 3), slice(3, 5), 5


def read_motion(
  path: str | os.PathLike, frames: int
) -> tuple[np.ndarray, np.ndarray]:
  """Tracks the main face of a video.

  Args:
    path: any video; of its frames at 25 a second no more than needed are read.
    frames: N, how many to give. A longer video is cut, a shorter one runs
      forwards and backwards in turn, see `to_and_fro`.

  Returns:
    pose `[N, 6]` in the square around the first frame's face, cut as of a
    portrait, and blink `[N, 2]`; units are those of `media.faces.FaceTrack`.
    Where no face is seen they are interpolated.

  Raises:
    NoFace: less than half of the frames has a face.
    InputError: the file cannot be read, or MediaPipe or its model is missing.
  """
  from mdcf_jax.media import faces, image, video

  info = video.probe(path)
  size, seen = (info.width, info.height), dict(height=ANALYSIS_HEIGHT)
  if near := _near(next(video.iter_frames(path, FPS))):
    x, y, side = near
    box = np.array([x, y, x + side, y + side]) / [*size, *size]
    size, seen = (side, side), dict(resolution=ANALYSIS_HEIGHT, box=box)
  pictures = video.iter_frames(path, FPS, max_frames=frames, **seen)
  track = faces.track_faces(pictures, name=os.fspath(path))
  found, count = int(track.detected.sum()), len(track.detected)
  if found < MIN_DETECTED * count:
    raise NoFace(
      f'{path}: a face is seen in {found} of {count} frames, which is too few'
    )
  square = (0, 0, *size)
  if not image.is_portrait(track.face_box[0], *size):
    square = image.square_around(track.face_box[0], *size)
  pose = in_square(track.pose, square, *size)
  order = to_and_fro(count, frames)
  return pose[order], track.blink[order]


def _near(first: np.ndarray) -> tuple[int, int, int] | None:
  """Where to look closer, (x, y, side), if the main face is far.

  What a landmarker tells of a small face trembles.
  """
  from mdcf_jax.media import face_search, faces, image

  boxes = face_search.find_boxes(first)
  if not boxes:
    return None
  height, width = first.shape[:2]
  main = max(boxes, key=faces.prominence)
  x, y, side, _ = image.square_around(main, width, height)
  if side >= _FAR * min(width, height):
    return None
  middle = x + side / 2, y + side / 2
  side = min(round(_ROOM * side), width, height)
  x, y = (
    int(np.clip(m - side / 2, 0, most - side))
    for m, most in zip(middle, (width, height))
  )
  return x, y, side


def to_and_fro(count: int, frames: int) -> np.ndarray:
  """Indices `[frames]` into `count` frames: 0, 1, ... and back, without a jump.

  A turning point is there once: 0 1 2 1 0 1 2 of three.
  """
  period = max(1, 2 * count - 2)
  place = np.arange(frames) % period
  return np.minimum(place, period - place)


def in_square(
  pose: np.ndarray, square: tuple[int, int, int, int], width: int, height: int
) -> np.ndarray:
  """Poses `[N, 6]` of a picture as those of a square (x, y, side, side) in it.

  Only place and size change: angles are those of the head to the camera.
  """
  x, y, side, _ = square
  size = np.array([width, height], np.float64)
  place = (pose[:, _PLACE] + 1) / 2 * size
  place = 2 * (place - [x, y]) / side - 1
  scale = pose[:, _SIZE] + np.log(height / side)
  parts = pose[:, _ANGLES], place, scale[:, None]
  return np.concatenate(parts, axis=1).astype(np.float32)


def pose_of(pose: np.ndarray, source: np.ndarray, mode: str) -> np.ndarray:
  """The pose of a portrait that moves as a video does.

  Args:
    pose: `[N, 6]` of the video, whose frame 0 corresponds to the portrait.
    source: `[6]` of the portrait.
    mode: 'absolute': `pose` itself. 'relative': the portrait's own, changed as
      the video's since its frame 0: angles are added, the size is multiplied,
      and the way of the head is as long in sizes of the face.

  Returns:
    `[N, 6]` float32.
  """
  if mode == 'absolute':
    return pose
  moved = pose - pose[0]
  moved[:, _ANGLES] = (moved[:, _ANGLES] + 180) % 360 - 180
  moved[:, _PLACE] *= np.exp(source[_SIZE] - pose[0, _SIZE])
  return (source + moved).astype(np.float32)


def blink_of(blink: np.ndarray, source: np.ndarray, mode: str) -> np.ndarray:
  """The blinks of a portrait whose eyes do as those of a video.

  Args:
    blink: `[N, 2]` of the video.
    source: `[2]` of the portrait, taken for its open eyes.
    mode: 'absolute': `blink` itself. 'relative': the portrait's own times the
      share of being open that the video's eyes have. Shut eyes so stay shut,
      whatever their shape, and frame 0 may be a blink.

  Returns:
    `[N, 2]` float32.
  """
  if mode == 'absolute':
    return blink
  usual = np.quantile(blink, _OPEN, axis=0)
  return (source * blink / np.maximum(usual, 1e-3)).astype(np.float32)


def check(
  given: Mapping[str, Any], videos: Mapping[str, Any], mode: str
) -> None:
  """Raises InputError unless pose and blink each come from one place.

  Args:
    given: 'pose' and 'blink' as `Pipeline.prepare` takes them.
    videos: of the same names, a path or None.
    mode: to be one of MODES.
  """
  if mode not in MODES:
    raise InputError(f'pose_mode {mode!r} is none of: {", ".join(MODES)}')
  for name, value in given.items():
    generated = isinstance(value, str) and value == 'generated'
    if videos[name] is not None and not generated:
      raise InputError(f'{name} and {name}_from are given: one is enough')


def any_of(videos: Mapping[str, Any]) -> bool:
  """Whether any of them is a video."""
  return any(path is not None for path in videos.values())


def read(
  videos: Mapping[str, Any], source: Any, mode: str, frames: int
) -> dict[str, np.ndarray]:
  """Returns 'pose' `[N, 6]` and 'blink' `[N, 2]`, those that have a video.

  Args:
    videos: 'pose' and 'blink', a path or None; the same one is read once.
    source: `inputs.Source`, the portrait.
    mode: one of MODES.
    frames: N.

  Raises:
    InputError: as `read_motion`.
  """
  paths = {os.fspath(path) for path in videos.values() if path is not None}
  found = {path: read_motion(path, frames) for path in paths}
  moves = {}
  if videos['pose'] is not None:
    pose, _ = found[os.fspath(videos['pose'])]
    moves['pose'] = pose_of(pose, source.pose, mode)
  if videos['blink'] is not None:
    _, blink = found[os.fspath(videos['blink'])]
    moves['blink'] = blink_of(blink, source.blink, mode)
  return moves
