"""Kernel distance against its definition."""

import numpy as np
import pytest

from mdcf_jax.metrics.kid import kernel_distance, squared_mmd


def features(count, width=6, seed=0, shift=0.0):
  rng = np.random.default_rng(seed)
  return (shift + rng.normal(size=(count, width))).astype(np.float32)


def direct(a, b):
  """The sum over pairs, one by one."""
  kernel = lambda x, y: (float(np.dot(x, y)) / len(x) + 1) ** 3
  a, b = a.astype(np.float64), b.astype(np.float64)
  within = lambda x: np.mean(
    [kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]
  )
  return (
    within(a) + within(b) - 2 * np.mean([kernel(x, y) for x in a for y in b])
  )


def test_small_sets_are_used_whole():
  a, b = features(9), features(13, seed=1, shift=0.5)
  score = kernel_distance(a, b)
  assert score.mean == pytest.approx(direct(a, b), rel=1e-9)
  assert score.std == 0
  assert kernel_distance(b, a).mean == pytest.approx(score.mean, rel=1e-9)


def test_large_sets_are_drawn_from():
  """The mean over draws is near the value of the whole sets."""
  a, b = features(150), features(120, seed=1, shift=0.5)
  options = dict(num_subsets=50, subset_size=60)
  score = kernel_distance(a, b, **options)
  whole = squared_mmd(a, b)
  assert score.std > 0
  # Six standard errors of the mean; draws overlap, so they are smaller.
  assert abs(score.mean - whole) < 6 * score.std / 50**0.5
  assert score == kernel_distance(a, b, **options)
  assert score != kernel_distance(a, b, seed=1, **options)
  # A draw of all of the smaller set.
  assert kernel_distance(a, b[:40], **options).std > 0


def test_unbiased():
  """Over many pairs of sets of one distribution the mean is near 0."""
  values = [
    squared_mmd(features(10, seed=2 * i), features(10, seed=2 * i + 1))
    for i in range(300)
  ]
  assert min(values) < 0 < max(values)
  assert abs(np.mean(values)) < 4 * np.std(values) / 300**0.5


def test_wrong_arguments_are_errors():
  a = features(5)
  with pytest.raises(ValueError, match=r'\(5, 6\) and \(5, 4\)'):
    kernel_distance(a, features(5, 4))
  with pytest.raises(ValueError, match='subsets of 1'):
    kernel_distance(a, a[:1])
  with pytest.raises(ValueError, match='0 subsets'):
    kernel_distance(a, a, num_subsets=0)
