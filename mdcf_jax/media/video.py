"""Videos in: frames at 25 a second by true time, and the sound beside them.

`VideoWriter` of `media/writer.py` is the way out, and is found here too.
Everything goes through PyAV's own libraries; no program is started, so a name
with spaces, with a colon or with a leading dash is a name.
"""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.media import audio as audio_io
from mdcf_jax.media.writer import VideoWriter, check_output

__all__ = [
  'VideoClip',
  'VideoWriter',
  'check_output',
  'iter_frames',
  'read_video',
]

logger = logging.getLogger(__name__)

# Containers write times in milliseconds, so a frame may seem this much late.
_TIME_TOLERANCE = 1.5e-3
_CUT_OFF = 'the end is missing'


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
) -> Iterator[np.ndarray]:
  """Yields the frames `[H, W, 3]` uint8 shown at times k / fps.

  Rates other than `fps`, and variable ones, are met by true time: a frame is
  dropped or repeated, never blended. Rotation and pixel shape stored in the
  file are applied.

  Args:
    path: any file that FFmpeg reads.
    fps: frames a second to give.
    resolution: side in pixels of a centred square; None keeps the frame.
    max_frames: stop after this many.

  Raises:
    InputError: the file is missing, is not a video, or no frame decodes. A
      file that breaks off later gives a warning and what was decoded.
  """
  path = audio_io.check_file(path)
  count = 0
  shown, begin, end = None, 0.0, 0.0
  for frame, time, duration, shape in _decode(path):
    if shown is None:
      begin = time
    # The last picture is shown until the next one's time.
    while shown is not None and begin + count / fps < time - _TIME_TOLERANCE:
      yield _to_array(*shown, resolution)
      count += 1
      if count == max_frames:
        return
    shown, end = (frame, shape), time + duration
  if shown is None:
    raise InputError(f'{path}: no video frame could be decoded')
  while count == 0 or begin + count / fps < end - _TIME_TOLERANCE:
    yield _to_array(*shown, resolution)
    count += 1
    if count == max_frames:
      return


def _decode(path: pathlib.Path):
  """Yields (frame, time, duration, pixel shape), times in seconds, in order."""
  import av

  with audio_io.open_media(path) as container:
    if not container.streams.video:
      raise InputError(f'{path}: there is no video in this file')
    stream = container.streams.video[0]
    stream.thread_type = 'AUTO'
    step = float(1 / (stream.average_rate or stream.guessed_rate or 25))
    shape = float(stream.sample_aspect_ratio or 1) or 1.0
    begin, time, end, reason = None, None, 0.0, _CUT_OFF
    try:
      for frame in container.decode(stream):
        now = 0.0 if time is None else time + step
        if frame.pts is not None and frame.time_base is not None:
          now = float(frame.pts * frame.time_base)
        if time is not None and now <= time:
          continue  # Shown at no time of its own.
        duration = step
        if frame.duration and frame.time_base is not None:
          duration = float(frame.duration * frame.time_base)
        time, end = now, now + duration
        begin = now if begin is None else begin
        yield frame, now, duration, shape
    except av.error.FFmpegError as error:
      reason = error.strerror
    if begin is None:
      return
    expected = float((stream.duration or 0) * (stream.time_base or 0))
    if end - begin < 0.98 * expected - 2 * step or reason != _CUT_OFF:
      logger.warning(
        '%s breaks off after %.2f of %.2f seconds (%s)',
        path,
        end - begin,
        expected,
        reason,
      )


def _to_array(frame, shape: float, resolution: int | None) -> np.ndarray:
  """Converts a PyAV frame to `[H, W, 3]` uint8, upright, square pixels."""
  from PIL import Image

  image = frame.to_ndarray(format='rgb24')
  height, width = image.shape[:2]
  if shape != 1.0:
    size = (max(1, round(width * shape)), height)
    image = np.asarray(Image.fromarray(image).resize(size))
  # The stored angle is the counter-clockwise one that makes it upright.
  image = np.rot90(image, round((frame.rotation or 0) / 90) % 4)
  image = np.ascontiguousarray(image)
  height, width = image.shape[:2]
  if resolution is None or (height, width) == (resolution, resolution):
    return image
  side = min(height, width)
  left, top = (width - side) // 2, (height - side) // 2
  square = Image.fromarray(image).resize(
    (resolution, resolution),
    Image.Resampling.LANCZOS,
    box=(left, top, left + side, top + side),
  )
  return np.asarray(square)
