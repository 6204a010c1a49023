"""What README tells the reader to type exists and is understood."""

import ast
import pathlib
import re
import shlex

import pytest

from mdcf_jax.cli import main

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def blocks(language: str) -> list[str]:
  return re.findall(rf'```{language}\n(.*?)```', README, re.DOTALL)


def commands(program: str) -> list[list[str]]:
  """Words of every line that starts with `program`."""
  lines = '\n'.join(blocks('bash')).splitlines()
  words = [shlex.split(line, comments=True) for line in lines]
  return [line for line in words if line and line[0] == program]


def test_first_commands_are_demo_and_test():
  assert blocks('bash')[0].split('\n')[0].startswith('make demo')
  assert commands('make') == [['make', 'demo'], ['make', 'test']]


@pytest.mark.parametrize('line', commands('mdcf'), ids=' '.join)
def test_flags_of_commands_exist(line):
  arguments = line[1:]
  args = main._parser(arguments[0]).parse_args(arguments)
  assert args.command == arguments[0]


@pytest.mark.parametrize('line', commands('python'), ids=' '.join)
def test_scripts_and_configs_exist(line):
  assert (ROOT / line[1]).is_file()
  for argument in line[2:]:
    if argument.startswith('--config='):
      file, _, variant = argument.removeprefix('--config=').partition(':')
      scope = {}
      exec((ROOT / file).read_text(), scope)
      assert scope['get_config'](variant).phase == pathlib.Path(file).stem


def test_make_targets_that_are_named_exist():
  targets = set(
    re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.M)
  )
  assert set(re.findall(r'`?make ([a-z-]+)', README)) <= targets


def test_files_that_are_named_exist():
  for link in re.findall(r'\]\(([^)#:]+)\)', README):
    assert (ROOT / link).exists(), link
  for name in re.findall(r'assets/[\w./-]+', README):
    assert (ROOT / name).exists(), name


def test_python_is_python():
  for block in blocks('python'):
    ast.parse(block)
