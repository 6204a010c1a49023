"""The generator of the FDE: frames from a source and dynamics (dawn.md 1)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mdcf_jax.models.hourglass import Conv, ConvBlock, PreActivationBlock
from mdcf_jax.models.recompute import recompute
from mdcf_jax.ops import resize
from mdcf_jax.ops.warp import warp


class Generator(nn.Module):
  """Encodes the source once, and decodes it under any dynamics.

  Attributes:
    num_down_blocks: E(x_src) has 1 / 2^num_down_blocks of the size.
    num_bottleneck_blocks: residual blocks at that size.
    edge_kernel: kernel of the first and the last convolution.
    align_corners, padding: conventions of warp and resize, see ops/warp.py.
    dtype: computation dtype; frames, grids and occlusions are float32.
    remat: recompute blocks, with the warp before them, in the backward pass.
  """

  block_expansion: int = 64
  max_features: int = 512
  num_down_blocks: int = 2
  num_bottleneck_blocks: int = 6
  edge_kernel: int = 7
  align_corners: bool = True
  padding: str = 'border'
  dtype: Any = jnp.float32
  remat: bool = False

  def setup(self):
    widths = [
      min(self.max_features, self.block_expansion * 2**i)
      for i in range(self.num_down_blocks + 1)
    ]
    self.first = ConvBlock(widths[0], self.edge_kernel, dtype=self.dtype)
    self.down = [ConvBlock(c, 3, 'down', self.dtype) for c in widths[1:]]
    self.bottleneck = [
      PreActivationBlock(widths[-1], self.dtype)
      for _ in range(self.num_bottleneck_blocks)
    ]
    self.up = [ConvBlock(c, 3, 'up', self.dtype) for c in widths[-2::-1]]
    self.final = Conv(3, self.edge_kernel, dtype=self.dtype)

  def encode(self, source: jax.Array, *, train: bool) -> tuple:
    """Source `[B, H, W, 3]` and its features from full size down to E."""
    features = [source]
    for block in (self.first, *self.down):
      features.append(recompute(self.remat, block)(features[-1], train=train))
    return tuple(features)

  def decode(self, features, grid, occlusion, *, train: bool) -> jax.Array:
    """Warps the features by grid, fills in what occlusion hides.

    Features of one source may be shared by a batch of grids.

    Returns:
      `[B, H, W, 3]` in [0, 1].
    """
    source, *skips = features

    def stage(method, *arrays, **static):
      stage = recompute(self.remat, self, method)
      return stage(*arrays, grid, occlusion, **static)

    h = stage(Generator._warp, skips[-1])
    for block in self.bottleneck:
      h = recompute(self.remat, block)(h, train=train)
    for i, skip in enumerate(skips[:0:-1]):
      h = stage(Generator._enlarge, skip, h, level=i, train=train)
    return stage(Generator._finish, source, skips[0], h)

  def _enlarge(self, skip, h, grid, occlusion, *, level, train):
    h = self._blend(skip, h, grid, occlusion)
    return self.up[level](h, train=train)

  def _finish(self, source, skip, h, grid, occlusion):
    h = self._blend(skip, h, grid, occlusion)
    h = jax.nn.sigmoid(self.final(h).astype(jnp.float32))
    return self._blend(source, h, grid, occlusion)

  def _warp(self, x, grid, occlusion):
    resized = self._resize(grid, x), self._resize(occlusion, x)
    x = warp(
      x, resized[0], align_corners=self.align_corners, padding=self.padding
    )
    return x * resized[1].astype(x.dtype)

  def _blend(self, skip, h, grid, occlusion):
    """The warped source where it is visible, the decoder's own elsewhere."""
    keep = 1 - self._resize(occlusion, h)
    return self._warp(skip, grid, occlusion) + h * keep.astype(h.dtype)

  def _resize(self, x, like):
    return resize.resize_bilinear(
      x, like.shape[1:3], align_corners=self.align_corners
    )
