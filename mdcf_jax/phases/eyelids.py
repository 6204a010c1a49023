"""Lids that come down over the eyes of the portrait.

Not in the paper, whose flow learns to blink. A lid moves by two cells of the
dynamics, a quarter of a cell of the latents, which small models do not see. So
blinks are drawn when latents are dynamics again. Frames show the portrait with
its eyes shut, moved as they would have shown it with its eyes open: the skin
above an eye is stretched over it, down to where the lid is.
"""

import jax
import jax.numpy as jnp

from mdcf_jax.ops.resize import resize_bilinear
from mdcf_jax.ops.warp import identity_grid
from mdcf_jax.phases import guides

# All chosen by eye, on eight portraits.
# In distances of the eyes: half of the width and of the height of what a lid
# covers, and how far below the guide point of the upper lid its middle is; the
# last two of an eye with the usual aspect ratio, in proportion of others.
_WIDTH, _HEIGHT, _DROP = 0.30, 0.10, 0.07
# In half heights: how much skin is stretched, most of it below the brow, and
# where lids meet.
_SKIN, _SHUT = 0.7, 0.85
_SHUT_ASPECT, _USUAL_ASPECT = 0.06, 0.3
_SIZES = 0.6, 1.4  # Least and most of that proportion.


def closure(blink: jax.Array, source_blink: jax.Array) -> jax.Array:
  """How far lids of the portrait come down, 0 to 1.

  Args:
    blink: `[N, 2]`, aspect ratio of the eyes in each frame.
    source_blink: `[1, 2]`, that of the portrait, whose eyes open no further.
  """
  way = jnp.maximum(source_blink - _SHUT_ASPECT, 0.05)
  return jnp.clip((source_blink - blink) / way, 0.0, 1.0)


def lower(
  dynamics: jax.Array,
  source_landmarks: jax.Array,
  source_blink: jax.Array,
  blink: jax.Array,
  *,
  scale: int = 4,
) -> jax.Array:
  """Dynamics of a portrait that blinks besides, at the size of its pixels.

  The edge of a lid is a jump of the flow. In cells of four pixels it would be
  torn.

  Args:
    dynamics: `[N, H/4, W/4, 3]`, as `FDE.estimate` returns them.
    source_landmarks: guide points of the portrait, `[1, 8, 2]` in [0, 1].
    source_blink, blink: see `closure`; left and right are the person's.
    scale: pixels of a cell, `FDE.scale`.

  Returns:
    `[N, H, W, 3]` float32, which `FDE.decode` takes as well.
  """
  height, width = (scale * n for n in dynamics.shape[1:3])
  dynamics = resize_bilinear(dynamics.astype(jnp.float32), (height, width))
  rest = identity_grid(*dynamics.shape[1:3])
  seen = dynamics[..., :2] + rest  # Where in the portrait a pixel comes from.
  points = 2 * source_landmarks - 1
  distance, axes = guides.eye_axes(points)
  along, down = axes[..., 0], axes[..., 1]
  # Guide points begin with the eye on the left, the person's right one.
  by = closure(blink, source_blink)[:, ::-1]
  sizes = jnp.clip(source_blink / _USUAL_ASPECT, *_SIZES)[:, ::-1]
  for eye, lid in enumerate(guides.UPPER_LIDS):
    size = sizes[:, eye, None]
    middle = points[:, lid] + _DROP * size * distance[:, 0] * down
    away = (seen - middle[:, None, None]) / distance[..., None]
    # Not a matrix product, which some devices round.
    u = jnp.sum(away * along[:, None, None], axis=-1) / _WIDTH
    high = _HEIGHT * size[:, None]
    v = jnp.sum(away * down[:, None, None], axis=-1) / high
    further = _above(u, v, by[:, eye, None, None]) - v
    seen += (further * high * distance)[..., None] * down[:, None, None]
  return jnp.concatenate([seen - rest, dynamics[..., 2:]], axis=-1)


def _above(u: jax.Array, v: jax.Array, by: jax.Array) -> jax.Array:
  """Which `v` is seen at (u, v) of an eye when its lid is down by `by`.

  The open eye's outline is `v = +-(1 - u^2)`.
  """
  arch = jnp.maximum(1 - u**2, 0)
  lid = by * (1 + _SHUT) * arch - arch
  start = -arch - _SKIN
  part = (v - start) / jnp.maximum(lid - start, 1e-3)
  return jnp.where((part > 0) & (part < 1), start + part * _SKIN, v)
