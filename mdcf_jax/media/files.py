"""Files of sound and pictures: what can be opened, and why not."""

import os
import pathlib
from collections.abc import Iterable

from mdcf_jax.errors import InputError


def check_file(path: str | os.PathLike) -> pathlib.Path:
  """Returns `path`; InputError unless it is a file with something in it."""
  path = pathlib.Path(path)
  if os.path.isdir(path):
    raise InputError(f'{path}: this is a directory, not a file')
  try:
    with path.open('rb') as file:
      empty = not file.read(1)
  except FileNotFoundError as error:
    raise InputError(f'{path}: there is no such file') from error
  except (OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise InputError(f'{path}: cannot be read: {reason}') from error
  if empty:
    raise InputError(f'{path}: the file is empty')
  return path


def open_media(path: pathlib.Path, formats: Iterable[str] = ()):
  """Opens `path` with PyAV; InputError when FFmpeg does not know it.

  Args:
    path: of the file.
    formats: FFmpeg's names of the containers that may be opened; none for all,
      play lists that name other files among them.
  """
  import av

  # Play lists may name files, but never an address in the network.
  options = {'protocol_whitelist': 'file'}
  if formats:
    options['format_whitelist'] = ','.join(formats)
  try:
    # An absolute path is never taken for a protocol such as `a:b`.
    return av.open(
      os.path.abspath(path), metadata_errors='replace', options=options
    )
  except (av.error.FFmpegError, OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise InputError(
      f'{path}: not a video or audio file that can be read ({reason})'
    ) from error


def best_video(container):
  """The stream of video that a player shows; None where there is none.

  A still beside the video, such as a cover, may come before it.
  """
  return container.streams.best('video')
