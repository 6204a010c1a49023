"""Rotation, one scale and a shift that bring points upon others."""

import numpy as np

from mdcf_jax.errors import NoScore


def similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
  """The least-squares similarity of the plane, without reflection.

  In the plane it is what Umeyama's method (1991, equations 40-42) finds with
  its singular values: with points and targets as complex numbers around their
  means, the rotation and scale are the one number a that minimises
  |a p - q|^2, which is sum(conj(p) q) / sum(|p|^2).

  Args:
    points, targets: `[..., K, 2]`, finite; K at least 2.

  Returns:
    `[..., 2, 3]` float64, (x, y, 1) of `points` to (x, y) of `targets`.

  Raises:
    NoScore: all points of a set lie in one place.
  """
  points, targets = np.asarray(points, float), np.asarray(targets, float)
  middle, aim = points.mean(axis=-2), targets.mean(axis=-2)
  p = (points - middle[..., None, :]) @ (1, 1j)
  q = (targets - aim[..., None, :]) @ (1, 1j)
  spread = np.sum(np.abs(p) ** 2, axis=-1)
  if not np.all(spread > 0):
    raise NoScore('landmarks that all lie in one place cannot be aligned')
  turn = np.sum(p.conj() * q, axis=-1) / spread
  a, b = turn.real, turn.imag
  linear = np.stack([np.stack([a, -b], -1), np.stack([b, a], -1)], axis=-2)
  shift = aim - (linear @ middle[..., None])[..., 0]
  return np.concatenate([linear, shift[..., None]], axis=-1)


def transform(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  """Applies `matrix [..., 2, 3]` to `points [..., K, 2]`."""
  linear = np.swapaxes(matrix[..., :2], -1, -2)
  return points @ linear + matrix[..., None, :, 2]


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
  """Cuts a square out of `image`, as `matrix` places it.

  The rule is that of cv2.warpAffine with INTER_LINEAR and a border of zeros,
  without its rounding of coordinates: pixel (i, j) of the result, integers at
  the centres of pixels, is the bilinear mean around the point which `matrix`
  brings to (i, j); what lies outside the image counts as 0. Nothing is blurred
  before, so a large face is sampled, not averaged, as the public pipelines do.

  Args:
    image: `[H, W, C]` uint8.
    matrix: `[2, 3]`, pixels of `image` to pixels of the result.
    size: side of the result.

  Returns:
    `[size, size, C]` uint8, rounded.
  """
  inverse = np.linalg.inv(matrix[:, :2])
  targets = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1)
  x, y = np.moveaxis((targets - matrix[:, 2]) @ inverse.T, -1, 0)
  height, width = image.shape[:2]
  left, top = np.floor(x).astype(int), np.floor(y).astype(int)
  result = np.zeros((size, size, image.shape[2]))
  for down in (0, 1):
    for right in (0, 1):
      column, row = left + right, top + down
      weight = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
      inside = (0 <= column) & (column < width) & (0 <= row) & (row < height)
      taken = image[row.clip(0, height - 1), column.clip(0, width - 1)]
      result += (weight * inside)[..., None] * taken
  return np.rint(result).astype(np.uint8)
