"""Is there as much detail as in the true frames?

A decoder that warps and smooths loses hair, hats and skin first. Two scores of
the grey picture (0.299 R + 0.587 G + 0.114 B, 0 to 255): the variance of its
Laplacian, and the energy of its spectrum above a frequency over that of the
true frames. Noise and block edges are detail too: a ratio of 1 is no proof, a
low one is a loss.
"""

import functools
from collections.abc import Mapping

import numpy as np

from mdcf_jax.errors import NoScore
from mdcf_jax.metrics.clip_scores import ClipScores, collect, single

GREY = np.array([0.299, 0.587, 0.114])
# Cycles a pixel. Features at a quarter of the size, which the decoder warps,
# carry nothing above it: what is there was made, not moved.
CUTOFF = 0.125
SMALLEST = 16  # Pixels of a region's side: two periods of the cutoff.
# Of the height and width of the face, up and to both sides: hair and hats.
HEAD_UP, HEAD_ASIDE = 0.5, 0.25
REGIONS = ('face', 'head', 'frame')


def laplacian_variance(image: np.ndarray) -> float:
  """Variance of the Laplacian (4 neighbours less 4 times the pixel).

  Pech-Pacheco et al. (2000), with the kernel of cv2.Laplacian, where all four
  neighbours lie in the picture.

  Args:
    image: `[H, W, 3]` uint8, both sides at least 3.
  """
  grey = image @ GREY
  around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
  return float(np.var(around - 4 * grey[1:-1, 1:-1]))


def high_frequency_energy(image: np.ndarray, cutoff: float = CUTOFF) -> float:
  """Energy a pixel of what is finer than `cutoff`.

  The picture less its mean goes through Hann windows along both sides, so that
  the edges of a region are no detail. White noise of variance v has about
  v * (1 - pi * cutoff^2) of it.

  Args:
    image: `[H, W, 3]` uint8.
    cutoff: cycles a pixel, distance from the origin of the spectrum; at most
      0.5 along an axis.
  """
  grey = image @ GREY
  # hanning() starts and ends with zeros, which would waste two pixels.
  window = np.multiply.outer(
    *(np.hanning(size + 2)[1:-1] for size in grey.shape)
  )
  grey = (grey - np.average(grey, weights=window)) * window
  y, x = (np.fft.fftfreq(size) for size in grey.shape)
  fine = np.hypot.outer(y, x) > cutoff
  energy = np.square(np.abs(np.fft.fft2(grey)))[fine].sum() / grey.size
  return float(energy / np.square(window).sum())


def region(image: np.ndarray, box: np.ndarray) -> np.ndarray | None:
  """The pixels of `image [H, W, 3]` that `box` touches.

  Args:
    image: `[H, W, 3]`.
    box: (x0, y0, x1, y1) in [0, 1]; what lies outside is cut off.

  Returns:
    A view, or None where the box is NaN or has a side under SMALLEST pixels.
  """
  if not np.isfinite(box).all():
    return None
  height, width = image.shape[:2]
  x0, y0, x1, y1 = np.clip(box, 0, 1) * (width, height, width, height)
  cut = image[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
  return cut if min(cut.shape[:2]) >= SMALLEST else None


def head_box(face_box: np.ndarray) -> np.ndarray:
  """Grows boxes `[..., 4]` of faces so that hair and hats are in them."""
  x0, y0, x1, y1 = np.moveaxis(np.asarray(face_box, float), -1, 0)
  aside, up = HEAD_ASIDE * (x1 - x0), HEAD_UP * (y1 - y0)
  return np.clip(np.stack([x0 - aside, y0 - up, x1 + aside, y1], -1), 0, 1)


def compare(
  frames: np.ndarray,
  truth: np.ndarray,
  face_boxes: np.ndarray,
  true_face_boxes: np.ndarray,
  *,
  cutoff: float = CUTOFF,
) -> ClipScores:
  """Measures the detail of a clip beside that of the true one.

  Scores: laplacian_variance of the face, laplacian_variance_ratio to the true
  one, and high_frequency_ratio_face, _head (with the hair above it) and _frame
  (the whole picture); 1 is best. Ratios are those of means over the frames
  that have a face in both clips; the longer clip is cut.

  Args:
    frames, truth: `[T, H, W, 3]` uint8, of one size, since frequencies and the
      Laplacian are counted in pixels.
    face_boxes, true_face_boxes: `[T, 4]` in [0, 1], NaN where no face was
      found; see `landmarks.only_seen`.
    cutoff: of `high_frequency_energy`.

  Raises:
    NoScore: the sizes differ.
  """
  if frames.shape[1:] != truth.shape[1:]:
    raise NoScore(
      f'{frames.shape[1:3]} and {truth.shape[1:3]} pixels do not compare'
    )
  count = min(len(frames), len(truth))
  boxes, true_boxes = face_boxes[:count], true_face_boxes[:count]
  both = np.isfinite(boxes).all(axis=-1) & np.isfinite(true_boxes).all(axis=-1)
  chosen = np.flatnonzero(both)

  clips = (frames, boxes), (truth, true_boxes)

  def laplacian() -> Mapping[str, float]:
    ours, true = _means(laplacian_variance, 'face', clips, chosen)
    names = 'laplacian_variance', 'laplacian_variance_ratio'
    return dict(zip(names, (ours, _ratio(ours, true))))

  def high(name: str) -> float:
    energy = functools.partial(high_frequency_energy, cutoff=cutoff)
    return _ratio(*_means(energy, name, clips, chosen))

  parts = [(('laplacian_variance', 'laplacian_variance_ratio'), laplacian)]
  for name in REGIONS:
    score = functools.partial(high, name)
    parts.append(single(f'high_frequency_ratio_{name}', score))
  return collect(parts, count, len(chosen))


def _means(score, name: str, clips, chosen) -> tuple[float, float]:
  """Means of a score over the frames `chosen`, of both clips.

  Args:
    score: of a picture.
    name: of a region.
    clips: (frames `[T, H, W, 3]`, boxes of faces `[T, 4]`) of both.
    chosen: numbers of frames.
  """
  values = []
  for i in chosen:
    boxes = dict(frame=lambda _: (0, 0, 1, 1), head=head_box, face=np.asarray)
    pair = [region(frames[i], boxes[name](box[i])) for frames, box in clips]
    if all(image is not None for image in pair):
      values.append([score(image) for image in pair])
  if not values:
    raise NoScore(
      f'no frame has a {name} of at least {SMALLEST} pixels, with a face in '
      'it, in both clips'
    )
  ours, true = np.mean(values, axis=0)
  return float(ours), float(true)


def _ratio(ours: float, true: float) -> float:
  if true < 1e-6:  # Square grey levels, of which whole pixels are far more.
    raise NoScore('the true frames have no detail')
  return ours / true
