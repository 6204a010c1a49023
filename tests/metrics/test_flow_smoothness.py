"""Flow smoothness: zero at rest, known for linear fields, blind to shifts."""

import numpy as np
import pytest

from mdcf_jax.metrics.flow_smoothness import (
  clip_flow_smoothness,
  flow_smoothness,
  flow_smoothness_ratio,
)
from mdcf_jax.metrics.optical_flow import ClipFlow


def linear(matrix, height=6, width=9):
  """The field whose gradient is `matrix` everywhere."""
  y, x = np.mgrid[:height, :width]
  return np.stack([x, y], axis=-1) @ np.asarray(matrix, np.float64).T


def test_a_translation_is_perfectly_smooth():
  flow = np.broadcast_to([3.0, -1.0], (2, 5, 5, 2))
  np.testing.assert_array_equal(flow_smoothness(flow), [0, 0])


@pytest.mark.parametrize(
  'matrix', [[[0.1, 0], [0, 0.1]], [[0, -0.3], [0.3, 0]], [[1, 2], [3, 4]]]
)
def test_a_linear_field_has_the_norm_of_its_matrix(matrix):
  found = flow_smoothness(linear(matrix) + 7)
  np.testing.assert_allclose(found, np.linalg.norm(matrix), rtol=1e-12)


def test_one_spike():
  """It has two neighbours before it, and is one before two others."""
  flow = np.zeros((5, 5, 2))
  flow[2, 2, 0] = 1.0
  expected = np.sqrt(4 / 16)  # Four differences of 1 at 4 x 4 points.
  np.testing.assert_allclose(flow_smoothness(flow), expected)


def test_noise_is_rough_and_every_frame_has_its_score():
  noise = np.random.default_rng(0).normal(size=(3, 16, 16, 2))
  smooth = linear([[0.1, 0], [0, 0.1]], 16, 16)
  scores = flow_smoothness(np.stack([smooth, *noise]))
  assert scores.shape == (4,)
  assert (scores[1:] > 5 * scores[0]).all()


@pytest.mark.parametrize('shape', [(4, 4), (4, 4, 3), (1, 4, 2)])
def test_what_is_no_field(shape):
  with pytest.raises(ValueError, match='not'):
    flow_smoothness(np.zeros(shape))


def clip(fields, estimator='known'):
  return ClipFlow(np.asarray(fields, np.float32), estimator)


def test_a_clip_has_the_mean_of_its_fields_and_keeps_the_estimator():
  fields = [linear([[0.1, 0], [0, 0.1]]), linear([[0.3, 0], [0, 0.3]])]
  score = clip_flow_smoothness(clip(fields))
  assert score.estimator == 'known'
  np.testing.assert_allclose(score.value, 0.2 * np.sqrt(2), rtol=1e-6)
  moved = clip_flow_smoothness(clip(np.asarray(fields) + [5.0, -3.0]))
  np.testing.assert_allclose(moved.value, score.value, rtol=1e-5)


def test_the_ratio_to_the_true_clip():
  truth = clip([linear([[0.1, 0.2], [0, 0.1]])])
  twice = clip(2 * truth.fields)
  assert flow_smoothness_ratio(truth, truth).value == 1
  np.testing.assert_allclose(flow_smoothness_ratio(twice, truth).value, 2)
  assert flow_smoothness_ratio(twice, truth).estimator == 'known'
  still = clip(0 * truth.fields)
  assert flow_smoothness_ratio(still, truth).value == 0
  assert np.isinf(flow_smoothness_ratio(truth, still).value)
  assert np.isnan(flow_smoothness_ratio(still, still).value)


def test_two_estimators_do_not_compare():
  fields = [linear([[0.1, 0], [0, 0.1]])]
  with pytest.raises(ValueError, match='two estimators: a and b'):
    flow_smoothness_ratio(clip(fields, 'a'), clip(fields, 'b'))


def test_a_clip_without_flow():
  with pytest.raises(ValueError, match='without flow'):
    clip_flow_smoothness(clip(np.zeros((0, 4, 4, 2))))
