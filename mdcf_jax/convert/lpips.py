"""LPIPS: torchvision's trunk and the package's five weights per channel.

Two files make one model: torchvision's `alexnet` or `vgg16`, and
`lpips/weights/v0.1/alex.pth` or `vgg.pth` of richzhang/PerceptualSimilarity.
The state dict of the whole public module is understood as well.
"""

import re
from collections.abc import Mapping

import jax
import numpy as np

from mdcf_jax.convert.tensors import Description, Entry, Table, shape
from mdcf_jax.errors import InputError
from mdcf_jax.models.lpips import LPIPS, LPIPS_NETS, VGG16_BLOCKS

PHASE = 'lpips'
# What torchvision classifies with, and in the whole public module its constants
# and the second name of the weights.
DEAD = ('classifier.*', 'scaling_layer.*', 'lins.*')

_ALEXNET_PLACES = (0, 3, 6, 8, 10)
_FIRST = {(64, 3, 11, 11): 'alex', (64, 3, 3, 3): 'vgg16'}


def prepare(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns the tensors by torchvision's names, as 'features.3.weight'."""
  pattern = r'^net\.slice\d\.'
  return {re.sub(pattern, 'features.', k): v for k, v in tensors.items()}


def describe(tensors: Mapping[str, np.ndarray]) -> Description:
  """Returns what prepared tensors are.

  Raises:
    InputError: the trunk is not there, or neither AlexNet nor VGG16.
  """
  first = shape(tensors, 'features.0.weight')
  if first not in _FIRST:
    raise InputError(f'features.0.weight {first} is of no network of LPIPS')
  net = _FIRST[first]
  return Description({PHASE: {'net': net}}, shapes(net), table(net))


def shapes(net: str) -> Mapping:
  """Returns the abstract variables of LPIPS on this network."""
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
  return jax.eval_shape(LPIPS(net).init, jax.random.key(0), image, image)


def table(net: str) -> Table:
  """Names of torchvision's 'alex' or 'vgg16', and 'lin0.model.1.weight'."""
  entries = {}
  for name, place in _places(net).items():
    path = f'params/trunk/{name}'
    entries[f'features.{place}.weight'] = Entry(f'{path}/kernel', 'conv')
    entries[f'features.{place}.bias'] = Entry(f'{path}/bias')
  for i in range(len(LPIPS_NETS[net][0])):
    entries[f'lin{i}.model.1.weight'] = Entry(f'params/lin{i}', 'flat')
  return entries


def _places(net: str) -> dict[str, int]:
  """Number of each of our convolutions among torchvision's layers."""
  if net == 'alex':
    return {f'conv{i + 1}': place for i, place in enumerate(_ALEXNET_PLACES)}
  places, place = {}, 0
  for block, (_, count) in enumerate(VGG16_BLOCKS, start=1):
    for i in range(1, count + 1):
      places[f'conv{block}_{i}'] = place
      place += 2  # The convolution and its ReLU.
    place += 1  # The pooling.
  return places
