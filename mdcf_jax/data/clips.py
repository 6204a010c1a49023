"""Which videos become clips, whose they are, and in which split they go."""

import csv
import dataclasses
import hashlib
import os
import pathlib
import random
import re
from collections.abc import Iterable

from mdcf_jax.errors import InputError

VIDEO_SUFFIXES = ('.mp4', '.mov', '.mkv', '.webm', '.avi', '.m4v')


@dataclasses.dataclass(frozen=True)
class Clip:
  """One video to prepare; `split` is '' when it is yet to be drawn."""

  path: str
  source: str  # Path relative to the folder: what the record remembers.
  identity: str
  split: str

  @property
  def id(self) -> str:
    """A file name that no other clip of the folder has."""
    stem = re.sub(r'[^\w.-]+', '_', os.path.splitext(self.source)[0])
    # Two different sources may give the same safe name.
    digest = hashlib.sha256(self.source.encode()).hexdigest()[:6]
    # A name may have 255 bytes, not characters.
    stem = stem.encode()[-80:].decode(errors='ignore')
    return f'{stem}-{digest}'.lstrip('-.')


def find_clips(videos: pathlib.Path) -> list[Clip]:
  """All videos under a folder.

  The sub-folder is the identity (`anna/01.mp4` is of `anna`); a video that
  lies directly in the folder counts as a person of its own.
  """
  clips = []
  for path in sorted(videos.rglob('*')):
    if path.suffix.lower() not in VIDEO_SUFFIXES or not path.is_file():
      continue
    if path.name.startswith('.'):
      continue  # macOS resource forks, partial downloads.
    # A name that is no UTF-8 could not be stored.
    name = os.fsencode(path.relative_to(videos)).decode(
      errors='backslashreplace'
    )
    relative = pathlib.PurePath(name)
    parts = relative.parts
    identity = parts[0] if len(parts) > 1 else relative.stem
    clips.append(Clip(str(path), relative.as_posix(), identity, ''))
  return clips


def read_manifest(path: pathlib.Path) -> list[Clip]:
  """The videos that a CSV lists; rows of other kinds of file are ignored.

  Raises:
    InputError: no such file, not such a CSV, or an identity in two splits.
  """
  try:
    # Excel begins its CSV with a byte order mark.
    with open(path, newline='', encoding='utf-8-sig') as f:
      rows = list(csv.DictReader(f))
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise InputError(f'{path}: not a readable CSV ({error})') from error
  if not rows or 'file' not in rows[0]:
    raise InputError(f'{path}: no column "file"')
  clips, split_of = [], {}
  for row in rows:
    file = row['file'] or ''
    if not file.lower().endswith(VIDEO_SUFFIXES):
      continue
    identity = row.get('identity') or pathlib.PurePath(file).stem
    split = row.get('split') or ''
    if split not in ('', 'train', 'val'):
      raise InputError(f'{path}: {file}: split {split!r} is not train or val')
    if split_of.setdefault(identity, split) != split:
      raise InputError(f'{path}: {identity} is in more than one split')
    clips.append(Clip(str(path.parent / file), file, identity, split))
  if len({clip.source for clip in clips}) < len(clips):
    raise InputError(f'{path}: a file is listed twice')
  return clips


def assign_splits(
  clips: Iterable[Clip], val_fraction: float, seed: int
) -> dict[str, list[Clip]]:
  """Divides clips into 'train' and 'val' by identity.

  Clips that have a split keep it. Of the other identities, a seeded draw takes
  `val_fraction` for validation: at least one when there are two. A lone
  person's clips are divided among themselves, and a lone clip is in both.
  """
  clips = list(clips)
  splits = {
    split: [clip for clip in clips if clip.split == split]
    for split in ('train', 'val')
  }
  open_clips = [clip for clip in clips if not clip.split]
  if not open_clips or val_fraction == 0:
    return {**splits, 'train': splits['train'] + open_clips}
  names = sorted({clip.identity for clip in open_clips})
  group = {clip: clip.identity for clip in open_clips}
  if len(names) == 1 and not splits['val'] and not splits['train']:
    group = {clip: clip.id for clip in open_clips}
    names = sorted(group.values())
  if len(names) == 1 and not any(splits.values()):
    return {'train': open_clips, 'val': open_clips}
  random.Random(seed).shuffle(names)
  num_val = max(1, round(val_fraction * len(names)))
  if len(names) == 1:
    num_val = 0 if splits['val'] else 1
  val_names = set(names[:num_val])
  for clip in open_clips:
    splits['val' if group[clip] in val_names else 'train'].append(clip)
  return splits
