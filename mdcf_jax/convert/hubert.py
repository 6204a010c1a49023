"""HuBERT as Hugging Face stores it, base and large."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mdcf_jax.convert.tensors import Entry, Table
from mdcf_jax.errors import InputError
from mdcf_jax.models.hubert import HUBERT_SIZES
from mdcf_jax.models.hubert_conv import KERNELS

# What masks speech in pre-training, and the letters of the fine-tuned ones.
DEAD = ('masked_spec_embed', 'lm_head.*')

_POSITION = 'encoder.pos_conv_embed.conv.'
# Magnitude and direction of the weight norm, in its two spellings.
_WEIGHT_NORMS = (
  ('weight_g', 'weight_v'),
  ('parametrizations.weight.original0', 'parametrizations.weight.original1'),
)


def prepare(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns the tensors by the names of `table`.

  Takes off the prefix that models with a head give, and multiplies the weight
  norm of the positional convolution out.
  """
  tensors = {k.removeprefix('hubert.'): v for k, v in tensors.items()}
  for names in _WEIGHT_NORMS:
    keys = [_POSITION + name for name in names]
    if all(key in tensors for key in keys):
      gain, direction = (tensors.pop(key) for key in keys)
      tensors[_POSITION + 'weight'] = _multiply(gain, direction)
  return tensors


def _multiply(gain: np.ndarray, direction: np.ndarray) -> np.ndarray:
  """Kernel `[O, I, K]` of direction `[O, I, K]` and length `[1, 1, K]`."""
  if direction.ndim != 3 or gain.shape != (1, 1, direction.shape[2]):
    raise InputError(
      f'misshaped weight norm of {_POSITION}weight: {gain.shape} and '
      f'{direction.shape}'
    )
  direction = direction.astype(np.float32)
  square = np.square(direction).sum(axis=(0, 1), keepdims=True)
  return gain.astype(np.float32) * (direction / np.sqrt(square))


def find_size(tensors: Mapping[str, np.ndarray]) -> str:
  """Returns the key of HUBERT_SIZES that prepared tensors are of.

  Raises:
    InputError: they are of none.
  """
  bias = tensors.get('encoder.layer_norm.bias')
  for name, size in HUBERT_SIZES.items():
    if bias is not None and bias.shape == (size['width'],):
      return name
  shape = 'missing' if bias is None else bias.shape
  raise InputError(
    f'not HuBERT base or large: encoder.layer_norm.bias is {shape}'
  )


def table(config: Mapping[str, Any]) -> Table:
  """Names of `HubertModel`'s state dict, prepared.

  Args:
    config: attributes of our `HuBERT`, as in HUBERT_SIZES.
  """
  entries: Table = {}

  def add(name: str, path: str, layout: str = 'same', bias: bool = True):
    leaf = 'scale' if layout == 'same' else 'kernel'
    entries[f'{name}.weight'] = Entry(f'params/{path}/{leaf}', layout)
    if bias:
      entries[f'{name}.bias'] = Entry(f'params/{path}/bias')

  for i in range(len(KERNELS)):
    conv = f'feature_extractor.conv_layers.{i}'
    add(f'{conv}.conv', f'features/conv_{i}', 'conv', config['conv_bias'])
    if i == 0 or config['conv_norm'] == 'layer':
      add(f'{conv}.layer_norm', f'features/norm_{i}')
  add('feature_projection.layer_norm', 'features/proj_norm')
  add('feature_projection.projection', 'features/proj', 'dense')
  add(_POSITION[:-1], 'position/conv', 'conv')
  add('encoder.layer_norm', 'norm')
  for i in range(config['num_layers']):
    theirs, ours = f'encoder.layers.{i}', f'layer_{i}'
    for name in ('q', 'k', 'v', 'out'):
      add(f'{theirs}.attention.{name}_proj', f'{ours}/{name}', 'dense')
    add(f'{theirs}.layer_norm', f'{ours}/attention_norm')
    ff = f'{theirs}.feed_forward'
    add(f'{ff}.intermediate_dense', f'{ours}/ff_in', 'dense')
    add(f'{ff}.output_dense', f'{ours}/ff_out', 'dense')
    add(f'{theirs}.final_layer_norm', f'{ours}/ff_norm')
  return entries
