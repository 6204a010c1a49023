"""Signals for the tests of sound."""

import numpy as np


def noise(samples: int, seed: int = 0) -> np.ndarray:
  """Low-passed noise: its correlation has one sharp peak."""
  white = np.random.default_rng(seed).normal(size=samples)
  smooth = np.convolve(white, np.hanning(17), 'same')
  return (0.7 * smooth / np.abs(smooth).max()).astype(np.float32)


def lag(a: np.ndarray, b: np.ndarray) -> int:
  """How many samples `a` comes later than `b`."""
  n = 2 * max(len(a), len(b))
  product = np.fft.rfft(a, n) * np.conj(np.fft.rfft(b, n))
  peak = int(np.argmax(np.fft.irfft(product, n)))
  return peak if peak < n // 2 else peak - n
