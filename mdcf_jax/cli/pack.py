"""`mdcf pack`: finished training runs become a folder of weights.

  mdcf pack --runs runs --output my-model

reads the averaged weights of runs/fde, runs/lmae, runs/diffusion and
runs/pbnet; `mdcf generate --weights my-model` uses them.
"""

import argparse
import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from mdcf_jax import weights
from mdcf_jax.errors import InputError
from mdcf_jax.training import checkpoint

logger = logging.getLogger(__name__)

HELP = 'finished training runs to a folder of weights'

# Which modules a phase trained, and which earlier ones it was trained with.
_TRAINED = {
  'fde': 'fde',
  'lmae': 'lmae',
  'diffusion': 'denoiser',
  'pbnet': 'pbnet',
}
_RELIES_ON = {'lmae': ('fde',), 'diffusion': ('fde', 'lmae')}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  parser.add_argument(
    '--runs', required=True, help='folder with a workdir per phase'
  )
  parser.add_argument('--output', required=True, help='folder to write')
  parser.add_argument(
    '--phases',
    default=','.join(_TRAINED),
    help='which phases, comma-separated; fde,lmae is enough for reconstruct',
  )
  add_weights_arguments(parser, 'bfloat16')


def add_weights_arguments(parser: argparse.ArgumentParser, dtype: str) -> None:
  """Adds the options of commands that write a folder of weights."""
  parser.add_argument(
    '--dtype',
    default=dtype,
    choices=('bfloat16', 'float16', 'float32'),
    help='of the parameters',
  )
  parser.add_argument(
    '--licence', default='', help='of the weights, for config.json'
  )


def run(args: argparse.Namespace) -> None:
  """Packs the runs."""
  names = [name.strip() for name in args.phases.split(',')]
  for name in names:
    if name not in _TRAINED:
      raise InputError(f'unknown phase {name!r}; there are {list(_TRAINED)}')
  pack(args.runs, args.output, names, args.dtype, args.licence)


def pack(
  runs: str | pathlib.Path,
  output: str | pathlib.Path,
  names: list[str] | None = None,
  dtype: str = 'bfloat16',
  licence: str = '',
) -> None:
  """Writes the folder `output`, whole or not at all.

  Args:
    runs: folder with a workdir per phase.
    output: new, empty, or a folder of weights, which is replaced; its texts
      (`.md`) are kept.
    names: phases; None: all four.
    dtype: of the parameters; statistics stay float32.
    licence: of the weights; '': not stated.

  Raises:
    InputError: a run is missing, the runs do not belong together, or `output`
      holds something else.
  """
  # Resolved: what is renamed must be the folder, not a link to it.
  runs, output = pathlib.Path(runs), pathlib.Path(output).resolve()
  weights.check_output(output, _TRAINED)
  loaded = {}
  for name in names or list(_TRAINED):
    variables, config, step = checkpoint.load_run(runs / name)
    if config['phase'] != name:
      raise InputError(f'{runs / name} is a run of {config["phase"]!r}')
    loaded[name] = (variables, config, step)
  config = _describe(runs, loaded)
  for how in config['phases'].values():
    how['licence'] = licence
  with weights.replacing(output) as partial:
    for name, (variables, _, _) in loaded.items():
      weights.save(partial, name, variables, dtype)
    weights.save_config(partial, config)
  size = sum(path.stat().st_size for path in output.iterdir())
  logger.info('%s: %s, %.1f MB', output, ', '.join(loaded), size / 1e6)


def _describe(
  runs: pathlib.Path, loaded: Mapping[str, tuple[Any, dict[str, Any], int]]
) -> dict[str, Any]:
  """Returns config.json: what the modules are, and how they were trained."""
  model = {}
  for name, (_, config, _) in loaded.items():
    model[_TRAINED[name]] = config['model'][_TRAINED[name]]
  for name, (_, config, _) in loaded.items():
    for other in _RELIES_ON.get(name, ()):
      if other in loaded:
        checkpoint.check_same(
          f'{runs / other}',
          f'model.{other}',
          loaded[other][1]['model'][other],
          config['model'][other],
          f'{runs / name}',
        )
  # The last phase that makes pictures decides the size of pictures.
  last = next(
    loaded[name][1]
    for name in ('diffusion', 'lmae', 'fde', 'pbnet')
    if name in loaded
  )
  if 'pbnet' in loaded:
    audio = loaded['pbnet'][1]['audio_encoder']
    checkpoint.check_same(
      f'{runs / "pbnet"}', 'audio_encoder', audio, last['audio_encoder']
    )
  return {
    'model': model,
    'resolution': last['resolution'],
    'audio_encoder': last['audio_encoder'],
    'phases': {
      name: {'steps': step, 'config': _without_paths(config)}
      for name, (_, config, step) in loaded.items()
    },
  }


def _without_paths(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns how a phase was trained, without folders of whoever did it."""
  config = json.loads(json.dumps(config))
  config.pop('model')  # Stands above, once for all phases.
  config.pop('init_from')
  config.pop('perceptual_weights')
  config['data']['dir'] = pathlib.Path(config['data']['dir']).name
  config['data']['latents'] = pathlib.Path(config['data']['latents']).name
  return config
