"""Recordings in: any file that FFmpeg reads, as a mono float waveform."""

import logging
import os
import pathlib
from typing import Any

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.media import sound
from mdcf_jax.media.files import best_video, check_file, open_media

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16000
RATES = 1000, 768_000  # Lowest and highest of a recording, in Hz.
_SILENCE = 1e-4  # -80 dBFS: nothing that a microphone gives is below.


def read_audio(
  path: str | os.PathLike,
  sample_rate: int = SAMPLE_RATE,
  *,
  start: float = 0.0,
  end: float | None = None,
) -> np.ndarray:
  """Reads the sound of a file as `[samples]` float32 mono in [-1, 1].

  Several channels are averaged. The padding that an encoder puts before and
  after the sound is removed where the container tells of it.

  Args:
    path: any file that FFmpeg reads.
    sample_rate: in Hz, of what is returned.
    start, end: a stretch in seconds; empty if the sound ends before it.

  Raises:
    InputError: the file is missing, has no audio, no samples, or samples that
      are not finite. Silence is allowed, with a warning.
  """
  piece = _decode(path, sound.Stretch(start, end), sample_rate)
  waveform = _cut(piece, start, end, sample_rate)
  if np.abs(waveform).max(initial=0) < _SILENCE:
    logger.warning('%s is silent', path)
  return waveform


def read_samples(
  path: str | os.PathLike, *, end: float | None = None
) -> tuple[np.ndarray, int]:
  """Reads the sound as it is: `[samples, channels]` float32, and its rate.

  Args:
    path: any file that FFmpeg reads.
    end: seconds after which there is little more; None for the whole.
  """
  piece = _decode(path, sound.Stretch(end=end))
  return piece.samples, piece.rate


def read_video_audio(
  path: str | os.PathLike,
  sample_rate: int = SAMPLE_RATE,
  *,
  start: float = 0.0,
  end: float | None = None,
) -> np.ndarray | None:
  """Reads the sound of a video, aligned to its frames.

  Args:
    path: any file that FFmpeg reads.
    sample_rate: in Hz, of what is returned.
    start, end: a stretch, in seconds after the first frame. Where the
      container has an index, what comes before is not decoded.

  Returns:
    `[samples]` float32 mono whose sample 0 belongs to `start`: what comes
    earlier is cut, and where the sound starts later there is silence. It ends
    at `end` or with the sound, which may be before `start`.
    None when the file has no audio.
  """
  path = check_file(path)
  origin = _first_frame_time(path)
  piece = sound.decode(path, sound.Stretch(start, end, origin), sample_rate)
  if piece is None or not piece.rate:
    return None
  late = round((piece.time - origin) * sample_rate)
  return _cut(piece, start, end, sample_rate, late)


def read_video_samples(
  path: str | os.PathLike,
) -> tuple[np.ndarray, int] | None:
  """Reads the sound of a video as it is, aligned to its frames.

  Returns:
    `[samples, channels]` float32, whose sample 0 belongs to the first frame as
    in `read_video_audio`, and its rate; None when the file has no audio.
  """
  path = check_file(path)
  origin = _first_frame_time(path)
  piece = sound.decode(path, sound.Stretch(0.0, None, origin), 1)
  if piece is None or not piece.rate:
    return None
  late = round((piece.time - origin) * piece.rate) + piece.skipped
  samples = np.pad(piece.samples[max(0, -late) :], ((max(0, late), 0), (0, 0)))
  return samples, piece.rate


def resample(waveform: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
  """Resamples `[samples]` to exactly round(samples * new_rate / rate)."""
  import av

  waveform = np.ascontiguousarray(waveform, np.float32)
  if rate == new_rate:
    return waveform
  length = round(len(waveform) * new_rate / rate)
  resampler = av.AudioResampler(format='flt', layout='mono', rate=new_rate)
  pieces = []
  for i in range(0, len(waveform), rate):
    piece = waveform[None, i : i + rate]
    frame = av.AudioFrame.from_ndarray(piece, format='flt', layout='mono')
    frame.sample_rate, frame.pts = rate, None
    pieces += resampler.resample(frame)
  pieces += resampler.resample(None)
  # A sound of a few samples may end inside of the filter.
  silence = np.zeros(0, np.float32)
  output = [silence, *(p.to_ndarray().reshape(-1) for p in pieces)]
  output = np.concatenate(output)
  # The filter's tail is a sample too many or too few.
  return np.pad(output[:length], (0, max(0, length - len(output))))


def check_rate(name: Any, rate: int) -> None:
  """Raises InputError unless `rate` in Hz may be that of a recording."""
  low, high = RATES
  if not low <= rate <= high:
    raise InputError(f'{name}: a rate of {rate} Hz is not in {low} to {high}')


def _first_frame_time(path: pathlib.Path) -> float:
  """Time in seconds of the first video frame, 0 when there is none."""
  import av

  with open_media(path) as container:
    stream = best_video(container)
    if stream is None:
      return 0.0
    try:
      for frame in container.decode(stream):
        if frame.pts is None:
          return 0.0
        return float(frame.pts * frame.time_base)
    except av.error.FFmpegError:
      pass
  return 0.0


def _decode(path, stretch: sound.Stretch, rate: int = 1) -> sound.Piece:
  """Reads a stretch of a file that must have sound."""
  path = check_file(path)
  piece = sound.decode(path, stretch, rate)
  if piece is None:
    raise InputError(f'{path}: there is no audio in this file')
  if not piece.rate:
    raise InputError(f'{path}: the audio has no samples')
  check_rate(path, piece.rate)
  return piece


def _cut(
  piece: sound.Piece, start: float, end: float | None, rate: int, late: int = 0
) -> np.ndarray:
  """Cuts a stretch out of a piece that is larger.

  Args:
    piece: what was decoded.
    start, end: the stretch in seconds; None is the end of the sound.
    rate: of the result.
    late: samples at `rate` between time 0 and the sound's first.

  Returns:
    `[samples]` float32 mono.
  """
  first = round(start * rate)
  size = None if end is None else max(0, round(end * rate) - first)
  waveform = np.zeros(0, np.float32)
  if len(piece.samples):
    waveform = resample(piece.samples.mean(axis=1), piece.rate, rate)
  late += piece.skipped * rate // piece.rate - first
  if late > 0:
    late = late if size is None else min(late, size)
    waveform = np.concatenate([np.zeros(late, np.float32), waveform])
  else:
    waveform = waveform[-late:]
  return waveform[:size]
