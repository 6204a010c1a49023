"""Temporal jitter: how much the motion of a clip changes between frames.

Beside Flow Smoothness, which looks at one field at a time: a frame that shakes
as a whole is perfectly smooth in space.
"""

import numpy as np

from mdcf_jax.metrics.optical_flow import ClipFlow, FlowScore


def flow_jitter(flow: ClipFlow) -> FlowScore:
  """Mean length of the change of flow from one pair of frames to the next.

  `mean |u_t - u_{t-1}|` over pixels and pairs of fields, in pixels per frame.
  A change is taken at a place of the picture, not along what moves through it.

  Args:
    flow: of three frames or more.

  Returns:
    0 for motion that does not change.

  Raises:
    ValueError: there are fewer than two fields.
  """
  fields = np.asarray(flow.fields)
  if fields.ndim != 4 or fields.shape[-1] != 2 or len(fields) < 2:
    raise ValueError(f'fields are {fields.shape}, not [2 or more, H, W, 2]')
  # One pair at a time: a clip in float64 is large.
  changes = [
    np.linalg.norm(b.astype(np.float64) - a, axis=-1).mean()
    for a, b in zip(fields[:-1], fields[1:])
  ]
  return FlowScore(float(np.mean(changes)), flow.estimator)
