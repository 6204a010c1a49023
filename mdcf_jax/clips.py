"""What goes into a generation, and what comes out."""

import dataclasses
import os

import numpy as np

from mdcf_jax.inputs import FPS
from mdcf_jax.media.paste import Paste
from mdcf_jax.stages import Options


@dataclasses.dataclass(frozen=True)
class Clip:
  """A video to be made: all that it needs has been read and checked.

  Attributes:
    frames: of the video.
    image: `[R, R, 3]` uint8, the portrait.
    conditions: `[1, length, ...]` of what is known at first, padded to a bucket
      of lengths, and `[1, ...]` of the portrait.
    seed: of all that is drawn.
    options: of the diffusion.
    paste: puts frames back into the picture; None leaves them squares.
  """

  frames: int
  image: np.ndarray
  conditions: dict[str, np.ndarray]
  seed: int
  options: Options
  paste: Paste | None = None

  @property
  def resolution(self) -> int:
    return self.image.shape[0]

  @property
  def size(self) -> tuple[int, int]:
    """(height, width) of the frames."""
    return self.paste.size if self.paste else self.image.shape[:2]

  @property
  def kind(self) -> tuple:
    """Clips of one kind may be generated together."""
    length = self.conditions['frame_mask'].shape[1]
    return length, self.resolution, self.options, frozenset(self.conditions)


@dataclasses.dataclass(frozen=True)
class Video:
  """Frames and their sound.

  Attributes:
    frames: `[N, H, W, 3]` uint8 RGB.
    audio: `[samples, channels]` float32 in [-1, 1]; frame 0 starts with it.
    sample_rate: of the audio, in Hz.
    fps: frames a second.
  """

  frames: np.ndarray
  audio: np.ndarray
  sample_rate: int
  fps: float = FPS

  def save(self, path: str | os.PathLike) -> None:
    """Writes H.264 and AAC; `path` changes only when the file is whole.

    Raises:
      InputError: `path` cannot be written.
    """
    from mdcf_jax.media.writer import VideoWriter

    size = self.frames.shape[1:3]
    with VideoWriter(
      path, size, self.fps, self.audio, self.sample_rate
    ) as writer:
      for frame in self.frames:
        writer.write(frame)


def bucket_length(frames: int) -> int:
  """Returns the smallest of 16, 24, 32, 40, 48, 56, 64, 80, 96, 120, ... that
  is not below `frames`.

  Each is at most a half, later a quarter more than the one before: any length
  costs little more than itself, and few programs are compiled.
  """
  length = 16
  while length < frames:
    length = max(length + 8, length * 5 // 4 // 8 * 8)
  return length


def make_conditions(
  source, audio_emb, pose, blink, devices: int
) -> dict[str, np.ndarray]:
  """What is known at first, padded to a bucket of lengths.

  Args:
    source: `inputs.Source`.
    audio_emb: `[N, D]`.
    pose, blink: `[N, columns]`, or None where they are to be made.
    devices: that the length must be divisible by.

  Returns:
    `Clip.conditions`.
  """
  length = bucket_length(len(audio_emb))
  length += -length % devices
  given = {
    name: _pad(x, length)
    for name, x in (('pose', pose), ('blink', blink))
    if x is not None
  }
  return given | dict(
    audio_emb=_pad(audio_emb, length),
    source_pose=source.pose[None],
    source_blink=source.blink[None],
    face_box=source.face_box[None],
    frame_mask=_pad(np.ones(len(audio_emb), np.float32), length),
  )


def _pad(x: np.ndarray, length: int) -> np.ndarray:
  """Pads `[N, ...]` with zeros to `[1, length, ...]`."""
  pad = [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1)
  return np.pad(x, pad)[None]
