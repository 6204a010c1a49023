"""Every reference output is compared by a test that is named here."""

import fnmatch

import numpy as np
import pytest

from tests.parity import FOLDER

FDE = 'tests/models/test_fde_parity.py'
UNET = 'tests/models/test_unet3d_parity.py'
PBNET = 'tests/models/test_pbnet.py'
BASICS = 'tests/ops/test_primitives_parity.py'

# File -> patterns of its outputs -> the test.
COVERED = {
  'region_predictor': {'*': (FDE, 'test_region_predictor')},
  'bg_predictor': {'matrix': (FDE, 'test_background_predictor')},
  'generator': {
    'forward_with_flow*': (FDE, 'test_decoding_given_dynamics'),
    'bottle_neck_feat': (FDE, 'test_generator'),
    'fea': (FDE, 'test_generator'),
    'deformed': (FDE, 'test_generator'),
    'optical_flow': (FDE, 'test_generator'),
    'occlusion_map': (FDE, 'test_generator'),
    'prediction': (FDE, 'test_generator'),
  },
  'generator_train_mode': {'*': (FDE, 'test_generator_in_training_mode')},
  'unet3d': {
    'train': (UNET, 'test_outputs'),
    'masked': (UNET, 'test_outputs'),
    'masked_null': (UNET, 'test_outputs'),
    'local': (UNET, 'test_outputs'),
    'masked_cfg2': (UNET, 'test_guidance'),
    'mid/rel_pos_bias': (UNET, 'test_relative_bias'),
    'mid/[!r]*': (UNET, 'test_intermediate_values'),
  },
  'diffusion': {
    'const/*': (UNET, 'test_constants'),
    'q_sample': (UNET, 'test_training_step'),
    'loss_elementwise': (UNET, 'test_training_step'),
    'pred_x0_thresholded': (UNET, 'test_training_step'),
    'ddim': (UNET, 'test_ddim'),
    'ddim_times*': (UNET, 'test_levels_of_ddim'),
  },
  'face_loc_encoder': {'emb': (UNET, 'test_face_box_encoder')},
  'pbnet_pose': {
    '*': (PBNET, 'test_reference_options_equal_the_public_module')
  },
  'pbnet_blink': {
    '*': (PBNET, 'test_reference_options_equal_the_public_module')
  },
  'primitives': {
    'grid_sample_*': (BASICS, 'test_warp'),
    'resize_*': (BASICS, 'test_resize'),
    'avg_pool2': (BASICS, 'test_resize'),
    'coordinate_grid_*': (BASICS, 'test_resize'),
    'gaussian_cov': (BASICS, 'test_gaussian'),
    'svd/*': (BASICS, 'test_principal_axes'),
    'affine_sqrt*': (BASICS, 'test_principal_axes'),
    'antialias_*': (BASICS, 'test_antialiasing'),
    'conv_transpose3d': (BASICS, 'test_transposed_convolution'),
  },
}


def test_the_named_tests_exist(repository):
  for patterns in COVERED.values():
    for path, name in patterns.values():
      assert f'\ndef {name}(' in (repository / path).read_text(), name


@pytest.mark.parity
def test_every_reference_output_has_a_test():
  paths = sorted(FOLDER.glob('*.npz'))
  if not paths:
    pytest.skip(f'no reference outputs in {FOLDER}; set MDCF_TEST_DATA')
  assert {path.stem for path in paths} == set(COVERED)
  for path in paths:
    with np.load(path, allow_pickle=False) as file:
      outputs = [name[4:] for name in file.files if name.startswith('out/')]
    patterns = COVERED[path.stem]
    for name in outputs:
      assert any(fnmatch.fnmatchcase(name, p) for p in patterns), name
    for pattern in patterns:
      assert fnmatch.filter(outputs, pattern), f'{path.stem}: {pattern}'
