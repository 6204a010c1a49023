"""Frames to the features of FID and KID.

The population is every frame that is given, as when they are written out as
pictures and handed to pytorch-fid. The distance is `frechet.frechet_distance`
of the sets' `frechet.Moments`; fewer frames than 2048 leave the covariance
singular, which is a bias and no error: tell the number with the score.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.metrics import batches
from mdcf_jax.models import inception


def inception_features(
  variables: Any,
  frames: np.ndarray,
  *,
  batch_size: int = 16,
  resolution: int = inception.RESOLUTION,
) -> np.ndarray:
  """Features of `pool3` of every frame.

  Args:
    variables: of `InceptionV3`.
    frames: uint8 `[T, H, W, 3]`; T may be 0.
    batch_size: frames at once; the last batch is filled up, so that there is
      one compilation for frames of one size.
    resolution: of the network; anything but 299 is another score.

  Returns:
    float32 `[T, 2048]`.

  Raises:
    ValueError: the frames are something else.
  """
  frames = batches.check_frames(frames)
  extract = functools.partial(
    _extract, jax.device_put(variables), resolution=resolution
  )
  return batches.apply_in_batches(
    extract, frames, batch_size, inception.FEATURES
  )


@functools.partial(jax.jit, static_argnames='resolution')
def _extract(variables: Any, frames: jax.Array, *, resolution: int):
  image = frames.astype(jnp.float32) / 127.5 - 1
  return inception.InceptionV3(resolution).apply(variables, image)
