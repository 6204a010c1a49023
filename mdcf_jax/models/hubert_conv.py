"""Convolutions of HuBERT: from samples to vectors, computed in pieces."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
HOP = math.prod(STRIDES)  # 320 samples from one vector to the next.
RECEPTIVE_FIELD = 400  # Samples that one vector is made of.


def count_frames(num_samples: Any) -> Any:
  """Vectors that `num_samples` samples make: floor((n - 80) / 320)."""
  return (num_samples - RECEPTIVE_FIELD) // HOP + 1


def layer_norm(name: str | None = None) -> nn.LayerNorm:
  """Over channels, float32, as PyTorch's."""
  return nn.LayerNorm(
    epsilon=1e-5, dtype=jnp.float32, use_fast_variance=False, name=name
  )


def for_each(module: nn.Module, method: Any, xs: Any) -> Any:
  """Stacks `method(module, x)` of each x along the first axis of `xs`.

  One after the other in one compiled loop, all with the same parameters.
  """

  def step(module, carry, x):
    return carry, method(module, x)

  return _loop(step)(module, (), xs)[1]


def fold(module: nn.Module, method: Any, state: Any, xs: Any) -> Any:
  """Replaces `state` by `method(module, state, x)` for each x; see above."""

  def step(module, state, x):
    return method(module, state, x), None

  return _loop(step)(module, state, xs)[0]


def _loop(step: Any) -> Any:
  return nn.scan(
    step, variable_broadcast='params', split_rngs={'params': False}
  )


class ConvFeatures(nn.Module):
  """From samples to vectors of the transformer's width.

  Attributes:
    width: D of the transformer.
    others: as in `HuBERT`.
  """

  width: int
  conv_width: int
  conv_norm: str
  conv_bias: bool
  conv_block: int
  normalise_input: bool
  dtype: Any = jnp.float32

  def setup(self):
    if self.conv_norm not in ('group', 'layer'):
      raise ValueError(f"conv_norm {self.conv_norm!r} is not 'group', 'layer'")
    self.conv = [
      nn.Conv(
        self.conv_width,
        (kernel,),
        (stride,),
        'VALID',
        use_bias=self.conv_bias,
        dtype=self.dtype,
      )
      for kernel, stride in zip(KERNELS, STRIDES)
    ]
    if self.conv_norm == 'group':
      self.norm = [RecordingNorm()]
    else:
      self.norm = [layer_norm() for _ in KERNELS]
    self.proj_norm = layer_norm()
    self.proj = nn.Dense(self.width, dtype=self.dtype)

  def __call__(self, waveform: jax.Array, num_samples: jax.Array) -> jax.Array:
    """Maps `[B, samples]` to `[B, S, D]` float32; num_samples `[B]`."""
    total = count_frames(waveform.shape[1])
    size = min(self.conv_block, total)
    pieces = _cut(waveform.astype(jnp.float32), size)
    if self.normalise_input:
      pieces = self._normalise(pieces, num_samples)
    moments = None
    if self.conv_norm == 'group':
      moments = self._statistics(pieces, num_samples)
    if len(pieces) == 1:
      h = self._piece(pieces[0], moments)[None]
    else:
      h = for_each(self, lambda m, x: m._piece(x, moments), pieces)
    h = h.swapaxes(0, 1)
    return h.reshape(h.shape[0], -1, self.width)[:, :total]

  def _piece(self, samples, moments):
    """Maps `[B, 320 n + 80]` to `[B, n, D]`."""
    x = samples[..., None]
    for i, conv in enumerate(self.conv):
      x = conv(x)
      if self.conv_norm == 'layer':
        x = self.norm[i](x).astype(self.dtype)
      elif i == 0:
        x = self.norm[0](x, *moments).astype(self.dtype)
      x = nn.gelu(x, approximate=False)
    return self.proj(self.proj_norm(x)).astype(jnp.float32)

  def _normalise(self, pieces, num_samples):
    """Brings the real samples to mean 0 and variance 1."""
    own = pieces[..., : HOP - RECEPTIVE_FIELD, None]  # Without the overlap.
    starts = own.shape[2] * jnp.arange(len(pieces))
    by_piece = jax.vmap(_moments, (0, 0, None))(own, starts, num_samples)
    mean, variance = (x[..., 0] for x in _join(*by_piece))
    return (pieces - mean) * jax.lax.rsqrt(variance + 1e-7)

  def _statistics(self, pieces, num_samples):
    """Mean and variance `[B, 1, C]` of the first convolution's output."""
    # Also of what follows the last whole vector.
    real = (num_samples - KERNELS[0]) // STRIDES[0] + 1
    size = (pieces.shape[2] + HOP - RECEPTIVE_FIELD) // STRIDES[0]

    def of_piece(module, x):
      piece, start = x
      y = module.conv[0](piece[..., None])[:, :size]
      return _moments(y.astype(jnp.float32), start, real)

    starts = size * jnp.arange(len(pieces))
    return _join(*for_each(self, of_piece, (pieces, starts)))


def _cut(waveform: jax.Array, size: int) -> jax.Array:
  """Cuts `[B, samples]` into `[n, B, 320 size + 80]`, zeros at the end.

  Each piece makes `size` vectors and shares its last 80 samples with the next.
  All samples are in a piece outside of its overlap.
  """
  batch, length = waveform.shape
  own, overlap = size * HOP, RECEPTIVE_FIELD - HOP
  count = -(-length // own)
  x = jnp.pad(waveform, ((0, 0), (0, (count + 1) * own - length)))
  x = x.reshape(batch, count + 1, own).swapaxes(0, 1)
  return jnp.concatenate([x[:-1], x[1:, :, :overlap]], axis=2)


def _moments(x: jax.Array, start: jax.Array, stop: jax.Array) -> tuple:
  """Count, mean and sum of squared deviations of a piece over time.

  Args:
    x: `[B, T, C]`, from the position `start` on.
    stop: `[B]`, position after the last that counts.

  Returns:
    `[B, 1, 1]`, `[B, 1, C]`, `[B, 1, C]`.
  """
  real = start + jnp.arange(x.shape[1]) < stop[:, None]
  real = real[..., None].astype(x.dtype)
  count = jnp.sum(real, axis=1, keepdims=True)
  mean = jnp.sum(x * real, axis=1, keepdims=True) / jnp.maximum(count, 1)
  squares = jnp.square((x - mean) * real)
  return count, mean, jnp.sum(squares, axis=1, keepdims=True)


def _join(count: jax.Array, mean: jax.Array, squares: jax.Array) -> tuple:
  """Mean and variance of all from the moments `[n, ...]` of pieces."""
  total = jnp.sum(count, axis=0)
  joint = jnp.sum(mean * count, axis=0) / total
  # Not the mean of squares less the squared mean, which cancel.
  squares = squares + count * jnp.square(mean - joint)
  return joint, jnp.sum(squares, axis=0) / total


class RecordingNorm(nn.Module):
  """A group norm with one channel per group, from given moments."""

  @nn.compact
  def __call__(self, x, mean, variance):
    """Maps `[B, T, C]` to the same, float32; moments `[B, 1, C]`."""
    scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    bias = self.param('bias', nn.initializers.zeros, (x.shape[-1],))
    x = x.astype(jnp.float32) - mean
    return x * jax.lax.rsqrt(variance + 1e-5) * scale + bias


class PositionConv(nn.Module):
  """Grouped convolution over K / 2 vectors on both sides, and a GELU.

  With an even kernel there is one vector more before than after. Its weight
  norm is multiplied out when weights are converted.

  Attributes:
    kernel_size: K.
    groups: must divide the channels.
  """

  kernel_size: int
  groups: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, S, D]` to the same, float32; beyond the ends are zeros."""
    before = self.kernel_size // 2
    x = nn.Conv(
      x.shape[-1],
      (self.kernel_size,),
      padding=((before, self.kernel_size - 1 - before),),
      feature_group_count=self.groups,
      dtype=self.dtype,
      name='conv',
    )(x)
    return nn.gelu(x, approximate=False).astype(jnp.float32)
