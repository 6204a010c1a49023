"""VoxCeleb2: its folders of clips, as units.

`dev/mp4/id00012/21Uxsk56VDQ/00001.mp4`: part, kind, person, video, clip. The
clips are square crops of one face already. Sound is in them, or beside them in
`dev/aac/id00012/21Uxsk56VDQ/00001.m4a`.

https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html
"""

import os
import pathlib
import random

from mdcf_jax.errors import InputError
from mdcf_jax.prepare.units import Centre, Unit

NUM_VAL = 400  # Random videos that the paper evaluates on.

_PARTS = {'dev': 'train', 'test': 'val'}
_PERSON = 'id[0-9]*'
_VIDEO_SUFFIXES = '.mp4', '.mkv', '.webm', '.mov', '.avi'
_SOUND_FOLDERS = 'aac', 'm4a', 'wav'
_SOUND_SUFFIXES = '.m4a', '.aac', '.wav', '.flac', '.mp4'


def find_units(
  folder: str | os.PathLike,
  *,
  num_val: int | None = NUM_VAL,
  num_train: int | None = None,
  seed: int = 0,
) -> list[Unit]:
  """Lists the clips below a folder.

  Args:
    folder: has `dev`, `test` or both, each with or without the level `mp4`; or
      is one of these; or has the persons themselves, which are then of `dev`.
    num_val, num_train: so many random clips of `test` and `dev`; None is all.
    seed: of what is random. The same clips are drawn wherever the folder is.

  Returns:
    Units in the order of their names: `dev` is split 'train', `test` is 'val'.

  Raises:
    InputError: the folder is missing or there is no such clip in it.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise InputError(f'{folder}: there is no such folder')
  units = []
  for part, root in _find_parts(folder):
    found = _find_clips(folder, part, root)
    count = num_train if part == 'dev' else num_val
    if count is not None and count < len(found):
      found = random.Random(f'{seed} {part}').sample(found, count)
    units += sorted(found, key=lambda unit: unit.id)
  if not units:
    raise InputError(
      f'{folder}: there are no clips dev/mp4/id00012/21Uxsk56VDQ/00001.mp4 or '
      'test/mp4/...'
    )
  return units


def _find_parts(folder: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
  """Finds ('dev' or 'test', folder of the part)."""
  below = [(part, folder / part) for part in _PARTS]
  below = [(part, path) for part, path in below if path.is_dir()]
  if below:
    return below
  # The folder itself is a part, or its `mp4`.
  root = folder.resolve()
  if root.name in ('mp4', 'video'):
    root, folder = root.parent, folder.parent if folder.name else root.parent
  return [(root.name if root.name in _PARTS else 'dev', root)]


def _find_clips(
  folder: pathlib.Path, part: str, root: pathlib.Path
) -> list[Unit]:
  """Lists all clips of a part, in order of their names."""
  persons = root / 'mp4' if (root / 'mp4').is_dir() else root
  units = []
  for path in sorted(persons.glob(f'{_PERSON}/*/*')):
    if path.suffix.lower() not in _VIDEO_SUFFIXES or not path.is_file():
      continue
    person, video = path.parts[-3:-1]
    unit = Unit(
      id=f'{person}-{video}-{path.stem}',
      path=str(path),
      source=f'{part}/{person}/{video}/{path.name}',
      identity=person,
      group=person,
      split=_PARTS[part],
      framing=Centre(),
      sound=_find_sound(root, path),
    )
    units.append(unit)
  return units


def _find_sound(root: pathlib.Path, path: pathlib.Path) -> str | None:
  """The file beside the clip that has its sound; None where there is none."""
  clip = pathlib.Path(*path.parts[-3:])
  for folder in (*(root / name for name in _SOUND_FOLDERS), path.parents[2]):
    for suffix in _SOUND_SUFFIXES:
      sound = folder / clip.with_suffix(suffix)
      if sound != path and sound.is_file():
        return str(sound)
  return None
