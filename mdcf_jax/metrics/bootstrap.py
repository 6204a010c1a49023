"""Bootstrap intervals: how far a mean over a few clips can be trusted."""

from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
  """A mean and its interval; `str()` prints all three."""

  mean: float
  low: float
  high: float

  def __str__(self) -> str:
    return f'{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]'


def bootstrap_interval(
  values: np.ndarray,
  *,
  level: float = 0.95,
  num_samples: int = 10000,
  seed: int = 0,
) -> Interval:
  """Percentile bootstrap of the mean over clips.

  For two systems measured on the same clips pass the differences: the
  interval is then the paired one, much narrower than two single intervals.

  Args:
    values: `[clips]`, one number per clip.
    level: probability inside the interval.
    num_samples: resamplings with replacement.
    seed: of the resampling; the same seed gives the same interval.

  Returns:
    The mean of `values` and both ends of its interval.

  Raises:
    ValueError: no values, or one that is not finite.
  """
  values = np.asarray(values, np.float64)
  if values.ndim != 1 or not len(values) or not np.all(np.isfinite(values)):
    raise ValueError(f'needs one finite number per clip, got {values}')
  rng = np.random.default_rng(seed)
  draws = rng.integers(0, len(values), (num_samples, len(values)))
  tail = 50 * (1 - level)
  low, high = np.percentile(values[draws].mean(axis=1), (tail, 100 - tail))
  return Interval(float(values.mean()), float(low), float(high))
