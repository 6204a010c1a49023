"""A stretch of a video in the lengths of records: pictures and sound."""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np

from mdcf_jax import speech
from mdcf_jax.data import records
from mdcf_jax.media import audio, video
from mdcf_jax.prepare import tracks
from mdcf_jax.prepare.units import Unit

MAX_FRAMES = 500  # Longer stretches become several records of 20 s.
MAX_HOLD = 0.5  # Seconds that one picture may be shown.
_MAX_PADDING = 12  # Frames that sound may be shorter than the picture.
_MUTED = 1e-4  # Of full scale.

Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the records of a dataset are made with.

  Attributes:
    resolution: side of the frames, in pixels.
    min_seconds: shorter stretches are dropped.
    min_face: least height of the face, in pixels of the video.
    min_sharpness: see `quality.sharpness`; 0 keeps all.
    face_model: MediaPipe's file; None searches for it.
    hubert: weights of HuBERT, for its features beside log-mel.
  """

  resolution: int = 256
  min_seconds: float = 1.0
  min_face: int = 64
  min_sharpness: float = 0.005
  face_model: str | None = None
  hubert: str | None = None

  @property
  def min_frames(self) -> int:
    return max(1, round(self.min_seconds * records.FPS))


@dataclasses.dataclass(frozen=True)
class Piece:
  """Up to MAX_FRAMES frames, in the square, with what is heard meanwhile.

  Attributes:
    start, end: seconds after the first frame of the video.
    frames: `[T, R, R, 3]` uint8.
    waveform: `[640 T]` float32; empty without sound.
    features: of the sound, by their keys in a record.
  """

  start: float
  end: float
  frames: np.ndarray
  waveform: np.ndarray
  features: dict[str, np.ndarray]

  @property
  def frame(self) -> np.ndarray:
    return self.frames[len(self.frames) // 2]


def read_pieces(
  unit: Unit,
  stretch: tracks.Stretch,
  box: Box | None,
  settings: Settings,
  info: video.VideoInfo,
) -> Iterator[Piece]:
  """Yields the pieces of a stretch, of about one length where it is known.

  A record is read as a whole, and so is a piece here: the pictures of neither
  may grow with the length of the video.
  """
  waveform = _read_sound(unit, stretch)
  encode = speech.of_pieces(waveform, settings.hubert)
  silent = speech.of_pieces(waveform[:0], settings.hubert)
  stream = video.iter_frames(
    unit.path,
    records.FPS,
    settings.resolution,
    start=stretch.start,
    end=stretch.end,
    box=box,
    max_hold=MAX_HOLD,
  )
  size = _piece_size(stretch, info)
  for first in itertools.count(step=size):
    frames = list(itertools.islice(stream, size))
    if not frames:
      return
    rows = slice(first, first + len(frames))
    sound = _cut_sound(waveform, rows)
    yield Piece(
      start=stretch.start + rows.start / records.FPS,
      end=stretch.start + rows.stop / records.FPS,
      frames=np.stack(frames),
      waveform=sound,
      features=(encode if len(sound) else silent)(sound, rows),
    )


def _piece_size(stretch: tracks.Stretch, info: video.VideoInfo) -> int:
  """Frames of each piece, so that no short rest is left."""
  end = stretch.end or info.duration
  if not end:
    return MAX_FRAMES
  count = max(1, round((end - stretch.start) * records.FPS))
  return math.ceil(count / math.ceil(count / MAX_FRAMES))


def _cut_sound(waveform: np.ndarray, frames: slice) -> np.ndarray:
  """The sound of frames `[640 T]`; empty if it is missing or muted."""
  samples = records.SAMPLES_PER_FRAME
  sound = waveform[frames.start * samples : frames.stop * samples]
  missing = (frames.stop - frames.start) * samples - len(sound)
  # Sound and picture of a file rarely end at the same instant; but a mouth
  # that speaks into silence teaches what is wrong.
  if missing > _MAX_PADDING * samples or not np.any(np.abs(sound) > _MUTED):
    return sound[:0]
  return np.pad(sound, (0, missing))


def _read_sound(unit: Unit, stretch: tracks.Stretch) -> np.ndarray:
  """What is heard in a stretch, `[samples]`; empty for a silent video."""
  read = audio.read_audio if unit.sound else audio.read_video_audio
  waveform = read(unit.sound or unit.path, start=stretch.start, end=stretch.end)
  return np.zeros(0, np.float32) if waveform is None else waveform
