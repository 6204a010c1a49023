"""Scores frame by frame: does a clip fall apart as it goes on?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

DIGITS = 5  # Significant ones that a series keeps.
_ENDING = '_series'


def to_json(
  series: Mapping[str, Sequence[float]],
) -> dict[str, list[float | None]]:
  """Series by name as JSON: None for a frame without a number."""
  return {
    name: [
      float(f'{value:.{DIGITS}g}') if np.isfinite(value) else None
      for value in values
    ]
    for name, values in series.items()
  }


def average(
  rows: Iterable[Mapping[str, Any]], side: str
) -> dict[str, dict[str, list]]:
  """Means over clips of every frame.

  Args:
    rows: of clips, with the series of `to_json`.
    side: 'real' or 'fake'.

  Returns:
    By name `mean`, a number a frame from frame 0 on, None where no clip has
    one, and `count`, of how many clips it is.
  """
  found: dict[str, list[np.ndarray]] = {}
  for row in rows:
    for name, values in row.get(f'{side}{_ENDING}', {}).items():
      found.setdefault(name, []).append(np.array(values, float))
  return {name: _average(series) for name, series in sorted(found.items())}


def _average(series: list[np.ndarray]) -> dict[str, list]:
  length = max(map(len, series))
  total, count = np.zeros(length), np.zeros(length, int)
  for values in series:
    there = np.isfinite(values)
    total[: len(values)] += np.where(there, values, 0)
    count[: len(values)] += there
  with np.errstate(invalid='ignore'):
    mean = np.where(count > 0, total / count, np.nan)
  return {**to_json({'mean': mean}), 'count': count.tolist()}


def without(row: Mapping[str, Any]) -> dict[str, Any]:
  """A row without its series, which are most of it."""
  return {k: v for k, v in row.items() if not k.endswith(_ENDING)}
