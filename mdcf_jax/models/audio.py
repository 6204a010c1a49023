"""Small trained encoders of audio features, for the diffusion and PBNet.

Its input is one vector per frame at 25 fps, whatever it is: log-mel bands (320)
or features of a speech model (1024).
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


class AudioEncoder(nn.Module):
  """Residual temporal convolutions, blind to frames outside of the mask.

  Attributes:
    features: width D' of every layer.
    num_layers: convolutions; each sees `kernel_size // 2` further frames on
      both sides.
    kernel_size: odd.
    dtype: computation dtype; parameters stay float32.
  """

  features: int = 64
  num_layers: int = 3
  kernel_size: int = 5
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, audio_emb: jax.Array, frame_mask: jax.Array | None = None
  ) -> jax.Array:
    """Maps audio_emb `[B, T, D]` to float32 `[B, T, D']`.

    Args:
      audio_emb: about unit scale.
      frame_mask: `[B, T]`, 1 on real frames. The others are zeros before
        every convolution, as beyond the ends, so padding changes nothing.
    """
    if frame_mask is None:
      frame_mask = jnp.ones(audio_emb.shape[:2])
    mask = frame_mask[..., None].astype(self.dtype)
    h = nn.Dense(self.features, dtype=self.dtype, name='proj')(
      audio_emb.astype(self.dtype)
    )
    for i in range(self.num_layers):
      y = nn.silu(nn.LayerNorm(epsilon=1e-5, name=f'norm_{i}')(h))
      y = nn.Conv(
        self.features, (self.kernel_size,), dtype=self.dtype, name=f'conv_{i}'
      )(y.astype(self.dtype) * mask)
      h = h + y
    h = nn.LayerNorm(epsilon=1e-5, name='norm_out')(h)
    return h.astype(jnp.float32) * mask


class OpeningPredictor(nn.Module):
  """How far a mouth opens that says what is heard.

  Apart from the encoder of the denoiser, which soon knows recordings by heart:
  this one learns one number a frame, and that from changed voices.

  Attributes:
    features, num_layers, kernel_size, dtype: of `AudioEncoder`.
  """

  features: int = 64
  num_layers: int = 3
  kernel_size: int = 5
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, audio_emb: jax.Array, frame_mask: jax.Array | None = None
  ) -> jax.Array:
    """Maps audio_emb `[B, T, D]` to float32 `[B, T]`.

    In deviations of the mouth's opening from an unknown mean: the habit of the
    one who speaks cannot be heard. It is the mean over all mouths that could
    have said this, so it varies less than any of them.
    """
    h = AudioEncoder(
      self.features,
      self.num_layers,
      self.kernel_size,
      dtype=self.dtype,
      name='encoder',
    )(audio_emb, frame_mask)
    h = nn.Dense(1, dtype=self.dtype, name='out')(h)
    return h[..., 0].astype(jnp.float32)
