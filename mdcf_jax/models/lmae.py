"""LMAE: the latent motion auto-encoder of Microscope (section 3.1).

A two-dimensional KL auto-encoder that sees one frame's dynamics at a time:
`[f; m]` at H/4 becomes z at H/32 (`len(features) == 4`, 768x fewer numbers
than the image) or at H/16 (`len(features) == 3`, 192x). The paper leaves the
architecture open; this one follows latent diffusion's: residual blocks,
strided downsampling, one attention where the picture is smallest.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mdcf_jax.models.hourglass import Conv
from mdcf_jax.models.recompute import recompute
from mdcf_jax.ops import resize, warp

LOGVAR_RANGE = (-30.0, 20.0)  # exp stays finite in float32 on both ends.
# With a shortcut: draws start at a twentieth of a unit from their mean, and
# 2 m - 1 is turned to a logit by a factor, which is right at 0, 1/2 and 1.
_SHORTCUT_LOGVAR = -6.0
_OCCLUSION_LOGIT = 4.0


class ResnetBlock(nn.Module):
  """Residual block of two convolutions.

  Attributes:
    features: output channels C'.
    num_groups: groups of both GroupNorms; must divide C and C'.
    dtype: computation dtype; parameters stay float32.
  """

  features: int
  num_groups: int = 32
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, H, W, C']`."""
    h = nn.GroupNorm(self.num_groups, dtype=self.dtype, name='norm_1')(x)
    h = nn.Conv(self.features, (3, 3), dtype=self.dtype, name='conv_1')(
      nn.silu(h)
    )
    h = nn.GroupNorm(self.num_groups, dtype=self.dtype, name='norm_2')(h)
    h = nn.Conv(self.features, (3, 3), dtype=self.dtype, name='conv_2')(
      nn.silu(h)
    )
    if x.shape[-1] != self.features:
      x = nn.Dense(self.features, dtype=self.dtype, name='skip')(x)
    return x + h


class SpatialAttention(nn.Module):
  """Single-head self-attention over the pixels of one small feature map."""

  num_groups: int = 32
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H, W, C]` to the same shape."""
    b, h, w, c = x.shape
    tokens = nn.GroupNorm(self.num_groups, dtype=self.dtype, name='norm')(x)
    tokens = tokens.reshape(b, h * w, c)
    qkv = nn.Dense(3 * c, dtype=self.dtype, name='to_qkv')(tokens)
    q, k, v = jnp.split(qkv, 3, axis=-1)
    logits = jnp.einsum(
      'bqc,bkc->bqk', q, k, preferred_element_type=jnp.float32
    )
    weights = nn.softmax(logits * c**-0.5).astype(v.dtype)
    out = jnp.einsum('bqk,bkc->bqc', weights, v)
    out = nn.Dense(c, dtype=self.dtype, name='to_out')(out)
    return x + out.reshape(b, h, w, c)


class Encoder(nn.Module):
  """Dynamics in scaled units to the parameters of the posterior.

  Attributes:
    features: channels of each level, from the full to the smallest size.
    out_channels: channels of the result.
    num_blocks: residual blocks per level.
    num_groups, dtype: as in `ResnetBlock`; the result is float32.
    out_scale: of the initial variance of the result.
    remat: recompute blocks in the backward pass to save memory.
  """

  features: tuple[int, ...]
  out_channels: int
  num_blocks: int
  num_groups: int = 32
  out_scale: float = 1.0
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H, W, 3]` to float32 `[B, H/f, W/f, out_channels]`."""
    norm = dict(num_groups=self.num_groups, dtype=self.dtype)
    again = functools.partial(recompute, self.remat)
    x = nn.Conv(self.features[0], (3, 3), dtype=self.dtype, name='conv_in')(x)
    for level, features in enumerate(self.features):
      if level:
        x = nn.Conv(
          features, (3, 3), 2, dtype=self.dtype, name=f'down_{level}'
        )(x)
      for i in range(self.num_blocks):
        x = again(ResnetBlock(features, **norm, name=f'block_{level}_{i}'))(x)
    x = again(ResnetBlock(features, **norm, name='mid_1'))(x)
    x = again(SpatialAttention(**norm, name='mid_attention'))(x)
    x = again(ResnetBlock(features, **norm, name='mid_2'))(x)
    x = nn.silu(nn.GroupNorm(**norm, name='norm_out')(x))
    init = nn.initializers.variance_scaling(self.out_scale, 'fan_in', 'normal')
    x = nn.Conv(
      self.out_channels,
      (3, 3),
      dtype=jnp.float32,
      kernel_init=init,
      name='conv_out',
    )(x)
    return x


class Decoder(nn.Module):
  """Mirror of `Encoder`: nearest-neighbour x2, then a convolution.

  Attributes:
    features: channels of each level, from the full to the smallest size.
    num_blocks: residual blocks per level.
    num_groups, dtype, remat: as in `Encoder`.
  """

  features: tuple[int, ...]
  num_blocks: int
  num_groups: int = 32
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, z: jax.Array) -> jax.Array:
    """Maps `[B, h, w, C]` to float32 `[B, h*f, w*f, 3]`.

    The first two channels are a flow in scaled units, the third the logit of
    the occlusion.
    """
    norm = dict(num_groups=self.num_groups, dtype=self.dtype)
    again = functools.partial(recompute, self.remat)
    features = self.features[-1]
    x = nn.Conv(features, (3, 3), dtype=self.dtype, name='conv_in')(z)
    x = again(ResnetBlock(features, **norm, name='mid_1'))(x)
    x = again(SpatialAttention(**norm, name='mid_attention'))(x)
    x = again(ResnetBlock(features, **norm, name='mid_2'))(x)
    for level in reversed(range(len(self.features))):
      features = self.features[level]
      for i in range(self.num_blocks):
        x = again(ResnetBlock(features, **norm, name=f'block_{level}_{i}'))(x)
      if level:
        up = Conv(features, enlarge=True, dtype=self.dtype, name=f'up_{level}')
        x = up(x)
    x = nn.silu(nn.GroupNorm(**norm, name='norm_out')(x))
    # Small, not zero: the first decoded flow is next to no motion, and yet
    # the first gradient reaches every layer.
    init = nn.initializers.variance_scaling(1e-4, 'fan_in', 'normal')
    x = nn.Conv(
      3, (3, 3), dtype=jnp.float32, kernel_init=init, name='conv_out'
    )(x)
    return x


class LMAE(nn.Module):
  """Per-frame variational auto-encoder of dynamics `[f; m]`.

  Outside, dynamics are in raw units: flow in [-1, 1] coordinates (a
  displacement, not a grid), occlusion in [0, 1]. Inside, the network works
  on `scale(dynamics)`, of about unit size.

  Attributes:
    latent_channels: channels of z.
    features: channels of each level; each further level halves the size.
    num_blocks: residual blocks per level of the encoder; the decoder has one
      more.
    num_groups: groups of all GroupNorms; must divide every entry of features.
    flow_gain: factor on the flow for `representation='residual'`, about one
      over its standard deviation, so that flow and occlusion weigh alike.
    shortcut: whether the networks add to a linear path: means over the pixels
      of a latent on the way in, bilinear interpolation on the way out (as
      deep-compression auto-encoders do). It starts as a low-pass filter of the
      dynamics instead of from nothing.
    wave: with a shortcut, its fourth channel is a wave of the vertical flow
      over the height of a latent's pixel. A mouth that opens is just that, up
      above and down below, and has no mean; without, the channel is likely to
      stay unused.
    representation: 'residual' encodes the displacement, so zero motion is
      zero; 'absolute' encodes the sampling grid itself, without gain.
    dtype: computation dtype; parameters, the posterior and dynamics stay
      float32.
    remat: recompute blocks in the backward pass to save memory.
  """

  latent_channels: int = 4
  features: tuple[int, ...] = (64, 128, 256, 256)
  num_blocks: int = 2
  num_groups: int = 32
  flow_gain: float = 10.0
  shortcut: bool = False
  wave: bool = False
  representation: str = 'residual'
  dtype: Any = jnp.float32
  remat: bool = False

  def setup(self):
    if self.representation not in ('residual', 'absolute'):
      raise ValueError(
        f"representation is {self.representation!r}, not 'residual' or"
        " 'absolute'"
      )
    if self.wave and (not self.shortcut or self.latent_channels < 4):
      raise ValueError('wave needs a shortcut and four latent channels')
    common = dict(
      features=tuple(self.features),
      num_groups=self.num_groups,
      dtype=self.dtype,
      remat=self.remat,
    )
    self.encoder = Encoder(
      out_channels=2 * self.latent_channels,
      num_blocks=self.num_blocks,
      out_scale=1e-2 if self.shortcut else 1.0,
      **common,
    )
    self.decoder = Decoder(num_blocks=self.num_blocks + 1, **common)

  @property
  def factor(self) -> int:
    """Pixels of dynamics per pixel of z, along each side."""
    return 2 ** (len(self.features) - 1)

  def scale(self, dynamics: jax.Array) -> jax.Array:
    """Raw `[..., H, W, 3]` to the units of the network and of equation 6."""
    flow, occlusion = dynamics[..., :2], dynamics[..., 2:]
    if self.representation == 'residual':
      flow = flow * self.flow_gain
    else:
      flow = flow + warp.identity_grid(*dynamics.shape[-3:-1])
    return jnp.concatenate([flow, 2 * occlusion - 1], axis=-1)

  def encode(self, dynamics: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Posterior of z (equation 4).

    Args:
      dynamics: `[..., H, W, 3]`, raw units, any leading dimensions.

    Returns:
      mean and logvar, each float32 `[..., H/f, W/f, latent_channels]`.

    Raises:
      ValueError: H or W is not a multiple of `factor`.
    """
    *lead, h, w, c = dynamics.shape
    if h % self.factor or w % self.factor:
      raise ValueError(
        f'dynamics of {h}x{w} cannot be halved {len(self.features) - 1} times'
      )
    x = self.scale(dynamics.astype(jnp.float32)).reshape(-1, h, w, c)
    moments = self.encoder(x)
    moments = moments.reshape(*lead, *moments.shape[1:])
    mean, logvar = jnp.split(moments, 2, axis=-1)
    if self.shortcut:
      low = self._analyse(self.scale(dynamics))
      extra = self.latent_channels - low.shape[-1]
      mean += jnp.pad(low, [(0, 0)] * (low.ndim - 1) + [(0, extra)])
      logvar += _SHORTCUT_LOGVAR
    return mean, jnp.clip(logvar, *LOGVAR_RANGE)

  def decode(self, z: jax.Array) -> jax.Array:
    """Maps z `[..., h, w, C]` to raw dynamics `[..., h*f, w*f, 3]`."""
    *lead, h, w, c = z.shape
    x = self.decoder(z.reshape(-1, h, w, c))
    x = x.reshape(*lead, *x.shape[1:])
    if self.shortcut:
      x += self._synthesise(z) * jnp.array([1.0, 1.0, _OCCLUSION_LOGIT])
    flow, occlusion = x[..., :2], nn.sigmoid(x[..., 2:])
    if self.representation == 'residual':
      flow = flow / self.flow_gain
    else:
      flow = flow - warp.identity_grid(*flow.shape[-3:-1])
    return jnp.concatenate([flow, occlusion], axis=-1)

  def _analyse(self, x: jax.Array) -> jax.Array:
    """The linear path of dynamics `[..., H, W, 3]` in scaled units to z."""
    low = resize.average_pool(x, self.factor)
    if not self.wave:
      return low
    rest = x[..., 1:2] - self._enlarge(low[..., 1:2])
    wave = resize.average_pool(2 * rest * self._waves(x.shape[-3]), self.factor)
    return jnp.concatenate([low, wave], axis=-1)

  def _synthesise(self, z: jax.Array) -> jax.Array:
    """The linear path back, to `[..., H, W, 3]`."""
    low = self._enlarge(z[..., :3])
    if not self.wave:
      return low
    wave = self._enlarge(z[..., 3:4]) * self._waves(low.shape[-3])
    return low.at[..., 1:2].add(wave)

  def _enlarge(self, z: jax.Array) -> jax.Array:
    # A pixel of z lies in the middle of those it is the mean of.
    size = tuple(n * self.factor for n in z.shape[-3:-1])
    return resize.resize_bilinear(z, size, align_corners=False)

  def _waves(self, height: int) -> jax.Array:
    """A sine over each pixel of z, `[H, 1, 1]`; negative is its upper half."""
    place = (jnp.arange(height) + 0.5) % self.factor / self.factor
    return -jnp.sin(2 * jnp.pi * place)[:, None, None]

  def __call__(self, dynamics: jax.Array, rng: jax.Array) -> dict:
    """Encodes, draws z, decodes.

    Args:
      dynamics: `[..., H, W, 3]`, raw units.
      rng: key of the draw.

    Returns:
      dict(dynamics (reconstruction), z, mean, logvar).
    """
    mean, logvar = self.encode(dynamics)
    z = sample_posterior(mean, logvar, rng)
    return dict(dynamics=self.decode(z), z=z, mean=mean, logvar=logvar)


class Identity(nn.Module):
  """No auto-encoder: latents are the sampling grid and 2 m - 1 themselves.

  The space of the public diffusion (dawn.md 2.3), 64 times as large as z.

  Attributes:
    dtype, remat: as `LMAE` has them; there is nothing to compute.
  """

  dtype: Any = jnp.float32
  remat: bool = False

  @property
  def latent_channels(self) -> int:
    """Of the grid and the occlusion."""
    return 3

  @property
  def factor(self) -> int:
    """Pixels of dynamics per pixel of z, along each side."""
    return 1

  def encode(self, dynamics: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maps raw dynamics `[..., H, W, 3]` to themselves, without variance."""
    flow, occlusion = dynamics[..., :2], dynamics[..., 2:]
    grid = flow + warp.identity_grid(*dynamics.shape[-3:-1])
    mean = jnp.concatenate([grid, 2 * occlusion - 1], axis=-1)
    return mean, jnp.full_like(mean, LOGVAR_RANGE[0])

  def decode(self, z: jax.Array) -> jax.Array:
    """Maps z `[..., H, W, 3]` to raw dynamics of the same size."""
    flow = z[..., :2] - warp.identity_grid(*z.shape[-3:-1])
    occlusion = jnp.clip((z[..., 2:] + 1) / 2, 0, 1)
    return jnp.concatenate([flow, occlusion], axis=-1)

  def __call__(self, dynamics: jax.Array, rng: jax.Array) -> dict:
    """As `LMAE.__call__`."""
    del rng
    mean, logvar = self.encode(dynamics)
    return dict(dynamics=self.decode(mean), z=mean, mean=mean, logvar=logvar)


def build_lmae(kind: str = 'lmae', **keywords: Any) -> LMAE | Identity:
  """Returns the auto-encoder that `config.model.lmae` describes.

  Args:
    kind: 'lmae' or 'identity'.
    keywords: attributes of `LMAE`.
  """
  if kind not in ('lmae', 'identity'):
    raise ValueError(f"kind is {kind!r}, not 'lmae' or 'identity'")
  return LMAE(**keywords) if kind == 'lmae' else Identity(**keywords)


def sample_posterior(
  mean: jax.Array, logvar: jax.Array, rng: jax.Array
) -> jax.Array:
  """Draws z of the shape of `mean` (equation 4)."""
  noise = jax.random.normal(rng, mean.shape, mean.dtype)
  return mean + jnp.exp(0.5 * logvar) * noise
