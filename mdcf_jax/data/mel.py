"""Log-mel features of speech at the video's frame rate.

Four windows of 25 ms per frame of 40 ms, 80 mel bands each: `[T, 320]`. This is
the `audio_encoder='mel'` of the models, which learn their own encoder on top.
"""

import functools

import numpy as np

SAMPLE_RATE = 16000
SAMPLES_PER_FRAME = 640  # 25 frames a second.
WINDOWS_PER_FRAME = 4
NUM_BANDS = 80
FEATURES = WINDOWS_PER_FRAME * NUM_BANDS

_WINDOW = 400
_HOP = SAMPLES_PER_FRAME // WINDOWS_PER_FRAME
_FFT = 512
_LOUDNESS = 0.1  # Root mean square of speech after scaling, -20 dBFS.
_FLOOR = 1e-6  # Energy of a band below which there is silence.
# Mean and standard deviation of log10(energy) over recorded speech.
_MEAN, _STD = -4.6, 1.5


def log_mel(
  waveform: np.ndarray,
  num_frames: int | None = None,
  *,
  frames_per_piece: int = 1000,
) -> np.ndarray:
  """Returns normalised log-mel features, about zero mean and unit variance.

  Window `i` of frame `t` is centred at sample 640 t + 80 + 160 i; outside the
  recording there is silence. The waveform is first scaled to one loudness,
  taken over the whole of it.

  Args:
    waveform: `[samples]`, 16 kHz mono in [-1, 1]; NaN and infinity count as
      silence.
    num_frames: T; by default ceil(samples / 640).
    frames_per_piece: how many frames are in memory as windows at a time; it
      changes nothing else.

  Returns:
    `[T, 320]` float32: the 80 bands (0 to 8 kHz) of the frame's first window,
    then of its second, third and fourth.
  """
  waveform = np.asarray(waveform)
  if waveform.ndim != 1:
    raise ValueError(f'waveform must be [samples], not {waveform.shape}')
  if num_frames is None:
    num_frames = -(-len(waveform) // SAMPLES_PER_FRAME)
  gain = loudness_gain(waveform)
  output = np.empty((num_frames, FEATURES), np.float32)
  for start in range(0, num_frames, frames_per_piece):
    stop = min(start + frames_per_piece, num_frames)
    output[start:stop] = _piece(waveform, gain, start, stop)
  return output


def loudness_gain(waveform: np.ndarray) -> float:
  """Returns the factor that brings the speech in `waveform` to -20 dBFS.

  Blocks 10 dB below the mean are pauses and do not count. Silence gives 1.
  """
  size = SAMPLES_PER_FRAME
  powers = np.array(
    [
      np.mean(np.square(_finite(waveform[i : i + size])))
      for i in range(0, len(waveform), size)
    ]
  )
  if not powers.size or powers.mean() < 1e-10:
    return 1.0
  speech = powers[powers > 0.1 * powers.mean()].mean()
  return float(_LOUDNESS / np.sqrt(speech))


def _piece(waveform, gain: float, start: int, stop: int) -> np.ndarray:
  """Features `[stop - start, 320]` of the frames from `start` to `stop`."""
  # Half a window before the first centre, 80 samples into the frame.
  begin = start * SAMPLES_PER_FRAME + _HOP // 2 - _WINDOW // 2
  count = (stop - start) * WINDOWS_PER_FRAME
  end = begin + (count - 1) * _HOP + _WINDOW
  samples = np.zeros(end - begin)
  low, high = max(begin, 0), min(end, len(waveform))
  if high > low:
    samples[low - begin : high - begin] = gain * _finite(waveform[low:high])
  windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
  spectrum = np.fft.rfft(windows * np.hanning(_WINDOW + 1)[:-1], _FFT)
  energy = np.square(np.abs(spectrum)) / _WINDOW @ _filters()
  logs = (np.log10(np.maximum(energy, _FLOOR)) - _MEAN) / _STD
  return logs.reshape(stop - start, FEATURES).astype(np.float32)


def _finite(samples: np.ndarray) -> np.ndarray:
  return np.nan_to_num(samples.astype(np.float64), nan=0, posinf=0, neginf=0)


@functools.cache
def _filters() -> np.ndarray:
  """Triangles of equal width in mel and of unit area: `[257, 80]`."""

  def mel_to_hertz(mel):
    return 700 * (10 ** (mel / 2595) - 1)

  top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
  edges = mel_to_hertz(np.linspace(0, top, NUM_BANDS + 2))
  low, mid, high = edges[:-2], edges[1:-1], edges[2:]
  # Low triangles are narrower than a bin of 31 Hz, and would miss them all:
  # each bin is the mean over its width.
  steps = 32
  fine = (
    np.arange(-steps // 2, (_FFT // 2) * steps + steps // 2) + 0.5
  ) / steps
  hertz = (fine * SAMPLE_RATE / _FFT)[:, None]
  rise, fall = (hertz - low) / (mid - low), (high - hertz) / (high - mid)
  triangles = np.maximum(0, np.minimum(rise, fall))
  filters = triangles.reshape(_FFT // 2 + 1, steps, NUM_BANDS).mean(1)
  return filters / filters.sum(0)
