"""Videos in and out: frames at 25 a second by true time, H.264 with AAC.

Everything goes through PyAV's own libraries; no program is started, so a name
with spaces, with a colon or with a leading dash is a name.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import fractions
import logging
import os
import pathlib

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.media import audio as audio_io

# Containers write times in milliseconds, so a frame may seem this much late.
_TIME_TOLERANCE = 1.5e-3


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
  shown, begin, end = None, None, None
  for frame, time, duration in _decode(path):
    begin = time if begin is None else begin
    # The last picture is shown until the next one's time.
    while shown is not None and begin + count / fps < time - _TIME_TOLERANCE:
      yield _to_array(shown, resolution)
      count += 1
      if count == max_frames:
        return
    shown, end = frame, time + duration
  if shown is None:
    raise InputError(f'{path}: no video frame could be decoded')
  while count == 0 or begin + count / fps < end - _TIME_TOLERANCE:
    yield _to_array(shown, resolution)
    count += 1
    if count == max_frames:
      return


def _decode(path: pathlib.Path):
  """Yields (frame, time in seconds, duration in seconds) in order."""
  import av

  with audio_io.open_media(path) as container:
    if not container.streams.video:
      raise InputError(f'{path}: there is no video in this file')
    stream = container.streams.video[0]
    stream.thread_type = 'AUTO'
    rate = stream.average_rate or stream.guessed_rate or 25
    step, time, decoded = float(1 / rate), None, 0
    try:
      for frame in container.decode(stream):
        if frame.pts is None or frame.time_base is None:
          now = 0.0 if time is None else time + step
        else:
          now = float(frame.pts * frame.time_base)
        if time is not None and now <= time:
          continue  # Shown at no time of its own.
        duration = getattr(frame, 'duration', 0) or 0
        length = float(duration * frame.time_base) if duration else step
        time, decoded = now, decoded + 1
        yield frame, now, length
    except av.error.FFmpegError as error:
      if not decoded:
        raise InputError(
          f'{path}: no video frame could be decoded ({error.strerror})'
        ) from error
      logging.warning(
        '%s breaks off after %d frames (%s)', path, decoded, error.strerror
      )


def _to_array(frame, resolution: int | None) -> np.ndarray:
  """Converts a PyAV frame to `[H, W, 3]` uint8, upright."""
  image = frame.to_ndarray(format='rgb24')
  shape = getattr(frame, 'sample_aspect_ratio', None)
  turns = round((getattr(frame, 'rotation', 0) or 0) / 90) % 4
  wide = float(shape) if shape else 1.0
  if resolution is None and wide == 1.0:
    return np.ascontiguousarray(np.rot90(image, turns))
  from PIL import Image

  height, width = image.shape[:2]
  if wide != 1.0:
    size = (max(1, round(width * wide)), height)
    image = np.asarray(Image.fromarray(image).resize(size))
  image = np.ascontiguousarray(np.rot90(image, turns))
  if resolution is None:
    return image
  height, width = image.shape[:2]
  side = min(height, width)
  left, top = (width - side) // 2, (height - side) // 2
  if (height, width) == (resolution, resolution):
    return image
  square = Image.fromarray(image).resize(
    (resolution, resolution),
    Image.Resampling.LANCZOS,
    box=(left, top, left + side, top + side),
  )
  return np.asarray(square)
