"""`mdcf convert`: weights of public implementations to a folder of weights.

  mdcf convert dawn-lfg LFG.safetensors dawn
  mdcf convert dawn-unet diffusion.safetensors dawn
  mdcf convert dawn-pbnet pose.safetensors blink.safetensors dawn
  mdcf convert hubert model.safetensors dawn
  mdcf convert inception pt_inception.safetensors

Each adds one file to the folder, which is made when absent. docs/conversion.md
says where the files come from. Networks of metrics go into a folder of their
own, without a config.json, where `mdcf evaluate` looks for them.
"""

import argparse
import importlib
import os
import pathlib
import shutil
import sys
from typing import Any

import numpy as np

from mdcf_jax import weights
from mdcf_jax.cli import pack
from mdcf_jax.convert import tensors
from mdcf_jax.data.records import AUDIO_ENCODERS
from mdcf_jax.errors import InputError
from mdcf_jax.evaluation import networks
from mdcf_jax.media import download

HELP = 'public weights (DAWN, HuBERT, networks of metrics) to ours'

# Kind -> (module of mdcf_jax.convert, file that it writes).
KINDS = {
  'dawn-lfg': ('dawn_lfg', 'fde'),
  'dawn-unet': ('dawn_unet', 'diffusion'),
  'dawn-pbnet': ('dawn_pbnet', 'pbnet'),
  'hubert': ('hubert', 'hubert'),
  'vgg19': ('vgg19', 'vgg19'),
}
# Networks of metrics: module and file have the name of the kind.
KINDS |= {name: (name, name) for name in networks.NETWORKS}
_NAMES = (
  'lmae',
  *(name for _, name in KINDS.values() if name not in networks.NETWORKS),
)
_BESIDE = ('hubert', 'vgg19')  # What models are used with, not part of them.
_TENSORS = ('.safetensors', '.npz')
_HEARS = ('diffusion', 'pbnet', 'hubert')  # What has to do with sound.


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  parser.add_argument('kind', choices=KINDS, help='what the file is')
  parser.add_argument(
    'input', nargs='+', help='safetensors or npz; several parts of one model'
  )
  parser.add_argument(
    'output',
    nargs='?',
    help='folder of weights to write or add to; of metrics it may be left out',
  )
  parser.add_argument(
    '--resolution',
    type=int,
    default=256,
    help='pixels of a side that the weights were trained for',
  )
  pack.add_weights_arguments(parser, 'float32')


def run(args: argparse.Namespace) -> None:
  """Converts, and prints how many parameters were used."""
  _find_output(args)
  description, variables, left = convert(args.kind, args.input)
  if args.kind in networks.NETWORKS:
    model = description.model.get(args.kind, {})
    source = {
      pathlib.Path(path).name: download.file_sha256(path) for path in args.input
    }
    about = {'model': model, 'source': source, 'licence': args.licence}
    networks.save(args.output, args.kind, variables, about)
  else:
    how = {'converted': args.kind, 'licence': args.licence}
    write(args.output, how, description, variables, args.resolution, args.dtype)
  _, used = weights.describe(variables['params'])
  sys.stdout.write(
    f'{args.output}: {args.kind}, {used:,} parameters used, {left:,} numbers '
    'known to be of no use left out\n'
  )


def _find_output(args: argparse.Namespace) -> None:
  """The last path is the output, if it is no further file of a metric's."""
  if args.output is not None:
    return
  last = pathlib.Path(args.input[-1])
  if args.kind in networks.NETWORKS and last.suffix in _TENSORS:
    args.output = str(networks.default_folder())
  elif len(args.input) > 1:
    args.output = args.input.pop()
  else:
    raise InputError('the following arguments are required: output')


def convert(
  kind: str, paths: list[str]
) -> tuple[tensors.Description, dict[str, Any], int]:
  """Reads files of one model and brings them into our names.

  Returns:
    What the model is, its variables, and how many numbers were left out.

  Raises:
    InputError: a file cannot be read, or is not of this kind.
  """
  module = importlib.import_module(f'mdcf_jax.convert.{KINDS[kind][0]}')
  given = [tensors.read(path) for path in paths]
  try:
    if len(given) > 1 and hasattr(module, 'join'):
      prepared = module.join(given)
    else:
      prepared = _merge(given)
      if hasattr(module, 'prepare'):
        prepared = module.prepare(prepared)
    description = _describe(kind, module, prepared)
    variables = tensors.apply(
      prepared, description.table, description.shapes, module.DEAD
    ) | dict(description.constants)
  except InputError as error:
    raise InputError(f'{" ".join(paths)}: {error}') from error
  _, left = tensors.count(prepared, description.table)
  return description, variables, left


def _merge(given: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
  """One dictionary of the parts of a model."""
  merged = {}
  for part in given:
    twice = sorted(merged.keys() & part.keys())
    if twice:
      raise InputError(f'tensor {twice[0]} is in two of the files')
    merged |= part
  return merged


def _describe(kind: str, module: Any, prepared: dict) -> tensors.Description:
  import jax

  rng = jax.random.key(0)
  if kind == 'hubert':
    from mdcf_jax.models import hubert

    name = module.find_size(prepared)
    model = hubert.HUBERT_SIZES[name]
    waveform = jax.ShapeDtypeStruct((1, hubert.SAMPLE_RATE), np.float32)
    shapes = jax.eval_shape(hubert.HuBERT(**model).init, rng, waveform)
    features = AUDIO_ENCODERS[name]
    return tensors.Description(
      {kind: model}, shapes, module.table(model), features
    )
  if kind == 'vgg19':
    from mdcf_jax.models import vgg

    size = vgg.VGG19_SMALLEST
    image = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    shapes = jax.eval_shape(vgg.Perceptual(kind).init, rng, image, image)
    return tensors.Description({}, shapes, module.table())
  return module.describe(prepared)


def write(
  output: str | os.PathLike,
  how: dict[str, str],
  description: tensors.Description,
  variables: dict[str, Any],
  resolution: int,
  dtype: str,
) -> None:
  """Adds a file to a folder of weights; the folder is whole at any moment.

  Args:
    output: the folder.
    how: the file's entry in config.json: converted, a key of KINDS; licence.
    description, variables: of `convert`.
    resolution: pixels of a side that the weights were trained for.
    dtype: of the parameters.

  Raises:
    InputError: `output` is something else, or its files are of another
      resolution or hear something else, or it cannot be written.
  """
  output = pathlib.Path(output).resolve()
  name = KINDS[how['converted']][1]
  if not 0 < resolution <= weights.MAX_RESOLUTION:
    raise InputError(
      f'resolution {resolution} is not in 1 to {weights.MAX_RESOLUTION}'
    )
  weights.check_output(output, _NAMES)
  config = _config(output, name, description, resolution)
  config['phases'][name] = how
  with weights.replacing(output) as partial:
    for file in output.glob('*.safetensors'):
      if file.stem != name:
        _link(file, partial / file.name)
    weights.save(partial, name, variables, dtype)
    weights.save_config(partial, config)


def _link(file: pathlib.Path, new: pathlib.Path) -> None:
  """The same file under another name; a copy where there are no such."""
  try:
    os.link(file, new)
  except OSError:
    shutil.copy2(file, new)


def _config(
  output: pathlib.Path,
  name: str,
  description: tensors.Description,
  resolution: int,
) -> dict[str, Any]:
  """The folder's config.json with what the new file changes in it."""
  hears = {width: audio for audio, width in AUDIO_ENCODERS.items()}
  audio = hears.get(description.audio_features, 'mel')
  if description.audio_features and description.audio_features not in hears:
    raise InputError(
      f'hears {description.audio_features} numbers a frame; known are {hears}'
    )
  config = dict(model={}, resolution=resolution, audio_encoder=audio, phases={})
  if (output / weights.CONFIG_NAME).is_file():
    config = weights.load_config(output)
    if config['resolution'] != resolution and name in ('fde', 'diffusion'):
      raise InputError(
        f'{output} is for {config["resolution"]} pixels, not {resolution}; '
        'give --resolution'
      )
    trained = [
      x for x, how in config['phases'].items() if 'converted' not in how
    ]
    if trained and name not in _BESIDE:
      raise InputError(
        f'{output} has a {trained[0]} that was trained with another {name}; '
        'name another folder'
      )
  if description.audio_features:
    others = [x for x in _HEARS if x in config['phases'] and x != name]
    if others and config['audio_encoder'] != audio:
      raise InputError(
        f'{output} has {others[0]} for {config["audio_encoder"]}; this is for '
        f'{audio}'
      )
    config['audio_encoder'] = audio
  config['model'] |= description.model
  return config
