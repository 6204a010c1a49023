"""What the pages of docs/ tell the reader to type exists and is understood."""

import ast
import pathlib
import re
import shlex

import pytest
import yaml

from mdcf_jax.cli import main

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / 'docs').rglob('*.md'))
MAKEFILE = (ROOT / 'Makefile').read_text()
BLOCK = re.compile(r'```(\w*)\n(.*?)```', re.DOTALL)
# Up to the end of what is quoted, or of the line and of lines of options.
COMMAND = re.compile(r"\b(?:mdcf|python) [^\n'&]*(?:\n +--[^\n'&]*)*")


def commands(program):
  """Words of every command of a page: `python x --y`, `mdcf x --y`."""
  found = []
  for page in PAGES:
    for language, block in BLOCK.findall(page.read_text(encoding='utf-8')):
      if language == 'text':
        continue  # What is printed, not what is typed.
      for text in COMMAND.findall(block.replace('\\\n', ' ')):
        words = shlex.split(text, comments=True)
        # Folders and clusters are called mdcf too.
        if words[0] == program and words[1:2] and words[1][0] not in '-.':
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


def messages():
  """What the package can say, as regular expressions."""
  for path in (ROOT / 'mdcf_jax').rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Call):
        yield from map(pattern, node.args)
      elif isinstance(node, ast.Return) and node.value is not None:
        yield pattern(node.value)


def pattern(node):
  """Matches what a text can become; '' where there is none."""
  if isinstance(node, ast.Constant) and isinstance(node.value, str):
    return '.+'.join(map(re.escape, re.split(r'%[\d.]*[a-z]', node.value)))
  if isinstance(node, ast.JoinedStr):
    parts = node.values
    return ''.join(
      '.*' if isinstance(part, ast.FormattedValue) else re.escape(part.value)
      for part in parts
    )
  return ''


def test_lines_of_errors_are_those_that_are_printed():
  """Every line of troubleshooting.md that is quoted can be printed."""
  text = (ROOT / 'docs' / 'troubleshooting.md').read_text(encoding='utf-8')
  lines = ''.join(re.findall(r'```text\n(.*?)```', text, re.DOTALL))
  assert len(lines.splitlines()) > 20
  makefile = re.sub(r"' *\\\n\s*'", ' ', MAKEFILE)
  # Of a word or more: without one they would match anything.
  known = [x for x in set(messages()) if len(re.findall(r'[a-z]{3}', x)) > 1]
  for line in lines.splitlines():
    said = line.removeprefix('mdcf: error: ')
    known_line = said in makefile or any(re.fullmatch(x, said) for x in known)
    assert known_line, line


def test_extras_that_are_named_exist():
  text = (ROOT / 'setup.py').read_text()
  extras = set(re.findall(r"^    '(\w+)': \[", text, re.M))
  named = set()
  for page in (*PAGES, ROOT / 'README.md'):
    for words in re.findall(r"'\.\[([\w,]+)\]'", page.read_text()):
      named |= set(words.split(','))
  assert {'faces', 'cuda12'} <= named <= extras, named - extras


def test_the_site_has_every_page():
  """`make docs` says the same, but needs mkdocs."""
  config = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())

  def pages(nav):
    for item in nav:
      if isinstance(item, str):
        yield item
      else:
        for value in item.values():
          yield from [value] if isinstance(value, str) else pages(value)

  listed = set(pages(config['nav']))
  docs = ROOT / 'docs'
  there = {str(page.relative_to(docs)) for page in docs.rglob('*.md')}
  assert there <= listed, 'mkdocs.yml lacks these in its nav'
  hooks = (ROOT / 'scripts' / 'site_hooks.py').read_text()
  for page in listed - there:  # Those of the repository's root.
    assert f"'{page}'" in hooks, f'{page} of mkdocs.yml does not exist'
