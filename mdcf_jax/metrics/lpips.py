"""LPIPS of clips: how different two pictures look, by a trained network."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mdcf_jax.metrics import batches
from mdcf_jax.models.lpips import LPIPS

BATCH = 8
_ROUNDING = 1e-3  # By which a float picture may leave [-1, 1].


def net_of(variables: Mapping[str, Any]) -> str:
  """'alex' or 'vgg16', whichever the variables are of; part of the score."""
  trunk = variables['params']['trunk']
  return 'alex' if 'conv1' in trunk else 'vgg16'


def lpips(
  variables: Mapping[str, Any],
  pred: np.ndarray,
  target: np.ndarray,
  *,
  batch: int = BATCH,
) -> np.ndarray:
  """LPIPS v0.1 of every frame (`mdcf_jax.models.lpips`).

  Args:
    variables: of `LPIPS`, trained: with others it is no score.
    pred, target: `[T, H, W, 3]`, RGB, uint8 or floats in [-1, 1]; H and W at
      least 31 with AlexNet and 16 with VGG16. They are not resized, and the
      distance depends on the size.
    batch: frames at a time, to bound memory; one compilation.

  Returns:
    `[T]` float64; 0 for equal frames, larger is more different.

  Raises:
    ValueError: the shapes differ or are not as said, or values lie outside
      [-1, 1].
  """
  pred, target = np.asarray(pred), np.asarray(target)
  if pred.shape != target.shape or pred.ndim != 4 or pred.shape[-1] != 3:
    raise ValueError(
      f'pred is {pred.shape} and target is {target.shape}, not [T, H, W, 3]'
    )
  distance = _distance(net_of(variables))
  variables = jax.device_put(variables)
  scores = [np.zeros(0)]
  for start in range(0, len(pred), batch):
    pair = [_picture(x[start : start + batch]) for x in (pred, target)]
    missing = batch - len(pair[0])
    # The last ones are repeated, so that all batches have one shape.
    pair = [np.pad(x, ((0, missing), *[(0, 0)] * 3), 'edge') for x in pair]
    pair = map(batches.spread, pair)
    found = np.asarray(distance(variables, *pair), np.float64)
    scores.append(found[: batch - missing])
  return np.concatenate(scores)


def _picture(x: np.ndarray) -> np.ndarray:
  """Frames in [-1, 1], as the public code has them of uint8."""
  if x.dtype == np.uint8:
    return x.astype(np.float32) / 127.5 - 1
  x = x.astype(np.float32)
  if not np.abs(x).max(initial=0) <= 1 + _ROUNDING:
    raise ValueError(
      f'{x.dtype} frames reach from {x.min()} to {x.max()}, not in [-1, 1]'
    )
  return x


@functools.cache
def _distance(net: str) -> Callable:
  return jax.jit(LPIPS(net).apply)
