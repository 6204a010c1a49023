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
from mdcf_jax.prepare.videos import find_videos, sound_beside, stored_name

FACE_SQUARE = FaceSquare()


def find_units(
  videos: pathlib.Path, framing: Framing = FACE_SQUARE
) -> list[Unit]:
  """All videos under a folder.

  The sub-folder is the identity (`anna/01.mp4` is of `anna`); a video that
  lies directly in the folder counts as a person of its own.

  Args:
    videos: searched recursively, as `find_videos` does: hidden files and
      folders are left out and linked folders are not followed.
    framing: of every video; with `Centre` videos are taken as they are, else
      cuts and stretches of one person are looked for.
  """
  units = []
  for path in find_videos(videos):
    relative = pathlib.PurePath(stored_name(path.relative_to(videos)))
    parts = relative.parts
    identity = parts[0] if len(parts) > 1 else relative.stem
    units.append(_unit(path, relative.as_posix(), identity, '', framing))
  return units


def read_manifest(
  path: pathlib.Path, framing: Framing = FACE_SQUARE
) -> list[Unit]:
  """The videos that a CSV lists; rows of other kinds of file are ignored.

  A file that is not there is a unit as well, which gives the reason later.

  Args:
    path: a CSV with the columns file (relative to the CSV) and, if known,
      identity and split ('train' or 'val'), among any others.
    framing: as for `find_units`.

  Raises:
    InputError: no such file, not such a CSV, no rows, a file that is listed
      twice, or an identity in two splits.
  """
  units, seen, split_of = [], set(), {}
  for row in _read_rows(path):
    file = row['file']
    if not file.lower().endswith(VIDEO_SUFFIXES):
      continue
    identity = row.get('identity') or pathlib.PurePath(file).stem
    split = row.get('split', '')
    if split not in ('', 'train', 'val'):
      raise InputError(f'{path}: {file}: split {split!r} is not train or val')
    if split_of.setdefault(identity, split) != split:
      raise InputError(f'{path}: {identity} is in more than one split')
    place = os.path.realpath(path.parent / file)
    if place in seen:
      raise InputError(f'{path}: {file} is listed twice')
    seen.add(place)
    units.append(_unit(path.parent / file, file, identity, split, framing))
  return units


def _read_rows(path: pathlib.Path) -> list[dict[str, str]]:
  """The rows of a CSV with a column `file`, by the columns' names."""
  try:
    # Excel begins its CSV with a byte order mark.
    with open(path, newline='', encoding='utf-8-sig') as f:
      lines = [[cell.strip() for cell in line] for line in csv.reader(f)]
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise InputError(f'{path}: not a readable CSV ({error})') from error
  lines = [line for line in lines if any(line)]
  header = [name.casefold() for name in lines[0]] if lines else []
  if 'file' not in header:
    raise InputError(f'{path}: no column "file"')
  if len(lines) == 1:
    raise InputError(f"{path}: there are no rows below the columns' names")
  if any('\0' in cell for line in lines for cell in line):
    raise InputError(f'{path}: not a readable CSV (it has zero bytes)')
  blank = dict.fromkeys(header, '')
  return [blank | dict(zip(header, line)) for line in lines[1:]]


def _unit(
  path: pathlib.Path, source: str, identity: str, split: str, framing: Framing
) -> Unit:
  return Unit(
    id=safe_id(source),
    path=str(path),
    source=source,
    identity=identity,
    group=identity,
    split=split,
    framing=framing,
    search=not isinstance(framing, Centre),
    sound=sound_beside(path),  # Free of the delay that AAC adds.
  )
