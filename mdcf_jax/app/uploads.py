"""Files of visitors: let in through few formats, within limits, written anew.

What comes out holds the pixels and samples and nothing else of the file: no
metadata (cameras write places into it), no second stream, no trailing bytes.
"""

import os
import pathlib
import stat
import wave

import numpy as np

from mdcf_jax.app.limits import Limits
from mdcf_jax.errors import InputError
from mdcf_jax.media import audio, image, video
from mdcf_jax.media.files import best_video, open_media
from mdcf_jax.media.writer import VideoWriter

# Names of Pillow and of FFmpeg. No play lists, which name other files, and no
# formats whose decoders run programs.
PICTURES = 'PNG', 'JPEG', 'WEBP', 'BMP', 'GIF', 'TIFF', 'AVIF'
SOUNDS = (
  *('wav', 'mp3', 'ogg', 'flac', 'aac', 'mov', 'matroska', 'aiff', 'caf'),
  *('avi', 'amr'),
)
VIDEOS = 'mov', 'matroska', 'avi', 'mpegts'

_VIDEO_HEIGHT = 480  # As high as faces are looked for in, see `driving`.
_FPS = 25
_MOST_SAMPLES = 800_000  # A second, of all channels.
_COMMENT = 'mdcf_jax: copy of an upload, to move by'


def check(path: str | os.PathLike, root: pathlib.Path, limits: Limits):
  """Returns the path of an upload.

  Raises:
    InputError: it is no plain file below `root`, empty, or too large.
  """
  try:
    text = os.fspath(path)
    found = pathlib.Path(text)
    inside = found.resolve(strict=True).is_relative_to(root.resolve())
    state = found.lstat()
  except (OSError, ValueError, TypeError) as error:
    raise InputError('the upload is not there any more') from error
  if not inside or not stat.S_ISREG(state.st_mode):
    raise InputError('this is not an upload')
  if not state.st_size:
    raise InputError('the file is empty')
  if state.st_size > limits.file_bytes:
    raise InputError(
      f'the file has {state.st_size / 2**20:.0f} MB, at most '
      f'{limits.file_bytes / 2**20:.0f} MB are taken'
    )
  return found


def read_picture(path: pathlib.Path, limits: Limits) -> np.ndarray:
  """Reads a picture as `[H, W, 3]` uint8 of at most `limits.side` pixels.

  Raises:
    InputError: it is none of PICTURES, breaks off, or has too many pixels.
  """
  from PIL import Image

  Image.init()  # Not every build of Pillow has all.
  formats = [name for name in PICTURES if name in Image.OPEN]
  picture = image.read_image(path, formats, limits.pixels)
  scale = limits.side / max(picture.shape[:2])
  if scale >= 1:
    return picture
  height, width = (round(scale * side) for side in picture.shape[:2])
  if min(height, width) < image.MIN_SIDE:
    raise InputError('the picture is too long and thin')
  small = Image.fromarray(picture).resize(
    (width, height), Image.Resampling.LANCZOS
  )
  return np.asarray(small)


def write_picture(path: pathlib.Path, picture: np.ndarray) -> None:
  """Writes `[H, W, 3]` uint8 in the format that the name ends in."""
  from PIL import Image

  Image.fromarray(picture).save(path)


def read_sound(path: pathlib.Path, limits: Limits) -> tuple[np.ndarray, int]:
  """Reads a recording as `[samples, 1 or 2]` float32, and its rate.

  Raises:
    InputError: it is none of SOUNDS, has no sound, or is too long or rich.
  """
  with open_media(path, SOUNDS) as container:
    for stream in container.streams.audio[:1]:
      if (stream.rate or 0) * (stream.channels or 0) > _MOST_SAMPLES:
        raise InputError(
          f'{stream.channels} channels of {stream.rate} Hz are too many'
        )
  samples, rate = audio.read_samples(path, end=limits.seconds + 1)
  seconds = len(samples) / rate
  if seconds > limits.seconds:
    raise InputError(
      f'the recording is longer than {limits.seconds:g} s, which is the most '
      'here: cut it first'
    )
  if samples.shape[1] > 2:
    samples = samples.mean(axis=1, keepdims=True)
  return samples, rate


def write_sound(path: pathlib.Path, samples: np.ndarray, rate: int) -> None:
  """Writes `[samples, channels]` in [-1, 1] as WAV of 16 bits."""
  values = np.round(np.clip(samples, -1, 1) * 32767).astype('<i2')
  with wave.open(os.fspath(path), 'wb') as file:
    file.setnchannels(values.shape[1])
    file.setsampwidth(2)
    file.setframerate(rate)
    file.writeframes(values.tobytes())


def copy_video(
  path: pathlib.Path, output: pathlib.Path, limits: Limits
) -> float:
  """Writes the pictures of a video anew, without its sound.

  They are at most 480 pixels high, as that is where faces are looked for, and
  go on for at most `limits.seconds`.

  Returns:
    Seconds that were copied.

  Raises:
    InputError: it is none of VIDEOS, or no picture decodes, or they are too
      many pixels.
  """
  with open_media(path, VIDEOS) as container:
    stream = best_video(container)
    # Before the first frame is decoded.
    if stream is not None and stream.width * stream.height > limits.pixels:
      raise InputError(f'{stream.width} x {stream.height} are too many pixels')
  info = video.probe(path)
  frames = video.iter_frames(
    path,
    _FPS,
    max_frames=round(_FPS * limits.seconds),
    height=min(_VIDEO_HEIGHT, info.height),
  )
  writer, count = None, 0
  try:
    for frame in frames:
      height, width = (side // 2 * 2 for side in frame.shape[:2])
      if writer is None:
        writer = VideoWriter(
          *(output, (height, width), _FPS),
          mark=False,
          sign=False,
          comment=_COMMENT,
        )
      writer.write(frame[:height, :width])
      count += 1
  except BaseException as error:
    if writer is not None:
      writer.__exit__(type(error), error, None)
    raise
  if writer is not None:
    writer.close()
  return count / _FPS
