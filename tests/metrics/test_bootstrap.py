"""Bootstrap intervals."""

import numpy as np
import pytest

from mdcf_jax.metrics.bootstrap import bootstrap_interval


def test_interval_of_a_normal_sample():
  values = np.random.default_rng(0).normal(3.0, 1.0, 400)
  interval = bootstrap_interval(values)
  half = 1.96 * values.std() / 20  # The normal interval of the mean.
  assert interval.mean == pytest.approx(values.mean())
  # The bootstrap of 400 normal values is the normal interval within 10 %.
  assert interval.high - interval.mean == pytest.approx(half, rel=0.1)
  assert interval.mean - interval.low == pytest.approx(half, rel=0.1)


def test_same_seed_same_interval():
  values = np.arange(10.0)
  assert bootstrap_interval(values, seed=3) == bootstrap_interval(
    values, seed=3
  )
  assert bootstrap_interval([2.0, 2.0]) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize('values', [[], [1.0, np.nan], [[1.0]]])
def test_values_must_be_finite_numbers(values):
  with pytest.raises(ValueError, match='finite'):
    bootstrap_interval(values)
