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

FORMAT = 3  # Of what a unit leaves in the folder.


def check_output(output: pathlib.Path) -> None:
  """Raises InputError unless a dataset may be put there."""
  if output.exists() and (not output.is_dir() or any(output.iterdir())):
    raise InputError(f'{output}: exists and is not an empty folder')


@contextlib.contextmanager
def open_work(
  output: pathlib.Path, settings: Mapping[str, Any]
) -> Iterator[pathlib.Path]:
  """Yields `<output>.work`, emptied if made with other settings.

  What units leave is in its folder `clips`. It stays for the next run only if
  there is a unit to continue from.

  Raises:
    InputError: it cannot be written, or another run is at work there.
  """
  work = output.with_name(output.name + '.work')
  text = json.dumps({'format': FORMAT, **settings})
  with _locked(work, output):
    check_output(output)  # Again: another run may just have ended.
    try:
      _clear_unless(text, work)
    except OSError as error:
      raise InputError(f'{output}: cannot be written ({error})') from error
    try:
      yield work
    finally:
      if not any((work / 'clips').glob('*.json')):
        shutil.rmtree(work, ignore_errors=True)


def publish(dataset: pathlib.Path, output: pathlib.Path) -> None:
  """Moves a finished dataset to its place."""
  try:
    if not output.exists():
      os.replace(dataset, output)
      return
    # Empty, as checked before, and kept: it may be the working directory. What
    # makes it a dataset comes last.
    for path in sorted(dataset.iterdir(), key=lambda path: path.is_dir()):
      shutil.move(path, output / path.name)
  except OSError as error:
    raise InputError(f'{output}: cannot be written ({error})') from error


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


def _clear_unless(settings: str, work: pathlib.Path) -> None:
  """Removes clips that were prepared with other settings, or unknown ones."""
  stored = work / 'settings.json'
  if read_json(stored) != json.loads(settings):
    shutil.rmtree(work / 'clips', ignore_errors=True)
    write_json(stored, json.loads(settings))
  (work / 'clips').mkdir(exist_ok=True)


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
