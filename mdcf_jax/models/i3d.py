"""I3D on colours as FVD uses it: 400 numbers for a clip.

Carreira and Zisserman 2017, the Inception v1 that is inflated over time, as in
deepmind/kinetics-i3d and piergiaj/pytorch-i3d, whose names the modules bear.
FVD takes the logits of Kinetics-400, averaged over time.

The weights matter: FVD is defined by those of TensorFlow Hub
(`deepmind/i3d-kinetics-400/1`), which `i3d_torchscript.pt` of StyleGAN-V and
`i3d_pretrained_400.pt` of VideoGPT hold. Those released with kinetics-i3d,
which `rgb_imagenet.pt` holds, are others and give other scores.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from mdcf_jax.models.conv_unit import ConvUnit, chain, join

RESOLUTION = 224
CLASSES = 400
MIN_FRAMES = 10
# Channels of the 1 x 1 x 1, of both 3 x 3 x 3 after their own 1 x 1 x 1, and of
# the pooled branch.
MIXED = dict(
  Mixed_3b=(64, 96, 128, 16, 32, 32),
  Mixed_3c=(128, 128, 192, 32, 96, 64),
  Mixed_4b=(192, 96, 208, 16, 48, 64),
  Mixed_4c=(160, 112, 224, 24, 64, 64),
  Mixed_4d=(128, 128, 256, 24, 64, 64),
  Mixed_4e=(112, 144, 288, 32, 64, 64),
  Mixed_4f=(256, 160, 320, 32, 128, 128),
  Mixed_5b=(256, 160, 320, 32, 128, 128),
  Mixed_5c=(384, 192, 384, 48, 128, 128),
)
# What is pooled before a block: window and stride over (T, H, W).
POOLS = dict(
  Mixed_3b=((1, 3, 3), (1, 2, 2)),
  Mixed_4b=((3, 3, 3), (2, 2, 2)),
  Mixed_5b=((2, 2, 2), (2, 2, 2)),
)


def _unit(name: str, features: int, size: int, stride: int = 1) -> ConvUnit:
  return ConvUnit(features, (size,) * 3, stride, name=name)


def _pool(x: jax.Array, window, stride) -> jax.Array:
  """Maxima with the padding of TensorFlow.

  The public ports pad with zeros, which never win: all this follows a ReLU.
  """
  return nn.max_pool(x, window, stride, 'SAME')


class Mixed(nn.Module):
  """Four branches beside each other.

  Attributes:
    widths: a value of MIXED.
  """

  widths: tuple[int, ...]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, T, H, W, C]` to as many pixels of other channels."""
    one, in_1, out_1, in_2, out_2, pooled = self.widths
    return join(
      _unit('b0', one, 1)(x),
      chain(x, _unit('b1a', in_1, 1), _unit('b1b', out_1, 3)),
      chain(x, _unit('b2a', in_2, 1), _unit('b2b', out_2, 3)),
      _unit('b3b', pooled, 1)(_pool(x, (3, 3, 3), (1, 1, 1))),
    )


class I3D(nn.Module):
  """Logits of Kinetics-400."""

  @nn.compact
  def __call__(self, video: jax.Array) -> jax.Array:
    """Maps video `[B, T, 224, 224, 3]` in [-1, 1] to `[B, 400]`.

    Other sizes are possible and another score. The public pool takes 7 x 7
    pixels of the last map, which is all of it at 224; here it is all of it at
    any size, so that one vector comes out.

    Raises:
      ValueError: no such shape, or fewer than 10 frames.
    """
    if video.ndim != 5 or video.shape[-1] != 3:
      raise ValueError(f'video is {video.shape}, not [B, T, H, W, 3]')
    if video.shape[1] < MIN_FRAMES:
      raise ValueError(
        f'{video.shape[1]} frames are below the {MIN_FRAMES} of I3D'
      )
    x = _unit('Conv3d_1a_7x7', 64, 7, stride=2)(video)
    x = _pool(x, (1, 3, 3), (1, 2, 2))
    x = _unit('Conv3d_2b_1x1', 64, 1)(x)
    x = _unit('Conv3d_2c_3x3', 192, 3)(x)
    for name, widths in MIXED.items():
      if name in POOLS:
        x = _pool(x, *POOLS[name])
      x = Mixed(widths, name=name)(x)
    x = jnp.mean(x, axis=(2, 3), keepdims=True)  # [B, T, 1, 1, C]
    # Pairs of neighbours, so the first and the last count half.
    x = (x[:, 1:] + x[:, :-1]) / 2
    highest = jax.lax.Precision.HIGHEST
    x = nn.Conv(CLASSES, (1, 1, 1), precision=highest, name='logits')(x)
    return jnp.mean(x, axis=(1, 2, 3))
