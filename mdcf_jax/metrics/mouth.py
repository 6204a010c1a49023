"""Does the mouth follow the sound? Correlation of mouth opening over time.

Not SyncNet: no network, only the gap between the lips over the height of the
face (`media.faces.openness`). The opening of a generated mouth is compared with
that of the true clip of the same sound; the rivals are the same number for the
wrong sound, and for the sound's energy alone. All are smoothed alike and all
may choose their best lag, which favours every series by the same amount.
"""

import numpy as np

SAMPLES_PER_FRAME = 640  # 16 kHz at 25 fps.
MAX_LAG = 5  # Frames, both ways: 200 ms.
SMOOTHING = 3  # Frames of the moving average.


def log_energy(waveform: np.ndarray, num_frames: int) -> np.ndarray:
  """Log energy of the sound of every frame: the trivial rival of a mouth.

  Args:
    waveform: `[samples]` at 16 kHz; cut or padded with silence to the frames.
    num_frames: T, at 25 frames a second.

  Returns:
    `[T]`; silence is log(1e-6), not minus infinity.
  """
  padded = np.zeros(num_frames * SAMPLES_PER_FRAME)
  used = np.asarray(waveform, np.float64)[: len(padded)]
  padded[: len(used)] = used
  power = np.square(padded).reshape(num_frames, SAMPLES_PER_FRAME).mean(axis=1)
  return np.log(power + 1e-6)


def smooth(series: np.ndarray, width: int = SMOOTHING) -> np.ndarray:
  """Moving average over `width` frames; at the ends over those that exist.

  A frame that is NaN stays so, and is left out of its neighbours' averages.
  """
  seen = np.isfinite(series)
  taps = np.ones(width)
  count = np.convolve(seen.astype(np.float64), taps, mode='same')
  total = np.convolve(np.where(seen, series, 0.0), taps, mode='same')
  return np.where(seen, total / np.maximum(count, 1), np.nan)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
  """Pearson's correlation; 0 when one of them does not vary."""
  a, b = a - a.mean(), b - b.mean()
  scale = np.sqrt(np.sum(a * a) * np.sum(b * b))
  return float(np.sum(a * b) / scale) if scale > 1e-12 else 0.0


def best_lag_correlation(
  series: np.ndarray, truth: np.ndarray, max_lag: int = MAX_LAG
) -> tuple[float, int]:
  """Highest correlation over lags, after smoothing both series.

  Args:
    series, truth: `[T]`; the longer one is cut. Frames that are NaN are left
      out, in pairs.
    max_lag: lags from -max_lag to max_lag frames are tried, each on the frames
      where the two overlap; one with fewer than `max_lag + 3` pairs of frames
      is passed over.

  Returns:
    The correlation and its lag; a positive lag means that `series` is late.

  Raises:
    ValueError: fewer than `2 * max_lag + 3` frames that both have.
  """
  length = min(len(series), len(truth))
  a, b = np.asarray(series)[:length], np.asarray(truth)[:length]
  common = int((np.isfinite(a) & np.isfinite(b)).sum())
  if common < 2 * max_lag + 3:
    raise ValueError(f'{common} frames are too few for lags up to {max_lag}')
  a, b = smooth(a), smooth(b)
  scores = {}
  for lag in range(-max_lag, max_lag + 1):
    late = a[max(lag, 0) : length + min(lag, 0)]
    early = b[max(-lag, 0) : length - max(lag, 0)]
    both = np.isfinite(late) & np.isfinite(early)
    if both.sum() >= max_lag + 3:  # As many as the fewest frames have.
      scores[lag] = correlation(late[both], early[both])
  best = max(scores, key=scores.get)
  return scores[best], best
