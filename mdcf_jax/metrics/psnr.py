"""Peak signal-to-noise ratio of pictures in [-1, 1]."""

import numpy as np

PEAK = 2.0  # From -1 to 1.


def psnr(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
  """Peak signal-to-noise ratio of every image, in decibels.

  Args:
    pred, target: `[..., H, W, C]` in [-1, 1].

  Returns:
    `[...]` float64; infinite where the two images are equal.

  Raises:
    ValueError: the shapes differ.
  """
  pred, target = np.asarray(pred), np.asarray(target)
  if pred.shape != target.shape:
    raise ValueError(f'pred is {pred.shape} and target is {target.shape}')
  error = pred.astype(np.float64) - target.astype(np.float64)
  mse = np.mean(np.square(error), axis=(-3, -2, -1))
  with np.errstate(divide='ignore'):
    return 10 * np.log10(PEAK**2 / mse)
