"""A unit: a stretch of one video, which preparation turns into records.

Each collection lists its videos as units; everything after that is the same
for all. Times are in seconds after the video's first frame.
"""

import dataclasses
import hashlib
import os
import random
import re
from collections.abc import Iterable

VIDEO_SUFFIXES = '.mp4', '.mov', '.mkv', '.webm', '.avi', '.m4v', '.flv', '.ts'


@dataclasses.dataclass(frozen=True)
class Centre:
  """The largest square in the middle of the picture."""


@dataclasses.dataclass(frozen=True)
class Window:
  """A fixed window of the picture.

  Attributes:
    x, y, width, height: pixels of the upright picture.
    of_height: the height that the picture has in those pixels.
  """

  x: float
  y: float
  width: float
  height: float
  of_height: int


@dataclasses.dataclass(frozen=True)
class FaceSquare:
  """The square over the face boxes of all frames, `ratio` times as large."""

  ratio: float = 1.6


Framing = Centre | Window | FaceSquare


@dataclasses.dataclass(frozen=True)
class Unit:
  """One piece of work, which gives records or the reason why not.

  Attributes:
    id: a file name that no other unit of the collection has.
    path: the video.
    source: what the records remember of it, such as its path in the folder.
    identity: whose face it is.
    group: what a drawn split keeps together.
    split: 'train' or 'val'; '' when it is yet to be drawn.
    start, end: the stretch, in seconds; `end` None is the end of the video.
    framing: how the square is chosen.
    search: whether to look for cuts and for stretches of one person first.
    sound: a file with the video's sound, from the first frame on, if it is
      not to be taken from the video itself.
  """

  id: str
  path: str
  source: str
  identity: str
  group: str
  split: str = ''
  start: float = 0.0
  end: float | None = None
  framing: Framing = FaceSquare()
  search: bool = False
  sound: str | None = None


def safe_id(source: str) -> str:
  """A file name for a path, different for different paths."""
  stem = re.sub(r'[^\w.-]+', '_', os.path.splitext(source)[0])
  # Two different sources may give the same safe name.
  digest = hashlib.sha256(source.encode()).hexdigest()[:6]
  # A name may have 255 bytes, not characters.
  stem = stem.encode()[-80:].decode(errors='ignore')
  return f'{stem}-{digest}'.lstrip('-.')


def assign_splits(
  units: Iterable[Unit], val_fraction: float, seed: int
) -> dict[str, list[Unit]]:
  """Divides units into 'train' and 'val' by their groups.

  Units that have a split keep it. Of the other groups, a seeded draw takes
  `val_fraction` for validation: at least one when there are two. The units of
  a lone group are divided among themselves, and a lone unit is in both.
  """
  units = list(units)
  splits = {
    split: [unit for unit in units if unit.split == split]
    for split in ('train', 'val')
  }
  open_units = [unit for unit in units if not unit.split]
  if not open_units or val_fraction == 0:
    return {**splits, 'train': splits['train'] + open_units}
  group = {unit.id: unit.group for unit in open_units}
  if len(set(group.values())) == 1 and not any(splits.values()):
    group = {unit.id: unit.id for unit in open_units}
  names = sorted(set(group.values()))
  if len(names) == 1 and not any(splits.values()):
    return {'train': open_units, 'val': open_units}
  random.Random(seed).shuffle(names)
  num_val = max(1, round(val_fraction * len(names)))
  if len(names) == 1:
    num_val = 0 if splits['val'] else 1
  val_names = set(names[:num_val])
  for unit in open_units:
    splits['val' if group[unit.id] in val_names else 'train'].append(unit)
  return splits
