"""How a face moves: landmarks, mouth, blinks and head pose of a clip.

Everything comes from `media.faces.track_faces`, every frame on its own. Frames
in which no face was found are left out and counted, never filled: NaN stands
for them here, and enters no mean. `describe` measures one clip, `compare` a
clip beside the true one of the same sound; frames are paired by their number,
and the longer clip is cut.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mdcf_jax.errors import NoScore
from mdcf_jax.media import faces
from mdcf_jax.metrics import alignment, mouth
from mdcf_jax.metrics.clip_scores import ClipScores, Part, collect, single

# MediaPipe's FACE_LANDMARKS_LIPS: outer and inner contour.
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267)
LIPS += (0, 37, 39, 40, 185, 78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIPS += (415, 310, 311, 312, 13, 82, 81, 80, 191)
# What neither speech nor a blink moves: the corners of both eyes and the ridge
# of the nose, down to its tip.
STEADY = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1)
EYES = ((33, 133), (362, 263))  # Outer and inner corner, right and left.

# A blink begins when the eyes open less than SHUT of their median, and the
# next one can begin when they were open by OPEN again.
SHUT, OPEN = 0.6, 0.8
LONGEST_BLINK = 1.0  # Seconds; eyes that stay shut longer do not blink.
MIN_FRAMES = 2 * mouth.MAX_LAG + 3  # Half a second: less has no rhythm.
# Movements that count as none: the faces are given in float32.
STILL_MOUTH = 1e-5  # Standard deviation, in heights of the face.
STILL_HEAD = 1e-4  # Variance in square degrees.

ANGLES = ('yaw', 'pitch', 'roll')
DISTANCES = ('lmd', 'lmd_aligned', 'mouth_lmd', 'mouth_lmd_aligned')


class Blinks(NamedTuple):
  """Blinks of a clip: counts of clips can be added, rates cannot.

  Attributes:
    count: how often the eyes closed and opened again within a second, or
      closed just before the end.
    seconds: of the frames with a face.
  """

  count: int
  seconds: float

  @property
  def per_minute(self) -> float:
    """10 to 20 is called natural; the true clip's own rate is the measure."""
    return 60 * self.count / self.seconds


def only_seen(values: np.ndarray, detected: np.ndarray) -> np.ndarray:
  """`values [T, ...]` as float64, NaN where `detected [T]` is False."""
  values = np.array(values, np.float64)
  values[~np.asarray(detected, bool)] = np.nan
  return values


def landmark_distances(
  landmarks: np.ndarray, truth: np.ndarray, *, aspect: float = 1.0
) -> dict[str, float]:
  """Mean distance of landmarks to the true ones (LMD), in eye distances.

  Chen et al. (2018) measure lips in pixels; here the unit is the distance of
  the true clip's eyes (middles of their corners), its median over frames, so
  that neither resolution nor distance from the camera matters. Four scores:

    lmd: all 478 points where they are: head motion, face and mouth.
    lmd_aligned: after the face of each frame was brought upon the true one by
      the similarity of its STEADY points. Turns out of the plane remain.
    mouth_lmd, mouth_lmd_aligned: the same of the 40 points of the lips. The
      aligned one, whose alignment knows no mouth, is the closest to speech.

  Args:
    landmarks, truth: `[T, 478, 2 or 3]`, x in widths and y in heights of the
      image, NaN for frames without a face; the depth is not used.
    aspect: width / height of the images.

  Raises:
    NoScore: no frame has a face in both.
  """
  distances = frame_distances(landmarks, truth, aspect=aspect)
  return {name: float(np.nanmean(x)) for name, x in distances.items()}


def frame_distances(
  landmarks: np.ndarray, truth: np.ndarray, *, aspect: float = 1.0
) -> dict[str, np.ndarray]:
  """Scores of `landmark_distances` of every frame.

  Args:
    landmarks, truth, aspect: of `landmark_distances`.

  Returns:
    `[T]` by name, T of the shorter clip, NaN without a face in both.

  Raises:
    NoScore: no frame has a face in both.
  """
  points, true_points, both = _paired(landmarks, truth)
  unit = np.array([aspect, 1.0])
  points, true_points = points[..., :2] * unit, true_points[..., :2] * unit
  right, left = (true_points[:, list(eye)].mean(axis=1) for eye in EYES)
  eyes = np.median(np.linalg.norm(right - left, axis=-1))
  if eyes <= 0:
    raise NoScore('the eyes of the true clip lie in one place')
  steady = list(STEADY)
  matrix = alignment.similarity(points[:, steady], true_points[:, steady])
  scores = {}
  for suffix, moved in (
    ('', points),
    ('_aligned', alignment.transform(points, matrix)),
  ):
    distance = np.linalg.norm(moved - true_points, axis=-1) / eyes
    for name, some in (('lmd', distance), ('mouth_lmd', distance[:, LIPS])):
      scores[f'{name}{suffix}'] = values = np.full(len(both), np.nan)
      values[both] = some.mean(axis=-1)
  return scores


def mouth_lag(opening: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
  """Correlation of mouth openings `[T]`, and by how many frames they are late.

  See `mouth.best_lag_correlation`; NaN for frames without a face.

  Raises:
    NoScore: a mouth does not move, so that nothing can be late, or too few
      frames have a face in both.
  """
  for name, series in (('true ', truth), ('', opening)):
    if _spread(series) < STILL_MOUTH:
      raise NoScore(f'the {name}mouth does not move')
  try:
    return mouth.best_lag_correlation(opening, truth)
  except ValueError as error:
    raise NoScore(str(error)) from error


def mouth_correlation(opening: np.ndarray, truth: np.ndarray) -> float:
  """Correlation of `mouth_lag`; 0 where only the true mouth moves.

  Raises:
    NoScore: the true mouth does not move, or too few frames have a face.
  """
  if mouth_spread_ratio(opening, truth) * _spread(truth) < STILL_MOUTH:
    return 0.0  # It follows nothing.
  return mouth_lag(opening, truth)[0]


def mouth_spread_ratio(opening: np.ndarray, truth: np.ndarray) -> float:
  """Standard deviation of the opening over the true one.

  Args:
    opening, truth: `[T]`, NaN for the same frames.

  Raises:
    NoScore: as of `mouth_correlation`.
  """
  _enough(opening)
  if _spread(truth) < STILL_MOUTH:
    raise NoScore('the true mouth does not move')
  return _spread(opening) / _spread(truth)


def count_blinks(blink: np.ndarray, fps: float = 25.0) -> Blinks:
  """Counts blinks by a threshold with hysteresis.

  The mean aspect ratio of both eyes is divided by its median, since open eyes
  differ between people and are open most of the time. A blink begins at the
  first frame below SHUT after one of at least OPEN, so eyes that are shut when
  the clip begins count for nothing, and those that close just before its end
  count once. Eyes shut for more than a second are no blink. A frame without a
  face neither begins nor ends one.

  Args:
    blink: `[T, 2]` aspect ratios, about 0.3 open and 0.05 shut, NaN for frames
      without a face.
    fps: frames a second.

  Raises:
    NoScore: fewer than MIN_FRAMES frames with a face.
  """
  times, ratio = _enough(np.asarray(blink, np.float64).mean(axis=-1))
  openness = ratio / max(np.median(ratio), 1e-6)
  count, armed, began = 0, False, None
  for time, value in zip(times, openness):
    if value >= OPEN:
      count += began is not None and time - began <= LONGEST_BLINK * fps
      armed, began = True, None
    elif armed and value < SHUT:
      armed, began = False, time
  # Still shut at the end: a blink unless it has lasted too long already.
  count += began is not None and times[-1] - began < LONGEST_BLINK * fps
  return Blinks(int(count), len(times) / fps)


def head_motion(pose: np.ndarray) -> dict[str, float]:
  """Variance and range of the head's angles.

  Args:
    pose: `[T, 6]`, the first three yaw, pitch, roll in degrees; NaN for frames
      without a face.

  Returns:
    pose_variance in square degrees, the mean of the three angles' variances
    over time, and yaw_range, pitch_range, roll_range, greatest less smallest.

  Raises:
    NoScore: fewer than MIN_FRAMES frames with a face.
  """
  _, angles = _enough(np.asarray(pose, np.float64)[:, :3])
  angles = np.unwrap(angles, period=360, axis=0)
  ranges = {f'{name}_range': x for name, x in zip(ANGLES, np.ptp(angles, 0))}
  return {'pose_variance': float(angles.var(axis=0).mean()), **ranges}


def pose_variance_ratio(pose: np.ndarray, truth: np.ndarray) -> float:
  """Variance of the angles of `head_motion` over the true one.

  Raises:
    NoScore: the true head does not move, or too few frames have a face.
  """
  ours, true = (head_motion(x)['pose_variance'] for x in (pose, truth))
  if true < STILL_HEAD:
    raise NoScore('the true head does not move')
  return ours / true


def describe(
  track: faces.FaceTrack, *, fps: float = 25.0, aspect: float = 1.0
) -> ClipScores:
  """Measures one clip without a true one.

  Scores: face_share of its frames, mouth_spread (standard deviation of the
  opening: what silence should make small), blinks, blink_seconds, blink_rate a
  minute, and those of `head_motion`.

  Args:
    track: its face.
    fps: frames a second.
    aspect: width / height of the images.
  """
  detected = np.asarray(track.detected, bool)
  share = float(detected.mean()) if detected.size else 0.0

  def blinks() -> Mapping[str, float]:
    found = count_blinks(only_seen(track.blink, detected), fps)
    names = 'blinks', 'blink_seconds', 'blink_rate'
    return dict(zip(names, (*found, found.per_minute)))

  def spread() -> Mapping[str, float]:
    _, opening = _enough(_opening(track, aspect))
    return {'mouth_spread': float(opening.std())}

  def head() -> Mapping[str, float]:
    return head_motion(only_seen(track.pose, detected))

  parts = (
    (('face_share',), lambda: {'face_share': share}),
    (('mouth_spread',), spread),
    (('blinks', 'blink_seconds', 'blink_rate'), blinks),
    (('pose_variance', *(f'{name}_range' for name in ANGLES)), head),
  )
  return collect(parts, len(detected), int(detected.sum()))


def compare(
  track: faces.FaceTrack, truth: faces.FaceTrack, *, aspect: float = 1.0
) -> ClipScores:
  """Measures one clip beside the true one.

  Scores: those of `landmark_distances` (DISTANCES; 0 is best),
  mouth_correlation (1 is best; 0 for a mouth that does not move) and mouth_lag
  in frames, mouth_spread_ratio and pose_variance_ratio (1 is best: more is
  restless, less is stiff). Ratios and distances use the frames in which both
  have a face, whose number is the result's `faces`.

  Args:
    track, truth: faces of both clips.
    aspect: width / height of the images.
  """
  frames = min(len(track.detected), len(truth.detected))
  both = track.detected[:frames] & truth.detected[:frames]
  marks = [only_seen(x.landmarks[:frames], both) for x in (track, truth)]
  poses = [only_seen(x.pose[:frames], both) for x in (track, truth)]
  openings = [
    only_seen(_opening(x, aspect)[:frames], both) for x in (track, truth)
  ]
  parts: list[Part] = [
    (DISTANCES, lambda: landmark_distances(*marks, aspect=aspect))
  ]
  for name, score, values in (
    ('mouth_correlation', mouth_correlation, openings),
    ('mouth_lag', lambda *x: mouth_lag(*x)[1], openings),
    ('mouth_spread_ratio', mouth_spread_ratio, openings),
    ('pose_variance_ratio', pose_variance_ratio, poses),
  ):
    parts.append(single(name, functools.partial(score, *values)))
  found = collect(parts, frames, int(both.sum()))
  if DISTANCES[0] not in found.values:
    return found
  series = frame_distances(*marks, aspect=aspect)
  return dataclasses.replace(found, series=series)


def _opening(track: faces.FaceTrack, aspect: float) -> np.ndarray:
  """Opening of the mouth `[T]`, NaN where there is no face."""
  unit = np.array([aspect, 1.0])
  opening = faces.openness(np.asarray(track.landmarks)[..., :2] * unit)
  return only_seen(opening, track.detected)


def _paired(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
  """The frames `[n, ...]` that have a face in both, and which `[T]`."""
  length = min(len(a), len(b))
  a, b = np.asarray(a, float)[:length], np.asarray(b, float)[:length]
  both = _seen(a) & _seen(b)
  if not both.any():
    raise NoScore(f'no face in both clips in any of {length} frames')
  return a[both], b[both], both


def _enough(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Numbers and values of the frames `[T, ...]` that have a face."""
  seen = _seen(series)
  if seen.sum() < MIN_FRAMES:
    raise NoScore(
      f'{seen.sum()} of {len(series)} frames have a face, {MIN_FRAMES} are '
      'needed'
    )
  return np.flatnonzero(seen), series[seen]


def _seen(values: np.ndarray) -> np.ndarray:
  """Which frames of `values [T, ...]` have a face: `[T]` bool."""
  return np.isfinite(values).all(axis=tuple(range(1, values.ndim)))


def _spread(series: np.ndarray) -> float:
  """Standard deviation over the frames that have a face; 0 without any."""
  seen = np.asarray(series)[np.isfinite(series)]
  return float(seen.std()) if seen.size else 0.0
