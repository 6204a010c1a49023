"""Anybody's videos as units: a folder, or the files that a table lists."""

import csv
import os
import pathlib

from mdcf_jax.errors import InputError
from mdcf_jax.prepare.units import (
  VIDEO_SUFFIXES,
  Centre,
  FaceSquare,
  Framing,
  Unit,
  safe_id,
)

FACE_SQUARE = FaceSquare()


def find_units(
  videos: pathlib.Path, framing: Framing = FACE_SQUARE
) -> list[Unit]:
  """All videos under a folder.

  The sub-folder is the identity (`anna/01.mp4` is of `anna`); a video that
  lies directly in the folder counts as a person of its own.

  Args:
    videos: searched recursively; hidden files are left out.
    framing: of every video; with `Centre` videos are taken as they are, else
      cuts and stretches of one person are looked for.
  """
  units = []
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
    units.append(_unit(path, relative.as_posix(), identity, '', framing))
  return units


def read_manifest(
  path: pathlib.Path, framing: Framing = FACE_SQUARE
) -> list[Unit]:
  """The videos that a CSV lists; rows of other kinds of file are ignored.

  Args:
    path: a CSV with the columns file (relative to the CSV) and, if known,
      identity and split ('train' or 'val').
    framing: as for `find_units`.

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
  units, split_of = [], {}
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
    units.append(_unit(path.parent / file, file, identity, split, framing))
  if len({unit.source for unit in units}) < len(units):
    raise InputError(f'{path}: a file is listed twice')
  return units


def _unit(
  path: pathlib.Path, source: str, identity: str, split: str, framing: Framing
) -> Unit:
  sound = path.with_suffix('.wav')  # Free of the delay that AAC adds.
  return Unit(
    id=safe_id(source),
    path=str(path),
    source=source,
    identity=identity,
    group=identity,
    split=split,
    framing=framing,
    search=not isinstance(framing, Centre),
    sound=str(sound) if sound.is_file() else None,
  )
