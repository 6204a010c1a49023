"""Videos small enough to lie in a page: H.264 and AAC, which browsers play."""

import base64
import dataclasses
import io
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.media import audio, video
from mdcf_jax.media.writer import VideoWriter

FPS = 25
SAMPLE_RATE = audio.SAMPLE_RATE
QUALITIES = (24, 28, 32, 36, 40)  # Of H.264, the best first.


@dataclasses.dataclass(frozen=True)
class Small:
  """A video for a page.

  Attributes:
    content: of an .mp4 file.
    seconds: of it.
    crf: its quality.
  """

  content: bytes
  seconds: float
  crf: int

  @property
  def uri(self) -> str:
    """An address that needs no file."""
    return 'data:video/mp4;base64,' + base64.b64encode(self.content).decode()


def read(
  path: pathlib.Path, size: int, seconds: float
) -> tuple[np.ndarray, np.ndarray | None]:
  """The start of a clip: frames `[T, size, size, 3]`, and its sound or None.

  Raises:
    InputError: no video.
  """
  frames = np.stack(
    list(video.iter_frames(path, FPS, size, max(round(FPS * seconds), 1)))
  )
  waveform = audio.read_video_audio(path)
  if waveform is not None:
    waveform = waveform[: len(frames) * SAMPLE_RATE // FPS]
  return frames, waveform


def encode(
  frames: np.ndarray,
  waveform: np.ndarray | None,
  max_bytes: int,
  *,
  mark: bool,
  comment: str | None = None,
) -> Small:
  """Encodes a clip, as well as it can be within a size.

  First the quality is lowered, then the end is left out.

  Args:
    frames: `[T, H, W, 3]` uint8, even sides.
    waveform: `[samples]` at 16 kHz, None for no sound.
    max_bytes: of the file; a clip of one second is never too large.
    mark, comment: of `VideoWriter`.
  """
  while True:
    for crf in QUALITIES:
      content = encode_at(crf, frames, waveform, mark=mark, comment=comment)
      if len(content) <= max_bytes:
        break
    if len(content) <= max_bytes or len(frames) <= FPS:
      return Small(content, len(frames) / FPS, crf)
    frames = frames[: max(len(frames) // 2, FPS)]
    if waveform is not None:
      waveform = waveform[: len(frames) * SAMPLE_RATE // FPS]


def encode_at(
  crf: int,
  frames: np.ndarray,
  waveform: np.ndarray | None,
  *,
  mark: bool,
  comment: str | None = None,
) -> bytes:
  """The .mp4 file of a clip at one quality; arguments as of `encode`."""
  with tempfile.TemporaryDirectory(prefix='mdcf') as folder:
    path = pathlib.Path(folder) / 'clip.mp4'
    with VideoWriter(
      path,
      frames.shape[1:3],
      FPS,
      waveform,
      SAMPLE_RATE,
      crf=crf,
      mark=mark,
      sign=False,  # A manifest is of a file, and this is none of its own.
      comment=comment,
    ) as writer:
      for frame in frames:
        writer.write(frame)
    return path.read_bytes()


def picture_uri(
  picture: np.ndarray, kind: str = 'JPEG', quality: int = 82
) -> str:
  """A picture `[H, W, 3]` uint8 as an address that needs no file."""
  from PIL import Image

  buffer = io.BytesIO()
  options = dict(quality=quality) if kind == 'JPEG' else {}
  Image.fromarray(picture).save(buffer, kind, optimize=True, **options)
  text = base64.b64encode(buffer.getvalue()).decode()
  return f'data:image/{kind.lower()};base64,{text}'


def common(folders: Sequence[dict[str, pathlib.Path]]) -> list[str]:
  """Names of clips that all folders have, sorted.

  Raises:
    InputError: there is none.
  """
  names = set(folders[0]).intersection(*folders[1:])
  if not names:
    raise InputError('the folders have no clip of one name')
  return sorted(names)
