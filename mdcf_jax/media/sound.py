"""Decoding of sound: the samples of a stream, or of a stretch of it."""

import contextlib
import dataclasses
import itertools
import logging
import math
import pathlib
from collections.abc import Iterator

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.media.files import open_media

logger = logging.getLogger(__name__)

_AAC_FRAME = 2048  # Samples of an AAC frame at most.
# Seconds between the end of the samples so far and a frame that is late: below,
# its time stamp is rounded or jitters; above, the clock was set anew.
_LATE = 0.2, 10.0
# Containers with an index, whose packets have the same times after a search.
_INDEXED = 'mov', 'matroska', 'wav'
# Seconds: a search goes so much further back; a decoder needs so much to be
# right, of which resampling may ask for one more; and a resampler needs so much
# beyond the end.
_EARLIER, _WARM_UP, _BEYOND = 4.0, 1.0, 0.5


@dataclasses.dataclass(frozen=True)
class Stretch:
  """What to decode.

  Attributes:
    start, end: seconds after `origin`; None is the end of the sound.
    origin: seconds of the file's clock; None is the first sample's time.
  """

  start: float = 0.0
  end: float | None = None
  origin: float | None = None


@dataclasses.dataclass(frozen=True)
class Piece:
  """What was decoded: a stretch and more.

  Attributes:
    samples: `[samples, channels]` float32.
    rate: in Hz; 0 for a stream without samples.
    time: of the stream's first sample, by the file's clock.
    skipped: samples between that one and the first of `samples`.
  """

  samples: np.ndarray
  rate: int
  time: float
  skipped: int = 0


def decode(path: pathlib.Path, stretch: Stretch, rate: int) -> Piece | None:
  """Decodes a stretch of the first stream of sound in a file.

  Args:
    path: the file.
    stretch: what to decode; there may be more on both sides.
    rate: that the sound is to be resampled to. A piece begins with a sample
      that has its like after that, so that a stretch of the resampled whole
      and the resampled stretch are the same.

  Returns:
    None for a file without audio.

  Raises:
    InputError: nothing can be decoded, or a sample is not finite.
  """
  with contextlib.ExitStack() as stack:
    container = stack.enter_context(open_media(path))
    if not container.streams.audio:
      return None
    stream = container.streams.audio[0]
    frames = _frames(container, stream, path)
    head = next(frames, None)
    if head is None:
      return Piece(np.zeros((0, 1), np.float32), 0, 0.0)
    first = _First.of(head)
    origin = first.time if stretch.origin is None else stretch.origin
    start = origin + stretch.start
    end = math.inf if stretch.end is None else origin + stretch.end + _BEYOND
    found = None
    if start - first.time > 2 * _EARLIER:
      other = stack.enter_context(open_media(path))
      found = _search(other, path, first, start, end, rate)
    if found is None:
      sound = _Sound(first)
      for frame in itertools.chain([head], frames):
        if _time(frame) >= end:
          break
        sound.add(frame)
      found = sound, 0
    sound, skipped = found
  samples = _finish(sound, stream, skipped, path)
  return Piece(samples, first.rate, first.time, skipped)


def _search(container, path, first: '_First', start, end, rate: int):
  """Decodes from a little before `start` to `end`, in the file's clock.

  Returns:
    The sound, and how many samples are before it; None where the container
    has no index that leads there.
  """
  import av

  if not set(container.format.name.split(',')) & set(_INDEXED):
    return None
  try:
    container.seek(math.floor((start - _EARLIER) * 1e6))
  except av.error.FFmpegError:
    return None
  sound, starts = _Sound(first), []
  for frame in _frames(container, container.streams.audio[0], path):
    time = _time(frame)
    if time >= end:
      break
    sound.add(frame)
    starts.append(time - (sound.length - frame.samples) / first.rate)
  # Stamps are rounded and may jitter: the middle one of all is the best.
  begin = float(np.median(starts)) if starts else math.nan
  if not first.time <= begin <= start - 2 * _WARM_UP - _BEYOND:
    return None
  skipped = round((begin - first.time) * first.rate)
  every = first.rate // math.gcd(first.rate, rate)
  unsure = round(_WARM_UP * first.rate)
  unsure += -(skipped + unsure) % every
  sound.drop(unsure)
  return sound, skipped + unsure


def _finish(sound: '_Sound', stream, skipped: int, path) -> np.ndarray:
  """Returns all samples, `[samples, channels]`, without what pads the end."""
  samples, first = sound.finish(), sound.first
  if sound.missing:
    seconds = sound.missing / first.rate
    logger.warning('%s: %.2f s of its audio are missing', path, seconds)
  if 'mp4' in stream.container.format.name and stream.duration:
    # The decoder gives whole AAC frames; the index knows where the sound ends.
    length = round(float(stream.duration * stream.time_base) * first.rate)
    length -= skipped
    if length < len(samples) <= length + _AAC_FRAME:
      samples = samples[: max(0, length)]
  if not np.isfinite(samples).all():
    raise InputError(f'{path}: the audio has samples that are not finite')
  return samples


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
    first: what the first frame of the stream says of the whole.
    length: samples so far.
    missing: samples that silence stands for.
  """

  def __init__(self, first: _First):
    self.first = first
    self.length = 0
    self.missing = 0
    self._pieces: list[np.ndarray] = []
    self._start: float | None = None  # The first sample's, by the clock.
    self._drop = 0
    self._resampler, self._kind = None, None

  def add(self, frame) -> None:
    """Adds a frame, after silence if it is late."""
    import av

    if self._start is None:
      self._start = float(np.nan_to_num(_time(frame)))
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
    silence = np.zeros((0, self.first.channels), np.float32)
    return np.concatenate([silence, *self._pieces])[self._drop :]

  def drop(self, samples: int) -> None:
    """Leaves out that many samples at the beginning."""
    self._drop = samples

  def _wait_for(self, time: float) -> None:
    """Adds silence up to `time`; not a number where the file is silent."""
    rate = self.first.rate
    late = time - self._start - self.length / rate
    shortest, longest = _LATE
    if abs(late) > longest:
      self._start += late
    elif late > shortest:
      # Broken time stamps could ask for hours of silence.
      heard = self.length - self.missing
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
    self.length += len(samples)
