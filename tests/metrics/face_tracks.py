"""Tracks of a made-up face: points of a plane, moved as the tests like."""

import numpy as np

from mdcf_jax.media import faces
from mdcf_jax.metrics import landmarks

EYE_DISTANCE = 0.2  # Of the image's width.


def face_points(seed: int = 0) -> np.ndarray:
  """`[478, 2]`: at random, but for the eyes, the lips, forehead and chin."""
  points = np.random.default_rng(seed).uniform(0.3, 0.7, (478, 2))
  for corners, x in zip(landmarks.EYES, (0.4, 0.4 + EYE_DISTANCE)):
    for corner, side in zip(corners, (-0.04, 0.04)):
      points[corner] = x + side, 0.4
  points[1] = 0.5, 0.53
  points[61], points[291] = (0.42, 0.65), (0.58, 0.65)
  points[10], points[152] = (0.5, 0.2), (0.5, 0.8)
  points[13] = points[14] = 0.5, 0.65
  return points


def track(opening, pose=None, blink=None, detected=None) -> faces.FaceTrack:
  """A track of `opening [T]`, the gap between the lips over the face's height.

  The angles are `pose [T, 3]`, the eyes `blink [T]`.
  """
  num = len(opening)
  points = np.tile(face_points(), (num, 1, 1))
  points[:, 14, 1] += 0.6 * np.asarray(opening)  # The face is 0.6 high.
  poses = np.zeros((num, 6), np.float32)
  poses[:, :3] = 0 if pose is None else pose
  eyes = np.full(num, 0.3) if blink is None else np.asarray(blink)
  seen = np.ones(num, bool) if detected is None else np.asarray(detected)
  box = np.tile(np.float32([0.3, 0.2, 0.7, 0.8]), (num, 1))
  return faces.FaceTrack(
    pose=poses,
    blink=np.float32(np.stack([eyes, eyes], axis=1)),
    face_box=box,
    mouth_box=box,
    landmarks=points.astype(np.float32),
    detected=seen,
  )
