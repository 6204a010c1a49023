"""Results of clips on disk, so that nothing is computed twice.

One npz per result, whose name is the sha256 of all that it depends on: the
files, the metric, its networks and the protocol. Nothing is ever unpickled.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import uuid
from collections.abc import Mapping, Sequence

import numpy as np

from mdcf_jax.errors import InputError

VERSION = 1  # Of what is stored; another number finds nothing old.


class Cache:
  """A folder of results.

  Args:
    folder: made when absent; None stores nothing.

  Raises:
    InputError: the folder cannot be made.
  """

  def __init__(self, folder: str | os.PathLike | None):
    self._folder = pathlib.Path(folder) if folder else None
    if self._folder:
      try:
        self._folder.mkdir(parents=True, exist_ok=True)
      except OSError as error:
        raise InputError(
          f'{folder}: cannot be made: {error.strerror}'
        ) from error

  def load(self, key: Sequence[str]) -> dict[str, np.ndarray] | None:
    """Returns what is stored; None if nothing is, or it is damaged."""
    if self._folder is None:
      return None
    try:
      with np.load(self._path(key), allow_pickle=False) as file:
        return dict(file)
    except Exception:  # zipfile, zlib and numpy raise what they like.
      return None

  def store(self, key: Sequence[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays, whole or not at all.

    Raises:
      InputError: the folder cannot be written.
    """
    if self._folder is not None:
      write_npz(self._path(key), arrays)

  def _path(self, key: Sequence[str]) -> pathlib.Path:
    text = json.dumps([VERSION, *key])
    digest = hashlib.sha256(text.encode()).hexdigest()
    return self._folder / digest[:2] / f'{digest}.npz'


def write_npz(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes an npz beside its name and renames it when whole.

  Raises:
    InputError: it cannot be written.
  """
  content = io.BytesIO()
  np.savez(content, **arrays)
  write_file(path, content.getvalue())


def write_file(path: pathlib.Path, content: bytes) -> None:
  """Writes a file beside its name and renames it when whole.

  Raises:
    InputError: it cannot be written.
  """
  # Other processes may write the same result.
  part = path.with_name(f'.{path.name}.{uuid.uuid4().hex[:8]}.part')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(content)
    part.replace(path)
  except OSError as error:
    raise InputError(f'{path}: cannot be written: {error.strerror}') from error
  finally:
    with contextlib.suppress(OSError):
      part.unlink()
