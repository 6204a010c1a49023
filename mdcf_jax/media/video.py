"""Videos in: frames at 25 a second by true time, and the sound beside them.

`VideoWriter` of `media/writer.py` is the way out, and is found here too.
Everything goes through PyAV's own libraries; no program is started, so a name
with spaces, with a colon or with a leading dash is a name.
"""

import contextlib
import dataclasses
import itertools
import logging
import math
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from mdcf_jax.errors import InputError, reading
from mdcf_jax.media import audio as audio_io
from mdcf_jax.media.files import best_video, check_file, open_media
from mdcf_jax.media.pictures import Converter, upright_size
from mdcf_jax.media.writer import VideoWriter, check_output

__all__ = [
  'VideoClip',
  'VideoInfo',
  'VideoWriter',
  'check_output',
  'iter_frames',
  'probe',
  'read_video',
]

logger = logging.getLogger(__name__)

# Containers write times in milliseconds, so a frame may seem this much late.
_TOLERANCE = 1.5e-3
_BEFORE_MIDDLE = 1e-3
_CUT_OFF = 'the end is missing'
# Seconds of one picture, where nobody says how long it may be.
_LONGEST_HOLD = 60.0
_SLACK = 0.02  # The first and the last picture are shown that much longer.
# Seconds of video that decode faster than a file is searched.
_NEAR = 1.0
# Containers with an index, whose frames have the same times after a search,
# and how many seconds too early it may have to begin.
_INDEXED = 'mov', 'matroska'
_EARLIER = 0.0, 2.0, 10.0, 60.0


@dataclasses.dataclass(frozen=True)
class VideoClip:
  """A decoded video.

  Attributes:
    frames: `[T, H, W, 3]` uint8 RGB.
    fps: frames a second, those of `frames` and not of the file.
    waveform: `[samples]` float32, 16 kHz mono, sample 0 at the first frame's
      time; None for a video without sound.
  """

  frames: np.ndarray
  fps: float
  waveform: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class VideoInfo:
  """What a file says of its video.

  Attributes:
    width, height: pixels of the upright picture, if they are square.
    fps: frames a second, on average.
    duration: seconds; None where the file does not tell.
    has_audio: whether there is a stream of sound.
  """

  width: int
  height: int
  fps: float
  duration: float | None
  has_audio: bool


def probe(path: str | os.PathLike) -> VideoInfo:
  """Reads what a video is like; decodes its first frame only.

  Raises:
    InputError: the file is missing, is not a video, or no frame decodes.
  """
  path = check_file(path)
  with open_media(path) as container:
    stream = _video_stream(container, path)
    with reading(path):
      first = next(_timed(stream), None)
    if first is None:
      raise InputError(f'{path}: no video frame could be decoded')
    frame, time, _ = first
    duration = None
    if stream.duration:
      duration = float(stream.duration * stream.time_base)
    elif container.duration:
      duration = container.duration / 1e6 - max(0.0, time)
    return VideoInfo(
      *upright_size(frame, _pixel_shape(stream)),
      fps=1 / _step(stream),
      duration=duration,
      has_audio=bool(container.streams.audio),
    )


def read_video(
  path: str | os.PathLike,
  resolution: int | None = None,
  fps: float = 25,
  *,
  max_frames: int | None = None,
) -> VideoClip:
  """Reads a whole video; see `iter_frames`.

  Raises:
    InputError: the file is missing, is not a video, or no frame decodes.
  """
  frames = np.stack(list(iter_frames(path, fps, resolution, max_frames)))
  return VideoClip(frames, fps, audio_io.read_video_audio(path))


def iter_frames(
  path: str | os.PathLike,
  fps: float = 25,
  resolution: int | None = None,
  max_frames: int | None = None,
  *,
  start: float = 0.0,
  end: float | None = None,
  box: Sequence[float] | None = None,
  height: int | None = None,
  max_hold: float | None = None,
) -> Iterator[np.ndarray]:
  """Yields the frames `[H, W, 3]` uint8 of times start + k / fps.

  Rates other than `fps`, and variable ones, are met by true time: a frame is
  dropped or repeated, never blended. The frame of a time is the one shown
  (almost) half of 1 / fps later, which is on the average neither early nor
  late. Rotation and pixel shape stored in the file are applied.

  Times are in seconds after the first frame, and a stretch has the frames that
  the whole video has at these times; where the container has an index, what
  comes before is not decoded.

  Args:
    path: any file that FFmpeg reads.
    fps: frames a second to give.
    resolution: side in pixels of a square; None keeps the size.
    max_frames: stop after this many.
    start, end: of the stretch, which has no frame at `end` itself; None is
      the end of the video.
    box: (x0, y0, x1, y1) in [0, 1], a square of the upright picture to cut
      out; None is the centred square with `resolution`, and else everything.
    height: of the whole picture, made smaller for analysis.
    max_hold: seconds that one picture may be shown in the stretch; None ends
      the video, with a warning, after a minute of one picture.

  Raises:
    InputError: the file is missing, is not a video, no frame decodes, it ends
      before `start`, or a picture is shown for too long. A file that breaks
      off later gives a warning and what was decoded.
    ValueError: `height` comes with `resolution` or `box`, or the box is empty.
  """
  path = check_file(path)
  convert = Converter(resolution, box, height)
  end = _end(start, end, fps, max_frames)
  times = _times(start, end, fps)
  due, over = next(times, None), None
  for frame, shape, first, over in _shown(path, start, fps):
    stop = _check_hold(path, max(first, start), over, end, max_hold)
    while due is not None and due < stop:
      yield convert(frame, shape)
      due = next(times, None)
    if due is None or stop < over:
      return
  if over is None:
    raise InputError(f'{path}: no video frame could be decoded')
  if start and start >= over:
    raise InputError(
      f'{path}: the video ends at {over:.2f} s, before {start:.2f} s'
    )


def _end(
  start: float, end: float | None, fps: float, max_frames: int | None
) -> float:
  """Seconds at which a stretch ends, infinite if it is the video's end."""
  end = math.inf if end is None else end
  return end if max_frames is None else min(end, start + max_frames / fps)


def _times(start: float, end: float, fps: float) -> Iterator[float]:
  """Yields start + k / fps below `end`."""
  numbers = itertools.count()
  if end < math.inf:
    # A frame at `end`, but for the rounding of times, is not in the stretch.
    numbers = range(max(0, math.ceil((end - start) * fps - 1e-6)))
  for k in numbers:
    yield start + k / fps


def _shown(path: pathlib.Path, start: float, fps: float):
  """Yields (frame, pixel shape, from, to): what to show from when to when."""
  # Not quite half: of twice the rate, every second frame is at the right time.
  middle = 0.5 / fps - _BEFORE_MIDDLE
  last, over = None, 0.0
  for frame, time, duration, shape in _decode(path, start):
    # The last picture is shown until the next one's time.
    if last is not None:
      yield *last, time - middle
    last = frame, shape, max(0.0, time - middle)
    over = time + duration
  if last is not None:
    # Time 0 has a picture, however short the video is.
    yield *last, max(_TOLERANCE, over - _TOLERANCE)


def _check_hold(
  path: pathlib.Path,
  first: float,
  over: float,
  end: float,
  max_hold: float | None,
) -> float:
  """Returns when a picture ends that is to be shown from `first` to `over`.

  A file whose clock jumps has one that seems to be shown for hours.

  Raises:
    InputError: it is shown longer than `max_hold` before `end`.
  """
  length = min(over, end) - first
  if length <= (_LONGEST_HOLD if max_hold is None else max_hold + _SLACK):
    return over
  if max_hold is not None:
    raise InputError(
      f'{path}: one picture is shown for {length:.1f} s at {first:.1f} s'
    )
  logger.warning(
    '%s breaks off after %.2f seconds (one picture is shown for %.0f s)',
    path,
    first + _LONGEST_HOLD,
    length,
  )
  return first + _LONGEST_HOLD


def _decode(path: pathlib.Path, start: float):
  """Yields (frame, time, duration, pixel shape) in order of time.

  Times are in seconds after the first frame. The first frame that comes is
  shown at `start` or before it.
  """
  import av

  with contextlib.ExitStack() as stack:
    container = stack.enter_context(open_media(path))
    stream = _video_stream(container, path)
    stream.thread_type = 'AUTO'
    shape = _pixel_shape(stream)
    begin, end, reason = None, 0.0, _CUT_OFF
    try:
      frames = _timed(stream)
      for first in frames:
        begin = first[1]
        frames = itertools.chain([first], frames)
        break
      if begin is not None and start > _NEAR:
        other = stack.enter_context(open_media(path))
        frames = _search(_video_stream(other, path), begin + start) or frames
      for frame, time, duration in frames:
        end = time + duration
        yield frame, time - begin, duration, shape
    except av.error.FFmpegError as error:
      reason = error.strerror
    if begin is None:
      return
    expected = float((stream.duration or 0) * (stream.time_base or 0))
    if end - begin < 0.98 * expected - 2 * _step(stream) or reason != _CUT_OFF:
      logger.warning(
        '%s breaks off after %.2f of %.2f seconds (%s)',
        path,
        end - begin,
        expected,
        reason,
      )


def _timed(stream):
  """Yields (frame, time, duration), times in seconds of the stream's clock."""
  step, time = _step(stream), None
  for frame in stream.container.decode(stream):
    now = 0.0 if time is None else time + step
    if frame.pts is not None and frame.time_base is not None:
      now = float(frame.pts * frame.time_base)
    if time is not None and now <= time:
      continue  # Shown at no time of its own.
    duration = step
    if frame.duration and frame.time_base is not None:
      duration = float(frame.duration * frame.time_base)
    time = now
    yield frame, now, duration


def _search(stream, time: float):
  """Like `_timed`, from a key frame that is shown at `time` or before.

  What is shown from a key frame on is decoded without what comes before it.
  Pictures between two key frames may need both, so they do not count.

  Returns:
    None where there is no such frame to be found.
  """
  import av

  container = stream.container
  stream.thread_type = 'AUTO'
  if not set(container.format.name.split(',')) & set(_INDEXED):
    return None
  for earlier in _EARLIER:
    place = math.floor((time - earlier) / stream.time_base)
    try:
      container.seek(place, stream=stream)
      frames = _timed(stream)
      for first in frames:
        if first[0].key_frame and not first[0].is_corrupt:
          break
      else:
        continue
    except av.error.FFmpegError:
      return None
    if first[0].pts is not None and first[1] <= time:
      return itertools.chain([first], frames)
  return None


def _video_stream(container, path: pathlib.Path):
  stream = best_video(container)
  if stream is None:
    raise InputError(f'{path}: there is no video in this file')
  return stream


def _pixel_shape(stream) -> float:
  """How many times as wide as high a pixel is."""
  return float(stream.sample_aspect_ratio or 1) or 1.0


def _step(stream) -> float:
  """Seconds between two frames, on average."""
  return float(1 / (stream.average_rate or stream.guessed_rate or 25))
