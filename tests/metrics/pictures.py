"""Frames that can be spoiled, for scores that must notice it."""

import numpy as np

LEVELS = (1, 2, 4)


def frames(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
  """uint8 `[count, size, size, 3]`: coloured spots that move."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:size, :size] / size
  time = np.arange(count)[:, None, None] / count
  total = np.zeros((count, size, size, 3))
  for _ in range(8):
    centre, speed = rng.uniform(0, 1, 2), rng.uniform(-0.5, 0.5, 2)
    squared = (x - centre[0] - speed[0] * time) ** 2
    squared += (y - centre[1] - speed[1] * time) ** 2
    spot = squared < rng.uniform(0.05, 0.2) ** 2
    total += spot[..., None] * rng.uniform(-100, 100, 3)
  return np.clip(128 + total, 0, 255).astype(np.uint8)


def blur(pictures: np.ndarray, level: int) -> np.ndarray:
  """Means over neighbours, `level` times."""
  x = pictures.astype(np.float64)
  for _ in range(level):
    for axis in (1, 2):
      x = (np.roll(x, 1, axis) + x + np.roll(x, -1, axis)) / 3
  return np.round(x).astype(np.uint8)


def noise(pictures: np.ndarray, level: int) -> np.ndarray:
  """Adds normal noise of eight levels of grey times `level`."""
  rng = np.random.default_rng(1)
  x = pictures + 8 * level * rng.normal(size=pictures.shape)
  return np.clip(np.round(x), 0, 255).astype(np.uint8)
