"""Perceptual distance: differences of convolutional features at a few scales.

`vgg19` is the loss of MRAA and DAWN (dawn.md section 1.7) and needs ImageNet
weights. `random` needs none: a small seeded, untrained pyramid, for models that
are trained where VGG19 is not to be had. Untrained features still compare edges
and colours over a neighbourhood, not what they belong to.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from mdcf_jax.models.recompute import recompute
from mdcf_jax.ops import resize

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Convolutions per block; the features are those after each block's first.
VGG19_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 1))
# The image is compared at 1 / each of these sizes.
FACTORS = dict(vgg19=(1, 2, 4, 8), random=(1, 4))
# Side of an image of which the last features still see something, everywhere.
VGG19_SMALLEST = 16 * max(FACTORS['vgg19'])


class VGG19(nn.Module):
  """relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of VGG19.

  Attributes:
    dtype: computation dtype; parameters stay float32.
    remat: recompute blocks in the backward pass to save memory.
  """

  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, image: jax.Array) -> list[jax.Array]:
    """Maps image `[B, H, W, 3]` in [0, 1] to five feature maps."""
    x = (image - jnp.array(IMAGENET_MEAN)) / jnp.array(IMAGENET_STD)
    features = []
    for block in range(1, len(VGG19_BLOCKS) + 1):
      feature, x = recompute(self.remat, self, VGG19._block)(x, block=block)
      features.append(feature)
    return features

  def _block(self, x, *, block):
    """The first of a block's feature maps, and its last one pooled."""
    width, count = VGG19_BLOCKS[block - 1]
    for i in range(1, count + 1):
      name = f'conv{block}_{i}'
      x = nn.relu(nn.Conv(width, (3, 3), dtype=self.dtype, name=name)(x))
      if i == 1:
        feature = x
    return feature, nn.max_pool(x, (2, 2), strides=(2, 2))


def _random_features(image: jax.Array, dtype: Any) -> list[jax.Array]:
  """Two strided convolutions with fixed He-normal kernels, each with a ReLU."""
  rng = np.random.RandomState(0)
  x, features = (2 * image - 1).astype(dtype), []
  for width in (16, 32):
    fan_in = 9 * x.shape[-1]
    kernel = rng.randn(3, 3, x.shape[-1], width) * np.sqrt(2 / fan_in)
    x = jax.lax.conv_general_dilated(
      x,
      jnp.asarray(kernel, x.dtype),
      (2, 2),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    x = nn.relu(x)
    features.append(x)
  return features


class Perceptual(nn.Module):
  """Sum of mean absolute differences over layers and scales.

  Attributes:
    kind: 'vgg19' (parameters must be loaded) or 'random' (has none).
    dtype: computation dtype of the features; distances are float32.
    remat: of `VGG19`.
  """

  kind: str = 'vgg19'
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, pred: jax.Array, target: jax.Array) -> jax.Array:
    """Distance `[B]` of images `[B, H, W, 3]` in [-1, 1].

    No gradient flows to `target`.

    Raises:
      ValueError: unknown kind, shapes that differ, or an image too small for
        VGG19's last features at the smallest scale.
    """
    if self.kind not in FACTORS:
      raise ValueError(f'perceptual {self.kind!r} is none of {list(FACTORS)}')
    if pred.shape != target.shape:
      raise ValueError(f'shapes differ: {pred.shape} and {target.shape}')
    if self.kind == 'vgg19' and min(pred.shape[1:3]) < VGG19_SMALLEST:
      raise ValueError(
        f'{pred.shape[1:3]} is below the {VGG19_SMALLEST} of vgg19'
      )
    network = functools.partial(_random_features, dtype=self.dtype)
    if self.kind == 'vgg19':
      network = VGG19(self.dtype, self.remat, name='vgg19')
    pred, target = (pred + 1) / 2, jax.lax.stop_gradient(target + 1) / 2
    total = 0.0
    for factor in FACTORS[self.kind]:
      # One pass for both: the batch is what a small image lacks. Side by side,
      # so that a batch over several devices stays where it is.
      both = rearrange([pred, target], 'two b h w c -> (b two) h w c')
      for features in network(resize.antialias_downsample(both, factor)):
        features = features.astype(jnp.float32)
        a, b = rearrange(features, '(b two) h w c -> two b h w c', two=2)
        total += jnp.mean(jnp.abs(a - b), axis=(1, 2, 3))
    return total
