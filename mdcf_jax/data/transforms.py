"""From a record to one training sample; numpy and Pillow (`frames`) only.

Everything random comes from the `numpy.random.Generator` that is passed in, so
a sample is a function of the record and a seed. Boxes are (x0, y0, x1, y1) and
points (x, y), in [0, 1] of the image with 0 and 1 at its outer edges.
"""

import dataclasses
import pathlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdcf_jax.data import frames, records, spec_augment
from mdcf_jax.errors import InputError

# GUIDE_LANDMARKS mirrored: mouth corners and upper lids change places.
FLIPPED_POINTS = (0, 1, 3, 2, 4, 6, 5, 7)
_LATENTS = ('mean', 'logvar', 'features')
_NUMPY_HEADERS = threading.Lock()
MIN_FACE = 0.05  # Height of a face that was not really found.
MOUTH_MARGIN = 0.02  # Of the image, kept around the mouth box in crops.


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """What is drawn at random for a sample; the defaults change nothing.

  Attributes:
    swap: exchange source and driving half of the time.
    flip: mirror half of the samples.
    min_zoom: smallest side of a random square crop, of the image; 1 is none.
    color_jitter: largest relative change of brightness, contrast and of each
      colour, the same for all frames of a sample.
    audio_jitter: how much log-mel features become those of another voice and
      another microphone, see `spec_augment`; 1 is usual.
  """

  swap: bool = False
  flip: bool = False
  min_zoom: float = 1.0
  color_jitter: float = 0.0
  audio_jitter: float = 0.0


def random_pair(
  record: Mapping[str, Any],
  rng: np.random.Generator,
  resolution: int,
  augmentation: Augmentation = Augmentation(),
) -> dict[str, np.ndarray]:
  """Two random frames of a clip: what FDE and LMAE learn from.

  Returns:
    `source`, `driving` float32 `[R, R, 3]` in [-1, 1]; `source_landmarks`,
    `driving_landmarks` `[8, 2]`; `mouth_box` `[4]`, the driving frame's.
  """
  # Boxes and points of the others are interpolated.
  usable = np.flatnonzero(record['detected'])
  usable = usable if len(usable) else np.arange(len(record['frames']))
  # Two different frames, unless there is one only.
  first = int(rng.integers(len(usable)))
  second = (first + int(rng.integers(1, max(2, len(usable))))) % len(usable)
  source, driving = int(usable[first]), int(usable[second])
  if augmentation.swap and rng.random() < 0.5:
    source, driving = driving, source
  flip = augmentation.flip and rng.random() < 0.5
  mouths = record['mouth_box'][[source, driving]]
  crop = random_crop(rng, mouths, augmentation.min_zoom)
  colors = _draw_colors(rng, augmentation)

  images = frames.load_frames(
    record, (source, driving), resolution, crop, flip=flip, colors=colors
  )
  points = move_points(record['landmarks'][[source, driving]], crop)
  mouth = move_boxes(record['mouth_box'][driving], crop)
  if flip:
    points, mouth = flip_points(points), flip_boxes(mouth)
  return {
    'source': images[0],
    'driving': images[1],
    'source_landmarks': points[0],
    'driving_landmarks': points[1],
    'mouth_box': mouth,
  }


def random_window(
  record: Mapping[str, Any],
  rng: np.random.Generator,
  resolution: int,
  num_frames: int,
  *,
  min_frames: int = 0,
  audio_encoder: str = 'mel',
  source: str = 'first',
  pictures: bool = True,
  video: bool = True,
  latents: Mapping[str, np.ndarray] | None = None,
  pose_smoothing: float = 0.0,
  augmentation: Augmentation = Augmentation(),
) -> dict[str, np.ndarray]:
  """At most T consecutive frames: what diffusion and PBNet learn from.

  Args:
    record: a clip with sound; `draw_rows` tells what becomes of a short one.
    rng, resolution, num_frames: randomness, R and T.
    min_frames: length of the shortest window; 0: all are T long.
    audio_encoder: whose features of the sound.
    source: 'first' frame of the window or 'random' frame of the clip.
    pictures: whether to decode frames; PBNet does not need them.
    video: of these, all frames and not the source alone.
    latents: see `load_latents`. One source of J is drawn, and no picture is
      augmented, because the latents were not.
    pose_smoothing: standard deviation in frames of a Gaussian over `pose`.
    augmentation: `flip`, `color_jitter` and `audio_jitter` count; a window is
      not cropped.

  Returns:
    `audio_emb` `[T, D]`, `pose` `[T, 6]`, `blink` `[T, 2]`, `frame_mask`
    `[T]`, `face_box` `[4]` (the source's), `mouth_box` `[T, 4]`, `opening`
    `[T]` (gap of the inner lips over the height of the face), `landmarks`
    `[T, 8, 2]`; the source's `source_pose` `[6]`, `source_blink` `[2]`,
    `source_opening` `[]`, `source_landmarks` `[8, 2]`; `waveform` `[T * 640]`
    in [-1, 1]; with
    pictures also `source` `[R, R, 3]` in [-1, 1] and `video` `[T, R, R, 3]`;
    with latents `z_mean`, `z_logvar` `[T, h, w, 4]` and `source_features`
    `[H/4, W/4, C]`.
  """
  total = len(record['frames'])
  rows, mask = draw_rows(rng, total, num_frames, min_frames)
  first = {'first': int(rows[0]), 'random': int(rng.integers(total))}[source]
  if latents is not None:
    drawn = int(rng.integers(len(latents['source_index'])))
    first = int(latents['source_index'][drawn])
    augmentation = Augmentation(audio_jitter=augmentation.audio_jitter)
  flip = augmentation.flip and rng.random() < 0.5
  colors = _draw_colors(rng, augmentation)

  pose = smooth(record['pose'], pose_smoothing)
  key = records.audio_key(audio_encoder)
  sample = _motion({**record, 'pose': pose}, key, rows, mask, first)
  if augmentation.audio_jitter:
    heard = spec_augment.augment(
      sample['audio_emb'], rng, augmentation.audio_jitter
    )
    sample['audio_emb'] = heard * mask[:, None]
  sample = _flip_motion(sample) if flip else sample
  if not pictures:
    return sample
  needed = (first, *rows) if video else (first,)
  images = frames.load_frames(
    record, needed, resolution, flip=flip, colors=colors
  )
  sample['source'] = images[0]
  if video:
    sample['video'] = images[1:]
  if latents is None:
    return sample
  sample['source_features'] = np.float32(latents['features'][drawn])
  for name in ('mean', 'logvar'):
    sample[f'z_{name}'] = np.float32(latents[name][drawn, rows])
  return sample


def draw_rows(
  rng: np.random.Generator, total: int, num_frames: int, min_frames: int = 0
) -> tuple[np.ndarray, np.ndarray]:
  """Draws a window of a clip of `total` frames.

  Args:
    rng: randomness.
    total: length of the clip.
    num_frames: length of the arrays, and of the longest window.
    min_frames: length of the shortest window; every length from there on is
      equally likely. 0: all windows are `num_frames` long.

  Returns:
    (rows, mask): frame numbers int `[num_frames]`, the last one repeated after
    the window or the clip has ended, and float32 `[num_frames]`, 0 there and
    else 1.
  """
  length = num_frames
  if min_frames:  # Nothing is drawn without, so that other draws stay.
    length = int(rng.integers(min_frames, num_frames + 1))
  start = int(rng.integers(max(1, total - length + 1)))
  end = min(start + length, total)
  times = start + np.arange(num_frames)
  return np.minimum(times, end - 1), np.float32(times < end)


def _motion(
  record: Mapping[str, Any],
  audio_key: str,
  rows: np.ndarray,
  mask: np.ndarray,
  source: int,
) -> dict[str, np.ndarray]:
  """Everything of a window but pictures; `source` is a frame's number."""
  if not records.has_audio(record):
    raise InputError(f'clip {record["id"]} has no sound')
  opening = _opening(record, source)
  sample = {
    'audio_emb': np.float32(record[audio_key][rows]) * mask[:, None],
    'pose': record['pose'][rows],
    'blink': record['blink'][rows],
    'frame_mask': mask,
    'face_box': record['face_box'][source],
    'mouth_box': record['mouth_box'][rows],
    'opening': opening[rows],
    'landmarks': record['landmarks'][rows],
    'source_pose': record['pose'][source],
    'source_blink': record['blink'][source],
    'source_opening': opening[source],
    'source_landmarks': record['landmarks'][source],
    'waveform': _sound(record['waveform'], rows, mask),
  }
  return {key: np.float32(value) for key, value in sample.items()}


def _sound(
  waveform: np.ndarray, rows: np.ndarray, mask: np.ndarray
) -> np.ndarray:
  """Sound of a window in [-1, 1], silent where there is none."""
  per_frame = records.SAMPLES_PER_FRAME
  first, count = int(rows[0]) * per_frame, int(mask.sum()) * per_frame
  heard = waveform[first : first + count]
  sound = np.zeros(len(rows) * per_frame, np.float32)
  sound[: len(heard)] = heard / np.float32(2**15)
  return sound


def smooth(track: np.ndarray, deviation: float) -> np.ndarray:
  """Means of `[N, D]` over time, weighted by a Gaussian; the ends are repeated.

  Args:
    track: a row per frame.
    deviation: of the Gaussian, in frames; 0 returns `track`.
  """
  if not deviation:
    return track
  radius = int(np.ceil(3 * deviation))
  weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / deviation))
  padded = np.pad(track, ((radius, radius), (0, 0)), mode='edge')
  columns = [np.convolve(x, weights / weights.sum(), 'valid') for x in padded.T]
  return np.float32(np.stack(columns, axis=1))


def _opening(record: Mapping[str, Any], source: int) -> np.ndarray:
  """Gap between the inner lips over the height of the face, `[N]`.

  The height is that of the source's box, as near as the head is in each frame:
  an opening jaw does not change it.
  """
  upper, lower = np.moveaxis(record['landmarks'][:, :2], 1, 0)
  box, size = record['face_box'][source], record['pose'][:, 5]
  height = max(box[3] - box[1], MIN_FACE) * np.exp(size - size[source])
  return np.linalg.norm(upper - lower, axis=-1) / height


def random_crop(
  rng: np.random.Generator, mouths: np.ndarray, min_zoom: float
) -> tuple[float, float, float, float]:
  """Draws a square box that contains all mouth boxes `[n, 4]`.

  Returns:
    (x0, y0, x1, y1) inside [0, 1], side in [min_zoom, 1]; larger than drawn
    where the mouths need it, the whole image where they do not fit.
  """
  low = mouths[:, :2].min(axis=0) - MOUTH_MARGIN
  high = mouths[:, 2:].max(axis=0) + MOUTH_MARGIN
  side = rng.uniform(min_zoom, 1.0) if min_zoom < 1 else 1.0
  place = rng.random(2)  # Drawn always, so that min_zoom moves nothing else.
  low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
  side = max(side, *(high - low).tolist())
  if side >= 1:
    return frames.WHOLE
  first, last = np.maximum(high - side, 0), np.minimum(low, 1 - side)
  x, y = (first + place * (last - first)).tolist()
  return (x, y, x + side, y + side)


def move_points(points: np.ndarray, crop: Sequence[float]) -> np.ndarray:
  """Points `[..., 2]` of the image in the coordinates of a crop of it."""
  x0, y0, x1, y1 = crop
  moved = (points - np.array([x0, y0])) / np.array([x1 - x0, y1 - y0])
  return moved.astype(np.float32)


def move_boxes(boxes: np.ndarray, crop: Sequence[float]) -> np.ndarray:
  """Boxes `[..., 4]` in the coordinates of a crop, cut at its edges."""
  corners = boxes.reshape(*boxes.shape[:-1], 2, 2)
  moved = move_points(corners, crop).reshape(boxes.shape)
  return np.clip(moved, 0.0, 1.0)


def flip_points(points: np.ndarray) -> np.ndarray:
  """Guide points `[..., 8, 2]` of the mirrored image: left becomes right."""
  mirrored = points[..., FLIPPED_POINTS, :] * np.array([-1, 1])
  return (mirrored + np.array([1, 0])).astype(np.float32)


def flip_boxes(boxes: np.ndarray) -> np.ndarray:
  """Boxes `[..., 4]` of the mirrored image."""
  x0, y0, x1, y1 = np.moveaxis(boxes, -1, 0)
  return np.stack([1 - x1, y0, 1 - x0, y1], axis=-1).astype(np.float32)


def flip_pose(pose: np.ndarray) -> np.ndarray:
  """Pose `[..., 6]` of the mirrored image: yaw, roll and x change sign."""
  return (pose * np.array([-1, 1, -1, -1, 1, 1])).astype(np.float32)


def _flip_motion(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  flipped = dict(sample)
  for key in ('pose', 'source_pose'):
    flipped[key] = flip_pose(sample[key])
  for key in ('blink', 'source_blink'):
    flipped[key] = sample[key][..., ::-1]
  for key in ('face_box', 'mouth_box'):
    flipped[key] = flip_boxes(sample[key])
  for key in ('landmarks', 'source_landmarks'):
    flipped[key] = flip_points(sample[key])
  return flipped


def _draw_colors(
  rng: np.random.Generator, augmentation: Augmentation
) -> frames.Colors | None:
  """Draws always, so that `color_jitter` moves nothing else."""
  colors = frames.random_colors(rng, augmentation.color_jitter)
  return colors if augmentation.color_jitter else None


def load_latents(
  folder: pathlib.Path, record: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """Reads the cached latents of a clip.

  Returns:
    `source_index` `[J]`; `mean`, `logvar` `[J, N, h, w, 4]` and `features`
    `[J, H/4, W/4, C]` float16.

  Raises:
    InputError: the file is absent, broken, or of another clip length.
  """
  path = pathlib.Path(folder) / f'{record["id"]}.npz'
  try:
    # CPython 3.11's parser, with which NumPy reads headers, is not thread-safe.
    with _NUMPY_HEADERS, np.load(path, allow_pickle=False) as stored:
      latents = {k: stored[k] for k in ('source_index', *_LATENTS)}
  except (OSError, ValueError, KeyError) as error:
    raise InputError(f'{path}: no usable latents ({error})') from error
  total = len(record['frames'])
  if latents['mean'].shape[:2] != (len(latents['source_index']), total):
    raise InputError(
      f'{path}: latents {latents["mean"].shape} for {total} frames'
    )
  return latents
