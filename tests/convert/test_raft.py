"""RAFT's tensors by the names of princeton-vl and of torchvision."""

import re

import jax
import numpy as np
import pytest

from mdcf_jax.convert import raft, tensors
from mdcf_jax.errors import InputError
from tests.random_tensors import random_tensors

SIZES = ('small', 'large')
# From princeton-vl's names to torchvision's, as read in its source
# (models/optical_flow/raft.py): convolution, norm and activation are places of
# a sequence there.
TORCHVISION = (
  (r'^fnet\.conv1', 'feature_encoder.convnormrelu.0'),
  (r'^cnet\.conv1', 'context_encoder.convnormrelu.0'),
  (r'^cnet\.norm1', 'context_encoder.convnormrelu.1'),
  (r'^fnet\.conv2', 'feature_encoder.conv'),
  (r'^cnet\.conv2', 'context_encoder.conv'),
  (r'^fnet\.(layer\d\.\d)\.conv(\d)', r'feature_encoder.\1.convnormrelu\2.0'),
  (r'^cnet\.(layer\d\.\d)\.conv(\d)', r'context_encoder.\1.convnormrelu\2.0'),
  (r'^cnet\.(layer\d\.\d)\.norm(\d)', r'context_encoder.\1.convnormrelu\2.1'),
  (r'^fnet\.(layer\d\.\d)\.down', r'feature_encoder.\1.down'),
  (r'^cnet\.(layer\d\.\d)\.down', r'context_encoder.\1.down'),
  (r'^update_block\.encoder\.convc(\d)', r'U.motion_encoder.convcorr\1.0'),
  (r'^update_block\.encoder\.convf(\d)', r'U.motion_encoder.convflow\1.0'),
  (r'^update_block\.encoder\.conv\b', r'U.motion_encoder.conv.0'),
  (r'^update_block\.gru\.conv(.)\.', r'U.recurrent_block.convgru1.conv\1.'),
  (r'^update_block\.gru\.conv(.)(\d)', r'U.recurrent_block.convgru\2.conv\1'),
  (r'^update_block\.mask\.0', 'mask_predictor.convrelu.0'),
  (r'^update_block\.mask\.2', 'mask_predictor.conv'),
  (r'^U\.', 'update_block.'),
)


def weights(size):
  return random_tensors(raft.table(size), raft.shapes(size))


def convert(given):
  prepared = raft.prepare(given)
  found = raft.describe(prepared)
  variables = tensors.apply(prepared, found.table, found.shapes, raft.DEAD)
  return found.model, variables


def assert_same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize('size', SIZES)
def test_the_prefix_of_parallel_training_and_doubles_do_not_matter(size):
  given = weights(size)
  model, expected = convert(given)
  assert model == {'raft': {'size': size}}
  more = {f'module.{name}': x for name, x in given.items()}
  if size == 'large':
    for name in ('weight', 'bias', 'running_mean', 'running_var'):
      x = given[f'cnet.layer2.0.downsample.1.{name}']
      more[f'module.cnet.layer2.0.norm3.{name}'] = x
    more['module.cnet.norm1.num_batches_tracked'] = np.array(7)
  assert_same(convert(more)[1], expected)


@pytest.mark.parametrize('size', SIZES)
def test_names_of_torchvision(size):
  given, other = weights(size), {}
  for name, x in given.items():
    for pattern, new in TORCHVISION:
      name = re.sub(pattern, new, name)
    other[name] = x
  assert len(other) == len(given) and not set(given) & set(other) - {
    f'update_block.flow_head.conv{i}.{x}'
    for i in (1, 2)
    for x in ('weight', 'bias')
  }
  model, variables = convert(other)
  assert model == {'raft': {'size': size}}
  assert_same(variables, convert(given)[1])


def test_what_is_no_raft_is_named():
  given = weights('small')
  with pytest.raises(InputError, match='missing.*fnet.conv1.weight'):
    convert({'encoder.weight': np.zeros(3, np.float32)})
  with pytest.raises(InputError, match='48 features'):
    convert({'fnet.conv1.weight': np.zeros((48, 3, 7, 7), np.float32)})
  with pytest.raises(InputError, match='missing.*gru.convq.bias'):
    convert({k: v for k, v in given.items() if 'convq.bias' not in k})
  with pytest.raises(InputError, match='unknown.*fnet.conv9.weight'):
    convert(given | {'fnet.conv9.weight': np.zeros(3, np.float32)})
