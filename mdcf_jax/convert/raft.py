"""RAFT as princeton-vl stores it, small and large, and as torchvision does.

`princeton-vl/RAFT` saves what DataParallel wraps, so names may begin with
'module.'. torchvision's `raft_small` and `raft_large` (models/optical_flow/
raft.py) are the same networks under other names.
"""

import re
from collections.abc import Mapping

import jax
import numpy as np

from mdcf_jax.convert.tensors import Description, Entry, Table, shape
from mdcf_jax.errors import InputError
from mdcf_jax.models.raft import RAFT, RAFT_SIZES, SMALLEST

PHASE = 'raft'
# Batch norm's counters, and the skip connection's norm under its second name.
DEAD = ('*.num_batches_tracked', '?net.layer*.norm3.*')

_STATISTICS = {
  'weight': 'params/{}/scale',
  'bias': 'params/{}/bias',
  'running_mean': 'batch_stats/{}/mean',
  'running_var': 'batch_stats/{}/var',
}
_GATES = {'z': 'update', 'r': 'reset', 'q': 'candidate'}
# From torchvision's names; the last group of a norm is its number.
_TORCHVISION = (
  (r'^feature_encoder\.', 'fnet.'),
  (r'^context_encoder\.', 'cnet.'),
  (r'^(.net)\.convnormrelu\.0\.', r'\1.conv1.'),
  (r'^(.net)\.convnormrelu\.1\.', r'\1.norm1.'),
  (r'^(.net)\.conv\.', r'\1.conv2.'),
  (r'\.convnormrelu(\d)\.0\.', r'.conv\1.'),
  (r'\.convnormrelu(\d)\.1\.', r'.norm\1.'),
  (r'\.motion_encoder\.convcorr(\d)\.0\.', r'.encoder.convc\1.'),
  (r'\.motion_encoder\.convflow(\d)\.0\.', r'.encoder.convf\1.'),
  (r'\.motion_encoder\.conv\.0\.', '.encoder.conv.'),
  (r'\.recurrent_block\.convgru(\d)\.conv(.)\.', r'.gru.conv\2\1.'),
  (r'^mask_predictor\.convrelu\.0\.', 'update_block.mask.0.'),
  (r'^mask_predictor\.conv\.', 'update_block.mask.2.'),
)


def prepare(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns the tensors by the names of `table`."""
  prepared = {}
  for name, x in tensors.items():
    name = name.removeprefix('module.')
    for pattern, new in _TORCHVISION:
      name = re.sub(pattern, new, name)
    prepared[name] = x
  if 'update_block.gru.convz2.weight' not in prepared:
    # The only recurrent unit has no number in the names of princeton-vl.
    pattern = r'\.gru\.conv(.)1\.'
    prepared = {
      re.sub(pattern, r'.gru.conv\1.', k): v for k, v in prepared.items()
    }
  return prepared


def find_size(tensors: Mapping[str, np.ndarray]) -> str:
  """Returns the key of RAFT_SIZES that prepared tensors are of.

  Raises:
    InputError: they are of none.
  """
  width = shape(tensors, 'fnet.conv1.weight')[0]
  for name, size in RAFT_SIZES.items():
    if width == size['widths'][0]:
      return name
  raise InputError(f'fnet.conv1.weight has {width} features: no RAFT')


def describe(tensors: Mapping[str, np.ndarray]) -> Description:
  """Returns what prepared tensors are.

  Raises:
    InputError: they are no RAFT.
  """
  size = find_size(tensors)
  return Description({PHASE: {'size': size}}, shapes(size), table(size))


def shapes(size: str) -> Mapping:
  """Returns the abstract variables of RAFT of this size."""
  image = jax.ShapeDtypeStruct((1, SMALLEST, SMALLEST, 3), np.float32)
  return jax.eval_shape(RAFT(size).init, jax.random.key(0), image, image)


def table(size: str) -> Table:
  """Names of princeton-vl's RAFT, 'small' or 'large', without 'module.'."""
  keywords = RAFT_SIZES[size]
  entries = _encoder('fnet', 'instance', size)
  entries |= _encoder('cnet', keywords['norm'], size)
  for i in range(len(keywords['correlation'])):
    entries |= _conv(
      f'update_block.encoder.convc{i + 1}', f'update/correlation{i + 1}'
    )
  for i in (1, 2):
    entries |= _conv(f'update_block.encoder.convf{i}', f'update/flow{i}')
    entries |= _conv(f'update_block.flow_head.conv{i}', f'update/head{i}')
  entries |= _conv('update_block.encoder.conv', 'update/motion')
  units = len(keywords['kernels'])
  for i in range(1, units + 1):
    for letter, gate in _GATES.items():
      number = i if units > 1 else ''
      name = f'update_block.gru.conv{letter}{number}'
      entries |= _conv(name, f'update/gru{i}/{gate}')
  if size == 'large':
    entries |= _conv('update_block.mask.0', 'mask/conv1')
    entries |= _conv('update_block.mask.2', 'mask/conv2')
  return entries


def _conv(theirs: str, ours: str) -> Table:
  return {
    f'{theirs}.weight': Entry(f'params/{ours}/kernel', 'conv'),
    f'{theirs}.bias': Entry(f'params/{ours}/bias'),
  }


def _norm(theirs: str, ours: str, kind: str) -> Table:
  """Of batch norm alone; the others have no tensors."""
  if kind != 'batch':
    return {}
  return {
    f'{theirs}.{name}': Entry(path.format(ours))
    for name, path in _STATISTICS.items()
  }


def _encoder(name: str, kind: str, size: str) -> Table:
  """Names of one encoder; 'conv1' and 'conv2' are its first and last."""
  entries = _conv(f'{name}.conv1', f'{name}/stem')
  entries |= _norm(f'{name}.norm1', f'{name}/stem_norm', kind)
  entries |= _conv(f'{name}.conv2', f'{name}/last')
  for i in range(1, 4):
    for j in range(2):
      theirs, ours = f'{name}.layer{i}.{j}', f'{name}/block{i}_{j}'
      for k in range(1, 4 if size == 'small' else 3):
        entries |= _conv(f'{theirs}.conv{k}', f'{ours}/conv{k}')
        entries |= _norm(f'{theirs}.norm{k}', f'{ours}/norm{k}', kind)
      if i > 1 and j == 0:
        entries |= _conv(f'{theirs}.downsample.0', f'{ours}/skip')
        entries |= _norm(f'{theirs}.downsample.1', f'{ours}/skip_norm', kind)
  return entries
