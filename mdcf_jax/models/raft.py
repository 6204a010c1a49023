"""RAFT, the optical flow between two pictures (Teed and Deng 2020).

Small and large as in `princeton-vl/RAFT` (core/raft.py, extractor.py and
update.py; BSD-3-Clause), for use with its trained weights: there is no training
mode, batch norm always has its stored statistics. All products are in full
float32, so that a score does not depend on the chip.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mdcf_jax.ops import correlation, resize

# `widths` of the encoder's three stages, `correlation` and `flow` widths of the
# motion encoder's two branches, `motion` of what it gives, `head` of the hidden
# layer that predicts the update, `kernels` of the recurrent units in turn.
RAFT_SIZES = {
  'small': dict(
    widths=(32, 64, 96),
    features=128,
    hidden=96,
    context=64,
    norm='none',
    radius=3,
    correlation=(96,),
    flow=(64, 32),
    motion=82,
    head=128,
    kernels=((3, 3),),
  ),
  'large': dict(
    widths=(64, 96, 128),
    features=256,
    hidden=128,
    context=128,
    norm='batch',
    radius=4,
    correlation=(256, 192),
    flow=(128, 64),
    motion=128,
    head=256,
    kernels=((1, 5), (5, 1)),
  ),
}
LEVELS = 4
STRIDE = 8  # Image pixels per pixel of the coarse flow.
# Side of an image: at the last level the public code divides by its size - 1.
SMALLEST = STRIDE * 2**LEVELS
ITERATIONS = 12

Padding = tuple[tuple[int, int], tuple[int, int]]


def padding(height: int, width: int) -> Padding:
  """What RAFT wants around an image: ((top, bottom), (left, right)) pixels.

  Both sides become a multiple of 8 and at least 128, half of it before and half
  after, to be filled with the nearest pixel (`InputPadder` of the public code,
  which knows no smallest size).
  """

  def one(size: int) -> tuple[int, int]:
    more = max(-(-size // STRIDE) * STRIDE, SMALLEST) - size
    return more // 2, more - more // 2

  return one(height), one(width)


def _conv(
  features: int, kernel: int | tuple[int, int], name: str, stride: int = 1
) -> nn.Conv:
  """A convolution that pads as PyTorch does: by half the kernel, always."""
  sides = (kernel, kernel) if isinstance(kernel, int) else kernel
  return nn.Conv(
    features,
    sides,
    strides=stride,
    padding=tuple((side // 2, side // 2) for side in sides),
    precision=jax.lax.Precision.HIGHEST,
    name=name,
  )


def _norm(x: jax.Array, kind: str, name: str) -> jax.Array:
  """Norm of `[B, H, W, C]`: 'instance', 'batch' (stored statistics), 'none'."""
  if kind == 'none':
    return x
  if kind == 'batch':
    return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name=name)(x)
  mean = jnp.mean(x, axis=(1, 2), keepdims=True)
  var = jnp.mean(jnp.square(x - mean), axis=(1, 2), keepdims=True)
  return (x - mean) * jax.lax.rsqrt(var + 1e-5)


class EncoderBlock(nn.Module):
  """Residual block: two 3 x 3 convolutions, or three with a narrow middle.

  Attributes:
    features: output channels C'.
    norm: 'instance', 'batch' or 'none'.
    bottleneck: as in the small size.
    stride: of the block; above 1 the skip connection is a convolution too.
  """

  features: int
  norm: str
  bottleneck: bool
  stride: int = 1

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, H / stride, W / stride, C']`."""
    width = self.features // 4
    plan = [(self.features, 3, self.stride), (self.features, 3, 1)]
    if self.bottleneck:
      plan = [(width, 1, 1), (width, 3, self.stride), (self.features, 1, 1)]
    h = x
    for i, (features, kernel, stride) in enumerate(plan, start=1):
      h = _conv(features, kernel, f'conv{i}', stride)(h)
      h = nn.relu(_norm(h, self.norm, f'norm{i}'))
    if self.stride > 1:
      x = _conv(self.features, 1, 'skip', self.stride)(x)
      x = _norm(x, self.norm, 'skip_norm')
    return nn.relu(x + h)


class Encoder(nn.Module):
  """Features of an image at an eighth of its size.

  Attributes:
    widths: channels of the three stages, each of two blocks.
    features: output channels C.
    norm: 'instance', 'batch' or 'none'.
    bottleneck: of `EncoderBlock`.
  """

  widths: tuple[int, ...]
  features: int
  norm: str
  bottleneck: bool

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps `[B, H, W, 3]` in [-1, 1] to `[B, H/8, W/8, C]`."""
    x = _conv(self.widths[0], 7, 'stem', stride=2)(image)
    x = nn.relu(_norm(x, self.norm, 'stem_norm'))
    for i, width in enumerate(self.widths):
      for j in range(2):
        stride = 2 if i > 0 and j == 0 else 1
        x = EncoderBlock(
          width, self.norm, self.bottleneck, stride, name=f'block{i + 1}_{j}'
        )(x)
    return _conv(self.features, 1, 'last')(x)


class ConvGRU(nn.Module):
  """Gated recurrent unit whose products are convolutions.

  Attributes:
    kernel: of all three.
  """

  kernel: tuple[int, int]

  @nn.compact
  def __call__(self, hidden: jax.Array, x: jax.Array) -> jax.Array:
    """Maps hidden `[B, h, w, D]` and x `[B, h, w, C]` to the next hidden."""
    width = hidden.shape[-1]
    both = jnp.concatenate([hidden, x], axis=-1)
    update = nn.sigmoid(_conv(width, self.kernel, 'update')(both))
    reset = nn.sigmoid(_conv(width, self.kernel, 'reset')(both))
    both = jnp.concatenate([reset * hidden, x], axis=-1)
    candidate = jnp.tanh(_conv(width, self.kernel, 'candidate')(both))
    return (1 - update) * hidden + update * candidate


class FlowUpdate(nn.Module):
  """One iteration: from what correlates to where the flow is wrong.

  Attributes:
    size: keywords of RAFT_SIZES.
  """

  size: Any

  @nn.compact
  def __call__(
    self,
    hidden: jax.Array,
    context: jax.Array,
    windows: jax.Array,
    flow: jax.Array,
  ) -> tuple[jax.Array, jax.Array]:
    """Returns the next hidden state and what to add to the flow.

    Args:
      hidden: `[B, h, w, D]`.
      context: `[B, h, w, C]`, of the first image.
      windows: `[B, h, w, K]` of `correlation_lookup`.
      flow: `[B, h, w, 2]`, (x, y) in coarse pixels.
    """
    size = self.size
    for i, width in enumerate(size['correlation']):
      name = f'correlation{i + 1}'
      windows = nn.relu(_conv(width, 3 if i else 1, name)(windows))
    seen = flow
    for i, width in enumerate(size['flow']):
      seen = nn.relu(_conv(width, 3 if i else 7, f'flow{i + 1}')(seen))
    motion = jnp.concatenate([windows, seen], axis=-1)
    motion = nn.relu(_conv(size['motion'] - 2, 3, 'motion')(motion))
    x = jnp.concatenate([context, motion, flow], axis=-1)
    for i, kernel in enumerate(size['kernels']):
      hidden = ConvGRU(kernel, name=f'gru{i + 1}')(hidden, x)
    delta = nn.relu(_conv(size['head'], 3, 'head1')(hidden))
    return hidden, _conv(2, 3, 'head2')(delta)


class UpsamplingMask(nn.Module):
  """Logits of `upsample_convex` from the hidden state; of the large size."""

  @nn.compact
  def __call__(self, hidden: jax.Array) -> jax.Array:
    """Maps `[B, h, w, D]` to `[B, h, w, 9 * 8 * 8]`."""
    x = nn.relu(_conv(256, 3, 'conv1')(hidden))
    # The factor balanced the gradients of training.
    return 0.25 * _conv(9 * STRIDE**2, 1, 'conv2')(x)


class RAFT(nn.Module):
  """Optical flow by recurrent look-ups in all pairs' correlations.

  Attributes:
    size: 'small' (990,162 parameters) or 'large' (5,257,536).
  """

  size: str = 'small'

  def setup(self):
    if self.size not in RAFT_SIZES:
      raise ValueError(f'size {self.size!r} is none of {list(RAFT_SIZES)}')
    size = RAFT_SIZES[self.size]
    encoder = functools.partial(
      Encoder, size['widths'], bottleneck=self.size == 'small'
    )
    self.fnet = encoder(size['features'], norm='instance')
    self.cnet = encoder(size['hidden'] + size['context'], norm=size['norm'])
    self.update = FlowUpdate(size)
    if self.size == 'large':
      self.mask = UpsamplingMask()

  def __call__(
    self,
    image1: jax.Array,
    image2: jax.Array,
    iterations: int = ITERATIONS,
  ) -> jax.Array:
    """Flow from `image1` to `image2`.

    Args:
      image1, image2: `[B, H, W, 3]` in [0, 255], RGB; H and W multiples of 8
        and at least 128 (`padding` says what is lacking).
      iterations: how often the flow is updated; 12 in the public code's
        training and demonstration, more in its evaluation.

    Returns:
      `[B, H, W, 2]` float32, (x, y) in pixels: what `image1` shows at p is at
      p + flow in `image2`.

    Raises:
      ValueError: the shapes differ, or H or W is not as said.
    """
    if image1.shape != image2.shape:
      raise ValueError(f'shapes differ: {image1.shape} and {image2.shape}')
    both = _normalise(jnp.concatenate([image1, image2]))
    features1, features2 = jnp.split(self.fnet(both), 2)
    image1 = both[: image1.shape[0]]
    return self._flow(image1, features1, features2, iterations)

  def consecutive(
    self, frames: jax.Array, iterations: int = ITERATIONS
  ) -> jax.Array:
    """Flow from each frame to the next; features are computed once a frame.

    Args:
      frames: `[T, H, W, 3]`, as the images of `__call__`.
      iterations: of `__call__`.

    Returns:
      `[T - 1, H, W, 2]`.

    Raises:
      ValueError: fewer than two frames, or H or W is not as said.
    """
    if frames.shape[0] < 2:
      raise ValueError(f'{frames.shape[0]} frames have no flow')
    frames = _normalise(frames)
    features = self.fnet(frames)
    return self._flow(frames[:-1], features[:-1], features[1:], iterations)

  def _flow(self, image, features1, features2, iterations):
    size = RAFT_SIZES[self.size]
    pyramid = correlation.correlation_pyramid(features1, features2, LEVELS)
    context = self.cnet(image)
    hidden, context = jnp.split(context, [size['hidden']], axis=-1)
    hidden, context = jnp.tanh(hidden), nn.relu(context)
    batch, height, width, _ = hidden.shape
    x, y = jnp.meshgrid(jnp.arange(width), jnp.arange(height))
    start = jnp.stack([x, y], axis=-1).astype(jnp.float32)

    def step(update, carry, _):
      hidden, flow = carry
      windows = correlation.correlation_lookup(
        pyramid, start + flow, size['radius']
      )
      hidden, delta = update(hidden, context, windows, flow)
      return (hidden, flow + delta), None

    loop = nn.scan(
      step,
      variable_broadcast='params',
      split_rngs={'params': False},
      length=iterations,
    )
    flow = jnp.zeros((batch, height, width, 2))
    (hidden, flow), _ = loop(self.update, (hidden, flow), None)
    if self.size == 'large':
      return correlation.upsample_convex(flow, self.mask(hidden))
    fine = (STRIDE * height, STRIDE * width)
    return STRIDE * resize.resize_bilinear(flow, fine, align_corners=True)


def _normalise(image: jax.Array) -> jax.Array:
  """[0, 255] to [-1, 1].

  Raises:
    ValueError: the size is not one that RAFT can see.
  """
  height, width = image.shape[1:3]
  if image.ndim != 4 or image.shape[-1] != 3:
    raise ValueError(f'images are {image.shape}, not [B, H, W, 3]')
  if height % STRIDE or width % STRIDE or min(height, width) < SMALLEST:
    raise ValueError(
      f'{height}x{width} is no multiple of {STRIDE} of at least {SMALLEST}'
    )
  return 2 * (image.astype(jnp.float32) / 255) - 1
