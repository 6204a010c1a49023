"""The 3-D U-Net of the diffusion, in the structure of DAWN's.

Convolutions, group norms and spatial attention work within a frame; frames
exchange information in the temporal attentions alone, over a band of
neighbours. So a clip may have any length, and padding it, cutting it or
spreading it over devices leaves the frames as they are. Inside, frames are
folded into the batch: `[B * T, h, w, C]`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mdcf_jax.models.layers import (
  ChannelNorm,
  FrameGroupNorm,
  SpatialConv,
  Upsample,
  normalise_channels,
)
from mdcf_jax.models.pieces import one_by_one
from mdcf_jax.models.recompute import recompute
from mdcf_jax.ops import attention


def sinusoidal_embedding(t: jax.Array, dim: int) -> jax.Array:
  """Embeds noise levels `[...]` as `[..., dim]`: sines, then cosines."""
  half = dim // 2
  rate = jnp.exp(-jnp.log(10000.0) / max(half - 1, 1) * jnp.arange(half))
  angle = t[..., None].astype(jnp.float32) * rate
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


class CrossAttention(nn.Module):
  """Pixels of a frame ask that frame's S conditions, one by one; a sum.

  Each condition has an attention of its own (parameters have a leading S); they
  are computed together.

  Attributes:
    features: output channels C'.
    num_heads, head_dim: heads and their width.
    dtype: computation dtype.
  """

  features: int
  num_heads: int = 8
  head_dim: int = 8
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, contexts: jax.Array) -> jax.Array:
    """Maps x `[N, h, w, C]` and contexts `[N, S, D]` to `[N, h, w, C']`."""
    n, height, width, channels = x.shape
    streams = contexts.shape[1]
    inner = self.num_heads * self.head_dim
    lecun = nn.initializers.lecun_normal(batch_axis=0)
    normal, ones = nn.initializers.normal(1.0), nn.initializers.ones

    def param(name, init, *shape):
      return self.param(name, init, (streams, *shape))

    to_q = param('to_q', lecun, channels, inner)
    # The gains of the S norms belong to one normalised x: fold them.
    to_q = to_q * param('norm', ones, channels)[..., None]
    q = jnp.einsum(
      'npc,sci->npsi',
      normalise_channels(x).reshape(n, height * width, channels),
      to_q.astype(self.dtype),
    )
    to_kv = param('to_kv', lecun, contexts.shape[-1], 2 * inner)
    kv = jnp.einsum('nsd,sdi->nsi', contexts, to_kv.astype(self.dtype))
    k, v = jnp.split(kv, 2, axis=-1)
    null_kv = param('null_kv', normal, 2, self.head_dim)
    heads = (self.num_heads, self.head_dim)
    out = attention.cross_attention(
      q.reshape(n, -1, streams, *heads),
      k.reshape(n, streams, *heads),
      v.reshape(n, streams, *heads),
      null_kv[:, None, 0],
      null_kv[:, None, 1].astype(self.dtype),
      tuple(
        param(name, ones, self.head_dim)[:, None]
        for name in ('q_scale', 'k_scale')
      ),
    )
    to_out = param('to_out', lecun, inner, self.features)
    out = jnp.einsum(
      'npsi,sio->npso',
      out.reshape(n, -1, streams, inner),
      to_out.astype(self.dtype),
    )
    gain = param('norm_out', ones, self.features).astype(self.dtype)
    out = jnp.sum(normalise_channels(out) * gain, axis=2)
    return out.reshape(n, height, width, self.features)


class ResnetBlock(nn.Module):
  """Two convolutions, modulated by the noise level and by the conditions.

  Attributes:
    features: output channels C'.
    num_groups: groups of both norms.
    norm_over_time: see `FrameGroupNorm`.
    cross_heads, cross_head_dim: of the cross attentions.
    dtype: computation dtype; parameters stay float32.
  """

  features: int
  num_groups: int = 8
  norm_over_time: bool = False
  cross_heads: int = 8
  cross_head_dim: int = 8
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: jax.Array | tuple[jax.Array, ...],
    frame_mask: jax.Array,
    time_emb: jax.Array | None = None,
    streams: Sequence[jax.Array] = (),
  ) -> jax.Array:
    """Maps `[N, h, w, C]` to `[N, h, w, C']`.

    Args:
      x: frames, N = B * T; of several arrays channels are joined here, where
        there may be but a piece of them.
      frame_mask: `[B, T]`.
      time_emb: `[N, E]`; None leaves the modulation out.
      streams: one `[N, D]` per condition.
    """

    def norm(name):
      return FrameGroupNorm(self.num_groups, self.norm_over_time, name=name)

    def dense(features, name):
      return nn.Dense(features, dtype=self.dtype, name=name)

    if isinstance(x, tuple):
      x = jnp.concatenate(x, axis=-1)
    h = SpatialConv(self.features, dtype=self.dtype, name='conv_1')(x)
    h = norm('norm_1')(h, frame_mask)
    if time_emb is not None:
      film = dense(2 * self.features, 'time_proj')(nn.silu(time_emb))
      scale, shift = jnp.split(film[:, None, None], 2, axis=-1)
      h = h * (1 + scale) + shift
    h = nn.silu(h)
    if streams:
      contexts = [
        dense(2 * self.features, f'context_{i}')(nn.silu(stream))
        for i, stream in enumerate(streams)
      ]
      h = h + CrossAttention(
        self.features,
        self.cross_heads,
        self.cross_head_dim,
        self.dtype,
        name='cross',
      )(x, jnp.stack(contexts, axis=1))
    h = SpatialConv(self.features, dtype=self.dtype, name='conv_2')(h)
    h = nn.silu(norm('norm_2')(h, frame_mask))
    if x.shape[-1] != self.features:
      x = dense(self.features, 'skip')(x)
    return x + h


class PixelAttention(nn.Module):
  """Residual attention of a frame's pixels to each other.

  Attributes:
    num_heads, head_dim: heads and their width.
    linear: cost linear in the pixels, instead of the full softmax.
    dtype: computation dtype.
  """

  num_heads: int = 8
  head_dim: int = 32
  linear: bool = True
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[N, h, w, C]` to the same shape."""
    n, height, width, channels = x.shape
    inner = self.num_heads * self.head_dim
    h = ChannelNorm(name='norm')(x)
    qkv = nn.Dense(3 * inner, use_bias=False, dtype=self.dtype, name='to_qkv')(
      h
    )
    qkv = qkv.reshape(n, height * width, 3, self.num_heads, self.head_dim)
    attend = (
      attention.linear_attention if self.linear else attention.spatial_attention
    )
    out = attend(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2])
    out = out.reshape(n, height, width, inner)
    return x + nn.Dense(
      channels, use_bias=self.linear, dtype=self.dtype, name='to_out'
    )(out)


class TemporalAttention(nn.Module):
  """Residual attention of a pixel to itself in other frames.

  Attributes:
    num_heads, head_dim: heads and their width.
    window: frames seen on each side; None for all.
    dtype: computation dtype.
  """

  num_heads: int = 8
  head_dim: int = 32
  window: int | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, bias_table: jax.Array, frame_mask: jax.Array
  ) -> jax.Array:
    """Maps `[B * T, h, w, C]` to the same; frame_mask `[B, T]`."""
    n, height, width, channels = x.shape
    inner = self.num_heads * self.head_dim
    h = ChannelNorm(name='norm')(x)
    qkv = nn.Dense(3 * inner, use_bias=False, dtype=self.dtype, name='to_qkv')(
      h
    )
    qkv = qkv.reshape(
      *frame_mask.shape, height * width, 3, self.num_heads, self.head_dim
    )
    out = attention.temporal_attention(
      qkv[..., 0, :, :],
      qkv[..., 1, :, :],
      qkv[..., 2, :, :],
      bias_table=bias_table,
      window=self.window,
      frame_mask=frame_mask,
    )
    out = out.reshape(n, height, width, inner)
    return x + nn.Dense(
      channels, use_bias=False, dtype=self.dtype, name='to_out'
    )(out)


class UNet3D(nn.Module):
  """Predicts the noise of all frames of a clip.

  Attributes:
    out_channels: channels of the prediction; a tuple makes one head each, as
      the reference's flow and occlusion.
    dim: channels of the first level.
    dim_mults: channels of each level, in units of `dim`; every level but the
      last halves the size.
    num_heads, head_dim: of all attentions within and between frames.
    cross_heads, cross_head_dim: of the attentions to the conditions.
    num_groups: groups of the norms.
    window: frames that a temporal attention sees on each side; None for all.
    norm_over_time: the reference's statistics over T, for its weights.
    remat: recompute blocks in the backward pass to save memory.
    positions: frames times pixels that a layer works on at a time, to save
      memory of long clips: frames by themselves, or pixels through all frames.
      0: all of them, as always with `norm_over_time`.
    parts: devices that the frames are split over, which share every piece.
    dtype: computation dtype; parameters, norms and softmax stay float32.
  """

  out_channels: int | tuple[int, ...] = 4
  dim: int = 64
  dim_mults: tuple[int, ...] = (1, 2, 4, 8)
  num_heads: int = 8
  head_dim: int = 32
  cross_heads: int = 8
  cross_head_dim: int = 8
  num_groups: int = 8
  window: int | None = 40
  norm_over_time: bool = False
  remat: bool = False
  positions: int = 0
  parts: int = 1
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    xt: jax.Array,
    t: jax.Array,
    static: jax.Array | None = None,
    streams: Sequence[jax.Array] = (),
    frame_mask: jax.Array | None = None,
  ) -> jax.Array:
    """Maps noised latents to the prediction, float32 of the same size.

    Args:
      xt: `[B, T, h, w, C]`.
      t: `[B, T]` noise levels.
      static: `[B, 1, h, w, dim]`, the part of the first convolution that all
        frames share (or `[B, T, h, w, dim]`, if they do not), or None.
      streams: conditions of each frame, `[B, T, D]` each.
      frame_mask: `[B, T]`, 1 on real frames.

    Raises:
      ValueError: h or w cannot be halved often enough.
    """
    b, length = xt.shape[:2]
    self._check_size(*xt.shape[2:4])
    if frame_mask is None:
      frame_mask = jnp.ones((b, length))
    time_emb = self._embed_time(t).reshape(b * length, -1)
    streams = [s.reshape(b * length, -1).astype(self.dtype) for s in streams]
    x = self._first(xt, static)
    bias_table = self.param(
      'relative_bias', nn.initializers.normal(0.02), (32, self.num_heads)
    )
    heads = dict(
      num_heads=self.num_heads, head_dim=self.head_dim, dtype=self.dtype
    )

    def block(features, x, name):
      module = ResnetBlock(features, **self._block_kwargs(), name=name)
      return self._by_frame(module, x, frame_mask, time_emb, streams)

    def pixels(x, name, linear=True):
      module = PixelAttention(linear=linear, **heads, name=name)
      return self._by_frame(module, x)

    def frames(x, name):
      module = TemporalAttention(window=self.window, **heads, name=name)
      return self._by_pixel(module, x, bias_table, frame_mask)

    stem = x
    x = frames(x, 'init_temporal')
    widths = [self.dim * m for m in self.dim_mults]
    last, skips = len(widths) - 1, []
    for i, width in enumerate(widths):
      x = block(width, x, f'down_{i}_block_0')
      x = block(width, x, f'down_{i}_block_1')
      x = frames(pixels(x, f'down_{i}_pixels'), f'down_{i}_temporal')
      skips.append(x)
      if i < last:
        half = SpatialConv(width, 4, 2, dtype=self.dtype, name=f'down_{i}_half')
        x = self._by_frame(half, x)
    x = block(widths[-1], x, 'mid_block_0')
    x = frames(pixels(x, 'mid_pixels', linear=False), 'mid_temporal')
    x = block(widths[-1], x, 'mid_block_1')
    for i, width in enumerate(([self.dim] + widths[:-1])[::-1]):
      x = block(width, (x, skips.pop()), f'up_{i}_block_0')
      x = block(width, x, f'up_{i}_block_1')
      x = frames(pixels(x, f'up_{i}_pixels'), f'up_{i}_temporal')
      if i < last:
        double = Upsample(width, dtype=self.dtype, name=f'up_{i}_double')
        x = self._by_frame(double, x)
    x = self._heads((x, stem), frame_mask)
    return x.reshape(b, length, *x.shape[1:])

  def _by_frame(self, module, x, frame_mask=None, *more):
    """Calls a module that sees frames `[B * T, ...]` by themselves."""
    given = (x,) if frame_mask is None else (x, frame_mask, *more)
    if not self.positions or self.norm_over_time:
      return recompute(self.remat, module)(*given)
    if frame_mask is not None:
      given = (x, frame_mask.reshape(-1, 1), *more)
    height, width = jax.tree.leaves(x)[0].shape[1:3]
    size = max(1, self.positions // (height * width))
    return one_by_one(module, given, size=size, parts=self.parts)

  def _by_pixel(self, module, x, bias_table, frame_mask):
    """Calls a module that sees pixels of `[B * T, h, w, C]` by themselves."""
    if not self.positions:
      return recompute(self.remat, module)(x, bias_table, frame_mask)
    size = max(1, self.positions // x.shape[0])
    row = x.reshape(x.shape[0], 1, -1, x.shape[-1])
    y = one_by_one(module, (row,), bias_table, frame_mask, size=size, axis=2)
    return y.reshape(x.shape)

  def _first(self, xt: jax.Array, static: jax.Array | None) -> jax.Array:
    """The first convolution, its static part added: `[B * T, h, w, dim]`."""
    conv = SpatialConv(self.dim, 7, dtype=self.dtype, name='init_conv')
    x = conv(xt.reshape(-1, *xt.shape[2:]))
    if static is None:
      return x
    by_clip = x.reshape(*xt.shape[:2], *x.shape[1:])
    return (by_clip + static.astype(self.dtype)).reshape(x.shape)

  def _check_size(self, height: int, width: int) -> None:
    factor = 2 ** (len(self.dim_mults) - 1)
    if height % factor or width % factor:
      raise ValueError(
        f'latents of {height}x{width} cannot be halved '
        f'{len(self.dim_mults) - 1} times; use fewer dim_mults'
      )

  def _block_kwargs(self) -> dict[str, Any]:
    return dict(
      num_groups=self.num_groups,
      norm_over_time=self.norm_over_time,
      cross_heads=self.cross_heads,
      cross_head_dim=self.cross_head_dim,
      dtype=self.dtype,
    )

  def _embed_time(self, t: jax.Array) -> jax.Array:
    """Maps levels `[B, T]` to `[B, T, 4 dim]`."""
    x = sinusoidal_embedding(t, self.dim).astype(self.dtype)
    x = nn.Dense(4 * self.dim, dtype=self.dtype, name='time_0')(x)
    x = nn.gelu(x, approximate=False)
    return nn.Dense(4 * self.dim, dtype=self.dtype, name='time_1')(x)

  def _heads(self, x: tuple, frame_mask: jax.Array) -> jax.Array:
    """One head per entry of out_channels, joined: `[N, h, w, C]` float32."""
    heads = self.out_channels
    heads = (heads,) if isinstance(heads, int) else tuple(heads)
    outputs = []
    for i, channels in enumerate(heads):
      block = ResnetBlock(
        self.dim, **self._block_kwargs(), name=f'head_{i}_block'
      )
      h = self._by_frame(block, x, frame_mask)
      outputs.append(
        # Zero init: the first prediction is no noise, and the loss is 1.
        nn.Dense(
          channels, kernel_init=nn.initializers.zeros, name=f'head_{i}_out'
        )(h.astype(jnp.float32))
      )
    return jnp.concatenate(outputs, axis=-1)
