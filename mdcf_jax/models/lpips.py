"""LPIPS, the learned perceptual distance (Zhang et al. 2018), version 0.1.

As `richzhang/PerceptualSimilarity` has it (lpips/lpips.py, BSD-2-Clause), on
torchvision's AlexNet or VGG16, for use with their trained weights. Float32
throughout, so that a score does not depend on the chip.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

# What is taken from and divided by, of pixels in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
# Of AlexNet's convolutions: channels, kernel, stride, padding; a pooling of
# 3 x 3 at every second pixel comes before the second and the third.
ALEXNET = (
  (64, 11, 4, 2),
  (192, 5, 1, 2),
  (384, 3, 1, 1),
  (256, 3, 1, 1),
  (256, 3, 1, 1),
)
ALEXNET_POOLED = (1, 2)
# Convolutions of 3 x 3 per block of VGG16: channels, how many.
VGG16_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
# Network: channels of its five feature maps, the smallest side of an image.
LPIPS_NETS = {
  'alex': ((64, 192, 384, 256, 256), 31),
  'vgg16': ((64, 128, 256, 512, 512), 16),
}

_Conv = functools.partial(nn.Conv, precision=jax.lax.Precision.HIGHEST)


class AlexNetFeatures(nn.Module):
  """The five rectified convolutions of AlexNet (Krizhevsky 2014)."""

  @nn.compact
  def __call__(self, x: jax.Array) -> list[jax.Array]:
    """Maps `[B, H, W, 3]`, normalised, to five feature maps."""
    features = []
    for i, (width, kernel, stride, pad) in enumerate(ALEXNET):
      if i in ALEXNET_POOLED:
        x = nn.max_pool(x, (3, 3), strides=(2, 2))
      name = f'conv{i + 1}'
      conv = _Conv(width, (kernel, kernel), stride, padding=pad, name=name)
      x = nn.relu(conv(x))
      features.append(x)
    return features


class VGG16Features(nn.Module):
  """relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 of VGG16."""

  @nn.compact
  def __call__(self, x: jax.Array) -> list[jax.Array]:
    """Maps `[B, H, W, 3]`, normalised, to five feature maps."""
    features = []
    for block, (width, count) in enumerate(VGG16_BLOCKS, start=1):
      if block > 1:
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
      for i in range(1, count + 1):
        conv = _Conv(width, (3, 3), padding=1, name=f'conv{block}_{i}')
        x = nn.relu(conv(x))
      features.append(x)
    return features


def _unit(x: jax.Array) -> jax.Array:
  """Features divided by their length over channels; zero stays zero."""
  return x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-10)


class LPIPS(nn.Module):
  """Weighted squared differences of unit features, summed over five layers.

  Attributes:
    net: 'alex' (what the public code measures with) or 'vgg16'.
  """

  net: str = 'alex'

  @nn.compact
  def __call__(self, pred: jax.Array, target: jax.Array) -> jax.Array:
    """Distance `[B]` of images `[B, H, W, 3]` in [-1, 1]; 0 if equal.

    Raises:
      ValueError: unknown net, shapes that differ, or images that are too small
        for its last features.
    """
    if self.net not in LPIPS_NETS:
      raise ValueError(f'net {self.net!r} is none of {list(LPIPS_NETS)}')
    if pred.shape != target.shape:
      raise ValueError(f'shapes differ: {pred.shape} and {target.shape}')
    widths, smallest = LPIPS_NETS[self.net]
    if min(pred.shape[1:3]) < smallest:
      raise ValueError(f'{pred.shape[1:3]} is below the {smallest} of LPIPS')
    network = AlexNetFeatures if self.net == 'alex' else VGG16Features
    both = jnp.concatenate([pred, target]).astype(jnp.float32)
    both = (both - jnp.array(SHIFT)) / jnp.array(SCALE)
    total = 0.0
    for i, features in enumerate(network(name='trunk')(both)):
      a, b = jnp.split(_unit(features), 2)
      weight = self.param(f'lin{i}', nn.initializers.ones, (widths[i],))
      total += jnp.mean(jnp.sum(weight * jnp.square(a - b), -1), axis=(1, 2))
    return total
