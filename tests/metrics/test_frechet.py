"""Frechet distance: closed forms, SciPy, few samples, merged sums."""

import functools

import numpy as np
import pytest

from mdcf_jax.metrics.frechet import Moments, frechet_distance


def features(count, width, seed=0, scale=1.0):
  """Correlated features that are not centred, like those of a ReLU."""
  rng = np.random.default_rng(seed)
  mixing = np.random.default_rng(99).normal(size=(width, width)) / width**0.5
  return np.abs(0.5 + scale * rng.normal(size=(count, width)) @ mixing)


def distance(a, b):
  return frechet_distance(Moments.of(a), Moments.of(b))


def gaussian(mean, covariance, count=10):
  """Moments of exactly this mean and this covariance."""
  mean, covariance = np.array(mean, float), np.array(covariance, float)
  outer = (count - 1) * covariance + count * np.outer(mean, mean)
  return Moments(count, count * mean, outer)


def test_closed_form():
  """Where covariances commute the root is that of the eigenvalues."""
  turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
  a = gaussian([1, 2, 3], turn @ np.diag([4, 9, 0]) @ turn.T)
  b = gaussian([1, 0, 3], turn @ np.diag([1, 16, 25]) @ turn.T)
  # 2^2 of the means; (2 - 1)^2 + (3 - 4)^2 + (0 - 5)^2 of the deviations.
  assert frechet_distance(a, b) == pytest.approx(4 + 1 + 1 + 25, rel=1e-12)
  assert frechet_distance(b, a) == pytest.approx(31, rel=1e-12)


@pytest.mark.parametrize(
  'count, rtol',
  # SciPy's root of a singular product is itself good to some 1e-5 only.
  [(200, 1e-9), (20, 1e-3)],
)
def test_agrees_with_scipy(count, rtol):
  linalg = pytest.importorskip('scipy.linalg')
  a, b = features(count, 40), features(count + 7, 40, 1, 1.3)
  covariances = [np.cov(x, rowvar=False) for x in (a, b)]
  root = np.real(linalg.sqrtm(covariances[0] @ covariances[1]))
  expected = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
  expected += np.trace(covariances[0] + covariances[1] - 2 * root)
  assert expected > 0.1
  assert distance(a, b) == pytest.approx(expected, rel=rtol)


def test_few_samples_are_exact():
  """In a subspace, turned into many dimensions, nothing changes."""
  a, b = features(60, 8), features(50, 8, 1, 1.3)
  turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(100, 100)))
  expected = distance(a, b)
  assert expected > 0.01
  shift = np.linspace(0, 3, 100)
  wide = [x @ turn[:8] + shift for x in (a, b)]
  assert distance(*wide) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize('count', [2, 10, 300])
def test_a_set_and_itself(count):
  a = features(count, 64)
  assert 0 <= distance(a, a) < 1e-10
  assert 0 <= distance(a, a[::-1]) < 1e-10
  assert distance(a, a + 0.1) == pytest.approx(64 * 0.01, rel=1e-9)


def test_constant_features_differ_by_their_means():
  a, b = np.ones((5, 3)), np.full((4, 3), 3.0)
  assert distance(a, b) == pytest.approx(12)


def test_moments_are_those_of_numpy_and_merge_in_any_order():
  x = features(30, 5)
  parts = [Moments.of(part) for part in np.split(x, [0, 7, 8])]
  forward = functools.reduce(Moments.merge, parts)
  backward = functools.reduce(lambda a, b: Moments.merge(b, a), parts[::-1])
  assert forward.count == backward.count == 30
  for moments in (forward, backward, Moments.of(x.astype(np.float64))):
    assert moments.outer.dtype == moments.total.dtype == np.float64
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-12)
    covariance = np.cov(x, rowvar=False)
    np.testing.assert_allclose(moments.covariance, covariance, atol=1e-12)


def test_wrong_arguments_are_errors():
  one, two = Moments.of(np.ones((1, 3))), Moments.of(np.ones((2, 3)))
  with pytest.raises(ValueError, match='1 features have no covariance'):
    frechet_distance(two, one)
  with pytest.raises(ValueError, match='no mean'):
    frechet_distance(Moments.of(np.ones((0, 3))), two)
  with pytest.raises(ValueError, match='widths differ'):
    frechet_distance(two, Moments.of(np.ones((2, 4))))
  with pytest.raises(ValueError, match='widths differ'):
    Moments.merge(two, Moments.of(np.ones((2, 4))))
  with pytest.raises(ValueError, match='not finite'):
    Moments.of(np.array([[np.nan]]))
  with pytest.raises(ValueError, match=r'\(3,\)'):
    Moments.of(np.ones(3))
