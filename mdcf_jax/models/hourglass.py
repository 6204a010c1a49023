"""Convolution blocks of the FDE (dawn.md section 1.1)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mdcf_jax.models.recompute import recompute
from mdcf_jax.ops import resize
from mdcf_jax.ops.convolution import conv2d, conv2d_of_nearest


class BatchNorm(nn.Module):
  """Batch normalisation that keeps statistics as PyTorch does.

  Unlike `nn.BatchNorm` the running variance is the unbiased one. Under `jit`
  with a sharded batch the mean is over the global batch.

  Attributes:
    features: channels C.
    momentum: share of the old statistics kept at each step.
  """

  features: int
  momentum: float = 0.9
  epsilon: float = 1e-5

  def setup(self):
    zeros, ones, shape = jnp.zeros, jnp.ones, (self.features,)
    self.scale = self.param('scale', nn.initializers.ones, shape)
    self.bias = self.param('bias', nn.initializers.zeros, shape)
    self.running_mean = self.variable('batch_stats', 'mean', zeros, shape)
    self.running_var = self.variable('batch_stats', 'var', ones, shape)

  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Normalises `[B, H, W, C]` per channel."""
    mean, var = self.running_mean.value, self.running_var.value
    if train:
      x32 = x.astype(jnp.float32)
      mean = jnp.mean(x32, axis=(0, 1, 2))
      var = jnp.mean(jnp.square(x32 - mean), axis=(0, 1, 2))
      if not self.is_initializing():
        self._remember(mean, var, x.size // self.features)
    # Folded to one multiply-add, in float32 up to the last rounding.
    gain, shift = self._line(mean, var)
    return (x.astype(jnp.float32) * gain + shift).astype(x.dtype)

  def line(self) -> tuple[jax.Array, jax.Array]:
    """gain and shift `[C]`: without training `x * gain + shift` is all."""
    return self._line(self.running_mean.value, self.running_var.value)

  def _line(self, mean, var):
    gain = self.scale * jax.lax.rsqrt(var + self.epsilon)
    return gain, self.bias - mean * gain

  def _remember(self, mean, var, count):
    unbiased = var * (count / max(count - 1, 1))
    keep = self.momentum
    mean = keep * self.running_mean.value + (1 - keep) * mean
    self.running_mean.value = mean
    var = keep * self.running_var.value + (1 - keep) * unbiased
    self.running_var.value = var


class Conv(nn.Module):
  """Square convolution that keeps the size (zero padding of kernel // 2).

  Attributes:
    features: output channels C'.
    kernel: size of the square kernel.
    enlarge: first repeats every pixel along both sides; for kernels of 3.
    dtype: computation dtype; parameters stay float32.
  """

  features: int
  kernel: int = 3
  enlarge: bool = False
  dtype: Any = jnp.float32
  kernel_init: Any = nn.initializers.lecun_normal()
  bias_init: Any = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array, line: tuple | None = None) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, H', W', C']`.

    Args:
      x: images or features.
      line: (gain, shift) `[C']` to be applied to the result. They become part
        of kernel and bias, so nothing else has to pass over the result.
    """
    shape = (self.kernel,) * 2 + (x.shape[-1], self.features)
    kernel = self.param('kernel', self.kernel_init, shape)
    bias = self.param('bias', self.bias_init, (self.features,))
    if line is not None:
      gain, shift = line
      kernel, bias = kernel * gain, bias * gain + shift
    x = x.astype(self.dtype)
    if self.enlarge:
      x = conv2d_of_nearest(x, kernel)
    else:
      x = conv2d(x, kernel.astype(self.dtype), 1, self.kernel // 2)
    return x + bias.astype(self.dtype)


class ConvBlock(nn.Module):
  """Convolution, batch norm, ReLU; then pooled, or before that upsampled.

  Attributes:
    features: output channels.
    kernel: size of the square kernel.
    resample: 'same', 'down' (2 x 2 mean afterwards) or 'up' (nearest before).
  """

  features: int
  kernel: int = 3
  resample: str = 'same'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, *parts: jax.Array, train: bool) -> jax.Array:
    """Maps `[B, H, W, C]`, or parts of C, to `[B, H', W', features]`."""
    x = jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    enlarge = self.resample == 'up'
    conv = Conv(self.features, self.kernel, enlarge, self.dtype, name='conv')
    x = nn.relu(_normalised(conv, x, 'norm', train))
    return resize.average_pool(x) if self.resample == 'down' else x


class PreActivationBlock(nn.Module):
  """Residual block: twice (batch norm, ReLU, 3 x 3 convolution)."""

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    h = nn.relu(BatchNorm(x.shape[-1], name='norm1')(x, train=train))
    conv = Conv(self.features, dtype=self.dtype, name='conv1')
    h = nn.relu(_normalised(conv, h, 'norm2', train))
    return x + Conv(self.features, dtype=self.dtype, name='conv2')(h)


def _normalised(conv: Conv, x: jax.Array, name: str, train: bool) -> jax.Array:
  """A convolution and the batch norm behind it: in training two steps."""
  norm = BatchNorm(conv.features, name=name)
  if train:
    return norm(conv(x), train=True)
  return conv(x, norm.line())


class Encoder(nn.Module):
  """Blocks that halve the size and double the width, up to a cap.

  Attributes:
    block_expansion: width e; level i has min(max_features, e * 2^(i + 1)).
    num_blocks: levels.
    max_features: the cap.
    dtype: computation dtype of convolutions; parameters stay float32.
    remat: recompute blocks in the backward pass to save memory.
  """

  block_expansion: int
  num_blocks: int
  max_features: int
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> list[jax.Array]:
    """Returns the input `[B, H, W, C]` and the output of every level."""
    outputs = [x.astype(self.dtype)]
    for i in range(self.num_blocks):
      features = min(self.max_features, self.block_expansion * 2 ** (i + 1))
      block = ConvBlock(features, 3, 'down', self.dtype, name=f'down_{i}')
      outputs.append(recompute(self.remat, block)(outputs[-1], train=train))
    return outputs


class Hourglass(nn.Module):
  """Encoder and decoder joined at every level by concatenation.

  Attributes: those of `Encoder`.
  """

  block_expansion: int
  num_blocks: int
  max_features: int
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, H, W, block_expansion + C]`.

    Raises:
      ValueError: H or W is not divisible by 2^num_blocks.
    """
    if any(size % 2**self.num_blocks for size in x.shape[1:3]):
      raise ValueError(
        f'{x.shape[1:3]} is not divisible by 2^{self.num_blocks}'
      )
    skips = Encoder(
      self.block_expansion,
      self.num_blocks,
      self.max_features,
      self.dtype,
      self.remat,
      name='encoder',
    )(x, train=train)
    parts = (skips.pop(),)
    for i in reversed(range(self.num_blocks)):
      features = min(self.max_features, self.block_expansion * 2**i)
      block = ConvBlock(features, 3, 'up', self.dtype, name=f'up_{i}')
      # The block joins them itself: with `remat` the join is not kept either.
      parts = recompute(self.remat, block)(*parts, train=train), skips.pop()
    return jnp.concatenate(parts, axis=-1)
