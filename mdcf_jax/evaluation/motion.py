"""Metrics of how a clip moves: flow between frames, and the face."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mdcf_jax.errors import NoScore
from mdcf_jax.evaluation.clips import Clip, chunks
from mdcf_jax.metrics import (
  flow_jitter,
  flow_smoothness,
  landmarks,
  optical_flow,
)
from mdcf_jax.metrics.clip_scores import ClipScores
from mdcf_jax.metrics.optical_flow import ClipFlow

_STILL = 1e-6  # Smoothness of a clip in which nothing moves.


def raft(context, frames: np.ndarray) -> ClipFlow:
  """Flow by the RAFT of the protocol."""
  return optical_flow.raft_flow(
    context.networks.variables('raft'),
    frames,
    size='small',
    iterations=context.protocol.flow_iterations,
  )


def farneback(context, frames: np.ndarray) -> ClipFlow:
  """Flow by Farnebaeck's estimator."""
  del context
  return optical_flow.farneback_flow(frames)


def measure_flow(
  estimator: str, estimate: Callable[[Any, np.ndarray], ClipFlow]
):
  """Returns the measure of a clip's flow: smoothness and jitter.

  Args:
    estimator: what ends the names of the scores.
    estimate: frames to flow.
  """

  def measure(context, clip: Clip, truth) -> ClipScores:
    del truth
    smoothness, jitter, last = [], [], None
    for (frames,) in chunks(clip.frames, overlap=1):
      flow = estimate(context, frames)
      smoothness += [
        float(flow_smoothness.flow_smoothness(x)) for x in flow.fields
      ]
      fields = flow.fields
      if last is not None:  # Changes between this part and the one before.
        fields = np.concatenate([last, fields])
      last = fields[-1:]
      if len(fields) > 1:
        part = flow_jitter.flow_jitter(ClipFlow(fields, flow.estimator))
        jitter.append((part.value, len(fields) - 1))
    if not smoothness:
      raise NoScore(f'{len(clip.frames)} frames have no flow')
    values = {f'flow_smoothness_{estimator}': float(np.mean(smoothness))}
    missing, name = {}, f'flow_jitter_{estimator}'
    if jitter:
      means, counts = zip(*jitter)
      values[name] = float(np.average(means, weights=counts))
    else:
      missing[name] = 'two frames have no change of flow'
    return ClipScores(values, missing, len(clip.frames), 0)

  return measure


def measure_flow_ratio(metric: Any):
  """Returns the measure of flow over that of the true clip.

  Args:
    metric: of a clip's flow, of the same estimator.
  """

  def measure(context, clip: Clip, truth: Clip) -> ClipScores:
    ours = context.scores(metric, clip, None)
    true = context.scores(metric, truth, None)
    values, missing = {}, {}
    for name in metric.scores:
      ratio = _ratio_name(name)
      reason = ours.missing.get(name) or true.missing.get(name)
      if not reason and true.values[name] <= _STILL:
        reason = 'nothing moves in the true clip'
      if reason:
        missing[ratio] = reason
      else:
        values[ratio] = ours.values[name] / true.values[name]
    return ClipScores(values, missing, 0, 0)

  return measure


def _ratio_name(name: str) -> str:
  """'flow_smoothness_raft-small' to 'flow_smoothness_ratio_raft-small'."""
  head, _, estimator = name.rpartition('_')
  return f'{head}_ratio_{estimator}'


def measure_face(context, clip: Clip, truth) -> ClipScores:
  """How the face of a clip moves."""
  del truth
  return landmarks.describe(context.track(clip), fps=context.protocol.fps)


def measure_landmarks(context, clip: Clip, truth: Clip) -> ClipScores:
  """How the face moves beside the true one."""
  return landmarks.compare(context.track(clip), context.track(truth))


def pooled(rows: list[Mapping[str, float]]) -> tuple[np.ndarray, float] | None:
  """Blinks of all clips over the minutes of all.

  Rates of short clips are 0 or large, so that their mean says little.

  Args:
    rows: scores of clips.

  Returns:
    One number per clip whose mean is the rate of all, and whose mean over
    drawn clips is to first order the rate of those; and that rate.
  """
  pairs = [
    (row['blinks'], row['blink_seconds'])
    for row in rows
    if 'blink_seconds' in row
  ]
  if not pairs:
    return None
  blinks, seconds = np.array(pairs, float).T
  rate = 60 * blinks.sum() / seconds.sum()
  return rate + (60 * blinks - rate * seconds) / seconds.mean(), float(rate)
