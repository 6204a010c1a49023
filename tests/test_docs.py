"""What the pages of docs/ tell the reader to type exists and is understood."""

import pathlib
import re
import shlex

import pytest

from mdcf_jax.cli import main

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / 'docs').glob('*.md'))
BLOCK = re.compile(r'```\w*\n(.*?)```', re.DOTALL)
# Up to the end of what is quoted, or of the line and of lines of options.
COMMAND = re.compile(r"\b(?:mdcf|python) [^\n'&]*(?:\n +--[^\n'&]*)*")


def commands(program):
  """Words of every command of a page: `python x --y`, `mdcf x --y`."""
  found = []
  for page in PAGES:
    for block in BLOCK.findall(page.read_text(encoding='utf-8')):
      for text in COMMAND.findall(block.replace('\\\n', ' ')):
        words = shlex.split(text, comments=True)
        # Folders and clusters are called mdcf too.
        if words[0] == program and words[1:2] and words[1][0] != '-':
          found.append([page.name, *(x for x in words[1:] if x != '...')])
  return found


def of_script(name):
  return [x for x in commands('python') if x[1] == name]


@pytest.mark.parametrize('words', commands('mdcf'), ids=' '.join)
def test_options_of_commands_exist(words):
  """Where a line says `...`, what it leaves out is not asked for."""
  command, *arguments = words[1:]
  assert command in main.COMMANDS
  try:
    main._parser(command).parse_args([command, *arguments])
  except main.InputError as error:
    assert 'required' in str(error), error


@pytest.mark.parametrize('words', of_script('train.py'), ids=' '.join)
def test_configs_and_their_keys_exist(words):
  config = None
  for argument in words[2:]:
    name, _, value = argument.removeprefix('--').partition('=')
    if name == 'config':
      file, _, variant = value.partition(':')
      scope = {}
      exec((ROOT / file).read_text(), scope)
      config = scope['get_config'](variant)
    elif name.startswith('config.'):
      found = config
      for key in name.removeprefix('config.').split('.'):
        assert key in found, argument
        found = found[key]
    else:
      assert name in ('workdir', 'distributed'), argument


def test_the_page_has_every_phase():
  """The whole path: prepared videos, four runs, packed weights."""
  lines = [' '.join(x[1:]) for x in of_script('train.py')]
  for phase in ('fde', 'lmae', 'diffusion', 'pbnet'):
    assert any(f'configs/{phase}.py:mini' in line for line in lines)


@pytest.mark.parametrize(
  'words',
  [x for x in commands('python') if x[1].startswith(('bench/', 'scripts/'))],
  ids=' '.join,
)
def test_scripts_and_their_options_exist(words):
  text = (ROOT / words[1]).read_text()
  if 'runs.add_arguments' in text:
    text += (ROOT / 'bench' / 'runs.py').read_text()
  for argument in words[2:]:
    if argument.startswith('--'):
      assert f"'{argument.partition('=')[0]}'" in text, argument


def test_files_that_are_linked_exist():
  for page in PAGES:
    for link in re.findall(r'\]\(([^)#:]+)\)', page.read_text()):
      assert (page.parent / link).exists(), f'{page.name}: {link}'
