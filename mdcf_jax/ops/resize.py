"""Changing the size of images: all of it as products with small matrices.

A separable resize is one matrix per axis. Dense products are what accelerators
are good at, they need no gather, and their gradient is the transposed product.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


@functools.cache
def _bilinear_matrix(size: int, new: int, align_corners: bool) -> np.ndarray:
  """`[new, size]` weights of linear interpolation along one axis."""
  if align_corners:
    x = np.linspace(0.0, size - 1.0, new)
  else:
    x = np.clip((np.arange(new) + 0.5) * size / new - 0.5, 0, size - 1)
  low = np.minimum(np.floor(x).astype(int), size - 1)
  high = np.minimum(low + 1, size - 1)
  matrix = np.zeros((new, size))
  np.add.at(matrix, (np.arange(new), low), 1.0 - (x - low))
  np.add.at(matrix, (np.arange(new), high), x - low)
  return matrix.astype(np.float32)


@functools.cache
def _antialias_matrix(size: int, factor: int) -> np.ndarray:
  """`[ceil(size / factor), size]`: a Gaussian at every `factor`-th pixel."""
  sigma = (factor - 1) / 2
  radius = round(4 * sigma)
  kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
  kernel /= kernel.sum()
  padded = np.zeros((len(range(0, size, factor)), size + 2 * radius))
  for row, start in enumerate(range(0, size, factor)):
    padded[row, start : start + 2 * radius + 1] = kernel
  # The image is zero outside, as in the reference.
  return padded[:, radius : radius + size].astype(np.float32)


def _apply(x: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
  # What is resized may be a grid: accelerators would round it by default.
  einsum = functools.partial(jnp.einsum, precision='highest')
  x = einsum('oh,...hwc->...owc', jnp.asarray(rows, x.dtype), x)
  return einsum('pw,...owc->...opc', jnp.asarray(columns, x.dtype), x)


def resize_bilinear(
  x: jax.Array, size: tuple[int, int], *, align_corners: bool = True
) -> jax.Array:
  """Resizes `[..., H, W, C]` to `[..., *size, C]` without antialiasing.

  With `align_corners=True` a grid in the corner convention (see
  `warp.identity_grid`) stays a grid in the corner convention.
  """
  height, width = x.shape[-3:-1]
  if (height, width) == tuple(size):
    return x
  return _apply(
    x,
    _bilinear_matrix(height, size[0], align_corners),
    _bilinear_matrix(width, size[1], align_corners),
  )


def antialias_downsample(x: jax.Array, factor: int) -> jax.Array:
  """Blurs `[..., H, W, C]` and keeps every `factor`-th pixel.

  Gaussian of sigma `(factor - 1) / 2`, cut at four sigma, zero outside the
  image (MRAA's anti-aliased interpolation).
  """
  if factor == 1:
    return x
  height, width = x.shape[-3:-1]
  return _apply(
    x, _antialias_matrix(height, factor), _antialias_matrix(width, factor)
  )


def average_pool(x: jax.Array, factor: int = 2) -> jax.Array:
  """Means over `factor` x `factor` blocks of `[..., H, W, C]`."""
  *lead, height, width, channels = x.shape
  height, width = height // factor, width // factor
  x = x[..., : height * factor, : width * factor, :]
  x = x.reshape(*lead, height, factor, width, factor, channels)
  return jnp.mean(x, axis=(-4, -2))
