"""VoxCeleb2: its folders of clips, as units.

`dev/mp4/id00012/21Uxsk56VDQ/00001.mp4`: part, kind, person, video, clip. The
clips are square crops of one face already. Sound is in them, or beside them in
`dev/aac/id00012/21Uxsk56VDQ/00001.m4a`.

https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html
"""

import logging
import os
import pathlib
import random

from mdcf_jax.errors import InputError
from mdcf_jax.prepare.units import VIDEO_SUFFIXES, Centre, Unit
from mdcf_jax.prepare.videos import stored_name

logger = logging.getLogger(__name__)

NUM_VAL = 400  # Random videos that the paper evaluates on.

_PARTS = {'dev': 'train', 'test': 'val'}
_PERSON = 'id[0-9]*'
_SOUND_FOLDERS = 'aac', 'm4a', 'wav'
_SOUND_SUFFIXES = '.m4a', '.aac', '.wav', '.flac'


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
      is one of these; or another with the persons, which are then of `dev`.
    num_val, num_train: so many random clips of `test` and `dev`; None is all.
    seed: of what is random. The same clips are drawn wherever the folder is.

  Returns:
    Units in the order of their names: `dev` is split 'train', `test` is 'val'.

  Raises:
    InputError: the folder is missing or there is no such clip in it.
  """
  folder = pathlib.Path(folder)
  if not os.path.isdir(folder):
    raise InputError(f'{folder}: there is no such folder')
  units = []
  for part, root in _find_parts(folder):
    found = _find_clips(part, root)
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
  below = [(part, path) for part, path in below if os.path.isdir(path)]
  if below:
    return below
  # The folder itself is a part, or what is in one.
  root = folder.resolve()
  if root.name == 'mp4':
    root = root.parent
  return [(root.name if root.name in _PARTS else 'dev', root)]


def _find_clips(part: str, root: pathlib.Path) -> list[Unit]:
  """Lists all clips of a part, in order of their names."""
  persons = root / 'mp4' if os.path.isdir(root / 'mp4') else root
  beside = [
    root / name for name in _SOUND_FOLDERS if os.path.isdir(root / name)
  ]
  units = []
  for folder in sorted(persons.glob(f'{_PERSON}/*')):
    person, video = folder.parts[-2:]
    clips = _files(folder, VIDEO_SUFFIXES)
    sounds = _files(folder, _SOUND_SUFFIXES)
    for other in beside:
      sounds |= _files(other / person / video, _SOUND_SUFFIXES)
    for stem in sorted(clips):
      sound = sounds.get(stem)
      unit = Unit(
        # Both parts may have a clip of one name.
        id=stored_name(f'{part}-{person}-{video}-{stem}'),
        path=str(clips[stem]),
        source=stored_name(f'{part}/{person}/{video}/{clips[stem].name}'),
        identity=stored_name(person),
        group=stored_name(person),
        split=_PARTS[part],
        framing=Centre(),
        sound=str(sound) if sound else None,
      )
      units.append(unit)
  return units


def _files(
  folder: pathlib.Path, suffixes: tuple[str, ...]
) -> dict[str, pathlib.Path]:
  """Maps the names of files, without their suffix, to the files."""
  try:
    names = sorted(os.listdir(folder), reverse=True)
  except (FileNotFoundError, NotADirectoryError):
    return {}
  except OSError as error:
    place = stored_name(folder)
    logger.warning('%s: cannot be read: %s', place, error.strerror)
    return {}
  paths = [folder / n for n in names if n.lower().endswith(suffixes)]
  # Hidden files are what other systems leave beside the true ones.
  return {path.stem: path for path in paths if not path.name.startswith('.')}
