"""Inception v3 as FID uses it: 2048 numbers for a picture.

The network is TensorFlow's of 2015-12-05, as mseitzer/pytorch-fid ports it
(`pt_inception-2015-12-05`). It is torchvision's Inception v3 with three
differences: average pools leave the padding out of their count, the very last
block pools by the maximum, and the weights are others. Names of modules are the
public ones.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from mdcf_jax.models.conv_unit import ConvUnit, chain, join
from mdcf_jax.ops import resize

RESOLUTION = 299
FEATURES = 2048
SMALLEST = 75  # Pixels of a side of which a last feature map is left.


def _unit(name: str, features: int, *kernel: int) -> ConvUnit:
  """Keeps the size; one number is a square kernel."""
  return ConvUnit(features, kernel * (3 - len(kernel)), name=name)


def _cut(name: str, features: int, stride: int = 2) -> ConvUnit:
  """A 3 x 3 kernel without padding."""
  return ConvUnit(features, (3, 3), stride, 'VALID', name=name)


def _average(x: jax.Array) -> jax.Array:
  """Means of 3 x 3 pixels; at the border of those that exist."""
  return nn.avg_pool(x, (3, 3), (1, 1), 'SAME', count_include_pad=False)


def _shrink(x: jax.Array) -> jax.Array:
  return nn.max_pool(x, (3, 3), (2, 2))


class BlockA(nn.Module):
  """FIDInceptionA: 5 x 5 and twice 3 x 3 beside each other.

  Attributes:
    pool_features: channels of the pooled branch.
  """

  pool_features: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, H, W, 224 + pool_features]`."""
    return join(
      _unit('branch1x1', 64, 1)(x),
      chain(x, _unit('branch5x5_1', 48, 1), _unit('branch5x5_2', 64, 5)),
      chain(
        x,
        _unit('branch3x3dbl_1', 64, 1),
        _unit('branch3x3dbl_2', 96, 3),
        _unit('branch3x3dbl_3', 96, 3),
      ),
      _unit('branch_pool', self.pool_features, 1)(_average(x)),
    )


class BlockB(nn.Module):
  """InceptionB: half the size, 480 channels more."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, (H - 1) / 2, (W - 1) / 2, C + 480]`."""
    return join(
      _cut('branch3x3', 384)(x),
      chain(
        x,
        _unit('branch3x3dbl_1', 64, 1),
        _unit('branch3x3dbl_2', 96, 3),
        _cut('branch3x3dbl_3', 96),
      ),
      _shrink(x),
    )


class BlockC(nn.Module):
  """FIDInceptionC: rows of seven and columns of seven.

  Attributes:
    width: channels within the branches.
  """

  width: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, H, W, 768]`."""
    width = self.width
    return join(
      _unit('branch1x1', 192, 1)(x),
      chain(
        x,
        _unit('branch7x7_1', width, 1),
        _unit('branch7x7_2', width, 1, 7),
        _unit('branch7x7_3', 192, 7, 1),
      ),
      chain(
        x,
        _unit('branch7x7dbl_1', width, 1),
        _unit('branch7x7dbl_2', width, 7, 1),
        _unit('branch7x7dbl_3', width, 1, 7),
        _unit('branch7x7dbl_4', width, 7, 1),
        _unit('branch7x7dbl_5', 192, 1, 7),
      ),
      _unit('branch_pool', 192, 1)(_average(x)),
    )


class BlockD(nn.Module):
  """InceptionD: half the size, 512 channels more."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, (H - 1) / 2, (W - 1) / 2, C + 512]`."""
    return join(
      chain(x, _unit('branch3x3_1', 192, 1), _cut('branch3x3_2', 320)),
      chain(
        x,
        _unit('branch7x7x3_1', 192, 1),
        _unit('branch7x7x3_2', 192, 1, 7),
        _unit('branch7x7x3_3', 192, 7, 1),
        _cut('branch7x7x3_4', 192),
      ),
      _shrink(x),
    )


class BlockE(nn.Module):
  """FIDInceptionE_1, or with `pool_max` FIDInceptionE_2.

  Attributes:
    pool_max: the pooled branch takes the maximum, not the mean.
  """

  pool_max: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, H, W, 2048]`."""
    single = _unit('branch3x3_1', 384, 1)(x)
    double = chain(
      x, _unit('branch3x3dbl_1', 448, 1), _unit('branch3x3dbl_2', 384, 3)
    )
    if self.pool_max:
      pooled = nn.max_pool(x, (3, 3), (1, 1), 'SAME')
    else:
      pooled = _average(x)
    return join(
      _unit('branch1x1', 320, 1)(x),
      _unit('branch3x3_2a', 384, 1, 3)(single),
      _unit('branch3x3_2b', 384, 3, 1)(single),
      _unit('branch3x3dbl_3a', 384, 1, 3)(double),
      _unit('branch3x3dbl_3b', 384, 3, 1)(double),
      _unit('branch_pool', 192, 1)(pooled),
    )


class InceptionV3(nn.Module):
  """The features of FID and KID: `pool3`, before the classifier.

  Attributes:
    resolution: side to which pictures are resized; 299, and anything else is
      another score. At least 75.
  """

  resolution: int = RESOLUTION

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps image `[B, H, W, 3]` in [-1, 1] to `[B, 2048]`, not negative.

    Whatever its shape, the picture is resized to a square: bilinear,
    align_corners=False, no antialiasing, as `torch.nn.functional.interpolate`.

    Raises:
      ValueError: no such shape, or the resolution is too small.
    """
    if image.ndim != 4 or image.shape[-1] != 3:
      raise ValueError(f'image is {image.shape}, not [B, H, W, 3]')
    if self.resolution < SMALLEST:
      raise ValueError(f'{self.resolution} pixels are below {SMALLEST}')
    size = (self.resolution,) * 2
    x = resize.resize_bilinear(image, size, align_corners=False)
    x = chain(
      x,
      _cut('Conv2d_1a_3x3', 32),
      _cut('Conv2d_2a_3x3', 32, stride=1),
      _unit('Conv2d_2b_3x3', 64, 3),
      _shrink,
      _unit('Conv2d_3b_1x1', 80, 1),
      _cut('Conv2d_4a_3x3', 192, stride=1),
      _shrink,
      BlockA(32, name='Mixed_5b'),
      BlockA(64, name='Mixed_5c'),
      BlockA(64, name='Mixed_5d'),
      BlockB(name='Mixed_6a'),
      BlockC(128, name='Mixed_6b'),
      BlockC(160, name='Mixed_6c'),
      BlockC(160, name='Mixed_6d'),
      BlockC(192, name='Mixed_6e'),
      BlockD(name='Mixed_7a'),
      BlockE(name='Mixed_7b'),
      BlockE(pool_max=True, name='Mixed_7c'),
    )
    return jnp.mean(x, axis=(1, 2))
