"""Trains one phase.

  python train.py --config=configs/fde.py:mini --workdir=runs/fde

Options are keys of the config: `--config.optimizer.learning_rate=3e-4`.
Running it again continues where it stopped.
"""

import logging
import os
import sys
import traceback
from typing import NoReturn

from absl import app, flags
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'File and variant: configs/<phase>.py:mini,256'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_DISTRIBUTED = flags.DEFINE_string(
  'distributed',
  'auto',
  'Join other processes: auto (in a cluster), on or off; see docs/scaling.md',
)


def main(argv: list[str]) -> int:
  """Returns the exit code: 0 done, 1 diverged, 2 something asked is wrong."""
  try:
    _parse(argv)
    from mdcf_jax import distributed

    distributed.initialize(_DISTRIBUTED.value)
    from mdcf_jax.programs import keep_programs
    from mdcf_jax.training import loop

    keep_programs()
    loop.train(_CONFIG.value, _WORKDIR.value)
  except FloatingPointError as error:
    print(f'train.py: error: {error}', file=sys.stderr)
    return 1
  except Exception as error:
    if not _is_users(error):
      raise
    print(f'train.py: error: {_reason(error)}', file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    return 130
  return 0


def _parse(argv: list[str]) -> None:
  """Reads the flags."""
  from mdcf_jax.errors import InputError

  app.define_help_flags()
  try:
    rest = flags.FLAGS(argv)
  except SyntaxError as error:
    raise InputError(
      f'{error.filename} is no config: {error.msg} in line {error.lineno}'
    ) from error
  for name in ('config', 'workdir'):
    if not (flags.FLAGS[name].present and flags.FLAGS[name].value):
      raise InputError(f'--{name} is missing; see {argv[0]} --help')
  if rest[1:]:
    raise InputError(f'unknown argument {rest[1]!r}')
  try:
    _ = _CONFIG.value.phase
  except OSError as error:
    path = flags.FLAGS['config'].config_filename
    raise InputError(f'cannot read the config {path}') from error


def _is_users(error: Exception) -> bool:
  """Returns whether the user's words, not our code, caused `error`."""
  from mdcf_jax.errors import InputError

  parsed = flags.FLAGS.is_parsed()
  return isinstance(error, InputError) or (
    not parsed and isinstance(error, (flags.Error, AttributeError, KeyError))
  )


def _reason(error: BaseException) -> str:
  """Returns what is behind the exceptions of flag parsing, in one line."""
  from mdcf_jax.errors import InputError

  seen = error
  while seen is not None:
    # Flag parsing wraps what a config raises, and appends a traceback.
    if isinstance(seen, InputError) and '\n' not in str(seen):
      return str(seen)
    seen = seen.__cause__ or seen.__context__
  if isinstance(error, (AttributeError, KeyError)):
    # One in the other, whose words would be quoted twice. Its suggestion, where
    # there is one, follows in a line of its own.
    words = error.args[0]
    while isinstance(words, Exception):
      words = words.args[0]
    return f'the config has no such key: {" ".join(str(words).split())}'
  return ' '.join(str(error).split())


def _leave(code: int) -> NoReturn:
  """Ends the process; after an error without waiting for other processes.

  Those wait for this one in turn, and end when it is gone.
  """
  if code and 'jax' in sys.modules and sys.modules['jax'].process_count() > 1:
    sys.stderr.flush()
    os._exit(code)
  sys.exit(code)


if __name__ == '__main__':
  # Progress is logged; libraries speak up from warnings on.
  logging.basicConfig(level=logging.WARNING, format='%(asctime)s %(message)s')
  logging.getLogger('mdcf_jax').setLevel(logging.INFO)
  logging.getLogger('absl').setLevel(logging.ERROR)  # Orbax on its waiting.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  try:
    exit_code = main(sys.argv)
  except Exception:
    traceback.print_exc()
    exit_code = 1
  _leave(exit_code)
