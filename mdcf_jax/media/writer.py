"""Videos out: H.264 and AAC, under the final name only when whole."""

import contextlib
import fractions
import os
import pathlib
import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.media import audio as audio_io
from mdcf_jax.media import mark as marks
from mdcf_jax.media import provenance
from mdcf_jax.media.certificates import Certificate

# Containers that hold H.264 and AAC, as FFmpeg calls them.
FORMATS = {'.mp4': 'mp4', '.m4v': 'mp4', '.mov': 'mov', '.mkv': 'matroska'}

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_SAMPLES = 1024  # Of one AAC frame.
_COLOR = 1  # BT.709, for primaries, transfer and matrix.


def check_output(
  path: str | os.PathLike,
  inputs: Iterable[Any] = (),
  suffixes: Iterable[str] = FORMATS,
) -> pathlib.Path:
  """Returns `path`, which can be written as far as one can tell.

  Args:
    path: of a file that may exist, in a folder that need not.
    inputs: what is read; paths among it must be other files.
    suffixes: what `path` may end in.

  Raises:
    InputError: it is a directory or an input, ends in something else, or
      cannot be written.
  """
  path = pathlib.Path(path)
  if os.path.isdir(path):  # False for a name that cannot be.
    raise InputError(f'{path}: the output is a directory')
  if path.suffix.lower() not in suffixes:
    raise InputError(
      f'{path}: the output ends in none of: {", ".join(suffixes)}'
    )
  try:
    folder = path.parent
    while not folder.exists():
      folder = folder.parent
    part = _part_of(folder / path.name)
    part.open('xb').close()
    part.unlink()
    taken = path.exists() and any(
      isinstance(name, (str, os.PathLike))
      and os.path.exists(name)
      and os.path.samefile(path, name)
      for name in inputs
    )
  except (OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise InputError(f'{path}: cannot be written: {reason}') from error
  if taken:
    raise InputError(f'{path}: is an input as well; name another output')
  return path


class VideoWriter:
  """Writes frames as they come, with sound whose sample 0 is at frame 0.

    with VideoWriter('talk.mp4', 256, waveform=waveform) as writer:
      for frame in frames:
        writer.write(frame)

  The file grows as `.talk.<random>.part.mp4` in the same folder, takes its name
  when the block ends, and is removed when the block fails or is interrupted.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    resolution: int | tuple[int, int],
    fps: float = 25,
    waveform: np.ndarray | None = None,
    sample_rate: int = audio_io.SAMPLE_RATE,
    *,
    crf: int = 18,
    mark: bool = True,
    sign: bool | Certificate = True,
    comment: str | None = None,
  ):
    """Opens the file.

    Args:
      path: ends in one of FORMATS; replaced if it exists.
      resolution: side of the frames, or (height, width); even numbers.
      fps: frames a second.
      waveform: `[samples]` or `[samples, channels]` in [-1, 1], written whole;
        more than two channels are averaged. None for no sound.
      sample_rate: of `waveform` in Hz.
      crf: quality of H.264; 18 can hardly be told from the original.
      mark: put the invisible mark of generated pictures into every frame; the
        comment in the file's metadata says whether.
      sign: put a C2PA manifest into .mp4, .m4v and .mov, if `c2pa-python` is
        installed: self-signed, or by a certificate of the user's.
      comment: of the file's metadata where it is no generated video, such as a
        piece of a true one; by default it tells that it is one.

    Raises:
      InputError: `path` cannot be written, or the numbers cannot be used.
    """
    size = (resolution,) * 2 if np.ndim(resolution) == 0 else resolution
    self._height, self._width = (int(value) for value in size)
    if min(size) < 2 or self._height % 2 or self._width % 2:
      raise InputError(
        f'{path}: frames of {self._height} x {self._width} cannot be written, '
        'both sides need to be even'
      )
    self.path = check_output(path)
    self._part, self._container = _part_of(self.path), None
    self._frames, self._sent = 0, 0
    self._mark, self._certificate = mark, provenance.signer(self.path, sign)
    self._comment = provenance.label(mark) if comment is None else comment
    self._samples, self._audio, rate = None, None, sample_rate
    if waveform is not None and len(waveform):
      self._samples, rate = _prepare_audio(waveform, sample_rate)
    self._open(fps, crf, rate)

  def _open(self, fps: float, crf: int, rate: int) -> None:
    """Creates the unfinished file, and its streams."""
    import av

    try:
      self.path.parent.mkdir(parents=True, exist_ok=True)
      self._container = av.open(
        os.path.abspath(self._part),
        'w',
        format=FORMATS[self.path.suffix.lower()],
        options=self._options(rate),
      )
      self._container.metadata['comment'] = self._comment
      self._video = self._add_video(fps, crf)
      if self._samples is not None:
        self._audio = self._add_audio(rate)
      self._container.start_encoding()
    except (av.error.FFmpegError, OSError) as error:
      self._abort()
      raise self._failure(error) from error
    except BaseException:
      self._abort()
      raise

  def __enter__(self) -> 'VideoWriter':
    return self

  def __exit__(self, kind, error, traceback) -> None:
    if kind is None:
      self.close()
    else:
      self._abort()

  def write(self, frame: np.ndarray) -> None:
    """Appends one frame `[H, W, 3]` uint8 and the sound that goes with it."""
    import av

    shape = (self._height, self._width, 3)
    if frame.shape != shape or frame.dtype != np.uint8:
      raise ValueError(
        f'frame is {frame.dtype} {frame.shape}, expected uint8 {shape}'
      )
    if self._mark:
      frame = marks.embed(frame)
    picture = av.VideoFrame.from_ndarray(
      np.ascontiguousarray(frame), format='rgb24'
    ).reformat(format='yuv420p', dst_colorspace='ITU709')
    picture.pts, picture.time_base = self._frames, 1 / self._rate
    self._frames += 1
    self._mux(self._video, picture)
    if self._audio is not None:
      # In step with the picture, so that neither waits in memory.
      until = int(self._frames / self._rate * self._audio.rate)
      self._send_audio(min(until, len(self._samples)) - _AAC_SAMPLES)

  def cut(self) -> int:
    """Leaves out sound after the frames so far; returns their number.

    It is 0 where the file could not be written on.
    """
    if self._container is None:
      return 0
    if self._audio is not None:
      until = int(self._frames / self._rate * self._audio.rate)
      self._samples = self._samples[:until]
    return self._frames

  def close(self) -> None:
    """Writes what is left and gives the file its name."""
    import av

    if self._container is None:
      return
    if not self._frames:
      self._abort()
      raise InputError(f'{self.path}: there are no frames to write')
    try:
      if self._audio is not None:
        self._send_audio(len(self._samples) - 1)
        self._mux(self._audio, None)
      self._mux(self._video, None)
      self._container.close()
      self._container = None
      if self._certificate is not None:
        provenance.sign(self._part, self._certificate)
      self._part.replace(self.path)
    except (av.error.FFmpegError, OSError) as error:
      self._abort()
      raise self._failure(error) from error
    except BaseException:
      self._abort()
      raise

  def _options(self, rate: int) -> dict[str, str]:
    if FORMATS[self.path.suffix.lower()] == 'matroska':
      return {}
    # The index first, so that a browser plays while it loads; times exact to
    # the sample, so that the sound keeps its length.
    return {'movflags': '+faststart', 'movie_timescale': str(rate)}

  def _add_video(self, fps: float, crf: int):
    self._rate = fractions.Fraction(fps).limit_denominator(1001)
    stream = self._container.add_stream(
      'libx264', rate=self._rate, options={'crf': str(crf)}
    )
    stream.height, stream.width = self._height, self._width
    stream.pix_fmt = 'yuv420p'
    context = stream.codec_context
    context.time_base = 1 / self._rate
    context.color_primaries = context.color_trc = context.colorspace = _COLOR
    context.color_range = 1  # 16 to 235.
    return stream

  def _add_audio(self, rate: int):
    layout = 'stereo' if self._samples.shape[1] == 2 else 'mono'
    stream = self._container.add_stream('aac', rate=rate, layout=layout)
    stream.bit_rate = 96000 * self._samples.shape[1]
    return stream

  def _send_audio(self, last: int) -> None:
    """Encodes whole AAC frames that begin at or before sample `last`."""
    import av

    while self._sent <= last:
      piece = self._samples[self._sent : self._sent + _AAC_SAMPLES]
      frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(piece.T), 'fltp', self._audio.layout.name
      )
      frame.sample_rate = self._audio.rate
      frame.pts = self._sent
      frame.time_base = fractions.Fraction(1, self._audio.rate)
      self._sent += len(piece)
      self._mux(self._audio, frame)

  def _mux(self, stream, frame) -> None:
    """Encodes `frame` (None: the rest) and writes its packets."""
    import av

    try:
      self._container.mux(stream.encode(frame))
    except (av.error.FFmpegError, OSError) as error:
      self._abort()
      raise self._failure(error) from error

  def _abort(self) -> None:
    """Closes and removes the unfinished file."""
    import av

    container, self._container = self._container, None
    if container is not None:
      try:
        container.close()
      except (av.error.FFmpegError, OSError, ValueError):
        pass  # The disk may be full; the file goes anyway.
    with contextlib.suppress(OSError):
      self._part.unlink()

  def _failure(self, error) -> InputError:
    reason = getattr(error, 'strerror', None) or error
    return InputError(f'{self.path}: cannot be written: {reason}')


def _part_of(path: pathlib.Path) -> pathlib.Path:
  """A name that no other run takes, even for the same `path`."""
  unique = uuid.uuid4().hex[:8]
  # A name may have 255 bytes; what is added here needs some of them.
  stem = path.stem.encode()[:180].decode(errors='ignore')
  return path.with_name(f'.{stem}.{unique}.part{path.suffix}')


def _prepare_audio(waveform, rate: int) -> tuple[np.ndarray, int]:
  """Returns `[samples, 1 or 2]` float32 and its rate, such as AAC takes."""
  samples = np.asarray(waveform, np.float32)
  samples = samples[:, None] if samples.ndim == 1 else samples
  if samples.shape[1] > 2:
    samples = samples.mean(axis=1, keepdims=True)
  if rate not in _AAC_RATES:
    above = [other for other in _AAC_RATES if other > rate]
    new_rate = above[0] if above else _AAC_RATES[-1]
    columns = [audio_io.resample(c, rate, new_rate) for c in samples.T]
    samples, rate = np.stack(columns, axis=1), new_rate
  return np.clip(np.nan_to_num(samples), -1, 1), rate
