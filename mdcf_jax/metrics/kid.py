"""Kernel distance of two sets of features (Binkowski et al. 2018).

Unlike FID it is unbiased, so that sets of a few hundred can be compared. It is
near 0, or below, for sets of one distribution.
"""

from typing import NamedTuple

import numpy as np

DEGREE = 3


class KernelDistance(NamedTuple):
  """Mean and standard deviation over subsets."""

  mean: float
  std: float


def kernel_distance(
  a: np.ndarray,
  b: np.ndarray,
  *,
  num_subsets: int = 100,
  subset_size: int = 1000,
  seed: int = 0,
) -> KernelDistance:
  """Unbiased squared MMD with the kernel (x . y / D + 1)^3.

  Args:
    a, b: features `[N, D]` and `[M, D]`.
    num_subsets: draws, each of as many of `a` as of `b`, without replacement.
    subset_size: of these; less where a set is smaller. When neither set is
      larger all is used, once, and the deviation is 0.
    seed: of the draws; the same seed gives the same score.

  Raises:
    ValueError: another shape, widths that differ, fewer than two features, or
      no subsets.
  """
  a, b = (np.asarray(x, np.float64) for x in (a, b))
  if a.ndim != 2 or b.ndim != 2 or a.shape[1:] != b.shape[1:]:
    raise ValueError(f'features are {a.shape} and {b.shape}, not [N, D]')
  smallest = min(len(a), len(b))
  if smallest < 2 or subset_size < 2 or num_subsets < 1:
    raise ValueError(
      f'{num_subsets} subsets of {min(smallest, subset_size)} are too few'
    )
  if max(len(a), len(b)) <= subset_size:
    return KernelDistance(squared_mmd(a, b), 0.0)
  size = min(smallest, subset_size)
  rng = np.random.default_rng(seed)
  draw = lambda x: x[rng.choice(len(x), size, replace=False)]
  values = [squared_mmd(draw(a), draw(b)) for _ in range(num_subsets)]
  return KernelDistance(float(np.mean(values)), float(np.std(values)))


def squared_mmd(a: np.ndarray, b: np.ndarray) -> float:
  """Unbiased estimate from features `[N, D]` and `[M, D]`, two at least."""

  def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** DEGREE

  def within(x: np.ndarray) -> float:
    pairs = kernel(x, x)
    return (pairs.sum() - np.trace(pairs)) / (len(x) * (len(x) - 1))

  return float(within(a) + within(b) - 2 * kernel(a, b).mean())
