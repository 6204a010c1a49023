"""S3FD (Zhang et al. 2017): a VGG16 that finds faces at six scales.

As in github.com/joonson/syncnet_python, detectors/s3fd/nets.py, which the
public evaluation of lip sync finds faces with. Boxes are made of its outputs in
`metrics.face_detection`. Products are of full precision on every device.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

# Widths of the convolutions of each block; a pooling lies between blocks.
BLOCKS = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
# Block -> length that its features are scaled to at the start.
SCALED = {2: 10.0, 3: 8.0, 4: 5.0}
EXTRAS = ((256, 1), (512, 3), (128, 1), (256, 3))  # Width, kernel.
# Pixels between neighbours, and side of the box that each of them stands for.
STEPS = (4, 8, 16, 32, 64, 128)
SIZES = (16, 32, 64, 128, 256, 512)

Conv = functools.partial(nn.Conv, precision=jax.lax.Precision.HIGHEST)


class S3FD(nn.Module):
  """Scores and offsets of a face at every place of six grids."""

  @nn.compact
  def __call__(self, image: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """Looks for faces.

    Args:
      image: `[B, H, W, 3]`, RGB from 0 to 255 less (123, 117, 104); H and W
        at least 28, so that something is left after four poolings.

    Returns:
      Of each grid, about (H, W) / STEPS: scores `[B, h, w, 2]` before the
      softmax, the second that of a face; offsets `[B, h, w, 4]` of (x, y) of
      the middle and of the logarithms of width and height.
    """
    x, features = image, []
    for block, widths in enumerate(BLOCKS):
      for i, width in enumerate(widths):
        x = nn.relu(Conv(width, (3, 3), name=f'conv{block + 1}_{i + 1}')(x))
      if block in SCALED:
        features.append(
          ScaledLength(SCALED[block], name=f'scale{block + 1}')(x)
        )
      x = _pool(x, partial_cells=block == 2)
    x = Conv(1024, (3, 3), kernel_dilation=6, name='fc6')(x)
    x = nn.relu(x)
    x = nn.relu(Conv(1024, (1, 1), name='fc7')(x))
    features.append(x)
    for i, (width, kernel) in enumerate(EXTRAS):
      strides, padding = (2, 1) if kernel == 3 else (1, 0)
      conv = Conv(
        width,
        (kernel, kernel),
        strides,
        padding=padding,
        name=f'extra_{i}',
      )
      x = nn.relu(conv(x))
      if kernel == 3:
        features.append(x)
    return [self._head(x, i) for i, x in enumerate(features)]

  @nn.compact
  def _head(self, x, index):
    """The grid's outputs; the finest has three scores of the background."""
    scores = Conv(2 if index else 4, (3, 3), name=f'score_{index}')(x)
    if not index:
      nothing = jnp.max(scores[..., :3], axis=-1, keepdims=True)
      scores = jnp.concatenate([nothing, scores[..., 3:]], axis=-1)
    return scores, Conv(4, (3, 3), name=f'offset_{index}')(x)


class ScaledLength(nn.Module):
  """Features of one length at every pixel, times a gain for each channel."""

  initial: float

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, H, W, C]` to the same shape."""
    start = nn.initializers.constant(self.initial)
    scale = self.param('scale', start, (x.shape[-1],))
    length = jnp.sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True))
    return scale * (x / (length + 1e-10))


def _pool(x: jax.Array, partial_cells: bool) -> jax.Array:
  """Largest of 2 x 2; of what is left at the edge too, if `partial_cells`."""
  padding = [(0, size % 2) for size in x.shape[1:3]]
  return nn.max_pool(x, (2, 2), (2, 2), padding if partial_cells else 'VALID')
