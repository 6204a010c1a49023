"""Frechet distance of two Gaussians, from sums that can be merged.

Heusel et al. 2017 (FID) and Unterthiner et al. 2018 (FVD), as everywhere:
|m1 - m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)) with unbiased covariances. All of it
in float64 on the host: float32 is not enough for the root.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Moments:
  """Sums over features `[N, D]`: all that the distance needs of them.

  Attributes:
    count: N.
    total: `[D]` float64, sum of the features.
    outer: `[D, D]` float64, sum of their outer products.
  """

  count: int
  total: np.ndarray
  outer: np.ndarray

  @classmethod
  def of(cls, features: np.ndarray) -> 'Moments':
    """Sums over features `[N, D]`; N may be 0.

    Raises:
      ValueError: another shape, or a feature is not finite.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2:
      raise ValueError(f'features are {features.shape}, not [N, D]')
    if not np.all(np.isfinite(features)):
      raise ValueError('features are not finite')
    return cls(len(features), features.sum(axis=0), features.T @ features)

  @staticmethod
  def merge(a: 'Moments', b: 'Moments') -> 'Moments':
    """Moments of both sets together: in any order, up to rounding.

    Raises:
      ValueError: the features are not of the same width.
    """
    if a.total.shape != b.total.shape:
      raise ValueError(f'widths differ: {a.total.shape} and {b.total.shape}')
    return Moments(a.count + b.count, a.total + b.total, a.outer + b.outer)

  @property
  def mean(self) -> np.ndarray:
    """`[D]`.

    Raises:
      ValueError: there are no features.
    """
    if not self.count:
      raise ValueError('no features have no mean')
    return self.total / self.count

  @property
  def covariance(self) -> np.ndarray:
    """`[D, D]`, divided by N - 1.

    Raises:
      ValueError: there are fewer than two features.
    """
    if self.count < 2:
      raise ValueError(f'{self.count} features have no covariance')
    centred = self.outer - self.count * np.outer(self.mean, self.mean)
    return centred / (self.count - 1)


def frechet_distance(a: Moments, b: Moments) -> float:
  """Frechet distance; 0 for a set and itself, and never negative.

  With S1 = F1 F1' and S2 = F2 F2' the eigenvalues of S1^1/2 S2 S1^1/2 are the
  squares of the singular values of F1' F2, so the trace of the root is the sum
  of these. No root is taken of a small eigenvalue, which would make 1e-8 of a
  rounding error of 1e-16: fewer features than dimensions do no harm.

  Raises:
    ValueError: a set has fewer than two features, or widths differ.
  """
  if a.total.shape != b.total.shape:
    raise ValueError(f'widths differ: {a.total.shape} and {b.total.shape}')
  shift = float(np.sum(np.square(a.mean - b.mean)))
  factor_a, factor_b = _factor(a), _factor(b)
  root = np.linalg.svd(factor_a.T @ factor_b, compute_uv=False).sum()
  spread = np.sum(np.square(factor_a)) + np.sum(np.square(factor_b))
  return max(0.0, shift + float(spread - 2 * root))


def _factor(moments: Moments) -> np.ndarray:
  """F `[D, R]` with F F' = covariance, of rank R below the count."""
  values, vectors = np.linalg.eigh(moments.covariance)  # Ascending.
  kept = values > max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps
  kept[: max(len(values) - moments.count + 1, 0)] = False
  return vectors[:, kept] * np.sqrt(values[kept])
