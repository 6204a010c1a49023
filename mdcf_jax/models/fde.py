"""FDE, the flow-aware dynamics extractor: regions, flow, warp and decode.

Phase one of MDCF (Microscope, section 3.1): from two frames a flow field f and
an occlusion map m at 1/4 of the size; from the first frame, f and m the second
frame. The networks are those of MRAA and DAWN's LFG (dawn.md section 1); inside
this file images are in [0, 1] as there, outside in [-1, 1].
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from mdcf_jax.models.generator import Generator
from mdcf_jax.models.hourglass import Conv, Encoder, Hourglass
from mdcf_jax.ops import pose, resize
from mdcf_jax.ops.warp import identity_grid, warp

# Log of the background's share beside 1 in the middle of a region.
_BACKGROUND_PRIOR = -2.0


class RegionPredictor(nn.Module):
  """Finds K regions of an image and their principal axes.

  Attributes:
    num_regions: K.
    scale: works on the image blurred and reduced by this factor.
    temperature: of the softmax over pixels.
    dtype: computation dtype up to the logits, which are float32.
    remat: recompute blocks in the backward pass to save memory.
  """

  num_regions: int = 10
  block_expansion: int = 32
  num_blocks: int = 5
  max_features: int = 1024
  scale: int = 4
  temperature: float = 0.1
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, image: jax.Array, *, train: bool) -> dict[str, jax.Array]:
    """Maps image `[B, H, W, 3]` in [0, 1] to regions.

    Returns:
      shift `[B, K, 2]`, covar and affine `[B, K, 2, 2]`, heatmap
      `[B, H/scale, W/scale, K]`, all float32.
    """
    x = resize.antialias_downsample(image, self.scale)
    x = Hourglass(
      self.block_expansion,
      self.num_blocks,
      self.max_features,
      self.dtype,
      self.remat,
      name='predictor',
    )(x, train=train)
    logits = Conv(self.num_regions, 7, name='regions')(x)
    logits = logits / self.temperature
    heatmap = jax.nn.softmax(logits, axis=(1, 2))
    shift, covar = pose.moments(heatmap)
    affine = pose.principal_axes(covar)
    return dict(shift=shift, covar=covar, affine=affine, heatmap=heatmap)


class BackgroundPredictor(nn.Module):
  """Affine motion of what is behind the head, driving to source."""

  block_expansion: int = 32
  num_blocks: int = 5
  max_features: int = 1024
  scale: int = 1
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, source, driving, *, train: bool) -> jax.Array:
    """Maps two `[B, H, W, 3]` to homogeneous matrices `[B, 3, 3]`."""
    x = jnp.concatenate([source, driving], axis=-1)
    x = resize.antialias_downsample(x, self.scale)
    x = Encoder(
      self.block_expansion,
      self.num_blocks,
      self.max_features,
      self.dtype,
      self.remat,
      name='encoder',
    )(x, train=train)[-1]
    x = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
    # Starts as the identity: nothing moves.
    bias = lambda *_: jnp.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    zeros = nn.initializers.zeros
    x = nn.Dense(6, kernel_init=zeros, bias_init=bias, name='fc')(x)
    last = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), (x.shape[0], 1, 3))
    return jnp.concatenate([x.reshape(-1, 2, 3), last], axis=1)


class FlowPredictor(nn.Module):
  """Pixelwise flow and occlusion: which region does each pixel follow?

  The flow is a convex mixture of K affine motions and the background's, so it
  is smooth by construction.

  Attributes:
    occlusion_bias: initial logit of the occlusion; above 0 the warped source
      shows through from the first step on.
    mask_prior: strength with which a pixel prefers the regions that it lies in;
      at 0, as in the reference, the network has to find that out.
    dtype, remat: as in `RegionPredictor`.
  """

  block_expansion: int = 64
  num_blocks: int = 5
  max_features: int = 1024
  scale: int = 4
  occlusion_bias: float = 0.0
  mask_prior: float = 0.0
  align_corners: bool = True
  padding: str = 'border'
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, source, source_regions, driving_regions, background, *, train: bool
  ) -> tuple[jax.Array, jax.Array]:
    """Returns grid `[B, h, w, 2]` and occlusion `[B, h, w, 1]` in [0, 1].

    `source` is `[B, H, W, 3]` in [0, 1]; h = H / scale; background `[B, 3, 3]`.
    """
    source = resize.antialias_downsample(source, self.scale)
    batch, height, width, _ = source.shape
    motions = pose.region_motions(
      source_regions, driving_regions, background, height, width
    )
    x = self._inputs(source, source_regions, driving_regions, motions)
    x = Hourglass(
      self.block_expansion,
      self.num_blocks,
      self.max_features,
      self.dtype,
      self.remat,
      name='hourglass',
    )(x, train=train)
    mask = self._mask_logits(x, driving_regions)
    mask = jax.nn.softmax(mask, axis=-1)
    grid = pose.einsum('bhwk,bkhwi->bhwi', mask, motions)
    bias = nn.initializers.constant(self.occlusion_bias)
    occlusion = Conv(1, 7, bias_init=bias, name='occlusion')(x)
    return grid, jax.nn.sigmoid(occlusion)

  def _mask_logits(self, x, driving_regions):
    """Which motion a pixel follows, `[B, h, w, 1 + K]`, background first."""
    count = 1 + driving_regions['shift'].shape[1]
    if not self.mask_prior:
      return Conv(count, 7, name='mask')(x)
    # Starts as the prior alone.
    zeros = nn.initializers.zeros
    logits = Conv(count, 7, kernel_init=zeros, name='mask')(x)
    height, width = x.shape[1:3]
    inside = pose.log_gaussian(
      driving_regions['shift'], driving_regions['covar'], height, width
    )
    prior = jnp.pad(
      self.mask_prior * inside,
      ((0, 0), (0, 0), (0, 0), (1, 0)),
      constant_values=_BACKGROUND_PRIOR,
    )
    return logits + prior

  def _inputs(self, source, source_regions, driving_regions, motions):
    """Per region: difference of heat maps, and the source moved by it."""
    batch, height, width, channels = source.shape
    heat = [
      pose.gaussian(r['shift'], r['covar'], height, width)
      for r in (driving_regions, source_regions)
    ]
    heat = jnp.pad(heat[0] - heat[1], ((0, 0), (0, 0), (0, 0), (1, 0)))
    count = motions.shape[1]
    moved = warp(
      source,
      # One gather per image: the grids of all regions stacked along H.
      motions.reshape(batch, count * height, width, 2),
      align_corners=self.align_corners,
      padding=self.padding,
    ).reshape(batch, count, height, width, channels)
    moved = jnp.moveaxis(moved, 1, 3)  # [B, h, w, 1 + K, 3]
    x = jnp.concatenate([heat[..., None], moved], axis=-1)
    return x.reshape(batch, height, width, count * (channels + 1))


class FDE(nn.Module):
  """Flow-aware dynamics extractor.

  Attributes:
    num_regions: K regions.
    scale: dynamics are at H / scale; 4 in the paper, 8 in its ablation.
    region, background, flow, generator: attributes of the four networks.
    align_corners, padding: see ops/warp.py.
    dtype: computation dtype; parameters, statistics, regions, dynamics and
      frames stay float32.
    remat: recompute blocks in the backward pass to save memory.
  """

  num_regions: int = 10
  scale: int = 4
  region: Mapping[str, Any] = FrozenDict()
  background: Mapping[str, Any] = FrozenDict()
  flow: Mapping[str, Any] = FrozenDict()
  generator: Mapping[str, Any] = FrozenDict()
  align_corners: bool = True
  padding: str = 'border'
  dtype: Any = jnp.float32
  remat: bool = False

  def __post_init__(self):
    # Hashable, so that a phase can be a static argument of `jit`.
    for name in ('region', 'background', 'flow', 'generator'):
      object.__setattr__(self, name, FrozenDict(getattr(self, name)))
    super().__post_init__()

  def setup(self):
    convention = dict(align_corners=self.align_corners, padding=self.padding)
    compute = dict(dtype=self.dtype, remat=self.remat)
    self.region_predictor = RegionPredictor(
      num_regions=self.num_regions,
      scale=self.scale,
      **compute,
      **self.region,
    )
    self.background_predictor = BackgroundPredictor(
      **compute, **self.background
    )
    self.flow_predictor = FlowPredictor(
      scale=self.scale, **compute, **convention, **self.flow
    )
    self.image_generator = Generator(
      num_down_blocks=self.scale.bit_length() - 1,
      **compute,
      **convention,
      **self.generator,
    )

  def regions(self, image: jax.Array, *, train: bool = False) -> dict:
    """Regions of `[B, H, W, 3]` in [-1, 1]; see `RegionPredictor`."""
    return self.region_predictor(_to_unit(image), train=train)

  def estimate(self, source, driving, *, train: bool = False) -> jax.Array:
    """Dynamics [f; m] `[B, H/scale, W/scale, 3]` of two images in [-1, 1].

    f is a displacement (x, y) of the sampling point, in units of half an image;
    m is in [0, 1], 1 where the warped source is visible.
    """
    return self.motion(source, driving, train=train)['dynamics']

  def encode(self, source: jax.Array, *, train: bool = False) -> tuple:
    """Features of the source `[B, H, W, 3]`, from large to small.

    The last is E(x_src) `[B, H/scale, W/scale, C]`. Computed once per clip.
    """
    return self.image_generator.encode(_to_unit(source), train=train)

  def decode(self, features, dynamics, *, train: bool = False) -> jax.Array:
    """Frames `[B, H, W, 3]` in [-1, 1] from dynamics `[B, h, w, 3]`.

    Args:
      features: of `encode`, for B sources or for one shared by all frames.
      dynamics: as `estimate` returns them.
    """
    flow, occlusion = dynamics[..., :2], dynamics[..., 2:]
    grid = flow + identity_grid(*flow.shape[1:3])
    decoded = self.image_generator.decode(
      features, grid, occlusion, train=train
    )
    return 2 * decoded - 1

  def __call__(self, source, driving, *, train: bool = False) -> dict:
    """Source and driving `[B, H, W, 3]` in [-1, 1].

    Returns:
      prediction `[B, H, W, 3]` in [-1, 1], dynamics `[B, h, w, 3]`, and the
      regions of both images.
    """
    outputs = self.motion(source, driving, train=train)
    features = self.encode(source, train=train)
    prediction = self.decode(features, outputs['dynamics'], train=train)
    return dict(prediction=prediction, **outputs)

  def motion(self, source, driving, *, train: bool = False) -> dict:
    """Dynamics, and the regions of both images, without decoding."""
    # Not one batch of both: batch statistics are the reference's, per image.
    regions = [self.regions(x, train=train) for x in (source, driving)]
    background = self.background_motion(source, driving, train=train)
    return self.dynamics(source, *regions, background, train=train)

  def background_motion(
    self, source, driving, *, train: bool = False
  ) -> jax.Array:
    """Motion `[B, 3, 3]` behind the head; see `BackgroundPredictor`."""
    return self.background_predictor(
      _to_unit(source), _to_unit(driving), train=train
    )

  def dynamics(
    self, source, source_regions, driving_regions, background, *, train=False
  ) -> dict:
    """Dynamics of given regions and background; see `motion`."""
    grid, occlusion = self.flow_predictor(
      _to_unit(source),
      source_regions,
      driving_regions,
      background,
      train=train,
    )
    flow = grid - identity_grid(*grid.shape[1:3])
    return dict(
      dynamics=jnp.concatenate([flow, occlusion], axis=-1),
      source_regions=source_regions,
      driving_regions=driving_regions,
    )


def _to_unit(image: jax.Array) -> jax.Array:
  return (image + 1) / 2
