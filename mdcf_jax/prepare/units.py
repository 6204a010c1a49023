"""A unit: a stretch of one video, which preparation turns into records.

Each collection lists its videos as units; everything after that is the same
for all. Times are in seconds after the video's first frame.
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Callable, Iterable

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
  units: Iterable[Unit],
  val_fraction: float,
  seed: int,
  kept: Callable[[Unit], bool] = lambda _: True,
) -> dict[str, list[Unit]]:
  """Divides the units that are kept into 'train' and 'val' by their groups.

  Units that have a split keep it. Of the other groups, a seeded draw takes
  `val_fraction` for validation, but neither none nor all when there are two.
  It draws of all units, so that who is left out decides nothing for the rest.
  The units of a lone group are divided among themselves, and a lone unit is in
  both.
  """
  units = list(units)
  drawn = [unit for unit in units if not unit.split]
  units = [unit for unit in units if kept(unit)]
  splits = {
    split: [unit for unit in units if unit.split == split]
    for split in ('train', 'val')
  }
  open_units = [unit for unit in units if not unit.split]
  if not open_units or val_fraction == 0:
    return {**splits, 'train': splits['train'] + open_units}
  group = {unit.id: unit.group for unit in drawn}
  alone = len({group[unit.id] for unit in open_units}) == 1
  if alone and not any(splits.values()):
    if len(open_units) == 1:
      return {'train': open_units, 'val': open_units}
    group = {unit.id: unit.id for unit in open_units}
    alone = False
  ranked = sorted(set(group.values()), key=lambda name: _draw(seed, name))
  val_names = set(ranked[: max(1, round(val_fraction * len(ranked)))])
  present = {group[unit.id] for unit in open_units}
  present = [name for name in ranked if name in present]
  if alone:
    val_names = set() if splits['val'] else set(present)
  elif not val_names & set(present):
    val_names = {present[0]}
  elif val_names >= set(present):
    val_names = set(present[:-1])
  for unit in open_units:
    splits['val' if group[unit.id] in val_names else 'train'].append(unit)
  return splits


def _draw(seed: int, name: str) -> bytes:
  """A number that a name has whichever others there are."""
  return hashlib.sha256(f'{seed} {name}'.encode()).digest()
