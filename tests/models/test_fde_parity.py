"""The FDE's networks equal the public PyTorch modules, weight for weight."""

import json
import os
import pathlib
import re

import flax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.models import fde
from mdcf_jax.ops import pose, resize, warp

PARITY = pathlib.Path(os.environ.get('MDCF_TEST_DATA', '../shared')) / 'parity'
pytestmark = [
  pytest.mark.parity,
  pytest.mark.skipif(
    not PARITY.is_dir(), reason=f'no parity files in {PARITY}'
  ),
]
DAWN = dict(align_corners=False, padding='zeros')

# From PyTorch's names to ours; the last part is handled by _leaf.
RENAMES = (
  (r'^pixelwise_flow_predictor\.', 'flow.'),
  (r'encoder\.down_blocks\.(\d+)', r'encoder.down_\1'),
  (r'^down_blocks\.(\d+)', r'down_\1'),
  (r'^up_blocks\.(\d+)', r'up_\1'),
  (r'bottleneck\.r(\d+)', r'bottleneck_\1'),
)


def load(name):
  with np.load(PARITY / f'{name}.npz', allow_pickle=False) as file:
    return dict(file)


def _leaf(name, value):
  """Collection, leaf name and value in our layout."""
  batch_norm = 'norm' in name.split('.')[-2]
  leaf = name.split('.')[-1]
  if batch_norm:
    names = dict(weight='scale', bias='bias')
    stats = dict(running_mean='mean', running_var='var')
    if leaf in names:
      return 'params', names[leaf], value
    return 'batch_stats', stats[leaf], value
  if leaf == 'weight':
    order = (2, 3, 1, 0) if value.ndim == 4 else (1, 0)
    return 'params', 'kernel', value.transpose(order)
  return 'params', 'bias', value


def convert(arrays, prefix='sd/', num_up=0):
  """A PyTorch state_dict as our variables."""
  flat = {}
  for key, value in arrays.items():
    if not key.startswith(prefix):
      continue
    name = key[len(prefix) :]
    if name.endswith(('num_batches_tracked', 'down.weight')):
      continue
    for pattern, new in RENAMES:
      name = re.sub(pattern, new, name)
    # Decoder blocks are numbered from the bottom there, from the top here.
    name = re.sub(
      r'decoder\.up_blocks\.(\d+)',
      lambda m: f'up_{num_up - 1 - int(m[1])}',
      name,
    )
    collection, leaf, value = _leaf(name, value)
    path = (collection, *name.split('.')[:-1], leaf)
    flat[path] = jnp.asarray(value)
  return flax.traverse_util.unflatten_dict(flat)


def nhwc(x):
  return jnp.asarray(np.moveaxis(x, 1, -1))


def assert_equal(ours, theirs):
  """Float32 rounding through a deep network, relative to the largest value."""
  scale = np.abs(theirs).max()
  np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * scale)


def test_region_predictor():
  arrays = load('region_predictor')
  meta = json.loads(str(arrays['meta']))
  module = fde.RegionPredictor(
    num_regions=4,
    block_expansion=meta['block_expansion'],
    num_blocks=meta['num_blocks'],
    max_features=meta['max_features'],
  )
  variables = convert(arrays, num_up=meta['num_blocks'])
  out = module.apply(variables, nhwc(arrays['in/image']), train=False)
  for name in ('shift', 'covar'):
    assert_equal(out[name], arrays[f'out/{name}'])
  assert_equal(out['heatmap'], np.moveaxis(arrays['out/heatmap'], 1, -1))
  # Signs of singular vectors are arbitrary.
  theirs = arrays['out/affine']
  square = lambda a: a @ np.swapaxes(a, -1, -2)
  assert_equal(square(np.asarray(out['affine'])), square(theirs))


def test_background_predictor():
  arrays = load('bg_predictor')
  meta = json.loads(str(arrays['meta']))
  module = fde.BackgroundPredictor(
    block_expansion=meta['block_expansion'],
    num_blocks=meta['num_blocks'],
    max_features=meta['max_features'],
  )
  matrix = module.apply(
    convert(arrays),
    nhwc(arrays['in/source']),
    nhwc(arrays['in/driving']),
    train=False,
  )
  assert_equal(matrix, arrays['out/matrix'])


class Networks(fde.nn.Module):
  """The reference's generator holds the flow predictor as well."""

  flow: dict
  gen: dict

  def setup(self):
    self.flow_predictor = fde.FlowPredictor(**self.flow, **DAWN)
    self.generator = fde.Generator(**self.gen, **DAWN)

  def __call__(self, source, source_regions, driving_regions, bg, *, train):
    grid, occlusion = self.flow_predictor(
      source, source_regions, driving_regions, bg, train=train
    )
    features = self.generator.encode(source, train=train)
    return (
      grid,
      occlusion,
      features[-1],
      self.generator.decode(features, grid, occlusion, train=train),
    )

  def decode(self, source, grid, occlusion):
    features = self.generator.encode(source, train=False)
    return self.generator.decode(features, grid, occlusion, train=False)


def build_generator(arrays):
  meta = json.loads(str(arrays['meta']))
  gen = dict(meta['gen'])
  networks = Networks(flow=meta['flow'], gen=gen)
  flat = flax.traverse_util.flatten_dict(
    convert(arrays, num_up=meta['flow']['num_blocks'])
  )
  renamed = {}
  for path, value in flat.items():
    if path[1] == 'flow':
      path = (path[0], 'flow_predictor', *path[2:])
    else:
      path = (path[0], 'generator', *path[1:])
    renamed[path] = value
  return networks, flax.traverse_util.unflatten_dict(renamed)


def generator_inputs(arrays):
  regions = [
    {
      name: jnp.asarray(arrays[f'in/{which}_region_params/{name}'])
      for name in ('shift', 'covar', 'affine')
    }
    for which in ('source', 'driving')
  ]
  return (
    nhwc(arrays['in/source']),
    *regions,
    jnp.asarray(arrays['in/bg_params']),
  )


def test_generator():
  arrays = load('generator')
  networks, variables = build_generator(arrays)
  grid, occlusion, features, prediction = networks.apply(
    variables, *generator_inputs(arrays), train=False
  )
  assert_equal(grid, arrays['out/optical_flow'])
  assert_equal(occlusion, np.moveaxis(arrays['out/occlusion_map'], 1, -1))
  assert_equal(features, np.moveaxis(arrays['out/bottle_neck_feat'], 1, -1))
  assert_equal(prediction, np.moveaxis(arrays['out/prediction'], 1, -1))
  random = networks.apply(
    variables,
    nhwc(arrays['in/source']),
    jnp.asarray(arrays['in/random_flow']),
    nhwc(arrays['in/random_occ']),
    method='decode',
  )
  theirs = arrays['out/forward_with_flow_random']
  assert_equal(random, np.moveaxis(theirs, 1, -1))


def test_generator_in_training_mode():
  arrays, trained = load('generator'), load('generator_train_mode')
  networks, variables = build_generator(arrays)
  outputs, state = networks.apply(
    variables, *generator_inputs(arrays), train=True, mutable=['batch_stats']
  )
  assert_equal(outputs[0], trained['out/optical_flow'])
  assert_equal(outputs[3], np.moveaxis(trained['out/prediction'], 1, -1))
  after = {
    'sd/' + key.removeprefix('out/running_after/'): value
    for key, value in trained.items()
    if key.startswith('out/running_after/')
  }
  after['meta'] = arrays['meta']
  expected = build_generator(after)[1]['batch_stats']
  flat = flax.traverse_util.flatten_dict(state['batch_stats'])
  expected = flax.traverse_util.flatten_dict(expected)
  assert set(flat) == set(expected)
  for path, value in expected.items():
    assert_equal(flat[path], value)


def test_primitives():
  arrays = load('primitives')
  x, grid = nhwc(arrays['in/x']), jnp.asarray(arrays['in/grid'])
  for padding in ('zeros', 'reflection'):
    out = warp.warp(x, grid, align_corners=False, padding=padding)
    theirs = arrays[f'out/grid_sample_{padding}_ac_false']
    assert_equal(out, np.moveaxis(theirs, 1, -1))
  resized = resize.resize_bilinear(x, (26, 32), align_corners=False)
  theirs = arrays['out/resize_bilinear_ac_false_32x26']
  assert_equal(resized, np.moveaxis(theirs, 1, -1))
  up = np.moveaxis(arrays['out/resize_nearest_x2'], 1, -1)
  assert_equal(resize.upsample_nearest(x), up)
  pooled = np.moveaxis(arrays['out/avg_pool2'], 1, -1)
  assert_equal(resize.average_pool(x), pooled)
  assert_equal(warp.identity_grid(5, 7), arrays['out/coordinate_grid_5x7'])
  for factor in (2, 4, 8):
    out = resize.antialias_downsample(nhwc(arrays['in/aa']), factor)
    theirs = arrays[f'out/antialias_{1 / factor}']
    assert_equal(out, np.moveaxis(theirs, 1, -1))
  axes = np.asarray(pose.principal_axes(jnp.asarray(arrays['in/cov'])))
  assert_equal(axes @ np.swapaxes(axes, -1, -2), arrays['in/cov'])
  heat = pose.gaussian(
    jnp.asarray(arrays['in/center']), jnp.asarray(arrays['in/cov']), 8, 8
  )
  assert_equal(heat, np.moveaxis(arrays['out/gaussian_cov'], 1, -1))
