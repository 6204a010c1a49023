"""`mdcf info DIR`: what a folder of weights contains, and how it was made."""

import argparse
import pathlib
import sys
from typing import Any

from mdcf_jax import weights
from mdcf_jax.errors import InputError

HELP = 'what a folder of weights contains'

_ORDER = 'fde lmae diffusion pbnet'  # Of training.


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  parser.add_argument('folder', help='folder of weights')


def run(args: argparse.Namespace) -> None:
  """Prints the folder's description."""
  sys.stdout.write(describe(args.folder))


def describe(folder: str | pathlib.Path) -> str:
  """Returns a table of the phases: parameters, size, steps, settings.

  Raises:
    InputError: no folder of weights, or a file of it is damaged.
  """
  folder = pathlib.Path(folder)
  config = weights.load_config(folder)
  lines = [
    f'{folder}: {config["resolution"]} x {config["resolution"]} pixels, '
    f'audio features {config["audio_encoder"]}',
    f'{"phase":<10} {"parameters":>12} {"megabytes":>10} {"steps":>9}  trained',
  ]
  for name in sorted(config['phases'], key=_ORDER.find):
    how = config['phases'][name]
    variables = weights.load(folder, name)
    if not isinstance(variables.get('params'), dict):
      raise InputError(f'{folder}/{name}.safetensors has no parameters')
    _, count = weights.describe(variables['params'])
    size = (folder / f'{name}.safetensors').stat().st_size / 1e6
    steps = str(how.get('steps', '?'))
    lines.append(
      f'{name:<10} {count:>12,} {size:>10.2f} {steps:>9}  '
      + _settings(how.get('config'))
    )
  for name, keywords in config['model'].items():
    lines.append(f'{name}: {_words(keywords)}')
  return '\n'.join(lines) + '\n'


def _words(keywords: dict) -> str:
  """Spells the keywords of a module, those of its parts in brackets."""
  return ', '.join(
    f'{key} ({_words(value)})' if isinstance(value, dict) else f'{key} {value}'
    for key, value in keywords.items()
  )


def _settings(config: Any) -> str:
  """Spells how a phase was trained in a few words, if `config` tells."""
  config = config if isinstance(config, dict) else {}
  names = ('size', 'resolution', 'batch_size', 'perceptual')
  words = [f'{name} {config[name]}' for name in names if name in config]
  data = config.get('data')
  data = data.get('dir') if isinstance(data, dict) else None
  if data is not None:
    words.append(f'data {data or "synthetic"}')
  return ', '.join(words)
