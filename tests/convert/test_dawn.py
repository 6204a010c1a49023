"""Checkpoints in the names of the public models, small and of full size."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from configs import diffusion, lmae
from mdcf_jax.convert import (
  dawn_lfg,
  dawn_pbnet,
  dawn_pose,
  dawn_unet,
  tensors,
)
from mdcf_jax.errors import InputError
from tests.convert import public

FULL_LFG = dict(
  num_regions=10,
  scale=4,
  region=dict(block_expansion=32, num_blocks=5, max_features=1024),
  background=dict(block_expansion=32, num_blocks=5, max_features=1024),
  flow=dict(block_expansion=64, num_blocks=5, max_features=1024),
  generator=dict(block_expansion=64, max_features=256, num_bottleneck_blocks=6),
)
FULL_UNET = dict(
  dim=64,
  dim_mults=(1, 2, 4, 8),
  num_heads=8,
  head_dim=32,
  cross_heads=8,
  cross_head_dim=8,
)
FULL_PBNET = dict(
  latent_dim=256,
  reference_dim=64,
  audio_dim=256,
  num_heads=4,
  head_dim=32,
  rotary_dim=4,
  ff_dim=128,
  num_buckets=128,
  max_distance=128,
)
# Frequencies of rotary embeddings, which are parameters there; shared ones
# count once.
UNET_FREQUENCIES, PBNET_FREQUENCIES = 16, 4
FACE_ENCODER, UNUSED = 1248, 173376


def describe(module, given):
  """Description of a state dict, and what its table leaves."""
  prepared = module.prepare(given)
  return module.describe(prepared), prepared


def convert(module, given):
  description, prepared = describe(module, given)
  return tensors.apply(
    prepared, description.table, description.shapes, module.DEAD
  )


def test_full_size_lfg():
  given = public.lfg(FULL_LFG, draw=public.zeros)
  description, _ = describe(dawn_lfg, given)
  found = description.model['fde']
  expected = FULL_LFG | dawn_lfg.REFERENCE
  expected['generator'] = expected['generator'] | dict(edge_kernel=7)
  assert found == expected
  # So phases after it can be trained on top of it.
  assert lmae.get_config('128,dawn').model.fde.to_dict() == found
  params = description.shapes['params']
  counts = {name: public.count(part) for name, part in params.items()}
  assert counts['region_predictor'] == 14_146_728
  assert counts['background_predictor'] == 6_282_438
  assert counts['flow_predictor'] + counts['image_generator'] == 45_575_391


def test_full_size_unet():
  streams = (1024, 6, 2)
  given = public.unet(FULL_UNET, 256, streams, public.zeros)
  description, _ = describe(dawn_unet, given)
  found = description.model['denoiser']
  assert {name: found[name] for name in FULL_UNET} == FULL_UNET
  # So it can be trained on.
  assert diffusion.get_config('identity').model.denoiser.to_dict() == found
  ours = public.count(description.shapes['params']) - FACE_ENCODER
  assert ours + UNUSED + UNET_FREQUENCIES == 49_857_555
  face = description.shapes['params']['face_encoder']
  assert public.count(face) == FACE_ENCODER


@pytest.mark.parametrize(
  'motion_dim, expected', [(6, 2_347_018), (2, 2_345_990), (8, 2_347_532)]
)
def test_full_size_pbnet(motion_dim, expected):
  given = public.pbnet(motion_dim, FULL_PBNET, 1024, public.zeros)
  description, _ = describe(dawn_pbnet, given)
  found = description.model['pbnet']
  assert {name: found[name] for name in FULL_PBNET} == FULL_PBNET
  assert len(found['motion_scale']) == motion_dim
  ours = public.count(description.shapes['params'])
  assert ours + PBNET_FREQUENCIES == expected


@pytest.mark.parametrize('name', ['lfg', 'unet', 'pbnet'])
def test_every_variable_comes_from_the_file(name):
  """What the state dict was made of comes back, leaf by leaf."""
  module = {'lfg': dawn_lfg, 'unet': dawn_unet, 'pbnet': dawn_pbnet}[name]
  make = {'lfg': public.lfg, 'unet': public.unet}.get(name)
  given = make() if make else public.pbnet(6)
  variables = convert(module, given)
  description, prepared = describe(module, given)
  flat = traverse_util.flatten_dict(variables, sep='/')
  again = public.state_dict(
    description.table, description.shapes, lambda path, shape: flat[path]
  )
  for key, x in again.items():
    np.testing.assert_array_equal(x, prepared[key], err_msg=key)
  used, dead = tensors.count(prepared, description.table)
  assert used == public.count(description.shapes) == public.count(variables)
  assert dead > 0


def test_networks_in_parallel_have_other_names():
  """What DataParallel puts before each name is taken off."""
  given = public.lfg()
  wrapped = {name.replace('.', '.module.', 1): x for name, x in given.items()}
  jax.tree.map(
    np.testing.assert_array_equal,
    convert(dawn_lfg, given),
    convert(dawn_lfg, wrapped),
  )


def test_the_face_encoder_is_taken_or_drawn_once():
  given = public.unet()
  drawn = convert(dawn_unet, given)['params']['face_encoder']
  again = convert(dawn_unet, given)['params']['face_encoder']
  jax.tree.map(np.testing.assert_array_equal, drawn, again)
  for i, (features, channels) in enumerate(((8, 1), (16, 8)), start=1):
    shape = (features, channels, 3, 3)
    given[f'face_encoder.conv{i}.weight'] = np.full(shape, i, np.float32)
    given[f'face_encoder.conv{i}.bias'] = np.zeros(features, np.float32)
  taken = convert(dawn_unet, given)['params']['face_encoder']
  assert np.all(taken['conv_1']['kernel'] == 2)


@pytest.mark.parametrize(
  'change, message',
  [
    ('generator.first.conv.weight', 'missing tensors .*first.conv.weight'),
    ('region_predictor.regions.weight', 'missing .*regions.weight'),
    ('bg_predictor.fc.bias', r'missing tensors \(1\): bg_predictor.fc.bias'),
    ('generator.bottleneck.r0.norm1.running_var', 'missing .*running_var'),
  ],
)
def test_a_missing_tensor_is_named(change, message):
  given = public.lfg()
  del given[change]
  with pytest.raises(InputError, match=message):
    convert(dawn_lfg, given)


def test_a_pbnet_of_something_else_is_refused():
  given = public.pbnet(6)
  for name in ('firstposeEmbedding', 'poseEmbedding'):
    given[f'encoder.{name}.weight'] = np.zeros((8, 7), np.float32)
  with pytest.raises(InputError, match='7 numbers a frame'):
    convert(dawn_pbnet, given)


def test_pose_is_in_our_units():
  """A pose of ours, what the public PBNet makes of its numbers, and back."""
  model = dawn_pbnet.motion_units(6)
  ours = np.array([10.0, -5.0, 3.0, 0.5, 0.25, np.log(0.6)])
  # Their x and y are pixels of a crop of 120, y from below.
  theirs = np.array([10.0, -5.0, 3.0, 90.0, 45.0, 5e-4])
  ranges = np.array([180.0, 180.0, 180.0, 720.0, 1080.0, 1.0])
  seen = (ours - model['motion_center']) / model['motion_scale']
  low = np.array([-90.0, -90.0, -90.0, 0.0, 0.0, 0.0])
  np.testing.assert_allclose(seen, (theirs - low) / ranges, atol=1e-7)
  # The U-Net sees differences.
  moved = ours + [1.0, 0.0, 0.0, 0.1, 0.1, 0.0]
  delta = (moved - ours) / dawn_pose.UNIT
  np.testing.assert_allclose(delta, [1.0, 0.0, 0.0, 6.0, -6.0, 0.0], atol=1e-6)
