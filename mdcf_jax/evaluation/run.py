"""Evaluates clips one after the other; what a part of them gives can be merged.

Several processes, on one machine or on many, take a share of the clips each;
their parts hold the scores of their clips and sums of features in float64, so
the merged report is the one that a single process writes.
"""

import dataclasses
import importlib.metadata
import json
import logging
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mdcf_jax.errors import InputError, reading
from mdcf_jax.evaluation import table
from mdcf_jax.evaluation.cache import write_npz
from mdcf_jax.evaluation.clips import Clip, Item
from mdcf_jax.evaluation.context import Context
from mdcf_jax.evaluation.sets import Statistics
from mdcf_jax.metrics import frechet
from mdcf_jax.metrics.protocol import Protocol

logger = logging.getLogger(__name__)

FORMAT = 1
SIDES = 'real', 'fake'
PACKAGES = ('mdcf_jax', 'jax', 'jaxlib', 'flax', 'numpy', 'av', 'pillow')
PACKAGES += ('mediapipe', 'opencv-contrib-python', 'onnxruntime')


@dataclasses.dataclass
class Part:
  """What a share of the clips gives.

  Attributes:
    header: JSON that all parts of one evaluation have in common: protocol,
      weights, metrics, skipped.
    shards: numbers of the shares that are in it.
    rows: JSON of every clip, by name.
    sums: `Statistics` by (side, features).
  """

  header: dict[str, Any]
  shards: list[int]
  rows: dict[str, dict[str, Any]]
  sums: dict[tuple[str, str], Statistics]


def plan(
  context: Context, names: list[str] | None, *, paired: bool, shards: int = 1
) -> tuple[tuple[table.Metric, ...], dict[str, Any]]:
  """Decides what can be measured.

  Args:
    context: protocol and networks.
    names: of metrics, None for all.
    paired: whether clips have a true one.
    shards: into how many shares the clips are divided.

  Returns:
    The metrics, and the header of parts. A metric whose networks are missing
    is in `skipped` of it, with the reason.
  """
  kept, skipped, weights = [], {}, {}
  for metric in table.select(names):
    if metric.kind == 'pair' and not paired:
      skipped[metric.name] = 'clips are not paired'
      continue
    try:
      found = {need: context.networks.describe(need) for need in metric.needs}
    except InputError as error:
      skipped[metric.name] = ' '.join(str(error).split())
      logger.warning('%s is skipped: %s', metric.name, skipped[metric.name])
      continue
    kept.append(metric)
    weights |= found
  header = {
    'format': FORMAT,
    'protocol': {
      **dataclasses.asdict(context.protocol),
      'hash': context.protocol.hash,
    },
    'weights': weights,
    'versions': _versions(),
    'paired': paired,
    'shards': shards,
    'metrics': [metric.name for metric in kept],
    'skipped': skipped,
  }
  return tuple(kept), json.loads(json.dumps(header))


def _versions() -> dict[str, str]:
  versions = {}
  for name in PACKAGES:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return versions


def evaluate(
  context: Context,
  metrics: Sequence[table.Metric],
  header: dict[str, Any],
  items: Iterable[Item],
  shard: int = 0,
) -> Part:
  """Measures items, one at a time; no clip stops the others.

  Args:
    context: what measures.
    metrics, header: of `plan`.
    items: those of this share.
    shard: its number.
  """
  part = Part(header, [shard], {}, {})
  for item in items:
    row, sums = _measure(context, metrics, item)
    part.rows[item.name if header['paired'] else _unpaired(item)] = row
    for key, statistics in sums.items():
      before = part.sums.get(key, Statistics())
      limit = context.protocol.kid_sample
      part.sums[key] = Statistics.merge(before, statistics, limit)
  return part


def _unpaired(item: Item) -> str:
  """Names of both sets may be the same."""
  return f'{"real" if item.real else "fake"}/{item.name}'


def _measure(context, metrics, item):
  """Row of an item, and the statistics of its clips by (side, features)."""
  clips, row, sums = {}, {'sides': {}, 'failed': {}}, {}
  for side in SIDES:
    path = getattr(item, side)
    if path is None:
      continue
    clip = Clip(path, item.name, context.protocol)
    try:
      row['sides'][side] = {
        'file': path.name,
        'sha256': clip.sha256,
        'frames': context.count(clip),
      }
      clips[side] = clip
    except InputError as error:
      row['failed'][side] = ' '.join(str(error).split())
      logger.warning('%s is left out: %s', path, row['failed'][side])
  for metric in metrics:
    if metric.kind == 'set':
      for side, clip in clips.items():
        key = (side, metric.features)
        if key not in sums:
          sums[key] = _statistics(context, metric, clip, row, side)
    else:
      _score(context, metric, clips, row, item.name)
  for clip in clips.values():
    clip.close()
  return row, sums


def _statistics(context, metric, clip, row, side) -> Statistics:
  """Of a clip's features; none of a clip that has no score, with the reason."""
  reason = None
  try:
    features = context.features(
      metric.features, metric.needs, metric.measure, clip
    )
    if len(features):
      limit = context.protocol.kid_sample
      return Statistics.of(clip.name, features, limit)
    reason = f'{row["sides"][side]["frames"]} frames give no features'
  except ValueError as error:
    reason = ' '.join(str(error).split())
  _note(row, side, {metric.features: reason}, clip.name)
  return Statistics()


def _score(context, metric, clips, row, name) -> None:
  """Adds the scores of a metric of a clip or of a pair."""
  truth = clips.get('real')
  for side in SIDES if metric.kind == 'clip' else ('fake',):
    clip = clips.get(side)
    if clip is None or (metric.kind == 'pair' and truth is None):
      continue
    found = context.scores(metric, clip, truth)
    row.setdefault(f'{side}_scores', {}).update(found.values)
    _note(row, side, found.missing, name)


def _note(row, side, missing, name) -> None:
  """Adds reasons, and says each once."""
  row.setdefault(f'{side}_missing', {}).update(missing)
  for reason in sorted(set(missing.values())):
    names = ', '.join(k for k, v in missing.items() if v == reason)
    logger.warning('%s clip %s has no %s: %s', side, name, names, reason)


def merge(parts: Sequence[Part]) -> Part:
  """One part of several; all shares must be there.

  Raises:
    InputError: they are of different evaluations, a share is there twice, or
      one is missing.
  """
  first = parts[0]
  shards = sorted(shard for part in parts for shard in part.shards)
  for part in parts[1:]:
    for key, value in first.header.items():
      if part.header.get(key) != value:
        raise InputError(f'parts of two evaluations: their {key} differ')
  count = first.header['shards']
  if shards != list(range(count)):
    raise InputError(f'parts {shards} of {count}: each is needed, once')
  limit = first.header['protocol']['kid_sample']
  rows, sums = {}, {}
  for part in parts:
    rows |= part.rows
    for key, statistics in part.sums.items():
      before = sums.get(key, Statistics())
      sums[key] = Statistics.merge(before, statistics, limit)
  return Part(first.header, shards, dict(sorted(rows.items())), sums)


def save(part: Part, path: pathlib.Path) -> None:
  """Writes a part as one npz.

  Raises:
    InputError: it cannot be written.
  """
  text = json.dumps([part.header, part.shards, part.rows])
  arrays = {'json': np.array(text)}
  for (side, name), x in part.sums.items():
    if x.count:
      prefix = f'{side}|{name}|'
      arrays[f'{prefix}count'] = np.array(x.count)
      arrays[f'{prefix}total'] = x.moments.total
      arrays[f'{prefix}outer'] = x.moments.outer
      arrays[f'{prefix}keys'], arrays[f'{prefix}sample'] = x.keys, x.sample
  write_npz(path, arrays)


def load(path: str | os.PathLike, protocol: Protocol) -> Part:
  """Reads a part.

  Raises:
    InputError: it is none, damaged, or of another protocol.
  """
  advice = '--merge takes what `mdcf evaluate --shard` wrote'
  with reading(path, advice), np.load(path, allow_pickle=False) as file:
    header, shards, rows = json.loads(str(file['json']))
    if header['protocol']['hash'] != protocol.hash:
      raise InputError(f'{os.fspath(path)} is of another protocol')
    sums = {}
    for name in [x for x in file.files if x.endswith('|count')]:
      prefix = name.removesuffix('count')
      side, features, _ = prefix.split('|')
      moments = frechet.Moments(
        int(file[name]), file[f'{prefix}total'], file[f'{prefix}outer']
      )
      sums[side, features] = Statistics(
        moments, file[f'{prefix}keys'], file[f'{prefix}sample']
      )
  return Part(header, shards, rows, sums)
