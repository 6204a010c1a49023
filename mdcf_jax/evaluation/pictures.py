"""Metrics of how the pictures of a clip look beside the true ones."""

from collections.abc import Mapping

import numpy as np

from mdcf_jax.errors import NoScore
from mdcf_jax.evaluation.clips import Clip, chunks
from mdcf_jax.metrics import batches, identity, landmarks, lpips, sharpness
from mdcf_jax.metrics.clip_scores import ClipScores
from mdcf_jax.metrics.psnr import psnr
from mdcf_jax.metrics.ssim import ssim


def measure_psnr(context, clip: Clip, truth: Clip) -> Mapping[str, float]:
  """Mean over frames; equal ones count as the protocol says."""
  peak = context.protocol.psnr_peak
  one = lambda a, b: np.minimum(psnr(_signed(a), _signed(b)), peak)
  return {'psnr': _mean_of_frames(context, clip, truth, one)}


def measure_ssim(context, clip: Clip, truth: Clip) -> Mapping[str, float]:
  """Mean over frames."""
  one = lambda a, b: ssim(_signed(a), _signed(b))
  return {'ssim': _mean_of_frames(context, clip, truth, one)}


def measure_lpips(context, clip: Clip, truth: Clip) -> Mapping[str, float]:
  """Mean over frames."""
  variables = context.networks.variables('lpips')
  size = batches.whole_batch(lpips.BATCH)
  one = lambda a, b: lpips.lpips(variables, a, b, batch=size)
  return {'lpips_alex': _mean_of_frames(context, clip, truth, one)}


def measure_detail(context, clip: Clip, truth: Clip) -> Mapping[str, float]:
  """Detail of the whole picture over that of the true one."""
  _check(context, clip, truth)
  total = np.zeros((2, 2))
  for pair in chunks(clip.frames, truth.frames, skip=context.protocol.skip):
    for i, frames in enumerate(pair):
      for frame in frames:
        total[i] += (
          sharpness.laplacian_variance(frame),
          sharpness.high_frequency_energy(frame),
        )
  if not np.all(total[1] > 0):
    raise NoScore('the true frames have no detail')
  ratio = total[0] / total[1]
  return dict(zip(('laplacian_ratio_frame', 'high_frequency_ratio'), ratio))


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


def measure_csim(
  context, clip: Clip, truth: Clip | None
) -> Mapping[str, float]:
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
  return {'csim': found.mean, 'csim_lowest': found.lowest}


def _signed(frames: np.ndarray) -> np.ndarray:
  """uint8 to [-1, 1], where 255 and 0 are exact."""
  return frames.astype(np.float32) / np.float32(127.5) - 1


def _mean_of_frames(context, clip, truth, score) -> float:
  """Mean of `score(frames, true frames) -> [T]`, in parts."""
  _check(context, clip, truth)
  pairs = chunks(clip.frames, truth.frames, skip=context.protocol.skip)
  return float(np.concatenate([score(*pair) for pair in pairs]).mean())


def _check(context, clip, truth) -> None:
  """Raises NoScore where nothing is left to compare."""
  count = min(len(clip.frames), len(truth.frames))
  if count <= context.protocol.skip:
    raise NoScore(
      f'{count} frames: the first {context.protocol.skip} do not count'
    )
