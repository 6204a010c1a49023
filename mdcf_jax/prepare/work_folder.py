"""The folder of unfinished work: one run at a time, made with one setting."""

import contextlib
import fcntl
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from mdcf_jax.errors import InputError

logger = logging.getLogger(__name__)

FORMAT = 4  # Of what a unit leaves in the folder.
DATASET = 'dataset'
_PUBLISHING = 'publishing'


def check_output(output: pathlib.Path) -> None:
  """Raises InputError unless a dataset may be put there."""
  if not output.exists() or _is_publishing(output):
    return
  if not output.is_dir() or any(output.iterdir()):
    raise InputError(f'{output}: exists and is not an empty folder')


@contextlib.contextmanager
def open_work(
  output: pathlib.Path, settings: Mapping[str, Any]
) -> Iterator[pathlib.Path]:
  """Yields `<output>.work`.

  What units leave is in its folder `clips`. It stays for the next run only if
  there is a unit to continue from.

  Raises:
    InputError: it cannot be written, another run is at work there, or its units
      were made with other settings.
  """
  work = _work_of(output)
  settings = {'format': FORMAT, **settings}
  with _locked(work, output):
    check_output(output)  # Again: another run may just have ended.
    try:
      _check_settings(settings, work)
    except OSError as error:
      raise InputError(f'{output}: cannot be written ({error})') from error
    try:
      yield work
    finally:
      if not any((work / 'clips').glob('*.json')):
        shutil.rmtree(work, ignore_errors=True)


def publish(work: pathlib.Path, output: pathlib.Path) -> None:
  """Moves the finished dataset of a work folder to its place."""
  dataset = work / DATASET
  try:
    if not output.exists():
      os.replace(dataset, output)
      return
    # Empty, as checked before, and kept: it may be the working directory, or a
    # disk of its own. A run that is killed here is ended by the next one.
    (work / _PUBLISHING).touch()
    # What makes it a dataset comes last.
    for path in sorted(dataset.iterdir(), key=lambda path: path.is_dir()):
      _remove(output / path.name)
      shutil.move(path, output / path.name)
  except OSError as error:
    raise InputError(f'{output}: cannot be written ({error})') from error


def was_publishing(work: pathlib.Path) -> bool:
  """Whether a run ended while it moved the dataset to its place."""
  return (work / _PUBLISHING).exists()


def _is_publishing(output: pathlib.Path) -> bool:
  return output.is_dir() and was_publishing(_work_of(output))


def _work_of(output: pathlib.Path) -> pathlib.Path:
  return output.with_name(output.name + '.work')


def _remove(path: pathlib.Path) -> None:
  """Removes what was moved in part."""
  if path.is_dir():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def read_json(path: pathlib.Path) -> Any:
  """What a file says; None if it is absent or was not written to its end."""
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError):
    return None


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a file, whole or not at all."""
  partial = path.with_suffix('.partial')
  partial.write_text(json.dumps(value), encoding='utf-8')
  os.replace(partial, path)


def _check_settings(settings: Mapping[str, Any], work: pathlib.Path) -> None:
  """Raises InputError if there are units that were made with others."""
  stored = read_json(work / 'settings.json') or {}
  (work / 'clips').mkdir(exist_ok=True)
  count = sum(1 for _ in (work / 'clips').glob('*.json'))
  if count and stored != json.loads(json.dumps(settings)):
    changed = [
      f'{key} {stored.get(key)}, now {settings.get(key)}'
      for key in sorted({*stored, *settings})
      if stored.get(key) != settings.get(key)
    ]
    raise InputError(
      f'{work} has {count} videos of other settings ({"; ".join(changed)}): '
      'give those to go on, or delete that folder to begin again'
    )
  write_json(work / 'settings.json', settings)


@contextlib.contextmanager
def _locked(work: pathlib.Path, output: pathlib.Path) -> Iterator[None]:
  """Makes the folder `work`, and keeps other runs out of it until they end.

  The system lifts the lock when this process is gone, whatever ended it. Where
  the file system has no locks there is none.
  """
  if work.is_symlink():
    raise InputError(f'{work} is a link; it must be a folder or absent')
  with contextlib.ExitStack() as stack:
    try:
      work.mkdir(parents=True, exist_ok=True)
      file = stack.enter_context(open(work / 'lock', 'a'))
    except OSError as error:
      raise InputError(f'{output}: cannot be written ({error})') from error
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise InputError(f'{output}: another run makes this dataset') from error
    except OSError as error:
      logger.warning('%s cannot be locked (%s)', work, error)
    yield
