"""Layers of the 3-D U-Net; frames are folded into the batch, `N = B * T`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from mdcf_jax.ops.convolution import conv2d, conv2d_transposed

ZERO_HEADS = ('head_0_out', 'head_1_out')


class SpatialConv(nn.Module):
  """Convolution within each frame.

  Attributes:
    features: output channels C'.
    kernel_size: K; padding is (K - 1) // 2 on all sides, as in torch.
    stride: 1 or 2.
    use_bias: adds a bias.
    dtype: computation dtype; parameters stay float32.
  """

  features: int
  kernel_size: int = 3
  stride: int = 1
  use_bias: bool = True
  kernel_init: Any = nn.initializers.lecun_normal()
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[N, H, W, C]` to `[N, H / stride, W / stride, C']`."""
    shape = (self.kernel_size,) * 2 + (x.shape[-1], self.features)
    kernel = self.param('kernel', self.kernel_init, shape).astype(self.dtype)
    pad = (self.kernel_size - 1) // 2
    x = conv2d(x.astype(self.dtype), kernel, self.stride, pad)
    if self.use_bias:
      bias = self.param('bias', nn.initializers.zeros, (self.features,))
      x = x + bias.astype(self.dtype)
    return x


class Upsample(nn.Module):
  """Transposed 4 x 4 convolution of stride 2 (padding 1 in torch's terms)."""

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[N, H, W, C]` to `[N, 2H, 2W, C']`."""
    kernel = self.param(
      'kernel',
      # A quarter of the 16 taps meets each output.
      nn.initializers.variance_scaling(4.0, 'fan_in', 'truncated_normal'),
      (4, 4, x.shape[-1], self.features),
    )
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    x = conv2d_transposed(x.astype(self.dtype), kernel)
    return x + bias.astype(self.dtype)


def normalise_channels(x: jax.Array) -> jax.Array:
  """Mean 0 and variance 1 over the last axis, float32 inside."""
  h = x.astype(jnp.float32)
  h = h - jnp.mean(h, axis=-1, keepdims=True)
  h = h * jax.lax.rsqrt(jnp.mean(jnp.square(h), -1, keepdims=True) + 1e-5)
  return h.astype(x.dtype)


class ChannelNorm(nn.Module):
  """Layer norm over channels with a gain and no bias, epsilon 1e-5."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[..., C]` to the same shape."""
    gain = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    return normalise_channels(x) * gain.astype(x.dtype)


class FrameGroupNorm(nn.Module):
  """GroupNorm of every frame by itself, or of the real frames of a clip.

  Attributes:
    num_groups: must divide the channels.
    over_time: the reference's statistics over T, H, W. Padding, chunks and
      frames elsewhere then change every frame, hence off by default.
  """

  num_groups: int = 8
  over_time: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, frame_mask: jax.Array) -> jax.Array:
    """Maps `[B * T, H, W, C]` to the same; frame_mask `[B, T]`."""
    channels = x.shape[-1]
    if channels % self.num_groups:
      raise ValueError(f'{self.num_groups} groups do not divide {channels}')
    h = x.astype(jnp.float32)
    h = h.reshape(*x.shape[:-1], self.num_groups, -1)
    mean = jnp.mean(h, axis=(1, 2, 4), keepdims=True)
    if self.over_time:
      mean = _time_mean(mean, frame_mask)
    h = h - mean
    variance = jnp.mean(jnp.square(h), axis=(1, 2, 4), keepdims=True)
    if self.over_time:
      variance = _time_mean(variance, frame_mask)
    h = (h * jax.lax.rsqrt(variance + 1e-5)).reshape(x.shape)
    scale = self.param('scale', nn.initializers.ones, (channels,))
    bias = self.param('bias', nn.initializers.zeros, (channels,))
    return (h * scale + bias).astype(x.dtype)


def _time_mean(x: jax.Array, frame_mask: jax.Array) -> jax.Array:
  """Mean of `[B * T, ...]` over the real frames, repeated for every frame."""
  mask = frame_mask.reshape(*frame_mask.shape, *(1,) * (x.ndim - 1))
  by_clip = x.reshape(*frame_mask.shape, *x.shape[1:])
  total = jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1e-6)
  mean = jnp.sum(by_clip * mask, axis=1, keepdims=True) / total
  return jnp.broadcast_to(mean, by_clip.shape).reshape(x.shape)


def draw_params(rng: jax.Array, shapes: Any) -> Any:
  """Draws the parameters of the denoiser, as its modules' own initialisers do.

  From one stream of numbers: XLA takes a minute or more to compile the hundreds
  of generators of `module.init`, and a second for this one.

  Args:
    rng: one key.
    shapes: tree of `jax.eval_shape(module.init, ...)['params']`.

  Returns:
    A tree of float32 arrays.
  """
  paths, tree = jax.tree_util.tree_flatten_with_path(shapes)
  sizes = [int(np.prod(x.shape)) for _, x in paths]
  flat = jax.random.normal(rng, (sum(sizes),))
  parts = jnp.split(flat, np.cumsum(sizes)[:-1])
  drawn = []
  for (path, x), part in zip(paths, parts):
    names = [entry.key for entry in path]
    mean, std = _distribution(names, x.shape)
    drawn.append(mean + std * part.reshape(x.shape))
  return jax.tree_util.tree_unflatten(tree, drawn)


def _distribution(names: list[str], shape: tuple) -> tuple[float, float]:
  """Mean and standard deviation of a parameter, by its name."""
  name = names[-1]
  if name in ('scale', 'norm', 'norm_out', 'q_scale', 'k_scale'):
    return 1.0, 0.0
  if name == 'bias' or (name == 'kernel' and names[-2] in ZERO_HEADS):
    return 0.0, 0.0
  if name == 'null_kv':
    return 0.0, 1.0
  if name == 'relative_bias' or name.startswith('null_'):
    return 0.0, 0.02
  if name in ('to_q', 'to_kv', 'to_out'):
    return 0.0, shape[1] ** -0.5
  if name == 'kernel':
    fan_in = np.prod(shape[:-1])
    fan_in = fan_in / 4 if names[-2].endswith('_double') else fan_in
    return 0.0, float(fan_in**-0.5)
  raise ValueError(f'no initial distribution for {"/".join(names)}')
