"""The videos under a folder, and names for them that can be stored."""

import itertools
import logging
import os
import pathlib

from mdcf_jax.prepare.units import VIDEO_SUFFIXES

logger = logging.getLogger(__name__)

_WAV_SUFFIXES = [
  '.' + ''.join(s) for s in itertools.product(*zip('wav', 'WAV'))
]


def find_videos(folder: str | os.PathLike) -> list[pathlib.Path]:
  """All videos under a folder, in order of their names.

  Hidden files and folders are left out: what other systems leave, bins, and
  partial downloads. Linked files are taken, linked folders are not followed. A
  folder that cannot be read gives a warning.
  """

  def warn(error: OSError) -> None:
    place = stored_name(error.filename)
    logger.warning('%s: cannot be read: %s', place, error.strerror)

  found = []
  for parent, folders, names in os.walk(folder, onerror=warn):
    folders[:] = [name for name in folders if not name.startswith('.')]
    paths = [
      pathlib.Path(parent, name)
      for name in names
      if name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith('.')
    ]
    if paths and not os.access(parent, os.X_OK):
      logger.warning('%s: its files cannot be read', stored_name(parent))
    found += [path for path in paths if os.path.isfile(path)]
  return sorted(found)


def sound_beside(video: pathlib.Path) -> str | None:
  """The .wav of the same name, in any case, if there is one."""
  paths = [os.fspath(video.with_suffix(suffix)) for suffix in _WAV_SUFFIXES]
  return next((path for path in paths if os.path.isfile(path)), None)


def stored_name(path: pathlib.PurePath | str) -> str:
  r"""A path as text, with / between its parts.

  Bytes that are no UTF-8 could not be stored and become `\xff` and the like.
  """
  name = pathlib.PurePath(path).as_posix()
  return os.fsencode(name).decode(errors='backslashreplace')
