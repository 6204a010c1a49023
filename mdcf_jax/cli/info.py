"""`mdcf info DIR`: what a folder of weights contains, and how it was made."""

import argparse
import pathlib
import sys
from typing import Any

from mdcf_jax import weights
from mdcf_jax.errors import InputError
from mdcf_jax.hub.fetch import find_weights

HELP = 'what a folder of weights contains'

_ORDER = ('fde', 'lmae', 'diffusion', 'pbnet')  # Of training.


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  parser.add_argument(
    'folder', help='of weights; mini, or user/name[@revision] of the Hub'
  )


def run(args: argparse.Namespace) -> None:
  """Prints the folder's description."""
  found = find_weights(args.folder)
  if found.origin:
    sys.stdout.write(f'{found.origin} of the Hub\n')
  sys.stdout.write(describe(found.folder))


def describe(folder: str | pathlib.Path) -> str:
  """Returns what is in a folder: its files, their licence, the modules.

  Raises:
    InputError: no folder of weights, or a file of it is damaged.
  """
  folder = pathlib.Path(folder)
  config = weights.load_config(folder)
  names = {file.stem for file in folder.glob('*.safetensors')}
  names |= config['phases'].keys()
  known = [name for name in _ORDER if name in names]
  lines = [
    f'{folder}: {config["resolution"]} x {config["resolution"]} pixels, '
    f'audio features {config["audio_encoder"]}',
    f'{"file":<10} {"parameters":>12} {"megabytes":>10}  {"types":<9} trained',
  ]
  digests = []
  for name in (*known, *sorted(names.difference(known))):
    how = config['phases'].get(name, {})
    lines.append(_row(folder, name, how))
    _, digest = weights.inspect(folder / f'{name}.safetensors')
    licence = how.get('licence') or 'not stated'
    digests.append(f'{name}.safetensors: licence {licence}, sha256 {digest}')
  lines += digests
  for name, keywords in config['model'].items():
    lines.append(f'{name}: {_words(keywords)}')
  return '\n'.join(lines) + '\n'


def _row(folder: pathlib.Path, name: str, how: dict[str, Any]) -> str:
  """One line about a file, and how it was made."""
  path = folder / f'{name}.safetensors'
  variables = weights.load(folder, name)
  if not isinstance(variables.get('params'), dict):
    raise InputError(f'{path} has no parameters')
  _, count = weights.describe(variables['params'])
  types, _ = weights.inspect(path)
  if 'converted' in how:
    made = f'converted from {how["converted"]}'
  else:
    words = f'steps {how["steps"]}' if 'steps' in how else '', _settings(how)
    made = ', '.join(word for word in words if word)
  size = path.stat().st_size / 1e6
  return f'{name:<10} {count:>12,} {size:>10.2f}  {types:<9} {made}'


def _words(keywords: dict) -> str:
  """Spells the keywords of a module, those of its parts in brackets."""
  return ', '.join(
    f'{key} ({_words(value)})' if isinstance(value, dict) else f'{key} {value}'
    for key, value in keywords.items()
  )


def _settings(how: dict[str, Any]) -> str:
  """Spells how a phase was trained in a few words, if `how` tells."""
  config = how.get('config')
  config = config if isinstance(config, dict) else {}
  names = ('size', 'resolution', 'batch_size', 'perceptual')
  words = [f'{name} {config[name]}' for name in names if name in config]
  data = config.get('data')
  data = data.get('dir') if isinstance(data, dict) else None
  if data is not None:
    words.append(f'data {data or "synthetic"}')
  return ', '.join(words)
