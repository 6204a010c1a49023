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
  lines = '\n'.join(blocks('bash')).replace('\\\n', ' ').splitlines()
  words = [shlex.split(line, comments=True) for line in lines]
  return [line for line in words if line and line[0] == program]


def test_the_first_command_makes_a_video():
  assert blocks('bash')[0].split('\n')[0].startswith('make demo')


def test_one_of_the_commands_takes_the_files_of_the_reader():
  names = [words[1] for words in commands('mdcf')]
  assert 'generate' in names


@pytest.mark.parametrize('line', commands('mdcf'), ids=' '.join)
def test_flags_of_commands_exist(line):
  arguments = line[1:]
  args = main._parser(arguments[0]).parse_args(arguments)
  assert args.command == arguments[0]


@pytest.mark.parametrize('line', commands('python'), ids=' '.join)
def test_scripts_and_configs_exist(line):
  assert (ROOT / line[1]).is_file()
  for argument in line[2:]:
    if argument.startswith('--') and words_of_script(line[1]):
      assert argument.partition('=')[0] in words_of_script(line[1]), argument
    if argument.startswith('--config='):
      file, _, variant = argument.removeprefix('--config=').partition(':')
      scope = {}
      exec((ROOT / file).read_text(), scope)
      assert scope['get_config'](variant).phase == pathlib.Path(file).stem


def words_of_script(name: str) -> set[str]:
  """Options that bench/ and scripts/ take; nothing of train.py's flags."""
  if name == 'train.py':
    return set()
  return set(re.findall(r"'(--[\w-]+)'", (ROOT / name).read_text()))


def test_make_targets_that_are_named_exist():
  targets = set(
    re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.M)
  )
  named = set(re.findall(r'`make ([a-z-]+)', README))
  named |= {target for _, *words in commands('make') for target in words}
  assert {'demo', 'docs'} <= named <= targets


def test_files_that_are_named_exist():
  """Links are checked in test_links.py."""
  for name in re.findall(r'(?:assets|scripts|bench|docs)/[\w./-]+\w', README):
    assert (ROOT / name).exists(), name


def test_pictures_are_there_and_soon_loaded():
  pictures = re.findall(r'!\[([^]]+)\]\(([^)]+)\)', README)
  assert len(pictures) >= 2
  for words, name in pictures:
    assert len(words) > 20, name  # Of those who do not see it.
    assert 1000 < (ROOT / name).stat().st_size < 1_500_000, name


def test_a_minute_is_enough():
  text = re.sub(r'```.*?```', '', README, flags=re.DOTALL)
  assert len(text.split()) < 1000


def test_python_is_python():
  for block in blocks('python'):
    ast.parse(block)
