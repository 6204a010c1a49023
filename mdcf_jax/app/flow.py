"""What moves in a frame, in colours."""

import numpy as np

from mdcf_jax import visualize

_AT_ONCE = 8  # Frames whose dynamics are made together.
_LOOKED_AT = 8  # Frames that decide which length is the fullest colour.
_LEAST = 0.02  # Of it, in half pictures: what is shorter is rest.


class FlowPictures:
  """Flow of a clip, frame by frame.

  Of the frames in order, each is decoded once.
  """

  def __init__(self, pipe, z: np.ndarray, resolution: int):
    """Takes latents.

    Args:
      pipe: a Pipeline.
      z: `[N, h, w, C]`.
      resolution: R, pixels of a side of what is drawn.
    """
    self._pipe, self._z, self._resolution = pipe, z, resolution
    self._first, self._some = -1, None
    chosen = np.linspace(0, len(z) - 1, _LOOKED_AT).round().astype(int)
    lengths = np.linalg.norm(self._flow(z[chosen]), axis=-1)
    self._most = max(_LEAST, float(np.quantile(lengths, 0.99)))

  def __call__(self, i: int) -> np.ndarray:
    """The flow of frame i, `[R, R, 3]` uint8; see `flow_to_color`."""
    from PIL import Image

    first = i // _AT_ONCE * _AT_ONCE
    if first != self._first:
      some = self._z[first : first + _AT_ONCE]
      missing = _AT_ONCE - len(some)
      some = np.pad(some, [(0, missing)] + [(0, 0)] * 3, mode='edge')
      self._first, self._some = first, self._flow(some)
    colours = visualize.flow_to_color(self._some[i - first], self._most)
    size = (self._resolution,) * 2
    return np.asarray(
      Image.fromarray(colours).resize(size, Image.Resampling.BILINEAR)
    )

  def _flow(self, z: np.ndarray) -> np.ndarray:
    return np.asarray(self._pipe.dynamics(z)[..., :2], np.float32)
