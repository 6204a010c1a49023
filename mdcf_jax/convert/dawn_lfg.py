"""DAWN's LFG (LFDM's LFAE, MRAA's RegionMM) as our FDE.

The checkpoint holds {generator, region_predictor, bg_predictor}; the flow
predictor is part of the generator there. The public code samples its grids with
align_corners=False and zeros outside, so its weights want the same here.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.convert.tensors import (
  Description,
  Entry,
  Table,
  count_blocks,
  shape,
)
from mdcf_jax.models.fde import FDE

PHASE = 'fde'
REFERENCE = dict(align_corners=False, padding='zeros')

# Of batch norm, the Gaussians before subsampling, and what training left.
DEAD = (
  '*.num_batches_tracked',
  'region_predictor.down.weight',
  'bg_predictor.down.weight',
  'generator.pixelwise_flow_predictor.down.weight',
  'optimizer*',
  'example*',
  'epoch*',
)
_FLOW = 'generator.pixelwise_flow_predictor'


def prepare(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns the tensors under names as 'generator.first.conv.weight'."""
  names = {name: name.replace('/', '.') for name in tensors}
  return {
    new.replace('.module.', '.'): tensors[old] for old, new in names.items()
  }


def describe(tensors: Mapping[str, np.ndarray]) -> Description:
  """Returns what prepared tensors are.

  Raises:
    InputError: tensors are missing that say how large the networks are.
  """
  region = _hourglass_keywords(tensors, 'region_predictor.predictor')
  flow = _hourglass_keywords(tensors, f'{_FLOW}.hourglass')
  width = shape(tensors, 'bg_predictor.encoder.down_blocks.0.conv.weight')[0]
  background = dict(
    block_expansion=width // 2, **_encoder_keywords(tensors, 'bg_predictor')
  )
  width, _, edge_kernel, _ = shape(tensors, 'generator.first.conv.weight')
  downs = count_blocks(tensors, 'generator.down_blocks.')
  generator = dict(
    block_expansion=width,
    max_features=_widest(tensors, 'generator.down_blocks.'),
    num_bottleneck_blocks=count_blocks(tensors, 'generator.bottleneck.r'),
    edge_kernel=edge_kernel,
  )
  model = dict(
    num_regions=shape(tensors, 'region_predictor.regions.weight')[0],
    scale=2**downs,
    region=region,
    background=background,
    flow=flow,
    generator=generator,
    **REFERENCE,
  )
  return Description({PHASE: model}, shapes(model), table(model))


def shapes(model: Mapping) -> Mapping:
  """Returns the abstract variables of an FDE with these keywords."""
  blocks = max(model[name]['num_blocks'] for name in ('region', 'flow'))
  size = model['scale'] * 2**blocks
  fde, image = FDE(**model), jnp.zeros((1, size, size, 3))
  return jax.eval_shape(lambda: fde.init(jax.random.key(0), image, image))


def table(model: Mapping) -> Table:
  """Returns the table of an FDE with these keywords."""
  entries = _hourglass(
    'region_predictor.predictor',
    'region_predictor/predictor',
    model['region']['num_blocks'],
  )
  entries |= _conv('region_predictor.regions', 'region_predictor/regions')
  entries |= _encoder(
    'bg_predictor.encoder',
    'background_predictor/encoder',
    model['background']['num_blocks'],
  )
  entries |= _conv('bg_predictor.fc', 'background_predictor/fc', 'dense')
  entries |= _hourglass(
    f'{_FLOW}.hourglass',
    'flow_predictor/hourglass',
    model['flow']['num_blocks'],
  )
  for name in ('mask', 'occlusion'):
    entries |= _conv(f'{_FLOW}.{name}', f'flow_predictor/{name}')

  ours = 'image_generator'
  entries |= _block('generator.first', f'{ours}/first')
  entries |= _conv('generator.final', f'{ours}/final')
  for i in range(model['scale'].bit_length() - 1):
    for way in ('down', 'up'):
      entries |= _block(f'generator.{way}_blocks.{i}', f'{ours}/{way}_{i}')
  for i in range(model['generator']['num_bottleneck_blocks']):
    for j in (1, 2):
      theirs, block = f'generator.bottleneck.r{i}', f'{ours}/bottleneck_{i}'
      entries |= _conv(f'{theirs}.conv{j}', f'{block}/conv{j}')
      entries |= _norm(f'{theirs}.norm{j}', f'{block}/norm{j}')
  return entries


def _conv(theirs: str, ours: str, layout: str = 'conv') -> Table:
  return {
    f'{theirs}.weight': Entry(f'params/{ours}/kernel', layout),
    f'{theirs}.bias': Entry(f'params/{ours}/bias'),
  }


def _norm(theirs: str, ours: str) -> Table:
  return {
    f'{theirs}.weight': Entry(f'params/{ours}/scale'),
    f'{theirs}.bias': Entry(f'params/{ours}/bias'),
    f'{theirs}.running_mean': Entry(f'batch_stats/{ours}/mean'),
    f'{theirs}.running_var': Entry(f'batch_stats/{ours}/var'),
  }


def _block(theirs: str, ours: str) -> Table:
  return _conv(f'{theirs}.conv', f'{ours}/conv') | _norm(
    f'{theirs}.norm', f'{ours}/norm'
  )


def _encoder(theirs: str, ours: str, num_blocks: int) -> Table:
  entries = {}
  for i in range(num_blocks):
    entries |= _block(f'{theirs}.down_blocks.{i}', f'{ours}/down_{i}')
  return entries


def _hourglass(theirs: str, ours: str, num_blocks: int) -> Table:
  entries = _encoder(f'{theirs}.encoder', f'{ours}/encoder', num_blocks)
  for i in range(num_blocks):
    # Numbered from the bottom there, from the top here.
    block = f'{ours}/up_{num_blocks - 1 - i}'
    entries |= _block(f'{theirs}.decoder.up_blocks.{i}', block)
  return entries


def _encoder_keywords(tensors, theirs: str) -> dict[str, int]:
  prefix = f'{theirs}.encoder.down_blocks.'
  return dict(
    num_blocks=count_blocks(tensors, prefix),
    max_features=_widest(tensors, prefix),
  )


def _hourglass_keywords(tensors, theirs: str) -> dict[str, int]:
  last = count_blocks(tensors, f'{theirs}.decoder.up_blocks.') - 1
  name = f'{theirs}.decoder.up_blocks.{max(last, 0)}.conv.weight'
  width = shape(tensors, name)[0]
  return dict(block_expansion=width, **_encoder_keywords(tensors, theirs))


def _widest(tensors, prefix: str) -> int:
  """The cap of widths, or what has not reached it: they are the same here."""
  shape(tensors, f'{prefix}0.conv.weight')
  return max(
    x.shape[0]
    for name, x in tensors.items()
    if name.startswith(prefix) and name.endswith('.conv.weight')
  )
