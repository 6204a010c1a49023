"""Flow smoothness of Microscope (appendix A.3, equations 11-13).

The paper compares a generated clip with the true one (section 4.2, figure
4b): faces that move have a gradient, so closer to the true clip is better, not
smaller. It leaves the estimator of the flow, the derivatives and the mean over
frames open.
"""

import numpy as np

from mdcf_jax.metrics.optical_flow import ClipFlow, FlowScore


def flow_smoothness(flow: np.ndarray) -> np.ndarray:
  """Root mean square of the gradient of every flow field.

  Small is smooth: 0 for a translation, |a| * sqrt(2) for a zoom by 1 + a. The
  paper leaves the derivatives open; these are forward differences, at the
  points that have a neighbour on both sides (all but the last row and column).

  Args:
    flow: `[..., H, W, 2]`, (x, y) in pixels of this very field, so that the
      score has no unit; H and W at least 2.

  Returns:
    `[...]` float64, the Frobenius norm of the gradient.

  Raises:
    ValueError: the field has no such shape.
  """
  flow = np.asarray(flow, np.float64)
  if flow.ndim < 3 or flow.shape[-1] != 2 or min(flow.shape[-3:-1]) < 2:
    raise ValueError(f'flow is {flow.shape}, not [..., H, W, 2]')
  here = flow[..., :-1, :-1, :]
  along_x = flow[..., :-1, 1:, :] - here
  along_y = flow[..., 1:, :-1, :] - here
  squared = np.sum(np.square(along_x) + np.square(along_y), axis=-1)
  return np.sqrt(np.mean(squared, axis=(-2, -1)))


def clip_flow_smoothness(flow: ClipFlow) -> FlowScore:
  """Mean of `flow_smoothness` over the fields of a clip.

  Raises:
    ValueError: of `flow_smoothness`, or there is no field.
  """
  if not len(flow.fields):
    raise ValueError('a clip without flow has no smoothness')
  # One field at a time: a clip in float64 is large.
  values = [flow_smoothness(field) for field in flow.fields]
  return FlowScore(float(np.mean(values)), flow.estimator)


def flow_smoothness_ratio(flow: ClipFlow, truth: ClipFlow) -> FlowScore:
  """Smoothness of a clip over that of the true clip.

  1 is the best; above 1 the motion is rougher than it should be (jitter), below
  it is stiffer. Infinite, or not a number, if nothing moves in the true clip.

  Args:
    flow: of the clip.
    truth: of the true one, by the same estimator.

  Raises:
    ValueError: two estimators, or of `clip_flow_smoothness`.
  """
  if flow.estimator != truth.estimator:
    raise ValueError(
      f'flows of two estimators: {flow.estimator} and {truth.estimator}'
    )
  ours, theirs = clip_flow_smoothness(flow), clip_flow_smoothness(truth)
  with np.errstate(divide='ignore', invalid='ignore'):
    ratio = np.divide(ours.value, theirs.value)
  return FlowScore(float(ratio), flow.estimator)
