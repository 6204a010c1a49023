"""Recordings in: any file that FFmpeg reads, as a mono float waveform."""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from mdcf_jax.errors import InputError

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16000
RATES = 1000, 768_000  # Lowest and highest of a recording, in Hz.
_AAC_FRAME = 2048  # Samples of an AAC frame at most.
# Seconds between the end of the samples so far and a frame that is late: below,
# its time stamp is rounded or jitters; above, the clock was set anew.
_LATE = 0.2, 10.0
_SILENCE = 1e-4  # -80 dBFS: nothing that a microphone gives is below.


def read_audio(
  path: str | os.PathLike, sample_rate: int = SAMPLE_RATE
) -> np.ndarray:
  """Reads the sound of a file as `[samples]` float32 mono in [-1, 1].

  Several channels are averaged. The padding that an encoder puts before and
  after the sound is removed where the container tells of it.

  Raises:
    InputError: the file is missing, has no audio, no samples, or samples that
      are not finite. Silence is allowed, with a warning.
  """
  samples, rate = read_samples(path)
  waveform = resample(samples.mean(axis=1), rate, sample_rate)
  if np.abs(waveform).max() < _SILENCE:
    logger.warning('%s is silent', path)
  return waveform


def read_samples(path: str | os.PathLike) -> tuple[np.ndarray, int]:
  """Reads the sound as it is: `[samples, channels]` float32, and its rate."""
  path = check_file(path)
  found = _decode(path)
  if found is None:
    raise InputError(f'{path}: there is no audio in this file')
  samples, rate, _ = found
  if not len(samples):
    raise InputError(f'{path}: the audio has no samples')
  check_rate(path, rate)
  return samples, rate


def read_video_audio(
  path: str | os.PathLike, sample_rate: int = SAMPLE_RATE
) -> np.ndarray | None:
  """Reads the sound of a video, aligned to its first frame.

  Returns:
    `[samples]` float32 mono whose sample 0 belongs to the time of the first
    frame: what comes earlier is cut, a later start is filled with silence.
    None when the file has no audio.
  """
  path = check_file(path)
  found = _decode(path)
  if found is None or not len(found[0]):
    return None
  samples, rate, start = found
  waveform = resample(samples.mean(axis=1), rate, sample_rate)
  shift = round((start - _first_frame_time(path)) * sample_rate)
  if shift > 0:
    return np.concatenate([np.zeros(shift, np.float32), waveform])
  return waveform[-shift:]


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


def check_file(path: str | os.PathLike) -> pathlib.Path:
  """Returns `path`; InputError unless it is a file with something in it."""
  path = pathlib.Path(path)
  if os.path.isdir(path):
    raise InputError(f'{path}: this is a directory, not a file')
  try:
    with path.open('rb') as file:
      empty = not file.read(1)
  except FileNotFoundError as error:
    raise InputError(f'{path}: there is no such file') from error
  except (OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise InputError(f'{path}: cannot be read: {reason}') from error
  if empty:
    raise InputError(f'{path}: the file is empty')
  return path


def open_media(path: pathlib.Path):
  """Opens `path` with PyAV; InputError when FFmpeg does not know it."""
  import av

  try:
    # An absolute path is never taken for a protocol such as `a:b`.
    # Play lists may name files, but never an address in the network.
    return av.open(
      os.path.abspath(path),
      metadata_errors='replace',
      options={'protocol_whitelist': 'file'},
    )
  except (av.error.FFmpegError, OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise InputError(
      f'{path}: not a video or audio file that can be read ({reason})'
    ) from error


def _first_frame_time(path: pathlib.Path) -> float:
  """Time in seconds of the first video frame, 0 when there is none."""
  import av

  with open_media(path) as container:
    if not container.streams.video:
      return 0.0
    try:
      for frame in container.decode(container.streams.video[0]):
        if frame.pts is None:
          return 0.0
        return float(frame.pts * frame.time_base)
    except av.error.FFmpegError:
      pass
  return 0.0


def _decode(path: pathlib.Path) -> tuple[np.ndarray, int, float] | None:
  """Returns `[samples, channels]`, the rate, and the start in seconds.

  None for a file without audio.
  """
  with open_media(path) as container:
    if not container.streams.audio:
      return None
    stream = container.streams.audio[0]
    exact = 'mp4' in container.format.name and stream.duration
    duration = float(stream.duration * stream.time_base) if exact else None
    sound = _Sound()
    for frame in _frames(container, stream, path):
      sound.add(frame)
  first = sound.first
  if first is None:
    return np.zeros((0, 1), np.float32), SAMPLE_RATE, 0.0
  samples = sound.finish()
  if sound.missing:
    seconds = sound.missing / first.rate
    logger.warning('%s: %.2f s of its audio are missing', path, seconds)
  if duration is not None:
    # The decoder gives whole AAC frames; the index knows where the sound ends.
    length = round(duration * first.rate)
    if length < len(samples) <= length + _AAC_FRAME:
      samples = samples[:length]
  if not np.isfinite(samples).all():
    raise InputError(f'{path}: the audio has samples that are not finite')
  return samples, first.rate, first.time


@dataclasses.dataclass(frozen=True)
class _First:
  """What the first frame of a stream says of the whole."""

  rate: int
  layout: str
  channels: int
  time: float

  @classmethod
  def of(cls, frame) -> '_First':
    layout, time = frame.layout, np.nan_to_num(_time(frame))
    return cls(frame.sample_rate, layout.name, layout.nb_channels, float(time))


def _time(frame) -> float:
  """When a frame starts in seconds; not a number where the file is silent."""
  if frame.pts is None or frame.time_base is None:
    return np.nan
  return float(frame.pts * frame.time_base)


def _frames(container, stream, path: pathlib.Path) -> Iterator:
  """Yields each frame that can be decoded.

  A damaged packet costs its own time and not the rest of the recording; where
  the file itself cannot be read on, it ends.

  Raises:
    InputError: nothing can be decoded, though there is something.
  """
  import av

  found, damaged, reason = False, 0, None
  try:
    for packet in container.demux(stream):
      try:
        frames = packet.decode()
      except av.error.FFmpegError as error:
        damaged, reason = damaged + 1, error.strerror
        continue
      for frame in frames:
        yield frame
        found = True
  except av.error.FFmpegError as error:
    reason = error.strerror
    if found:
      logger.warning('%s: the audio breaks off (%s)', path, reason)
  if reason and not found:
    raise InputError(f'{path}: the audio cannot be decoded ({reason})')
  if damaged:
    logger.warning('%s: %d damaged pieces of its audio', path, damaged)


class _Sound:
  """Frames of a stream, one after the other, in the format of the first.

  What is missing between them, as their time stamps tell, becomes silence.

  Attributes:
    first: what the first frame says of the whole; None before it.
    missing: samples that silence stands for.
  """

  def __init__(self):
    self.first: _First | None = None
    self.missing = 0
    self._pieces: list[np.ndarray] = []
    self._length = 0  # Samples in them.
    self._start = 0.0  # Of the first sample, by the stream's clock.
    self._resampler, self._kind = None, None

  def add(self, frame) -> None:
    """Adds a frame, after silence if it is late."""
    import av

    if self.first is None:
      self.first = _First.of(frame)
      self._start = self.first.time
    kind = frame.format.name, frame.layout.name, frame.sample_rate
    if kind != self._kind:
      # A chained file changes its format: everything becomes the first's.
      self._flush()
      self._resampler = av.AudioResampler(
        'flt', self.first.layout, self.first.rate
      )
      self._kind = kind
    self._wait_for(_time(frame))
    self._append(self._resampler.resample(frame))

  def finish(self) -> np.ndarray:
    """Returns everything, `[samples, channels]`."""
    self._flush()
    return np.concatenate(self._pieces)

  def _wait_for(self, time: float) -> None:
    """Adds silence up to `time`; not a number where the file is silent."""
    rate = self.first.rate
    late = time - self._start - self._length / rate
    shortest, longest = _LATE
    if abs(late) > longest:
      self._start += late
    elif late > shortest:
      # Broken time stamps could ask for hours of silence.
      heard = self._length - self.missing
      room = heard + round(longest * rate) - self.missing
      size = max(0, min(round(late * rate), room))
      self.missing += size
      self._add(np.zeros((size, self.first.channels), np.float32))

  def _flush(self) -> None:
    if self._resampler is not None:
      self._append(self._resampler.resample(None))

  def _append(self, frames) -> None:
    shape = -1, self.first.channels
    for frame in frames:
      self._add(frame.to_ndarray().reshape(shape))

  def _add(self, samples: np.ndarray) -> None:
    self._pieces.append(samples)
    self._length += len(samples)
