"""The FDE's networks equal the public PyTorch modules, weight for weight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from mdcf_jax.convert import dawn_lfg
from mdcf_jax.models.fde import FDE
from mdcf_jax.ops import resize, warp
from tests.parity import (
  assert_equal,
  channels_last,
  convert,
  load,
  state_dict,
)

pytestmark = pytest.mark.parity


@pytest.fixture(scope='module')
def public():
  """The three networks of one checkpoint: FDE, variables, reference arrays."""
  names = ('generator', 'region_predictor', 'bg_predictor')
  arrays = {name: load(name) for name in names}
  given = {}
  for name in names:
    given |= state_dict(arrays[name], f'{name}.')
  model, variables = convert(dawn_lfg, given)
  return FDE(**model['fde']), variables, arrays


def run(public, function, *args, **kwargs):
  """Applies `function(fde, *args)`, in one program."""
  fde, variables, _ = public
  return jax.jit(
    lambda *args: fde.apply(variables, *args, method=function, **kwargs)
  )(*args)


def test_the_constructors_arguments_are_found(public):
  fde, _, arrays = public
  for name, found in (
    ('region_predictor', fde.region),
    ('bg_predictor', fde.background),
  ):
    meta = arrays[name]['meta']
    assert {k: meta[k] for k in found} == dict(found)
  meta = arrays['generator']['meta']
  assert dict(fde.flow) == meta['flow']
  assert fde.scale == 2 ** meta['gen']['num_down_blocks']
  for name in ('block_expansion', 'max_features', 'num_bottleneck_blocks'):
    assert fde.generator[name] == meta['gen'][name]


def test_region_predictor(public):
  arrays = public[2]['region_predictor']
  out = run(
    public,
    lambda fde, x: fde.region_predictor(x, train=False),
    channels_last(arrays['in/image']),
  )
  for name in ('shift', 'covar'):
    assert_equal(out[name], arrays[f'out/{name}'], name)
  assert_equal(out['heatmap'], channels_last(arrays['out/heatmap']), 'heatmap')
  # Signs of singular vectors are arbitrary.
  ours, theirs = np.asarray(out['affine']), arrays['out/affine']
  assert_equal(square(ours), square(theirs), 'affine')
  # Columns of ours are those vectors times roots of the singular values.
  lengths = np.linalg.norm(ours, axis=-2).reshape(-1, 2)
  values = np.diagonal(arrays['out/d'], axis1=1, axis2=2)  # Already roots.
  assert_equal(lengths, values, 'd')
  vectors = ours.reshape(-1, 2, 2) / lengths[:, None]
  u = arrays['out/u']
  signs = np.sign(np.sum(vectors * u, axis=1, keepdims=True))
  assert_equal(vectors * signs, u, 'u')


def square(a):
  return a @ np.swapaxes(a, -1, -2)


def test_background_predictor(public):
  arrays = public[2]['bg_predictor']
  matrix = run(
    public,
    lambda fde, *x: fde.background_predictor(*x, train=False),
    channels_last(arrays['in/source']),
    channels_last(arrays['in/driving']),
  )
  assert_equal(matrix, arrays['out/matrix'])


def generator_inputs(arrays):
  regions = [
    {
      name: jnp.asarray(arrays[f'in/{which}_region_params/{name}'])
      for name in ('shift', 'covar', 'affine')
    }
    for which in ('source', 'driving')
  ]
  source = channels_last(arrays['in/source'])
  return source, *regions, jnp.asarray(arrays['in/bg_params'])


def generate(fde, source, *motion, train=False):
  """The public generator: dynamics, E(x_src), and the picture."""
  grid, occlusion = fde.flow_predictor(source, *motion, train=train)
  features = fde.image_generator.encode(source, train=train)
  picture = fde.image_generator.decode(features, grid, occlusion, train=train)
  return grid, occlusion, features[-1], picture


def decode(fde, source, grid, occlusion):
  features = fde.image_generator.encode(source, train=False)
  return fde.image_generator.decode(features, grid, occlusion, train=False)


def test_generator(public):
  arrays = public[2]['generator']
  outputs = run(public, generate, *generator_inputs(arrays))
  grid, occlusion, features, picture = outputs
  for ours, name in (
    (occlusion, 'occlusion_map'),
    (features, 'bottle_neck_feat'),
    (features, 'fea'),
    (picture, 'prediction'),
  ):
    assert_equal(ours, channels_last(arrays[f'out/{name}']), name)
  assert_equal(grid, arrays['out/optical_flow'], 'optical_flow')
  # The source alone, moved; not part of our decoder.
  source = channels_last(arrays['in/source'])
  resized = resize.resize_bilinear(grid, source.shape[1:3], align_corners=False)
  moved = warp.warp(source, resized, **dawn_lfg.REFERENCE)
  assert_equal(moved, channels_last(arrays['out/deformed']), 'deformed')


@pytest.mark.parametrize(
  'grid, occlusion, name',
  [
    ('out/optical_flow', 'out/occlusion_map', 'forward_with_flow'),
    ('in/random_flow', 'in/random_occ', 'forward_with_flow_random'),
  ],
)
def test_decoding_given_dynamics(public, grid, occlusion, name):
  arrays = public[2]['generator']
  source, occlusion = arrays['in/source'], arrays[occlusion]
  picture = run(
    public,
    decode,
    channels_last(source),
    jnp.asarray(arrays[grid]),
    channels_last(occlusion),
  )
  assert_equal(picture, channels_last(arrays[f'out/{name}']))


def test_generator_in_training_mode(public):
  arrays, trained = public[2]['generator'], load('generator_train_mode')
  outputs, state = run(
    public,
    lambda *args: generate(*args, train=True),
    *generator_inputs(arrays),
    mutable=['batch_stats'],
  )
  assert_equal(outputs[0], trained['out/optical_flow'], 'optical_flow')
  theirs = channels_last(trained['out/prediction'])
  assert_equal(outputs[3], theirs, 'prediction')
  table = dawn_lfg.table(vars(public[0]))
  flat = traverse_util.flatten_dict(state, sep='/')
  seen = 0
  for key, theirs in trained.items():
    if key.startswith('out/running_after/'):
      name = key.removeprefix('out/running_after/')
      assert_equal(flat[table[f'generator.{name}'].path], theirs, name)
      seen += 1
  ours = [path for path in flat if 'region' not in path]
  assert seen == len([path for path in ours if 'background' not in path])
