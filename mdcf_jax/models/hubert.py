"""HuBERT: features of speech at 50 Hz, base and large (Hsu et al. 2021).

Seven convolutions make one vector of every 20 ms, and a transformer relates
them. Both were trained on crops of 16 s, but nothing in them has a length, and
here recordings of any length go through in one piece of memory: convolutions
are computed in pieces with exactly the overlap that they need, attention for a
block of queries at a time. How they are cut changes nothing but rounding.
"""

import functools
import math
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from mdcf_jax.models.hubert_conv import (
  RECEPTIVE_FIELD,
  ConvFeatures,
  PositionConv,
  count_frames,
  fold,
  layer_norm,
)
from mdcf_jax.ops.attention import MASKED

SAMPLE_RATE = 16000

# A minute to either side, where training had 16 s in all.
WINDOW = 3000

HUBERT_SIZES = {
  'hubert-base': dict(
    width=768,
    num_layers=12,
    num_heads=12,
    ff_width=3072,
    conv_norm='group',
    conv_bias=False,
    pre_norm=False,
  ),
  'hubert-large': dict(
    width=1024,
    num_layers=24,
    num_heads=16,
    ff_width=4096,
    conv_norm='layer',
    conv_bias=True,
    pre_norm=True,
  ),
}


def to_frame_rate(features: np.ndarray, num_frames: int) -> np.ndarray:
  """Interpolates `[S, D]` at 50 Hz to `[num_frames, D]`, one per video frame.

  The reference's rule: linear, over the sequence as a whole, the first and the
  last vector staying first and last.
  """
  position = np.linspace(0, len(features) - 1, num_frames)
  low = np.minimum(position.astype(np.int64), max(len(features) - 2, 0))
  high = np.minimum(low + 1, len(features) - 1)
  weight = (position - low).astype(features.dtype)[:, None]
  return features[low] * (1 - weight) + features[high] * weight


class HuBERT(nn.Module):
  """The last hidden states of HuBERT.

  Attributes:
    width: D of the transformer.
    num_layers, num_heads, ff_width: of the transformer.
    conv_width: channels of all convolutions.
    conv_norm: 'group' normalises each channel of the first convolution over
      the whole recording; 'layer' every vector of all of them.
    conv_bias: the convolutions have a bias.
    pre_norm: norms before attention and MLP, and a last one; else after.
    position_kernel, position_groups: of the convolution that tells positions.
    normalise_input: brings each waveform to mean 0 and variance 1 first, as
      all public weights want it.
    window: vectors that attention reaches to either side in every layer. None
      reaches everything: exactly HuBERT at any length, in a time that grows
      with its square. With the default this is so up to a minute; in a longer
      recording each vector sees a minute before and after it, in any piece
      the same, so there are no seams.
    conv_block: vectors whose convolutions are in memory at a time.
    max_scores: numbers of the attention's scores in memory at a time.
    dtype: computation dtype; parameters, norms, softmax and the sum of the
      residual branches are float32.
  """

  width: int
  num_layers: int
  num_heads: int
  ff_width: int
  conv_norm: str
  conv_bias: bool
  pre_norm: bool
  conv_width: int = 512
  position_kernel: int = 128
  position_groups: int = 16
  normalise_input: bool = True
  window: int | None = WINDOW
  conv_block: int = 500
  max_scores: int = 2**26
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, waveform: jax.Array, num_samples: jax.Array | None = None
  ) -> jax.Array:
    """Maps waveform `[B, samples]` (16 kHz) to `[B, S, D]` float32.

    Args:
      waveform: at least 400 samples.
      num_samples: `[B]`, how many are real, at least 400. What comes after
        them changes nothing: one compilation serves all shorter recordings.

    Returns:
      S = floor((samples - 80) / 320) vectors; 0 where samples are not real.
    """
    batch, length = waveform.shape
    if length < RECEPTIVE_FIELD:
      raise ValueError(f'{length} samples, HuBERT needs {RECEPTIVE_FIELD}')
    if num_samples is None:
      num_samples = jnp.full(batch, length)
    num_frames = count_frames(num_samples)
    real = jnp.arange(count_frames(length)) < num_frames[:, None]
    h = ConvFeatures(
      width=self.width,
      conv_width=self.conv_width,
      conv_norm=self.conv_norm,
      conv_bias=self.conv_bias,
      conv_block=self.conv_block,
      normalise_input=self.normalise_input,
      dtype=self.dtype,
      name='features',
    )(waveform, num_samples)
    h = jnp.where(real[..., None], h, 0)
    h = h + PositionConv(
      self.position_kernel,
      self.position_groups,
      dtype=self.dtype,
      name='position',
    )(h)
    if not self.pre_norm:
      h = layer_norm('norm')(h)
    for i in range(self.num_layers):
      h = TransformerLayer(
        self.width,
        self.num_heads,
        self.ff_width,
        pre_norm=self.pre_norm,
        window=self.window,
        max_scores=self.max_scores,
        dtype=self.dtype,
        name=f'layer_{i}',
      )(h, num_frames)
    if self.pre_norm:
      h = layer_norm('norm')(h)
    return jnp.where(real[..., None], h, 0)


class TransformerLayer(nn.Module):
  """Self-attention and MLP; attributes as in `HuBERT`."""

  width: int
  num_heads: int
  ff_width: int
  pre_norm: bool
  window: int | None
  max_scores: int
  dtype: Any = jnp.float32

  def setup(self):
    self.attention_norm, self.ff_norm = layer_norm(), layer_norm()
    self.q = nn.Dense(self.width, dtype=self.dtype)
    self.k = nn.Dense(self.width, dtype=self.dtype)
    self.v = nn.Dense(self.width, dtype=self.dtype)
    self.out = nn.Dense(self.width, dtype=self.dtype)
    self.ff_in = nn.Dense(self.ff_width, dtype=self.dtype)
    self.ff_out = nn.Dense(self.width, dtype=self.dtype)

  def __call__(self, h: jax.Array, num_frames: jax.Array) -> jax.Array:
    """Maps `[B, S, D]` float32 to the same; num_frames `[B]` are real."""
    batch, length, _ = h.shape
    x = self.attention_norm(h) if self.pre_norm else h
    k, v = self._heads(self.k(x)), self._heads(self.v(x))
    size, reach = self._block_size(batch, length)
    count = -(-length // size)
    h = jnp.pad(h, ((0, 0), (0, count * size - length), (0, 0)))
    if reach is not None:
      pad = (0, 0), (0, 0), (reach, reach + count * size - length), (0, 0)
      k, v = jnp.pad(k, pad), jnp.pad(v, pad)

    def block(module, h, start):
      x = jax.lax.dynamic_slice_in_dim(h, start, size, axis=1)
      x = module._block(x, start, k, v, num_frames, reach)
      # In its place: XLA would hold an array of its own for every layer.
      return jax.lax.dynamic_update_slice_in_dim(h, x, start, axis=1)

    if count == 1:
      return self._block(h, 0, k, v, num_frames, reach)
    starts = size * jnp.arange(count)
    return fold(self, block, h, starts)[:, :length]

  def _block_size(self, batch: int, length: int) -> tuple[int, int | None]:
    """Queries in a block, and how far its keys reach (None: all keys)."""
    scores = self.max_scores // (batch * self.num_heads)
    size, reach = scores // length, self.window
    if reach is not None:
      # size * (size + 2 * reach) scores, if the rest is left out.
      near = int(math.sqrt(reach**2 + scores)) - reach
      if near + 2 * reach < length:
        size = near
      else:
        reach = None
    count = -(-length // max(size, 1))
    return -(-length // count), reach

  def _block(self, h, start, k, v, num_frames, reach):
    """The layer for the queries `[B, Q, D]` from `start` on."""
    x = self.attention_norm(h) if self.pre_norm else h
    positions = jnp.arange(k.shape[2])
    if reach is not None:
      span = h.shape[1] + 2 * reach
      k = jax.lax.dynamic_slice_in_dim(k, start, span, axis=2)
      v = jax.lax.dynamic_slice_in_dim(v, start, span, axis=2)
      positions = start - reach + jnp.arange(span)
    real = (positions >= 0) & (positions < num_frames[:, None])
    allowed = real[:, None, None]
    if self.window is not None:
      queries = start + jnp.arange(h.shape[1])
      offset = jnp.abs(positions - queries[:, None])
      allowed = allowed & (offset <= self.window)
    h = h + self.out(self._attend(self._heads(self.q(x)), k, v, allowed))
    if not self.pre_norm:
      h = self.attention_norm(h)
    x = self.ff_norm(h) if self.pre_norm else h
    h = h + self.ff_out(nn.gelu(self.ff_in(x), approximate=False))
    return h if self.pre_norm else self.ff_norm(h)

  def _heads(self, x):
    """Maps `[B, S, D]` to `[B, H, S, D / H]`."""
    return einops.rearrange(x, 'b s (h d) -> b h s d', h=self.num_heads)

  def _attend(self, q, k, v, allowed):
    """Maps q `[B, H, Q, d]`, k and v `[B, H, K, d]` to `[B, Q, D]`."""
    scores = jnp.einsum(
      'bhqd,bhkd->bhqk',
      q * q.shape[-1] ** -0.5,
      k,
      preferred_element_type=jnp.float32,
    )
    weights = jax.nn.softmax(jnp.where(allowed, scores, MASKED), axis=-1)
    out = jnp.einsum('bhqk,bhkd->bhqd', weights.astype(v.dtype), v)
    return einops.rearrange(out, 'b h q d -> b q (h d)')


def encode(
  module: HuBERT, variables: Any, waveform: np.ndarray, num_frames: int
) -> np.ndarray:
  """Features of a recording at the frame rate of its video.

  Args:
    module, variables: HuBERT.
    waveform: `[samples]`, 16 kHz mono; NaN and infinity count as silence.
    num_frames: of the video.

  Returns:
    `[num_frames, D]` float32.
  """
  waveform = np.asarray(waveform)
  if waveform.ndim != 1:
    raise ValueError(f'waveform must be [samples], not {waveform.shape}')
  waveform = np.nan_to_num(waveform, nan=0, posinf=0, neginf=0)
  size = max(len(waveform), RECEPTIVE_FIELD)
  padded = np.zeros((1, bucket_size(size)), np.float32)
  padded[0, : len(waveform)] = waveform
  features = _apply(module, variables, padded, np.array([size]))
  features = np.asarray(features)[0, : count_frames(size)]
  return to_frame_rate(features, num_frames)


@functools.partial(jax.jit, static_argnums=0)
def _apply(module, *args):
  return module.apply(*args)


def bucket_size(samples: int) -> int:
  """At most a quarter more, and at least 4096 (a quarter of a second).

  Four sizes from each power of two to the next, each compiled once.
  """
  step = 2 ** max(samples.bit_length() - 3, 12)
  return -(-samples // step) * step
