"""Quality figures of a clip: sharpness, loudness, and lag of the sound."""

import numpy as np

from mdcf_jax.data.records import FPS, SAMPLES_PER_FRAME

# The sound is looked for this many frames around the picture.
MAX_LAG = 15

_FACE_SIDE, _MAX_FRAMES = 128, 16
_SAMPLE_RATE = int(FPS) * SAMPLES_PER_FRAME
_BLOCK, _HOP = 4 * _SAMPLE_RATE // 10, _SAMPLE_RATE // 10
_QUIET, _GATE = -70.0, -10.0
_MIN_FRAMES = 2 * int(FPS)
# Variation of a mouth that does not speak, and of sound without syllables,
# the latter as a part of its mean.
_MIN_OPENING, _MIN_SWING = 0.004, 0.1
_TREND = 2 * int(FPS) + 1


def sharpness(frames: np.ndarray, face_box: np.ndarray) -> float:
  """How sharp the face is, at a fixed size and whatever its contrast.

  The variance of the Laplacian over the variance of the picture itself, of
  the face at 128x128. A face that was enlarged to that counts as blurred.

  Args:
    frames: `[H, W, 3]` or `[T, H, W, 3]` uint8; of many, 16 are looked at.
    face_box: `[4]` or `[T, 4]`, (x0, y0, x1, y1) in [0, 1].

  Returns:
    The median over the frames, 0 for a flat picture; nan without a face.
  """
  if np.ndim(frames) == 3:
    frames = [frames]
  boxes = np.broadcast_to(face_box, (len(frames), 4))
  count = min(len(frames), _MAX_FRAMES)
  chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
  values = [_sharpness(frames[k], boxes[k]) for k in chosen]
  values = [value for value in values if np.isfinite(value)]
  return float(np.median(values)) if values else float('nan')


def loudness(waveform: np.ndarray | None) -> float:
  """Level of the speech in dB of full scale, without its pauses.

  The root mean square of blocks of 0.4 s, gated as in ITU-R BS.1770: blocks
  below -70 dB, and those 10 dB below the mean of the rest, do not count. It
  is not weighted over frequency, so it is no LUFS.

  Args:
    waveform: `[samples]` float in [-1, 1] or int16, 16 kHz.

  Returns:
    dBFS, 0 for a full-scale square wave; -70 for silence; nan without sound.
  """
  if waveform is None or not len(waveform):
    return float('nan')
  power = np.square(_as_float(waveform))
  if len(power) > _BLOCK:
    total = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
    starts = np.arange(0, len(power) - _BLOCK + 1, _HOP)
    power = (total[starts + _BLOCK] - total[starts]) / _BLOCK
  else:
    power = power.mean(keepdims=True)
  power = power[power > 10 ** (_QUIET / 10)]
  if not len(power):
    return _QUIET
  power = power[power >= power.mean() * 10 ** (_GATE / 10)]
  return float(10 * np.log10(power.mean()))


def lag(
  openness: np.ndarray, waveform: np.ndarray | None
) -> tuple[float, float]:
  """How much later the sound is than the picture; crude.

  The correlation of how fast the mouth opens with how fast the sound gets
  louder is largest where syllables meet. A peak far from 0 rests on fewer
  frames and counts that much less. The peak is a few frames wide, and below a
  score of about 0.3 it may be chance: this finds sound that is off by several
  frames, and is no measure of lip synchrony.

  Args:
    openness: `[T]`, see `media.faces.openness`, 25 a second.
    waveform: `[640 * T]` float in [-1, 1] or int16, 16 kHz.

  Returns:
    lag: frames, positive where the sound comes late, at most 15.
    score: the correlation there, at most 1.
    Both nan where there is too little to compare: less than two and a half
    seconds, a mouth that stays as it is, silence or an even tone.
  """
  nothing = float('nan'), float('nan')
  if waveform is None:
    return nothing
  count = min(len(openness), len(waveform) // SAMPLES_PER_FRAME)
  if count < _MIN_FRAMES + MAX_LAG:
    return nothing
  mouth = np.asarray(openness, np.float64)[:count]
  level = _level(waveform, count)
  if np.std(mouth) < _MIN_OPENING or np.std(level) <= _MIN_SWING * np.mean(
    level
  ):
    return nothing
  mouth, level = _speed(mouth), _speed(level)
  scores = []
  for shift in range(-MAX_LAG, MAX_LAG + 1):
    first, last = max(0, -shift), min(count, count - shift)
    a, b = mouth[first:last], level[first + shift : last + shift]
    scores.append((last - first) / count * _correlation(a, b))
  best = int(np.argmax(scores))
  return float(best - MAX_LAG), float(scores[best])


def _sharpness(frame: np.ndarray, box: np.ndarray) -> float:
  from PIL import Image

  height, width = frame.shape[:2]
  area = np.clip(box, 0, 1) * (width, height, width, height)
  if area[2] - area[0] < 2 or area[3] - area[1] < 2:
    return float('nan')
  face = Image.fromarray(np.ascontiguousarray(frame)).convert('L')
  face = face.resize(
    (_FACE_SIDE, _FACE_SIDE), Image.Resampling.BILINEAR, box=tuple(area)
  )
  grey = np.asarray(face, np.float64)
  laplacian = (
    grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
  ) - 4 * grey[1:-1, 1:-1]
  # One grey level keeps a flat picture's rounding from counting as sharp.
  return float(laplacian.var() / (grey.var() + 1.0))


def _as_float(waveform: np.ndarray) -> np.ndarray:
  waveform = np.asarray(waveform)
  scale = 32768.0 if waveform.dtype == np.int16 else 1.0
  return waveform.astype(np.float64) / scale


def _level(waveform: np.ndarray, count: int) -> np.ndarray:
  """Root mean square `[count]` of the sound in each frame."""
  samples = _as_float(waveform)[: count * SAMPLES_PER_FRAME]
  return np.sqrt(np.square(samples).reshape(count, -1).mean(axis=1))


def _speed(values: np.ndarray) -> np.ndarray:
  """Change per frame of `values [T]`, over a few frames, without its trend."""
  smooth = np.convolve(np.pad(values, 1, 'edge'), (0.25, 0.5, 0.25), 'valid')
  speed = np.gradient(smooth)
  window = np.ones(_TREND)
  sums = np.convolve(speed, window, 'same')
  return speed - sums / np.convolve(np.ones(len(speed)), window, 'same')


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
  a, b = a - a.mean(), b - b.mean()
  return float(np.sum(a * b) / max(np.sqrt(np.sum(a**2) * np.sum(b**2)), 1e-12))
