"""The command itself: help, versions, errors in one line."""

import argparse
import os
import signal
import subprocess
import sys
import time
import types

import pytest

from mdcf_jax.cli import main as cli
from mdcf_jax.errors import InputError


@pytest.fixture
def command(monkeypatch):
  """Replaces `mdcf info` by a function that the test chooses."""
  module = types.SimpleNamespace(
    add_arguments=lambda parser: parser.add_argument('folder'),
    run=lambda args: None,
  )
  monkeypatch.setattr(cli, '_command', lambda name: module)
  return module


def test_without_a_command_help_is_printed(capsys):
  assert cli.main([]) == 2
  error = capsys.readouterr().err
  for name in ('generate', 'pack', 'info'):
    assert name in error


def test_version(capsys):
  with pytest.raises(SystemExit) as stop:
    cli.main(['--version'])
  assert stop.value.code == 0
  assert capsys.readouterr().out.startswith('mdcf ')


def test_unknown_command(capsys):
  assert cli.main(['generat']) == 2
  error = capsys.readouterr().err
  assert 'generat' in error and error.count('\n') == 1


def test_input_errors_are_one_line(command, capsys):
  def run(args: argparse.Namespace):
    raise InputError('no file\nof this name')

  command.run = run
  assert cli.main(['info', 'x']) == 2
  assert capsys.readouterr().err == 'mdcf: error: no file of this name\n'


def test_other_errors_are_not_hidden(command):
  def run(args: argparse.Namespace):
    raise ValueError('a bug')

  command.run = run
  with pytest.raises(ValueError, match='a bug'):
    cli.main(['info', 'x'])


def test_interruption(command):
  def run(args: argparse.Namespace):
    raise KeyboardInterrupt

  command.run = run
  assert cli.main(['info', 'x']) == 130


def test_termination_cleans_up(command, capsys):
  cleaned = []

  def run(args):
    try:
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(5)
    finally:
      cleaned.append(True)

  before = signal.getsignal(signal.SIGTERM)
  command.run = run
  assert cli.main(['info', 'x']) == 143
  assert cleaned and signal.getsignal(signal.SIGTERM) is before


def test_wrong_options_are_one_line(capsys):
  for words, reason in (
    (['--audio', 'a.wav', '--steps', 'abc'], 'invalid int'),
    (['--image', '-dash.png'], '--option=VALUE'),
  ):
    assert cli.main(['generate', *words]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count('\n') == 1


def test_exit_code_of_a_command(command):
  assert cli.main(['info', 'x']) == 0
  command.run = lambda args: 3
  assert cli.main(['info', 'x']) == 3


def test_every_command_explains_itself(capsys):
  for name in cli.COMMANDS:
    with pytest.raises(SystemExit) as stop:
      cli.main([name, '--help'])
    assert stop.value.code == 0
    assert name in capsys.readouterr().out


def test_help_imports_nothing_heavy():
  """`mdcf --help` answers at once."""
  code = (
    'import sys; from mdcf_jax.cli import main\n'
    'try: main.main(["--help"])\n'
    'except SystemExit: pass\n'
    'heavy = {"jax", "flax", "av", "grain", "orbax"} & set(sys.modules)\n'
    'assert not heavy, heavy'
  )
  subprocess.run([sys.executable, '-c', code], check=True)
