"""Keeps the notebooks of colab/ in order, and runs them.

  python scripts/notebooks.py           # Puts them into their normal form.
  python scripts/notebooks.py --check   # Exit code 1 if one is not.
  python scripts/notebooks.py --repository OWNER/NAME
  python scripts/notebooks.py --run outputs/notebooks --only how_it_works

The normal form has no outputs, and the badge and the cell that installs are
alike in all of them. Both name the repository on GitHub, which is told here
once, when it is known. `--run` runs notebooks from top to bottom, as Jupyter
does, writes what came out of them, and prints the seconds and the memory that
they took; it needs nbclient and ipykernel.
"""

import argparse
import json
import pathlib
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / 'colab'
# Each with the extras that it installs.
EXTRAS = {
  'quickstart': 'faces',
  'how_it_works': '',
  'train_on_your_videos': 'faces',
}

# Until the address of the project is known.
PLACEHOLDER = 'OWNER/mdcf_jax'
BADGE = (
  '[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]'
  '(https://colab.research.google.com/github/{repository}/blob/main/colab/'
  '{name}.ipynb)'
)
_BADGE = re.compile(r'\[!\[Open In Colab\][^\n]*')
_REPOSITORY = re.compile(r"^REPOSITORY = '([\w.-]+/[\w.-]+)'", re.MULTILINE)
INSTALL = """\
# Installs the package where it is missing, and does nothing elsewhere.
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys

REPOSITORY = '{repository}'  # On GitHub; or the folder of a copy.


def run(*command):
  result = subprocess.run(map(str, command), capture_output=True, text=True)
  if result.returncode:
    raise RuntimeError(result.stderr or result.stdout)


here = pathlib.Path.cwd()
clone = here / 'mdcf_jax'
places = here, here.parent, clone, pathlib.Path(REPOSITORY)
found = [x for x in places if (x / 'assets' / 'portrait.png').exists()]
if not found:
  if REPOSITORY.startswith('OWNER/'):
    raise SystemExit('Name the repository, or the folder of a copy of it.')
  address = f'https://github.com/{{REPOSITORY}}'
  run('git', 'clone', '--depth=1', address, clone)
root = found[0].resolve() if found else clone
os.chdir(root)  # Examples and settings lie beside the package.
sys.path.insert(0, str(root))
try:
  importlib.metadata.version('mdcf_jax')
except importlib.metadata.PackageNotFoundError:
  # Should Colab ask to restart the session then, run this cell once more.
  extras = ['cuda12'] if shutil.which('nvidia-smi') else []  # Or 'tpu'.
{extras}  wanted = f'.[{{",".join(extras)}}]' if extras else '.'
  run(sys.executable, '-m', 'pip', 'install', '--quiet', wanted)
{download}"""
_FACES = """\
  extras += ['faces']  # To find faces in pictures that are not cropped.
"""
_DOWNLOAD = """\
  run(sys.executable, '-m', 'mdcf_jax.cli.main', 'download', 'faces')
"""


def read(name: str) -> dict[str, Any]:
  """Returns a notebook of colab/ by its name, without the suffix."""
  text = (FOLDER / f'{name}.ipynb').read_text(encoding='utf-8')
  return json.loads(text)


def dump(notebook: Mapping[str, Any]) -> str:
  """The text of a notebook's file."""
  return json.dumps(notebook, indent=1, ensure_ascii=False) + '\n'


def cell(notebook: Mapping[str, Any], name: str) -> dict[str, Any]:
  """The cell with this id.

  Raises:
    KeyError: there is none.
  """
  for each in notebook['cells']:
    if each['id'] == name:
      return each
  raise KeyError(f'no cell {name!r}')


def source(each: Mapping[str, Any]) -> str:
  """The text of a cell, which files have in lines."""
  return ''.join(each['source'])


def repository_of(notebook: Mapping[str, Any]) -> str:
  """The repository that a notebook is installed from."""
  found = _REPOSITORY.search(source(cell(notebook, 'install')))
  return found[1] if found else PLACEHOLDER


def normal(
  name: str, notebook: Mapping[str, Any], repository: str | None = None
) -> dict[str, Any]:
  """Returns the normal form of a notebook.

  Args:
    name: of its file, without the suffix.
    notebook: as JSON; every cell has an id, one is 'title' and one 'install'.
    repository: OWNER/NAME on GitHub; None: stays.
  """
  before = repository_of(notebook)
  repository = repository or before
  cells = []
  for each in notebook['cells']:
    text = source(each)
    address = 'github.com/{}/'.format
    text = text.replace(address(before), address(repository))
    if each['id'] == 'title':
      badge = BADGE.format(repository=repository, name=name)
      text = _BADGE.sub(badge, text)
    if each['id'] == 'install':
      faces = EXTRAS[name] == 'faces'
      text = INSTALL.format(
        repository=repository,
        extras=_FACES if faces else '',
        download=_DOWNLOAD if faces else '',
      )
    kept = dict(
      cell_type=each['cell_type'],
      id=each['id'],
      metadata={},
      source=text.strip('\n').splitlines(keepends=True),
    )
    if each['cell_type'] == 'code':
      kept = {**kept, 'execution_count': None, 'outputs': []}
    cells.append(dict(sorted(kept.items())))
  return dict(
    cells=cells,
    metadata=dict(
      kernelspec=dict(
        display_name='Python 3', language='python', name='python3'
      ),
      language_info=dict(name='python'),
    ),
    nbformat=4,
    nbformat_minor=5,
  )


class Cost(NamedTuple):
  """What a notebook took.

  Attributes:
    seconds: of wall clock, with the start of the kernel.
    processor: seconds of all cores together, of the kernel itself.
    gibibytes: of the kernel at most.
  """

  seconds: float
  processor: float
  gibibytes: float


_USAGE = """\
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print([used.ru_utime + used.ru_stime, used.ru_maxrss])"""


def execute(
  notebook: Mapping[str, Any],
  parameters: Mapping[str, Any] | None = None,
  folder: pathlib.Path = FOLDER,
  timeout: int = 3600,
) -> tuple[Any, 'Cost']:
  """Runs a notebook from top to bottom in a kernel of its own.

  Args:
    notebook: as JSON.
    parameters: what takes the place of values of the cell 'parameters'.
    folder: that the kernel starts in.
    timeout: of one cell, in seconds.

  Returns:
    The notebook with its outputs, and what it took.

  Raises:
    nbclient.exceptions.CellExecutionError: a cell raised.
  """
  import nbclient
  import nbformat

  made = nbformat.reads(dump(notebook), as_version=4)
  ids = [each['id'] for each in made.cells]
  if parameters:
    text = '\n'.join(f'{k} = {v!r}' for k, v in parameters.items())
    place = ids.index('parameters') + 1
    made.cells.insert(place, nbformat.v4.new_code_cell(text))
  made.cells.append(nbformat.v4.new_code_cell(_USAGE))
  client = nbclient.NotebookClient(
    made,
    timeout=timeout,
    startup_timeout=300,  # Of a machine with other work.
    kernel_name='python3',
    extra_arguments=['--log-level=40'],  # Errors; not how it is connected.
    resources=dict(metadata=dict(path=str(folder))),
  )
  start = time.monotonic()
  client.execute()
  seconds = time.monotonic() - start
  processor, kibibytes = json.loads(made.cells.pop().outputs[0].text)
  return made, Cost(seconds, processor, kibibytes / 2**20)


def describe(cost: Cost) -> str:
  """One line."""
  return (
    f'{cost.seconds:.0f} s, {cost.processor:.0f} s of a core, '
    f'{cost.gibibytes:.2f} GiB'
  )


def main() -> int:
  """Returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--repository', help='OWNER/NAME on GitHub')
  parser.add_argument('--check', action='store_true', help='change nothing')
  parser.add_argument('--run', metavar='DIR', help='run them; outputs go there')
  parser.add_argument('--only', choices=tuple(EXTRAS), help='of --run')
  args = parser.parse_args()
  if args.repository and not re.fullmatch(
    r'[\w.-]+/[\w.-]+', args.repository, re.ASCII
  ):
    parser.error(f'--repository {args.repository} is not OWNER/NAME')
  if args.run:
    return _run(pathlib.Path(args.run), [args.only] if args.only else EXTRAS)
  changed = []
  for name in EXTRAS:
    text = dump(normal(name, read(name), args.repository))
    path = FOLDER / f'{name}.ipynb'
    if text != path.read_text(encoding='utf-8'):
      changed.append(name)
      if not args.check:
        path.write_text(text, encoding='utf-8')
  if changed:
    what = 'not in normal form' if args.check else 'rewritten'
    print(f'{what}: {", ".join(changed)}')
  return int(bool(changed and args.check))


def _run(output: pathlib.Path, names: Any) -> int:
  """Runs notebooks and prints a row for each."""
  import nbformat

  output.mkdir(parents=True, exist_ok=True)
  for name in names:
    made, cost = execute(read(name))
    path = output / f'{name}.ipynb'
    nbformat.write(made, path)
    print(f'{path}: {describe(cost)}', flush=True)
  return 0


if __name__ == '__main__':
  sys.exit(main())
