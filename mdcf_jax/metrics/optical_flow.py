"""Optical flow between the frames of a clip, for scores of how it moves.

The paper does not say which estimator its Flow Smoothness is of (appendix A.3),
and estimators differ by more than methods do. So what estimated a flow travels
with it, and with every score of it; scores of two estimators do not compare.

Neither estimator gives exactly nothing for equal frames, so scores have a
floor: where little moves, score a clip that repeats one frame beside it.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from mdcf_jax.errors import InputError
from mdcf_jax.models import raft

BATCH = 4
# OpenCV's parameters of Farnebaeck's estimator, of its own tutorial: half size
# at each of three levels, windows of 15 pixels, polynomials over 5 pixels.
FARNEBACK = dict(
  pyr_scale=0.5,
  levels=3,
  winsize=15,
  iterations=3,
  poly_n=5,
  poly_sigma=1.2,
)


@dataclasses.dataclass(frozen=True)
class ClipFlow:
  """The flow of a clip and where it is from.

  Attributes:
    fields: `[T - 1, H, W, 2]` float32, (x, y) in pixels: what frame t shows at
      p is at p + fields[t, p] in frame t + 1.
    estimator: name and parameters.
  """

  fields: np.ndarray
  estimator: str


@dataclasses.dataclass(frozen=True)
class FlowScore:
  """A number, and the estimator without which it means nothing."""

  value: float
  estimator: str


def raft_flow(
  variables: Mapping[str, Any],
  frames: np.ndarray,
  *,
  size: str = 'small',
  iterations: int = raft.ITERATIONS,
  batch: int = BATCH,
) -> ClipFlow:
  """Flow from each frame to the next by RAFT.

  Frames are padded by their border to what RAFT wants (`raft.padding`) and the
  flow is cut again; nothing is resized.

  Args:
    variables: of `raft.RAFT`, trained.
    frames: `[T, H, W, 3]` uint8, RGB; T at least 2.
    size: a key of RAFT_SIZES.
    iterations: of `RAFT`.
    batch: flows at a time, to bound memory; all batches have the same shape,
      so that there is one compilation per size of frames.

  Returns:
    The flow; its estimator names size, iterations and a digest of the weights.

  Raises:
    ValueError: the frames are not as said.
  """
  frames = _checked(frames)
  count, height, width, _ = frames.shape
  rows, columns = raft.padding(height, width)
  inside = (
    slice(rows[0], rows[0] + height),
    slice(columns[0], columns[0] + width),
  )
  estimate = _estimate(size, iterations)
  digest = _digest(variables)
  variables = jax.device_put(variables)
  fields = []
  for start in range(0, count - 1, batch):
    some = frames[start : start + batch + 1]
    # The last frame stands still until the batch is full.
    missing = batch + 1 - len(some)
    some = np.pad(some, ((0, missing), rows, columns, (0, 0)), mode='edge')
    found = np.asarray(estimate(variables, some))
    fields.append(found[: batch - missing, *inside])
  name = f'raft-{size}, {iterations} iterations, weights {digest}'
  return ClipFlow(np.concatenate(fields), name)


def farneback_flow(frames: np.ndarray, **parameters: float) -> ClipFlow:
  """Flow from each frame to the next by Farnebaeck's polynomials (2003).

  Needs no weights, and is coarser than RAFT: it blurs over a window, and sees
  little where there is no texture.

  Args:
    frames: `[T, H, W, 3]` uint8, RGB; T at least 2. Their luma is used.
    **parameters: in the place of those of FARNEBACK, by OpenCV's names.

  Raises:
    InputError: OpenCV is not installed.
    ValueError: the frames are not as said, or there is no such parameter.
  """
  frames = _checked(frames)
  unknown = sorted(parameters.keys() - FARNEBACK.keys())
  if unknown:
    raise ValueError(f'{unknown[0]!r} is none of {list(FARNEBACK)}')
  try:
    import cv2
  except ImportError as error:
    raise InputError(
      f"Farnebaeck's flow needs OpenCV: pip install '.[eval]' ({error})"
    ) from error
  used = FARNEBACK | parameters
  luma = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
  fields = [
    cv2.calcOpticalFlowFarneback(a, b, None, flags=0, **used)
    for a, b in zip(luma[:-1], luma[1:])
  ]
  settings = ', '.join(f'{name} {value}' for name, value in used.items())
  return ClipFlow(np.stack(fields), f'farneback, {settings}')


def _checked(frames: np.ndarray) -> np.ndarray:
  frames = np.asarray(frames)
  if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
    raise ValueError(
      f'frames are {frames.shape} {frames.dtype}, not [T, H, W, 3] uint8'
    )
  if len(frames) < 2:
    raise ValueError(f'{len(frames)} frames have no flow')
  return frames


@functools.cache
def _estimate(size: str, iterations: int) -> Callable:
  model = raft.RAFT(size)

  def estimate(variables, frames):
    return model.apply(
      variables, frames, iterations, method=raft.RAFT.consecutive
    )

  return jax.jit(estimate)


def _digest(variables: Mapping[str, Any]) -> str:
  """Eight digits by which weights are told apart."""
  total = hashlib.sha256()
  flat = traverse_util.flatten_dict(dict(variables), sep='/')
  for name in sorted(flat):
    total.update(name.encode())
    total.update(np.asarray(flat[name], np.float32).tobytes())
  return total.hexdigest()[:8]
