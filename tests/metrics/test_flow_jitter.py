"""Jitter: zero for motion that does not change, known for motion that does."""

import numpy as np
import pytest

from mdcf_jax.metrics.flow_jitter import flow_jitter
from mdcf_jax.metrics.optical_flow import ClipFlow


def clip(fields):
  return ClipFlow(np.asarray(fields, np.float32), 'known')


def test_motion_that_does_not_change_has_none():
  field = np.random.default_rng(0).normal(size=(6, 5, 2))
  score = flow_jitter(clip([field] * 4))
  assert score.value == 0
  assert score.estimator == 'known'


def test_shaking_to_and_fro():
  """From (3, 4) to (-3, -4) is a change of 10 pixels at each step."""
  field = np.broadcast_to([3.0, 4.0], (6, 5, 2))
  score = flow_jitter(clip([field, -field, field]))
  np.testing.assert_allclose(score.value, 10.0)
  half = np.array(field)
  half[:3] = 0  # A half of the picture stands still.
  np.testing.assert_allclose(flow_jitter(clip([half, -half])).value, 5.0)


def test_one_change_in_three():
  fields = np.zeros((4, 6, 5, 2))
  fields[3, ..., 1] = 6.0
  np.testing.assert_allclose(flow_jitter(clip(fields)).value, 2.0)


@pytest.mark.parametrize('shape', [(1, 4, 4, 2), (3, 4, 4), (3, 4, 4, 3)])
def test_what_has_no_change(shape):
  with pytest.raises(ValueError, match='2 or more'):
    flow_jitter(clip(np.zeros(shape)))
