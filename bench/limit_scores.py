"""Scores of bench/limits.py: of the face, of what is above it, of trembling."""

from collections.abc import Callable

import numpy as np

from bench import limit_pictures as pictures
from mdcf_jax.errors import NoScore
from mdcf_jax.media import faces
from mdcf_jax.metrics import alignment, landmarks, optical_flow, sharpness
from mdcf_jax.metrics.psnr import psnr

FPS = 25
FAST = 3.0  # Hz; syllables come slower, a twitch or a blink's edges faster.
MOST = 100.0  # Decibels of equal pictures.
LEAST = 0.5  # Pixels: a head that moves less is followed by nothing.
# Of Farneback's flow: a second apart things are further apart than in the next
# frame.
FAR = dict(levels=4, winsize=25)
# MediaPipe's FACE_LANDMARKS_LEFT_EYEBROW and _RIGHT_EYEBROW.
BROWS = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
BROWS += (46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
LIDS = (159, 145, 386, 374, 160, 144, 158, 153, 385, 380, 387, 373)
PARTS = {'lips': landmarks.LIPS, 'brows': BROWS, 'lids': LIDS}


def of_face(
  frames: np.ndarray,
  track: faces.FaceTrack,
  truth: np.ndarray,
  true_track: faces.FaceTrack,
) -> dict[str, float | None]:
  """Scores of a clip beside the true one.

  Args:
    frames, truth: `[T, R, R, 3]` uint8.
    track, true_track: their faces.

  Returns:
    Those of `of_pixels`, high_frequency_ratio_face, _head, _frame and _above,
    mouth_correlation, mouth_spread_ratio and face_share, the share of frames
    with a face; None for what there is not.
  """
  boxes, true_boxes = (
    landmarks.only_seen(x.face_box, x.detected) for x in (track, true_track)
  )
  detail = sharpness.compare(frames, truth, boxes, true_boxes).values
  moved = landmarks.compare(track, true_track).values
  names = [f'high_frequency_ratio_{name}' for name in sharpness.REGIONS]
  found = {name: detail.get(name) for name in names}
  for name in ('mouth_correlation', 'mouth_spread_ratio'):
    found[name] = moved.get(name)
  found['high_frequency_ratio_above'] = _or_none(
    lambda: detail_above(frames, boxes, truth, true_boxes)
  )
  found['face_share'] = float(np.mean(track.detected))
  return found | of_pixels(frames, truth, true_track)


def of_pixels(
  frames: np.ndarray, truth: np.ndarray, true_track: faces.FaceTrack
) -> dict[str, float | None]:
  """Scores that need no face but the true one.

  Args:
    frames, truth, true_track: of `of_face`.

  Returns:
    psnr_face and psnr_above (of `above`), in true boxes, without the first
    frame.
  """
  given = frames, truth, true_track.face_box
  return dict(
    psnr_face=_or_none(lambda: psnr_in(*given)),
    psnr_above=_or_none(lambda: psnr_in(*given, above)),
  )


def of_motion(
  frames: np.ndarray, track: faces.FaceTrack, mask: np.ndarray
) -> dict[str, float | None]:
  """follows and moved, of `follows`, and the numbers of `trembling`."""
  slope, moved = follows(frames, track.landmarks, mask)
  return dict(follows=slope, moved=moved) | trembling(track.landmarks)


def above(box: np.ndarray) -> np.ndarray:
  """The head's box `[..., 4]` less the face's: hair and hat over the brow."""
  head = sharpness.head_box(box)
  return np.stack([*np.moveaxis(head, -1, 0)[:3], box[..., 1]], axis=-1)


def psnr_in(
  frames: np.ndarray,
  truth: np.ndarray,
  boxes: np.ndarray,
  place: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> float:
  """Mean decibels in a box that follows the true face, but the first frame.

  Args:
    frames, truth: `[T, R, R, 3]` uint8.
    boxes: `[T, 4]` in [0, 1].
    place: of a box of a face, that of what is measured.

  Raises:
    NoScore: the box is too small in all frames.
  """
  values = []
  for made, true, box in zip(frames[1:], truth[1:], boxes[1:]):
    pair = [sharpness.region(x, place(box)) for x in (made, true)]
    if pair[0] is not None:
      values.append(min(MOST, float(psnr(*(x / 127.5 for x in pair)))))
  if not values:
    raise NoScore('the region is too small')
  return float(np.mean(values))


def detail_above(frames, boxes, truth, true_boxes) -> float:
  """Energy of high frequencies of `above`, over that of the true frames.

  Raises:
    NoScore: it is too small in all frames, or smooth.
  """
  values = []
  for clip in zip(frames, boxes, truth, true_boxes):
    pair = [sharpness.region(x, above(box)) for x, box in (clip[:2], clip[2:])]
    if all(x is not None for x in pair):
      values.append([sharpness.high_frequency_energy(x) for x in pair])
  if not values:
    raise NoScore('the region is too small')
  ours, true = np.mean(values, axis=0)
  if true < 1e-6:
    raise NoScore('the true frames have no detail there')
  return float(ours / true)


def follows(
  frames: np.ndarray, points: np.ndarray, mask: np.ndarray
) -> tuple[float | None, float]:
  """Does what is in the mask move with the head?

  Farneback's flow from the first frame to every other is fitted to where the
  similarity of the face's steady landmarks brings the pixels of the mask: 1
  goes along, 0 stays with the background.

  Args:
    frames: `[T, R, R, 3]` uint8.
    points: `[T, 478, 2]` in [0, 1], of their faces.
    mask: `[R, R]` bool, in the first frame.

  Returns:
    The slope, None where the head moves less than LEAST; and by how many pixels
    the head moved the mask: root of the mean square.
  """
  y, x = np.nonzero(mask)
  spots = np.stack([x, y], axis=-1).astype(float)
  matrices = pictures.motion(points * frames.shape[1])
  sums = np.zeros(2)
  for frame, matrix in zip(frames[1:], matrices[1:]):
    pair = np.stack([frames[0], frame])
    (field,) = optical_flow.farneback_flow(pair, **FAR).fields
    expected = alignment.transform(spots, matrix) - spots
    sums += np.sum(field[mask] * expected), np.sum(expected**2)
  moved = float(np.sqrt(sums[1] / max(1, len(spots) * (len(frames) - 1))))
  return (float(sums[0] / sums[1]) if moved >= LEAST else None), moved


def trembling(points: np.ndarray) -> dict[str, float]:
  """How much lips, brows and lids move faster than FAST.

  Head motion is taken out by the STEADY points of each frame. Trends go, a Hann
  window keeps slow motion from leaking, and what is above FAST of the spectrum
  stays. The landmarker's own jitter is in it.

  Args:
    points: `[T, 478, 2]`, T at least 8.

  Returns:
    By the names of PARTS, in hundredths of the distance of the eyes: root of
    the mean square over points and frames of the way from the slow motion.
  """
  points, steady = np.asarray(points, float), list(landmarks.STEADY)
  right, left = (points[0, list(eye)].mean(axis=0) for eye in landmarks.EYES)
  base = points[0, steady] / np.linalg.norm(right - left)
  matrix = alignment.similarity(points[:, steady], base)
  shapes = alignment.transform(points, matrix)
  return {
    name: 100 * _fast(shapes[:, list(part)]) for name, part in PARTS.items()
  }


def _fast(series: np.ndarray) -> float:
  """Root of the mean square of `[T, K, 2]` above FAST."""
  count = len(series)
  time = np.linspace(-1, 1, count)[:, None, None]
  series = series - series.mean(axis=0)
  series = series - time * (time * series).sum(axis=0) / np.square(time).sum()
  window = np.hanning(count + 2)[1:-1]
  spectrum = np.fft.rfft(series * window[:, None, None], axis=0)
  power = np.square(np.abs(spectrum)) / (count * np.square(window).sum())
  # Both halves of the spectrum, but for the last line of an even number.
  power[1 : (count + 1) // 2] *= 2
  fast = np.fft.rfftfreq(count, 1 / FPS) > FAST
  return float(np.sqrt(power[fast].sum(axis=(0, 2)).mean()))


def _or_none(score: Callable[[], float]) -> float | None:
  try:
    return score()
  except NoScore:
    return None
