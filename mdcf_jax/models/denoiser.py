"""The denoiser of Microscope: conditions, then the 3-D U-Net over latents.

What is the same for all frames (the source's features, the face box) is
reduced to the latent's size and convolved once per clip; what belongs to a
frame (sound, change of pose, change of blink) goes to cross attentions. With
`opening` what the mouth's opening changes of the latents is known before, see
`phases.mouths`: by the true one while it learns, by what the sound tells of it
in generation. The denoiser makes the rest, and sees that change beside it.

`REFERENCE` makes it the public denoiser of dynamics (dawn.md 2): no stem, no
encoder of sound, raw differences of pose and blink, norms over time, and one
head for the flow and one for the occlusion.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mdcf_jax.models.audio import AudioEncoder, OpeningPredictor
from mdcf_jax.models.layers import FrameGroupNorm, SpatialConv
from mdcf_jax.models.recompute import recompute
from mdcf_jax.models.unet3d import UNet3D
from mdcf_jax.ops import losses
from mdcf_jax.ops.boxes import box_coverage

STREAMS = ('audio', 'pose', 'blink')
# Of the gap between talking lips over the height of the face.
OPENING_MEAN, OPENING_DEVIATION = 0.045, 0.03
OPENING_MAX = 0.12  # Few go further; beyond, flow tears the chin.
# What makes this module the public one.
REFERENCE = dict(
  latent_channels=3,
  heads=(2, 1),
  norm_over_time=True,
  stem_features=0,
  audio_features=0,
  pose_scale=(1.0,) * 6,
  blink_scale=1.0,
)


class DownBlock(nn.Module):
  """Residual block of stride 2 (GroupNorm, SiLU, convolution, twice)."""

  features: int
  num_groups: int = 8
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, H / 2, W / 2, C']`."""
    mask = jnp.ones((x.shape[0], 1))

    def norm(x, name):
      return FrameGroupNorm(self.num_groups, name=name)(x, mask)

    h = nn.silu(norm(x, 'norm_1'))
    h = SpatialConv(self.features, stride=2, dtype=self.dtype, name='conv_1')(h)
    h = nn.silu(norm(h, 'norm_2'))
    h = SpatialConv(self.features, dtype=self.dtype, name='conv_2')(h)
    x = nn.avg_pool(x, (2, 2), (2, 2))
    return h + nn.Dense(self.features, dtype=self.dtype, name='skip')(x)


class SourceStem(nn.Module):
  """E(x_src) at H/4 reduced to the latent's size.

  Attributes:
    features: channels of every level.
    num_levels: halvings: 3 when z is H/32, 2 when it is H/16.
    num_groups, dtype: as in `DownBlock`.
    remat: recompute blocks in the backward pass to save memory.
  """

  features: int = 256
  num_levels: int = 3
  num_groups: int = 8
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H/4, W/4, C]` to `[B, h, w, features]`."""
    x = nn.Dense(self.features, dtype=self.dtype, name='proj')(x)
    for i in range(self.num_levels):
      block = DownBlock(
        self.features, self.num_groups, self.dtype, name=f'down_{i}'
      )
      x = recompute(self.remat, block)(x)
    return x


class FaceBoxEncoder(nn.Module):
  """The face's rectangle as 16 channels at the latent's size."""

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, mask: jax.Array) -> jax.Array:
    """Maps a mask `[B, 4h, 4w, 1]` in [0, 1] to `[B, h, w, 16]`."""
    x = mask
    for i, features in enumerate((8, 16)):
      x = SpatialConv(features, stride=2, dtype=self.dtype, name=f'conv_{i}')(x)
      x = nn.relu(x)
    return x


class Denoiser(nn.Module):
  """Predicts the noise of standardised latents under all conditions.

  Attributes:
    latent_channels: channels of z.
    heads: their split into heads of the U-Net; empty for one.
    dim, dim_mults, num_heads, head_dim, cross_heads, cross_head_dim,
      num_groups, window, norm_over_time: of `UNet3D`.
    remat: of `UNet3D` and `SourceStem`.
    positions, parts: of `UNet3D`.
    stem_features, stem_levels: of `SourceStem`; 0 features take those of the
      source as they are, for latents of the same size.
    audio_features, audio_layers: of `AudioEncoder`; 0 features take audio_emb
      as it is.
    pose_scale: differences of pose (degrees, degrees, degrees, x, y, s) are
      divided by these.
    blink_scale: the same for the eyes' aspect ratio.
    opening: whether the mouth's opening is apart; not in the paper. What speech
      does to latents is little and hard to find; what an opening does is
      plain, and an opening is soon found in speech.
    opening_gain: how much further mouths open in generation than the sound
      alone tells, since `OpeningPredictor` varies less than they do.
    learned_null: learn the condition of unconditional samples; else zeros.
    dtype: computation dtype; parameters stay float32.
  """

  latent_channels: int = 4
  heads: tuple[int, ...] = ()
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
  stem_features: int = 256
  stem_levels: int = 3
  audio_features: int = 256
  audio_layers: int = 3
  pose_scale: tuple[float, ...] = (10.0, 10.0, 10.0, 0.1, 0.1, 0.1)
  blink_scale: float = 0.1
  opening: bool = False
  opening_gain: float = 1.0
  learned_null: bool = False
  dtype: Any = jnp.float32

  def setup(self):
    if self.audio_features:
      self.audio_encoder = AudioEncoder(
        self.audio_features, self.audio_layers, dtype=self.dtype
      )
    if self.stem_features:
      self.source_stem = SourceStem(
        self.stem_features,
        self.stem_levels,
        self.num_groups,
        self.dtype,
        self.remat,
      )
    if self.opening:
      self.opening_predictor = OpeningPredictor(
        self.audio_features, self.audio_layers, dtype=self.dtype
      )
      # Zero init: at first it is not there.
      self.mouth_conv = SpatialConv(
        self.dim,
        7,
        use_bias=False,
        dtype=self.dtype,
        kernel_init=nn.initializers.zeros,
      )
    self.face_encoder = FaceBoxEncoder(self.dtype)
    # The part of the U-Net's first convolution that reads static channels.
    self.static_conv = SpatialConv(
      self.dim, 7, use_bias=False, dtype=self.dtype
    )
    if self.learned_null:
      widths = (self.audio_features, len(self.pose_scale), 2)
      normal = nn.initializers.normal(0.02)
      self.nulls = [
        self.param(f'null_{name}', normal, (width,))
        for name, width in zip(STREAMS, widths)
      ]
    self.unet = UNet3D(
      out_channels=tuple(self.heads) or self.latent_channels,
      dim=self.dim,
      dim_mults=tuple(self.dim_mults),
      num_heads=self.num_heads,
      head_dim=self.head_dim,
      cross_heads=self.cross_heads,
      cross_head_dim=self.cross_head_dim,
      num_groups=self.num_groups,
      window=self.window,
      norm_over_time=self.norm_over_time,
      remat=self.remat,
      positions=self.positions,
      parts=self.parts,
      dtype=self.dtype,
    )

  def condition(
    self,
    source_features: jax.Array,
    audio_emb: jax.Array,
    pose_delta: jax.Array,
    blink_delta: jax.Array,
    face_box: jax.Array,
    frame_mask: jax.Array | None = None,
    opened: jax.Array | None = None,
  ) -> dict[str, jax.Array]:
    """Computes once what every noise level shares.

    Args:
      source_features: E(x_src) `[B, H/4, W/4, C]`.
      audio_emb: `[B, T, D]`.
      pose_delta: `[B, T, 6]`, difference to the source's pose.
      blink_delta: `[B, T, 2]`, difference to the source's blink.
      face_box: `[B, 4]`, of the source, in [0, 1].
      frame_mask: `[B, T]`, 1 on real frames.
      opened: `[B, T, h, w, latent_channels]`, what the mouth's opening changes
        of standardised latents; with `opening`.

    Returns:
      dict(static `[B, 1, h, w, dim]`, with `opening` `[B, T, h, w, dim]`;
      audio, pose, blink `[B, T, ...]`).
    """
    source = source_features.astype(self.dtype)
    if self.stem_features:
      source = self.source_stem(source)
    _, height, width, _ = source.shape
    face = self.face_encoder(box_coverage(face_box, 4 * height, 4 * width))
    static = self.static_conv(jnp.concatenate([source, face], axis=-1))
    static = static[:, None]
    if self.opening:
      mouth = self.mouth_conv(opened.reshape(-1, *opened.shape[2:]))
      static += mouth.reshape(*opened.shape[:-1], self.dim)
    return dict(
      static=static,
      audio=self.encode_audio(audio_emb, frame_mask),
      pose=pose_delta / jnp.asarray(self.pose_scale, jnp.float32),
      blink=blink_delta / self.blink_scale,
    )

  def encode_audio(
    self, audio_emb: jax.Array, frame_mask: jax.Array | None = None
  ) -> jax.Array:
    """The sound alone as `condition` gives it, `[B, T, audio_features]`."""
    if not self.audio_features:
      return audio_emb
    return self.audio_encoder(audio_emb, frame_mask)

  def predict_opening(
    self, audio_emb: jax.Array, frame_mask: jax.Array | None = None
  ) -> jax.Array:
    """Opening `[B, T]` that the sound tells of; see `OpeningPredictor`."""
    return self.opening_predictor(audio_emb, frame_mask)

  def speak(self, audio_emb: jax.Array, frame_mask: jax.Array) -> jax.Array:
    """Opening `[B, T]` of a generated mouth, as lively as true ones are.

    In units of the height of the face; a habit that cannot be heard is usual.
    """
    told = self.predict_opening(audio_emb, frame_mask)
    told = losses.centred(told, frame_mask)
    change = self.opening_gain * OPENING_DEVIATION * told
    return jnp.clip(OPENING_MEAN + change, 0.0, OPENING_MAX)

  def use_all(
    self, xt: jax.Array, t: jax.Array, conditions: dict[str, jax.Array]
  ) -> jax.Array:
    """`denoise`, and whatever else has parameters; for initialisation."""
    if self.opening:
      self.predict_opening(conditions['audio_emb'])
    return self.denoise(xt, t, conditions)

  def __call__(
    self,
    xt: jax.Array,
    t: jax.Array,
    cond: dict[str, jax.Array],
    *,
    null_cond: jax.Array | None = None,
    frame_mask: jax.Array | None = None,
  ) -> jax.Array:
    """Predicts the noise.

    Args:
      xt: `[B, T, h, w, C]` standardised latents with noise.
      t: `[B, T]` integer levels.
      cond: of `condition`.
      null_cond: bool; True hides what belongs to a frame, of a sample `[B]` or,
        as the reference trains, of a frame `[B, T]`.
      frame_mask: `[B, T]`.

    Returns:
      float32 `[B, T, h, w, C]`.
    """
    streams = [cond[name] for name in STREAMS]
    if null_cond is not None:
      # [B, 1, 1] or [B, T, 1]
      hide = jnp.reshape(null_cond, (xt.shape[0], -1, 1))
      nulls = self.nulls if self.learned_null else [0.0] * len(streams)
      streams = [jnp.where(hide, n, s) for n, s in zip(nulls, streams)]
    return self.unet(xt, t, cond['static'], streams, frame_mask)

  def denoise(
    self,
    xt: jax.Array,
    t: jax.Array,
    conditions: dict[str, jax.Array],
    *,
    null_cond: jax.Array | None = None,
    frame_mask: jax.Array | None = None,
  ) -> jax.Array:
    """`condition` and `__call__` in one, for training and initialisation.

    `conditions` holds the arguments of `condition` but the mask.
    """
    cond = self.condition(**conditions, frame_mask=frame_mask)
    return self(xt, t, cond, null_cond=null_cond, frame_mask=frame_mask)
