"""Mel-frequency cepstral coefficients, as SyncNet was trained on.

Equal to `python_speech_features.mfcc` with its defaults, which the public
evaluation (github.com/joonson/syncnet_python, SyncNetInstance.py) calls on the
integers of a 16-bit file. Sound in [-1, 1] would move c0 and nothing else, and
so change every score.
"""

import functools

import numpy as np

SAMPLE_RATE = 16000
WINDOW, HOP, FFT_SIZE = 400, 160, 512  # 25 ms and 10 ms.
NUM_COEFFICIENTS, NUM_FILTERS, LIFTER = 13, 26, 22
PREEMPHASIS = 0.97
_EPSILON = np.finfo(float).eps  # In the place of an energy of zero.


def to_int16(waveform: np.ndarray) -> np.ndarray:
  """Rounds sound in [-1, 1] to 16-bit integers, as FFmpeg does.

  Args:
    waveform: `[samples]`, finite; what is outside of [-1, 1] is clipped.

  Returns:
    `[samples]` int16; halves go to the even neighbour.
  """
  scaled = np.rint(np.asarray(waveform, np.float32) * np.float32(32768))
  return np.clip(scaled, -32768, 32767).astype(np.int16)


def mfcc(samples: np.ndarray) -> np.ndarray:
  """Coefficients of every 10 ms of a sound.

  Frames of 25 ms are not windowed, the last one is completed with zeros. c0 is
  the logarithm of the frame's energy.

  Args:
    samples: `[samples]` at 16 kHz, in the range of int16 (any type).

  Returns:
    `[S, 13]` float64, S = 1 + ceil((samples - 400) / 160), at least 1.

  Raises:
    ValueError: there is no sound, or it has more axes.
  """
  samples = np.asarray(samples, np.float64)
  if samples.ndim != 1 or not len(samples):
    raise ValueError(f'sound is {samples.shape}, not [samples]')
  emphasised = samples.copy()
  emphasised[1:] -= PREEMPHASIS * samples[:-1]
  count = 1 + max(0, -(-(len(samples) - WINDOW) // HOP))
  padded = np.zeros((count - 1) * HOP + WINDOW)
  padded[: len(samples)] = emphasised
  frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
  power = np.square(np.abs(np.fft.rfft(frames, FFT_SIZE))) / FFT_SIZE

  bands = _not_zero(power @ mel_filters().T)
  cepstra = np.log(bands) @ _cosines().T
  cepstra[:, 0] = np.log(_not_zero(power.sum(axis=1)))
  return cepstra


def _not_zero(x: np.ndarray) -> np.ndarray:
  return np.where(x == 0, _EPSILON, x)


@functools.cache
def mel_filters() -> np.ndarray:
  """Triangles `[26, 257]` between bins that are spaced evenly in mel."""
  top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
  hertz = 700 * (10 ** (np.linspace(0, top, NUM_FILTERS + 2) / 2595) - 1)
  edges = np.floor((FFT_SIZE + 1) * hertz / SAMPLE_RATE)
  low, middle, high = (edges[i : NUM_FILTERS + i, None] for i in range(3))
  bins = np.arange(FFT_SIZE // 2 + 1)
  rising = (bins >= low) & (bins < middle)
  falling = (bins >= middle) & (bins < high)
  return np.where(
    rising,
    (bins - low) / (middle - low),
    np.where(falling, (high - bins) / (high - middle), 0.0),
  )


@functools.cache
def _cosines() -> np.ndarray:
  """`[13, 26]`: the orthonormal DCT of type 2, and the lifter's gains."""
  order = np.arange(NUM_COEFFICIENTS)[:, None]
  place = np.arange(NUM_FILTERS) + 0.5
  matrix = np.cos(np.pi * order * place / NUM_FILTERS)
  matrix *= np.where(order == 0, 1, np.sqrt(2)) / np.sqrt(NUM_FILTERS)
  return matrix * (1 + LIFTER / 2 * np.sin(np.pi * order / LIFTER))
