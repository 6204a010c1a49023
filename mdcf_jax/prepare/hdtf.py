"""HDTF: downloaded originals and the authors' lists, as units.

The dataset is 362 addresses and the lists that say what to cut out of the
videos; downloading them is the user's. There are two ways to crop, both the
authors': a fixed window at the resolution that they had, and a square over the
face in all of the clip, times a ratio.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable

from mdcf_jax.errors import InputError
from mdcf_jax.prepare import hdtf_lists
from mdcf_jax.prepare.hdtf_lists import Clip, Lists, Odd
from mdcf_jax.prepare.units import FaceSquare, Framing, Unit
from mdcf_jax.prepare.videos import find_videos, stored_name

WAYS = 'window', 'ratio'
RATIO = 1.2  # Of nearly all clips in the lists.

_VIDEO_ID = re.compile(r'(?:[?&]v=|youtu\.be/|/shorts/)([\w-]{11})')


@dataclasses.dataclass(frozen=True)
class Listing:
  """What there is to prepare.

  Attributes:
    units: one for each clip whose video is there.
    missing: (what to name the file, where it is to be had) of each video that
      is not; the address is '' where the lists have none.
    odd: rows of the lists that are not as they should be, and files that are
      there twice.
  """

  units: list[Unit]
  missing: list[tuple[str, str]]
  odd: list[Odd]


def find_units(
  videos: str | os.PathLike,
  lists: str | os.PathLike,
  way: str = 'window',
  *,
  ratio: float = RATIO,
  fixed_list: str | os.PathLike | None = None,
) -> Listing:
  """Lists the clips of the videos that are there.

  A video is NAME with any suffix of videos, in a folder or folders below, with
  or without the series before it (RD_NAME.mp4), or has the id of its address
  for a name. Clip k of it becomes unit NAME_k. Its identity is the name without
  the number at the end, as AdamKinzinger0, 1 and 2 are one person; names such
  as Radio11 are of a series and each a person's. Two names for one address are
  one video, whose clips are taken once.

  Args:
    videos: folder of the originals.
    lists: folder of the authors' lists.
    way: to crop: 'window', or 'ratio' for the square over the face. A clip
      without a window that can be used has the square in both.
    ratio: of clips without one.
    fixed_list: a text file with a name of a video or of a clip in each row,
      these are split 'val' and all others 'train'. A second word, 'train' or
      'test' say, changes that for its row.

  Raises:
    InputError: a folder is missing, or a list cannot be used at all.
    ValueError: another way.
  """
  if way not in WAYS:
    raise ValueError(f'way is {way!r}, not one of {", ".join(WAYS)}')
  lists = pathlib.Path(lists)
  read = hdtf_lists.read_lists(lists)
  videos = pathlib.Path(videos)
  odd = list(read.odd)
  first = _first_names(read)
  clips = _without_overlaps(read.clips, first, odd)
  splits = _read_splits(fixed_list, clips, first, odd)
  files = _find_files(videos, read, first, odd)

  units, missing = [], {}
  for clip in clips:
    video = first[clip.name]
    if video not in files:
      missing[f'{video}.mp4'] = read.addresses[video]
      continue
    source = stored_name(files[video].relative_to(videos))
    window = clip.window if way == 'window' else None
    framing = window or FaceSquare(clip.ratio or ratio)
    split = splits.get(clip.id, '')
    units.append(_unit(clip, files[video], source, video, split, framing))
  return Listing(units, list(missing.items()), odd)


def format_missing(missing: Iterable[tuple[str, str]]) -> list[str]:
  """Formats what is missing as lines 'NAME.mp4  https://...'."""
  missing = list(missing)
  width = max((len(name) for name, _ in missing), default=0)
  return [
    f'{name:{width}}  {address or "(no address in the lists)"}'
    for name, address in missing
  ]


def format_odd(odd: Iterable[Odd]) -> list[str]:
  """Formats odd rows as lines 'RD_crop_wh.txt:12: what it is'."""
  return [
    f'{file}:{line}: {what}' if line else f'{file}: {what}'
    for file, line, what in odd
  ]


def identity_of(name: str) -> str:
  """Whose face a video shows, as far as its name tells.

  A number tells several videos of a person apart, but for series of numbers,
  whose videos are each another person's.
  """
  stem = name.rstrip('0123456789')
  return name if stem in ('', 'Radio') else stem


def _unit(
  clip: Clip,
  path: pathlib.Path,
  source: str,
  video: str,
  split: str,
  framing: Framing,
) -> Unit:
  return Unit(
    id=clip.id,
    path=str(path),
    source=source,
    identity=identity_of(video),
    group=video,
    split=split,
    start=clip.start,
    end=clip.end,
    framing=framing,
  )


def _first_names(read: Lists) -> dict[str, str]:
  """Maps each name to the first that has its address."""
  seen, first = {}, {}
  for name, address in read.addresses.items():
    match = _VIDEO_ID.search(address)
    key = match[1] if match else address or name
    first[name] = seen.setdefault(key, name)
  return first


def _without_overlaps(
  clips: list[Clip], first: dict[str, str], odd: list[Odd]
) -> list[Clip]:
  """Leaves out what another name of the same video has already."""
  kept: dict[str, list[Clip]] = {}
  for clip in clips:
    others = kept.setdefault(first[clip.name], [])
    if any(clip.start < k.end and k.start < clip.end for k in others):
      other = first[clip.name]
      text = f'{clip.id} is in {other}, of the same address, and is left out'
      odd.append(Odd(*clip.place, text))
    else:
      others.append(clip)
  chosen = {clip.id for others in kept.values() for clip in others}
  return [clip for clip in clips if clip.id in chosen]


def _find_files(
  folder: pathlib.Path, read: Lists, first: dict[str, str], odd: list[Odd]
) -> dict[str, pathlib.Path]:
  """Maps the first name of each video that is there to its file."""
  if not os.path.isdir(folder):
    raise InputError(f'{folder}: there is no such folder of videos')
  names = {}
  for clip in read.clips:
    names[clip.name] = names[f'{clip.series}_{clip.name}'] = clip.name
    match = _VIDEO_ID.search(read.addresses[clip.name])
    if match:
      names.setdefault(match[1], clip.name)
  files: dict[str, pathlib.Path] = {}
  for path in find_videos(folder):
    name = names.get(path.stem)
    if not name:
      continue
    if name in files:
      text = f'{name} is there already: {stored_name(files[name])} is taken'
      odd.append(Odd(stored_name(path), 0, text))
    else:
      files[name] = path
  # Of a video's files, that of its first name is the last to be set.
  return {first[name]: files[name] for name in reversed(first) if name in files}


def _read_splits(
  path: str | os.PathLike | None,
  clips: list[Clip],
  first: dict[str, str],
  odd: list[Odd],
) -> dict[str, str]:
  """Reads the fixed list: {clip id: 'train' or 'val'}; {} without one."""
  if path is None:
    return {}
  path = pathlib.Path(path)
  words = {'': 'val', 'val': 'val', 'test': 'val', 'train': 'train'}
  splits, matched = {clip.id: 'train' for clip in clips}, False
  for line, name, rest in hdtf_lists.read_rows(path):
    ids = _named(pathlib.PurePosixPath(name).name, clips, first)
    if rest.lower() not in words:
      odd.append(Odd(path.name, line, f'{rest[:80]!r} is no split'))
    elif not ids:
      odd.append(Odd(path.name, line, f'no clip or video has the name {name}'))
    else:
      matched = True
      splits.update((each, words[rest.lower()]) for each in ids)
  if not matched:
    raise InputError(f'{path}: line 1: no row names a clip or video of HDTF')
  both = {}
  for clip in clips:
    both.setdefault(first[clip.name], set()).add(splits[clip.id])
  for video, found in both.items():
    if len(found) > 1:
      odd.append(Odd(path.name, 0, f'{video} has clips in both splits'))
  return splits


def _named(name: str, clips: list[Clip], first: dict[str, str]) -> list[str]:
  """Ids of the clips that a name stands for: a video's or a clip's own."""
  found = []
  for clip in clips:
    for split in {hdtf_lists.split_clip(name, s) for s in ('', clip.series)}:
      video, number = split
      if first.get(video) == first[clip.name] and number is None:
        found.append(clip.id)
      elif (video, number) == (clip.name, clip.number):
        found.append(clip.id)
  return found
