"""What measures clips: networks, the cache, and results that several need."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mdcf_jax.errors import NoScore
from mdcf_jax.evaluation.cache import Cache
from mdcf_jax.evaluation.clips import Clip
from mdcf_jax.evaluation.networks import Networks
from mdcf_jax.media import faces
from mdcf_jax.metrics.clip_scores import ClipScores
from mdcf_jax.metrics.protocol import Protocol

_TRACK = ('pose', 'blink', 'face_box', 'mouth_box', 'landmarks', 'detected')


class Context:
  """Results of clips: from the cache, else measured and stored.

  Attributes:
    protocol: the rules.
    networks: where networks come from.
  """

  def __init__(self, protocol: Protocol, networks: Networks, cache: Cache):
    self.protocol = protocol
    self.networks = networks
    self._cache = cache

  def count(self, clip: Clip) -> int:
    """Frames of a clip.

    Raises:
      InputError: it cannot be decoded.
    """
    measure = lambda: {'count': np.array(len(clip.frames))}
    return int(self._stored(clip, ('count',), (), measure)['count'])

  def track(self, clip: Clip) -> faces.FaceTrack:
    """The main face of a clip.

    Raises:
      NoFace: in no frame.
    """

    def measure() -> dict[str, np.ndarray]:
      try:
        track = faces.track_faces(
          clip.frames, self.networks.face_model, name='the clip'
        )
      except NoScore as error:
        return {'missing': np.array(str(error))}
      return {name: getattr(track, name) for name in _TRACK}

    found = self._stored(clip, ('track',), ('faces',), measure)
    if 'missing' in found:
      raise faces.NoFace(str(found['missing']))
    return faces.FaceTrack(**{name: found[name] for name in _TRACK})

  def features(
    self,
    name: str,
    needs: tuple[str, ...],
    measure: Callable[['Context', Clip], np.ndarray],
    clip: Clip,
  ) -> np.ndarray:
    """Features `[N, D]` of a clip; N may be 0."""
    found = self._stored(
      clip, ('features', name), needs, lambda: {'x': measure(self, clip)}
    )
    return found['x']

  def scores(self, metric: Any, clip: Clip, truth: Clip | None) -> ClipScores:
    """Scores of a clip; what it has not is in `missing`.

    Args:
      metric: of `table.METRICS`, of a clip or of a pair.
      clip: the clip.
      truth: the true one; None where there is none.
    """
    looks = metric.kind == 'pair' or metric.looks_at_truth
    key = ('scores', metric.name)
    if looks:
      key += (truth.sha256 if truth else '',)

    def measure() -> dict[str, np.ndarray]:
      scores = _finite(_measure(metric, self, clip, truth))
      text = json.dumps([dict(scores.values), dict(scores.missing)])
      return {'scores': np.array(text)}

    found = self._stored(clip, key, metric.needs, measure)
    values, missing = json.loads(str(found['scores']))
    return ClipScores(values, missing, 0, 0)

  def _stored(
    self,
    clip: Clip,
    key: tuple[str, ...],
    needs: tuple[str, ...],
    measure: Callable[[], Mapping[str, np.ndarray]],
  ) -> Mapping[str, np.ndarray]:
    if key not in clip.memo:
      full = (
        *key,
        clip.sha256,
        self.protocol.hash,
        *(self.networks.key(need) for need in needs),
      )
      found = self._cache.load(full)
      if found is None:
        found = measure()
        self._cache.store(full, found)
      clip.memo[key] = found
    return clip.memo[key]


def _measure(metric, context, clip, truth) -> ClipScores:
  """Runs a metric; a reason takes the place of an error of this clip."""
  try:
    found = metric.measure(context, clip, truth)
  # InputError is one; so are the errors of metrics that a clip is too short.
  except ValueError as error:
    reason = ' '.join(str(error).split())
    return ClipScores({}, dict.fromkeys(metric.scores, reason), 0, 0)
  if isinstance(found, ClipScores):
    return found
  return ClipScores(found, {}, 0, 0)


def _finite(scores: ClipScores) -> ClipScores:
  """Moves numbers that are none to `missing`."""
  values, missing = {}, dict(scores.missing)
  for name, value in scores.values.items():
    if math.isfinite(value):
      values[name] = float(value)
    else:
      missing[name] = f'the score is {value}'
  return ClipScores(values, missing, scores.frames, scores.faces)
