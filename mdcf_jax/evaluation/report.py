"""From the scores of clips and the sums of sets to one report."""

import collections
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mdcf_jax.evaluation import motion, table
from mdcf_jax.evaluation.run import SIDES, Part
from mdcf_jax.evaluation.sets import Statistics
from mdcf_jax.metrics.bootstrap import bootstrap_interval
from mdcf_jax.metrics.protocol import Protocol


def make(part: Part, protocol: Protocol) -> dict[str, Any]:
  """Returns the report, as JSON.

  Its keys: `scores`, by name the value, its interval over clips, how many
  clips or features it is of, which is better, and the true clips' own value;
  `skipped`, metrics and why; `no_score`, by name how many clips have none and
  why; `failed`, clips that could not be read; `sets`, counts; `clips`, all of
  it by clip; `protocol`, `weights` and `versions`.
  """
  rows = dict(sorted(part.rows.items()))
  scores, reasons = {}, _reasons(rows.values())
  for metric in table.METRICS:
    if metric.name not in part.header['metrics']:
      continue
    if metric.kind == 'set':
      found, reason = _distance(metric, part, protocol)
      scores |= found
      if reason:
        reasons[metric.name] = {'clips': None, 'reasons': {reason: 1}}
    else:
      scores |= _means(metric, rows, protocol)
  keys = ('format', 'protocol', 'paired', 'skipped')
  return {
    **{key: part.header[key] for key in keys},
    'scores': scores,
    'no_score': reasons,
    'failed': {
      name: row['failed'] for name, row in rows.items() if row['failed']
    },
    'sets': {side: _counts(rows.values(), side) for side in SIDES},
    'weights': part.header['weights'],
    'versions': part.header['versions'],
    'clips': rows,
  }


def _distance(metric, part, protocol):
  """Scores of two sets, and why there are none."""
  real, fake = (
    part.sums.get((side, metric.features), Statistics()) for side in SIDES
  )
  try:
    values = metric.distance(protocol, real, fake)
  except ValueError as error:
    return {}, ' '.join(str(error).split())
  values = {k: v for k, v in values.items() if math.isfinite(v)}
  return {
    name: {
      'value': value,
      'count': {'real': real.count, 'fake': fake.count},
      'better': metric.scores[name],
    }
    for name, value in values.items()
  }, None


def _means(metric, rows, protocol) -> dict[str, Any]:
  """Means over clips, with intervals."""
  found = {}
  for name, better in metric.scores.items():
    sides = {}
    for side in SIDES:
      scored = [row.get(f'{side}_scores', {}) for row in rows.values()]
      sides[side] = _interval(name, scored, protocol)
    if sides['fake'] is None:
      continue
    found[name] = {**sides['fake'], 'better': better}
    if sides['real'] is not None:
      found[name]['real'] = sides['real']
  return found


def _interval(
  name: str, rows: list[Mapping[str, float]], protocol: Protocol
) -> dict[str, Any] | None:
  """Mean of a score and its interval; None if no clip has it.

  Of one clip there is no interval.
  """
  if name == 'blink_rate':
    pooled = motion.pooled(rows)
    values = [] if pooled is None else pooled[0]
  else:
    values = [row[name] for row in rows if name in row]
  if not len(values):
    return None
  if len(values) == 1:
    return {'value': float(values[0]), 'count': 1}
  level, draws, seed = protocol.interval
  mean, low, high = bootstrap_interval(
    np.asarray(values), level=level, num_samples=draws, seed=seed
  )
  return {'value': mean, 'low': low, 'high': high, 'count': len(values)}


def _reasons(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
  """By score: how many generated or true clips have none, by reason.

  Reasons that differ in their numbers alone are one.
  """
  counts: dict[str, collections.Counter] = {}
  for row in rows:
    for side in SIDES:
      for name, reason in row.get(f'{side}_missing', {}).items():
        kind = re.sub(r'\d+(\.\d+)?', 'N', reason)
        counts.setdefault(name, collections.Counter())[f'{side}: {kind}'] += 1
  return {
    name: {'clips': sum(found.values()), 'reasons': dict(sorted(found.items()))}
    for name, found in sorted(counts.items())
  }


def _counts(rows: Iterable[Mapping[str, Any]], side: str) -> dict[str, int]:
  sides = [row['sides'][side] for row in rows if side in row['sides']]
  return {
    'clips': len(sides),
    'frames': sum(clip['frames'] for clip in sides),
  }


def lines(report: Mapping[str, Any]) -> list[str]:
  """The scores as text: one line each."""
  text = [f'protocol {report["protocol"]["name"]} {report["protocol"]["hash"]}']
  for name, score in report['scores'].items():
    interval = ''
    if 'low' in score:
      interval = f' [{score["low"]:.4g}, {score["high"]:.4g}]'
    true = ''
    if 'real' in score:
      true = f'  true clips {score["real"]["value"]:.4g}'
    better = f'  better: {score["better"]}' if score['better'] else ''
    text.append(f'{name:32} {score["value"]:10.4g}{interval}{true}{better}')
  return text
