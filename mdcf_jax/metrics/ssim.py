"""Structural similarity (Wang et al. 2004) of pictures in [-1, 1]."""

import numpy as np

WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * 2.0) ** 2  # The peak is 2: pixels go from -1 to 1.
C2 = (0.03 * 2.0) ** 2


def gaussian_blur(x: np.ndarray) -> np.ndarray:
  """Blurs `[..., H, W]` where the whole window fits: `[..., H-10, W-10]`."""
  taps = np.exp(-0.5 * np.square((np.arange(WINDOW) - WINDOW // 2) / SIGMA))
  taps = taps / taps.sum()
  height, width = (size - WINDOW + 1 for size in x.shape[-2:])
  # Shifted sums: they stay on one core, unlike products with a band matrix,
  # whose threads wait for each other on a busy machine.
  x = sum(tap * x[..., i : i + height, :] for i, tap in enumerate(taps))
  return sum(tap * x[..., i : i + width] for i, tap in enumerate(taps))


def ssim(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
  """Structural similarity of every image, averaged over pixels and channels.

  Gaussian window of 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, moments
  without Bessel's correction, on colours rather than luminance, and only where
  the whole window lies in the picture.

  Args:
    pred, target: `[..., H, W, C]` in [-1, 1]; H and W at least 11.

  Returns:
    `[...]` float64, at most 1.

  Raises:
    ValueError: the shapes differ, or the images are smaller than the window.
  """
  pred, target = np.asarray(pred), np.asarray(target)
  if pred.shape != target.shape:
    raise ValueError(f'pred is {pred.shape} and target is {target.shape}')
  height, width = pred.shape[-3:-1]
  if min(height, width) < WINDOW:
    raise ValueError(f'{height}x{width} is smaller than the {WINDOW} window')

  def one(a: np.ndarray, b: np.ndarray) -> float:
    # Planes in memory, so that a shift along W reads in order.
    a, b = (
      np.ascontiguousarray(np.moveaxis(x, -1, 0), np.float64) for x in (a, b)
    )
    mean_a, mean_b, square_a, square_b, product = (
      gaussian_blur(x) for x in (a, b, a * a, b * b, a * b)
    )
    var_a = square_a - mean_a**2
    var_b = square_b - mean_b**2
    covariance = product - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + C1) * (2 * covariance + C2)
    similarity /= (mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2)
    return float(similarity.mean())

  # One image at a time: the five maps of a whole clip would not fit.
  lead = pred.shape[:-3]
  pairs = zip(
    pred.reshape(-1, *pred.shape[-3:]), target.reshape(-1, *pred.shape[-3:])
  )
  return np.array([one(a, b) for a, b in pairs]).reshape(lead)
