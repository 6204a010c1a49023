"""The `mdcf` command: one subcommand per module of this package."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from mdcf_jax.errors import InputError

# What each command does, so that `mdcf --help` imports none of them.
COMMANDS = {
  'generate': 'portrait and recording to a talking-head video',
  'reconstruct': 'a clip through the auto-encoders, beside the original',
  'prepare': 'a folder of videos to training data',
  'plot': 'the curves of training runs as a picture',
  'pack': 'finished training runs to a folder of weights',
  'convert': 'public weights (DAWN, HuBERT, networks of metrics) to ours',
  'download': 'files that are not part of the package',
  'evaluate': 'scores of generated clips beside true ones',
  'info': 'what a folder of weights contains',
}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs `mdcf argv...` and returns its exit code.

  0: done; 2: the user gave something that cannot be used, said in one line on
  stderr; 130: interrupted; 143: terminated.
  """
  argv = list(sys.argv[1:] if argv is None else argv)
  name = next((arg for arg in argv if not arg.startswith('-')), '')
  try:
    parser = _parser(name)
    args = parser.parse_args(argv)
    if args.command is None:
      parser.print_help(sys.stderr)
      return 2
    level = logging.DEBUG if args.verbose else logging.INFO
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    logging.getLogger('mdcf_jax').setLevel(level)
    with _sigterm():
      return _command(args.command).run(args) or 0
  except InputError as error:
    print(f'mdcf: error: {_one_line(error)}', file=sys.stderr)
    return 2
  except _Terminated:
    print('mdcf: terminated', file=sys.stderr)
    return 143
  except KeyboardInterrupt:
    print('mdcf: interrupted', file=sys.stderr)
    return 130
  except BrokenPipeError:
    # Who read the output has enough; Python would complain when it exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


class _Terminated(KeyboardInterrupt):
  """SIGTERM: unfinished files are removed as after Ctrl-C."""


@contextlib.contextmanager
def _sigterm() -> Iterator[None]:
  """Raises `_Terminated` where SIGTERM would end the process."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return

  def terminate(*_):
    raise _Terminated

  previous = signal.signal(signal.SIGTERM, terminate)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, previous)


class _Parser(argparse.ArgumentParser):
  """Says what is wrong in one line, as every command does."""

  def error(self, message: str):
    if 'expected one argument' in message:
      message += ' (one that begins with - is given as --option=VALUE)'
    raise InputError(message)


def _parser(name: str) -> argparse.ArgumentParser:
  """Returns the parser; only the command `name` has its arguments."""
  parser = _Parser(
    prog='mdcf', description='Talking heads from a portrait and speech.'
  )
  parser.add_argument(
    '--version', action='version', version=f'mdcf {_version()}'
  )
  parser.add_argument(
    '--verbose', action='store_true', help='say more while working'
  )
  commands = parser.add_subparsers(dest='command', metavar='COMMAND')
  for command, summary in COMMANDS.items():
    if not _exists(command):
      continue
    sub = commands.add_parser(command, help=summary, description=summary)
    if command == name:
      _command(command).add_arguments(sub)
  return parser


def _version() -> str:
  try:
    return importlib.metadata.version('mdcf_jax')
  except importlib.metadata.PackageNotFoundError:
    return '(not installed: run from a checkout)'


def _exists(command: str) -> bool:
  return importlib.util.find_spec(f'mdcf_jax.cli.{command}') is not None


def _command(command: str):
  return importlib.import_module(f'mdcf_jax.cli.{command}')


def _one_line(error: Exception) -> str:
  return ' '.join(str(error).split())


if __name__ == '__main__':
  sys.exit(main())
