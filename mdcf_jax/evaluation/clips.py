"""Clips of an evaluation: found, decoded once, never all in memory."""

import dataclasses
import functools
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mdcf_jax.errors import InputError, NoScore
from mdcf_jax.media import audio, download, video
from mdcf_jax.metrics.protocol import Protocol

SUFFIXES = '.mp4', '.mov', '.mkv', '.webm', '.avi', '.m4v', '.flv', '.ts'
CHUNK = 32  # Frames that are worked on at once.


@dataclasses.dataclass(frozen=True)
class Item:
  """A clip to score, or a pair of them.

  Attributes:
    name: path in the folder, without its suffix.
    real, fake: files; None where that side has no such clip.
  """

  name: str
  real: pathlib.Path | None
  fake: pathlib.Path | None


def find_items(
  real: str | os.PathLike, fake: str | os.PathLike, paired: bool
) -> list[Item]:
  """Lists the clips of both folders, by name.

  Args:
    real, fake: folders; clips may lie in folders in them.
    paired: clips of one name are one item; else all are items of their own.

  Raises:
    InputError: no such folder, no clips in it, two of one name in a folder, or
      no name that both have where they are to be paired.
  """
  ours, theirs = _list(fake), _list(real)
  if not paired:
    items = [Item(name, path, None) for name, path in theirs.items()]
    return items + [Item(name, None, path) for name, path in ours.items()]
  if not ours.keys() & theirs.keys():
    raise InputError(
      f'{real} and {fake} have no clip of one name; --unpaired compares them '
      'as sets'
    )
  names = sorted(ours.keys() | theirs.keys())
  return [Item(name, theirs.get(name), ours.get(name)) for name in names]


def _list(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
  """Name -> file of the clips of a folder, sorted."""
  folder, found = pathlib.Path(folder), {}
  if not folder.is_dir():
    raise InputError(f'{folder}: there is no such folder')
  for path in sorted(folder.rglob('*')):
    inside = path.relative_to(folder)
    hidden = any(part.startswith('.') for part in inside.parts)
    if path.suffix.lower() not in SUFFIXES or hidden or not path.is_file():
      continue
    name = inside.with_suffix('').as_posix()
    if name in found:
      raise InputError(f'{found[name]} and {path} have one name')
    found[name] = path
  if not found:
    raise InputError(
      f'{folder}: there are no clips in it ({", ".join(SUFFIXES)})'
    )
  return found


def spool(frames: Iterable[np.ndarray], size: int) -> np.ndarray:
  """Puts frames into a file without a name and maps it.

  So a clip of any length can be read in any order and more than once, and the
  memory that it takes can be taken back at any time.

  Args:
    frames: `[size, size, 3]` uint8.
    size: pixels of a side.

  Returns:
    `[T, size, size, 3]` uint8, read only; T may be 0.

  Raises:
    InputError: there is no room for it.
  """
  try:
    with tempfile.TemporaryFile(prefix='mdcf') as file:
      count = 0
      for frame in frames:
        file.write(np.ascontiguousarray(frame).data)
        count += 1
      file.flush()
      if not count:
        return np.zeros((0, size, size, 3), np.uint8)
      return np.memmap(file, np.uint8, 'r', shape=(count, size, size, 3))
  except OSError as error:
    raise InputError(
      f'{tempfile.gettempdir()}: no frames can be kept there ({error})'
    ) from error


class Clip:
  """One video, brought to the protocol's size and rate.

  Attributes:
    path: the file.
    name: of its item.
    memo: results that others keep with the clip.
  """

  def __init__(self, path: pathlib.Path, name: str, protocol: Protocol):
    self.path = path
    self.name = name
    self.memo: dict[Any, Any] = {}
    self._protocol = protocol

  @functools.cached_property
  def sha256(self) -> str:
    """Of the file.

    Raises:
      InputError: it cannot be read.
    """
    try:
      return download.file_sha256(self.path)
    except OSError as error:
      raise InputError(
        f'{self.path}: cannot be read: {error.strerror}'
      ) from error

  @functools.cached_property
  def frames(self) -> np.ndarray:
    """`[T, size, size, 3]` uint8, T at least 1.

    Raises:
      InputError: nothing can be decoded.
    """
    size = self._protocol.size
    frames = video.iter_frames(self.path, self._protocol.fps, size)
    return spool(frames, size)

  @functools.cached_property
  def waveform(self) -> np.ndarray:
    """`[samples]` in [-1, 1] at 16 kHz, from the first frame on.

    Raises:
      NoScore: there is no sound.
    """
    waveform = audio.read_video_audio(self.path)
    if waveform is None or not len(waveform):
      raise NoScore('there is no sound in the file')
    return waveform

  def close(self) -> None:
    """Gives the frames back."""
    self.__dict__.pop('frames', None)
    self.memo.clear()


def chunks(
  *clips: Sequence[np.ndarray], skip: int = 0, overlap: int = 0
) -> Iterator[tuple[np.ndarray, ...]]:
  """Yields parts of clips that are cut to the shortest, CHUNK frames each.

  Args:
    *clips: `[T, H, W, 3]`.
    skip: frames to leave out at the start.
    overlap: frames that a part shares with the one before.
  """
  length = min(len(clip) for clip in clips)
  for start in range(skip, length - overlap, CHUNK):
    stop = min(start + CHUNK + overlap, length)
    yield tuple(np.asarray(clip[start:stop]) for clip in clips)
