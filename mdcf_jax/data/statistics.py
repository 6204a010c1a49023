"""Mean and spread of pose and blink over a dataset, in one pass."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

_WIDTHS = {'pose': 6, 'blink': 2}


@dataclasses.dataclass(frozen=True)
class Moments:
  """Of each number of a signal, in its own units.

  Attributes:
    mean, std: over all frames.
    change: root mean square of the difference between two frames of a clip;
      people hold their heads differently, so it is less than `std` tells.
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]
  change: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Statistics:
  """Of the frames in which a face was found.

  Attributes:
    num_frames: how many these are.
    pose: six numbers each.
    blink: two numbers each.
  """

  num_frames: int
  pose: Moments
  blink: Moments


def from_json(stored: Mapping[str, Any]) -> Statistics:
  """The inverse of `dataclasses.asdict`."""
  moments = {
    name: Moments(**{key: tuple(x) for key, x in stored[name].items()})
    for name in _WIDTHS
  }
  if any(
    len(values) != _WIDTHS[name]
    for name, part in moments.items()
    for values in dataclasses.astuple(part)
  ):
    raise ValueError('six numbers of pose and two of blink')
  return Statistics(num_frames=int(stored['num_frames']), **moments)


class Accumulator:
  """Adds clip after clip; merging squares of deviations loses no digits."""

  def __init__(self):
    self._count = 0
    self._mean = np.zeros(sum(_WIDTHS.values()))
    self._total = np.zeros_like(self._mean)  # Squares about the mean of all.
    self._within = np.zeros_like(self._mean)  # About the mean of each clip.

  def add(self, record: Mapping[str, Any]) -> None:
    """Adds the frames of a record in which a face was found."""
    rows = np.asarray(record['detected'], bool)
    values = np.concatenate(
      [np.asarray(record[name], np.float64)[rows] for name in _WIDTHS], axis=1
    )
    if not len(values):
      return
    mean = values.mean(axis=0)
    squares = np.square(values - mean).sum(axis=0)
    count = self._count + len(values)
    off = mean - self._mean
    between = np.square(off) * self._count * len(values) / count
    self._total += squares + between
    self._within += squares
    self._mean += off * len(values) / count
    self._count = count

  def result(self) -> Statistics | None:
    """What was added so far; None if no frame was."""
    if not self._count:
      return None
    values = dict(
      mean=self._mean,
      std=np.sqrt(self._total / self._count),
      change=np.sqrt(2 * self._within / self._count),
    )
    parts, start = {}, 0
    for name, width in _WIDTHS.items():
      own = slice(start, start + width)
      parts[name] = Moments(
        **{k: tuple(x[own].tolist()) for k, x in values.items()}
      )
      start += width
    return Statistics(num_frames=self._count, **parts)
