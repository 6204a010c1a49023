"""Frames to the features of FVD: windows of 16 or 32 frames through I3D.

The distance is `frechet.frechet_distance` of the sets' `frechet.Moments`. What
is published as FVD differs in the clips and in their preprocessing; tell both
with a score. Rules of preprocessing, which agree on square frames:

* 'crop' is that of JunyaoHu/common_metrics_on_video_quality: the shorter side
  to 224, the other one in proportion and rounded up, then the middle of it.
* 'stretch' is that of StyleGAN-V, whose detector takes 0 to 255 and brings the
  whole frame to 224 x 224, whatever its shape (`rescale=True, resize=True`).

Here both are bilinear with align_corners=False and no antialiasing, from 0 to
255 to [-1, 1], in float32. So does common_metrics; StyleGAN-V's resize lies
inside a compiled file, and its authors say that it is not TensorFlow's. Of
square frames of some sizes (25, 41, 43, ... pixels; not 128, 256, 512, 720)
common_metrics makes 225 rows by rounding and cuts one; here 224 are 224.

Both choose clips otherwise: common_metrics takes each video from its start,
StyleGAN-V draws the start. Here all windows count that do not overlap.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.metrics import batches
from mdcf_jax.models import i3d
from mdcf_jax.ops import resize

LENGTHS = (16, 32)  # Of FVD-16 and FVD-32, at 25 frames a second.
RULES = ('crop', 'stretch')


def prepare_frames(
  frames: jax.Array, rule: str = 'crop', size: int = i3d.RESOLUTION
) -> jax.Array:
  """Maps frames `[..., H, W, 3]` in 0 to 255 to `[..., size, size, 3]`.

  Returns:
    float32 in [-1, 1].

  Raises:
    ValueError: no such rule.
  """
  if rule not in RULES:
    raise ValueError(f'rule {rule!r} is none of {RULES}')
  x = frames.astype(jnp.float32) / 127.5 - 1
  height, width = x.shape[-3:-1]
  shape = (size, size)
  if rule == 'crop':
    short = min(height, width)
    shape = (-(-height * size // short), -(-width * size // short))
  x = resize.resize_bilinear(x, shape, align_corners=False)
  top, left = ((side - size) // 2 for side in shape)
  return x[..., top : top + size, left : left + size, :]


def i3d_features(
  variables: Any,
  frames: np.ndarray,
  length: int = LENGTHS[0],
  stride: int | None = None,
  *,
  rule: str = 'crop',
  batch_size: int = 4,
  size: int = i3d.RESOLUTION,
) -> np.ndarray:
  """Logits of every window of consecutive frames.

  Args:
    variables: of `I3D`.
    frames: uint8 `[T, H, W, 3]` at 25 frames a second.
    length: frames of a window: 16 or 32, at least 10.
    stride: frames from one window to the next; None is `length`, so that they
      do not overlap. What is left at the end is not used.
    rule: of `prepare_frames`.
    batch_size: windows at once; the last batch is filled up, so that there is
      one compilation for frames of one size.
    size: pixels of a side that the network sees; anything but 224 is another
      score.

  Returns:
    float32 `[windows, 400]`; none for a clip that is shorter than a window.

  Raises:
    ValueError: the frames are something else, a window has fewer than 10
      frames, the stride is not positive, or no such rule.
  """
  frames = batches.check_frames(frames)
  stride = length if stride is None else stride
  if length < i3d.MIN_FRAMES or stride < 1:
    raise ValueError(
      f'windows of {length} frames every {stride}: at least {i3d.MIN_FRAMES} '
      'and 1 are needed'
    )
  if rule not in RULES:
    raise ValueError(f'rule {rule!r} is none of {RULES}')
  starts = range(0, len(frames) - length + 1, stride)
  windows = (frames[start : start + length] for start in starts)
  extract = functools.partial(
    _extract, jax.device_put(variables), rule=rule, size=size
  )
  return batches.apply_in_batches(extract, windows, batch_size, i3d.CLASSES)


@functools.partial(jax.jit, static_argnames=('rule', 'size'))
def _extract(variables: Any, windows: jax.Array, *, rule: str, size: int):
  return i3d.I3D().apply(variables, prepare_frames(windows, rule, size))
