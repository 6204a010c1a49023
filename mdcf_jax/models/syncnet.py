"""SyncNet (Chung and Zisserman 2016), version 2: do mouth and sound agree?

Two towers that map 0.2 s of sound and the five frames of the same 0.2 s into
one space. As in github.com/joonson/syncnet_python, SyncNetModel.py; only for
scores, so batch norm always uses its stored statistics. Products are of full
precision on every device: a score shall not depend on the chip.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

SIZE = 224  # Pixels of a side.
NUM_FRAMES = 5  # Pictures of a window,
NUM_STEPS = 20  # and steps of 10 ms of sound.
NUM_COEFFICIENTS = 13
EMBEDDING = 1024

Conv = functools.partial(
  nn.Conv, padding='VALID', precision=jax.lax.Precision.HIGHEST
)
Dense = functools.partial(nn.Dense, precision=jax.lax.Precision.HIGHEST)
Norm = functools.partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5)


class Head(nn.Module):
  """The two dense layers at the end of a tower."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps x `[B, 512]` to `[B, 1024]`."""
    x = nn.relu(Norm(name='norm')(Dense(512, name='dense_0')(x)))
    return Dense(EMBEDDING, name='dense_1')(x)


class AudioTower(nn.Module):
  """Sound: a 2-D network over coefficients and time."""

  @nn.compact
  def __call__(self, mfcc: jax.Array) -> jax.Array:
    """Maps mfcc `[B, 20, 13]` of `metrics.mfcc` to `[B, 1024]`.

    The 20 steps may begin anywhere; they are 10 ms apart.
    """
    x = jnp.swapaxes(mfcc, 1, 2)[..., None]  # [B, 13, 20, 1]
    x = _layer(x, 0, 64, (3, 3), padding=1)
    x = _layer(x, 1, 192, (3, 3), padding=1)
    x = nn.max_pool(x, (3, 3), (1, 2))
    x = _layer(x, 2, 384, (3, 3), padding=1)
    x = _layer(x, 3, 256, (3, 3), padding=1)
    x = _layer(x, 4, 256, (3, 3), padding=1)
    x = nn.max_pool(x, (3, 3), (2, 2))
    x = _layer(x, 5, 512, (5, 4))
    return Head(name='head')(x[:, 0, 0])


class VideoTower(nn.Module):
  """Pictures: a 3-D layer over all five, and 2-D layers above."""

  @nn.compact
  def __call__(self, video: jax.Array) -> jax.Array:
    """Maps video `[B, 5, 224, 224, 3]`, BGR from 0 to 255, to `[B, 1024]`."""
    x = _layer(video, 0, 96, (NUM_FRAMES, 7, 7), (1, 2, 2))
    x = nn.max_pool(x[:, 0], (3, 3), (2, 2))  # [B, 54, 54, 96]
    x = _layer(x, 1, 256, (5, 5), (2, 2), padding=1)
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    x = _layer(x, 2, 256, (3, 3), padding=1)
    x = _layer(x, 3, 256, (3, 3), padding=1)
    x = _layer(x, 4, 256, (3, 3), padding=1)
    x = nn.max_pool(x, (3, 3), (2, 2))
    x = _layer(x, 5, 512, (6, 6))
    return Head(name='head')(x[:, 0, 0])


def _layer(x, index, features, kernel, strides=1, padding='VALID'):
  """Convolution, batch norm and ReLU of the tower that calls it."""
  conv = Conv(features, kernel, strides, padding=padding, name=f'conv_{index}')
  return nn.relu(Norm(name=f'norm_{index}')(conv(x)))


class SyncNet(nn.Module):
  """Both towers."""

  @nn.compact
  def __call__(
    self, video: jax.Array, mfcc: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Embeds windows of pictures and of sound.

    Args:
      video: `[B, 5, 224, 224, 3]`, BGR from 0 to 255.
      mfcc: `[B, 20, 13]` of `metrics.mfcc`.

    Returns:
      Two arrays `[B, 1024]`, near each other where mouth and sound agree.
    """
    return (
      VideoTower(name='video')(video.astype(jnp.float32)),
      AudioTower(name='audio')(mfcc.astype(jnp.float32)),
    )
