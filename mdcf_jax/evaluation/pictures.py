"""Metrics of how the pictures of a clip look beside the true ones."""

import numpy as np

from mdcf_jax.errors import NoScore
from mdcf_jax.evaluation.clips import Clip, chunks
from mdcf_jax.metrics import batches, identity, landmarks, lpips, sharpness
from mdcf_jax.metrics.clip_scores import ClipScores
from mdcf_jax.metrics.psnr import psnr
from mdcf_jax.metrics.ssim import ssim


def measure_psnr(context, clip: Clip, truth: Clip) -> ClipScores:
  """Mean over frames; equal ones count as the protocol says."""
  peak = context.protocol.psnr_peak
  one = lambda a, b: np.minimum(psnr(_signed(a), _signed(b)), peak)
  return _mean_of_frames('psnr', context, clip, truth, one)


def measure_ssim(context, clip: Clip, truth: Clip) -> ClipScores:
  """Mean over frames."""
  one = lambda a, b: ssim(_signed(a), _signed(b))
  return _mean_of_frames('ssim', context, clip, truth, one)


def measure_lpips(context, clip: Clip, truth: Clip) -> ClipScores:
  """Mean over frames."""
  variables = context.networks.variables('lpips')
  size = batches.whole_batch(lpips.BATCH)
  one = lambda a, b: lpips.lpips(variables, a, b, batch=size)
  return _mean_of_frames('lpips_alex', context, clip, truth, one)


def measure_detail(context, clip: Clip, truth: Clip) -> ClipScores:
  """Detail of the whole picture over that of the true one."""
  _check(context, clip, truth)
  detail = sharpness.laplacian_variance, sharpness.high_frequency_energy
  names = 'laplacian_ratio_frame', 'high_frequency_ratio'
  found = []
  for pair in chunks(clip.frames, truth.frames, skip=context.protocol.skip):
    for both in zip(*pair):
      found.append([[score(frame) for score in detail] for frame in both])
  ours, true = np.array(found).swapaxes(0, 1)  # `[T, 2]` of each.
  total = true.sum(axis=0)
  if not np.all(total > 0):
    raise NoScore('the true frames have no detail')
  with np.errstate(divide='ignore', invalid='ignore'):
    series = dict(zip(names, _from_start(context, ours / true).T))
  values = dict(zip(names, ours.sum(axis=0) / total))
  return ClipScores(values, {}, len(ours), 0, series)


def measure_sharpness(context, clip: Clip, truth: Clip) -> ClipScores:
  """Detail of face and head over that of the true one."""
  skip = context.protocol.skip
  _check(context, clip, truth)
  boxes = [
    landmarks.only_seen(track.face_box, track.detected)[skip:]
    for track in map(context.track, (clip, truth))
  ]
  found = sharpness.compare(clip.frames[skip:], truth.frames[skip:], *boxes)
  # The whole picture is that of `measure_detail`, with and without a face.
  whole = 'high_frequency_ratio_frame'
  return ClipScores(
    {k: v for k, v in found.values.items() if k != whole},
    {k: v for k, v in found.missing.items() if k != whole},
    found.frames,
    found.faces,
  )


def measure_csim(context, clip: Clip, truth: Clip | None) -> ClipScores:
  """Likeness to the first true frame."""
  if truth is None:
    raise NoScore('no true clip of this name to compare the face with')
  skip = context.protocol.skip
  track, source = context.track(clip), context.track(truth)
  points = landmarks.only_seen(track.landmarks, track.detected)
  source_points = landmarks.only_seen(source.landmarks, source.detected)
  found = identity.csim(
    context.networks.arcface,
    np.asarray(truth.frames[0]),
    source_points[0],
    clip.frames[skip:],
    points[skip:],
  )
  values = np.full(len(clip.frames) - skip, np.nan)
  values[np.isfinite(points[skip:]).all(axis=(1, 2))] = found.per_frame
  return ClipScores(
    {'csim': found.mean, 'csim_lowest': found.lowest},
    {},
    found.frames,
    found.faces,
    {'csim': _from_start(context, values)},
  )


def _signed(frames: np.ndarray) -> np.ndarray:
  """uint8 to [-1, 1], where 255 and 0 are exact."""
  return frames.astype(np.float32) / np.float32(127.5) - 1


def _from_start(context, values: np.ndarray) -> np.ndarray:
  """`values [T - skip, ...]` with NaN for the frames before them."""
  before = np.full((context.protocol.skip, *values.shape[1:]), np.nan)
  return np.concatenate([before, values])


def _mean_of_frames(name, context, clip, truth, score) -> ClipScores:
  """Mean of `score(frames, true frames) -> [T]`, in parts."""
  _check(context, clip, truth)
  pairs = chunks(clip.frames, truth.frames, skip=context.protocol.skip)
  values = np.concatenate([score(*pair) for pair in pairs])
  series = {name: _from_start(context, values)}
  return ClipScores({name: float(values.mean())}, {}, len(values), 0, series)


def _check(context, clip, truth) -> None:
  """Raises NoScore where nothing is left to compare."""
  count = min(len(clip.frames), len(truth.frames))
  if count <= context.protocol.skip:
    raise NoScore(
      f'{count} frames: the first {context.protocol.skip} do not count'
    )
