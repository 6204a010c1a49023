"""Metrics of how the mouth goes with the sound."""

from collections.abc import Mapping, Sequence

import numpy as np

from mdcf_jax.errors import NoScore
from mdcf_jax.evaluation.clips import Clip
from mdcf_jax.metrics import landmarks, lip_sync, no_score


def measure_exact(context, clip: Clip, truth) -> Mapping[str, float]:
  """LSE as the public code has it: its detector, every face that it scores."""
  del truth
  waveform = clip.waveform  # Before the detector, which takes long.
  boxes = context.networks.face_detector(clip.frames)
  found = lip_sync.score_clip(
    clip.frames, waveform, boxes, context.networks.sync_embedder, crop='exact'
  )
  return _scores(found, 'exact')


def measure_fixed(context, clip: Clip, truth: Clip | None):
  """LSE of one square for the clip, that of the true clip if there is one."""
  waveform = clip.waveform
  track = context.track(truth or clip)
  boxes = landmarks.only_seen(track.face_box, track.detected)
  box = np.nanmedian(boxes, axis=0) * context.protocol.size
  found = lip_sync.score_clip(
    clip.frames, waveform, box, context.networks.sync_embedder, crop='fixed'
  )
  return _scores(found, 'fixed')


def _scores(
  found: Sequence[lip_sync.SyncScore] | no_score.NoScore, crop: str
) -> dict[str, float]:
  """Means over the faces of a clip; the offset is that of the surest."""
  if isinstance(found, no_score.NoScore):
    raise NoScore(str(found))
  best = max(found, key=lambda score: score.confidence)
  return {
    f'lse_c_{crop}': float(np.mean([x.confidence for x in found])),
    f'lse_d_{crop}': float(np.mean([x.distance for x in found])),
    f'offset_{crop}': float(best.offset),
  }
